"""A run in its folder: what it writes, that it goes on where it stopped, what survives a mishap."""

import dataclasses
import itertools
import math
import random
import re
import shutil
import signal
import threading

import kills
import pytest
import tiny
import torch
from PIL import Image

from ddgan_lite.__main__ import main
from ddgan_lite.data.images import Images
from ddgan_lite.files import checkpoints
from ddgan_lite.files.checkpoints import CheckpointError
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training import guard, runs, saves
from ddgan_lite.training.guard import Stopped
from ddgan_lite.training.logs import read_log
from ddgan_lite.training.presets import preset
from ddgan_lite.training.resume import OtherRunError
from ddgan_lite.training.runs import losses_by_step, run

LOSSES = {"d_real", "d_fake", "g_adversarial"}


def points(**changes):
    """Seven steps on points: the middle of a run is soon reached."""
    config = dataclasses.asdict(tiny.MLP) | {"step_weights": None}
    settings = {"steps": 7, "batch_size": 16, "r1": 0.2, "r1_interval": 4}
    settings |= {"log_every": 2, "save_every": 3}
    return preset("gaussians", **config | settings | changes)


def pictures(**changes):
    settings = {"steps": 4, "batch_size": 8, "log_every": 1, "save_every": 2}
    return preset("cifar10", quick=True, **tiny.as_changes(tiny.UNET, **settings | changes))


def go(chosen, folder, **options):
    return list(run(chosen, folder, device="cpu", **options))


def steps_saved(folder):
    return [int(path.stem[5:]) for path in checkpoints.history(folder / "checkpoints")]


def weights(folder):
    tensors, _ = checkpoints.read(folder / "model.safetensors")
    return tensors


def assert_same(a, b):
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run on points: its folder and its lines."""
    folder = tmp_path_factory.mktemp("points")
    return folder, go(points(), folder)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A finished run on images, with TensorBoard's files."""
    folder = tmp_path_factory.mktemp("pictures")
    return folder, go(pictures(), folder, data=tiny.images(), trackers=["tensorboard"])


# -- what is written -------------------------------------------------------------------------


def test_the_log_holds_the_lines_that_were_yielded(done):
    folder, lines = done
    assert [line["step"] for line in lines] == [2, 4, 6, 7]  # the last one comes in any case
    assert read_log(folder) == lines
    for line in lines:
        assert LOSSES <= line.keys() <= LOSSES | {"r1", "step", "seconds", "images_per_second"}
        assert all(math.isfinite(value) for value in line.values())
        assert line["images_per_second"] > 0
    seconds = [line["seconds"] for line in lines]
    assert 0 < seconds[0] < seconds[-1]
    assert seconds == sorted(seconds)
    # R1 is due at steps 0 and 4: in the first line and in the third.
    assert ["r1" in line for line in lines] == [True, False, True, False]


def test_a_line_holds_the_mean_since_the_last_one(done, tmp_path):
    _, lines = done
    single = {line["step"]: line for line in go(points(log_every=1), tmp_path)}
    for before, line in zip([0, 2, 4, 6], lines, strict=True):
        since = [single[step] for step in range(before + 1, line["step"] + 1)]
        for name in LOSSES:
            mean = sum(each[name] for each in since) / len(since)
            assert line[name] == pytest.approx(mean)


def test_lines_of_images_hold_the_losses_by_step(drawn):
    folder, lines = drawn
    assert read_log(folder) == lines
    for line in lines:
        for name in ("d_real_by_step", "d_fake_by_step"):
            assert len(line[name]) == tiny.UNET.num_steps
            assert all(math.isfinite(value) for value in line[name])


def test_pairs_that_share_their_noise_are_judged_so(monkeypatch):
    """Where every guess is right they are one and the same; with noise of their own they differ."""
    model, x_0 = DDGAN(tiny.MLP), torch.randn(64, 2)
    monkeypatch.setattr(model, "predict", lambda *args, **how: x_0)
    alike, apart = (
        losses_by_step(model, x_0, relativistic=True, shared=shared)["d_relativistic"]
        for shared in (True, False)
    )
    assert alike == pytest.approx([math.log(2)] * tiny.MLP.num_steps, abs=1e-6)
    assert all(abs(loss - math.log(2)) > 1e-6 for loss in apart[1:])


def test_a_relativistic_run_holds_the_loss_it_trains_on(tmp_path):
    rules = pictures(relativistic=True, r2=0.1, fresh_fake=False)
    lines = go(rules, tmp_path, data=tiny.images())
    for line in lines:
        assert len(line["d_relativistic_by_step"]) == tiny.UNET.num_steps
        assert "d_real_by_step" not in line
    assert lines[0]["d_relativistic"] == pytest.approx(math.log(2), abs=1e-4)  # silent at the start
    assert lines[0]["d_relativistic_by_step"] == pytest.approx(
        [math.log(2)] * tiny.UNET.num_steps, abs=0.05
    )


def test_a_discriminator_that_has_not_learned_is_not_asked(tmp_path):
    rules = pictures(steps=7, denoiser_steps=4, head_start=2, log_every=2)
    lines = go(rules, tmp_path, data=tiny.images())
    asked = {line["step"]: "d_fake_by_step" in line for line in lines}
    assert asked == {2: False, 4: False, 6: True, 7: True}


@pytest.mark.parametrize(("keep", "kept"), [(1, [7]), (2, [6, 7]), (9, [3, 6, 7])])
def test_the_newest_checkpoints_are_kept(keep, kept, tmp_path):
    go(points(), tmp_path, keep=keep)
    assert steps_saved(tmp_path) == kept
    assert not list(tmp_path.glob("**/.*.part"))  # nothing half written lies about


def test_keeping_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        go(points(), tmp_path, keep=0)
    assert not list(tmp_path.iterdir())


def test_samples_are_a_picture_per_checkpoint(drawn):
    folder, _ = drawn
    grids = sorted((folder / "samples").iterdir())
    assert [grid.name for grid in grids] == ["step_00000002.png", "step_00000004.png"]
    for grid in grids:
        assert Image.open(grid).size == (8 * 10 + 2, 8 * 10 + 2)  # 8 x 8 images with margins
    assert grids[0].read_bytes() != grids[1].read_bytes()


def test_samples_come_from_the_same_noise_every_time(drawn, tmp_path):
    folder, _ = drawn
    again = runs.write_grid(DDGAN.load(folder), tmp_path / "new" / "grid.png")
    assert again.read_bytes() == (folder / "samples" / "step_00000004.png").read_bytes()
    other = runs.write_grid(DDGAN.load(folder), tmp_path / "other.png", n=3, seed=1)
    assert Image.open(other).size == (3 * 10 + 2, 12)


def test_points_leave_no_pictures(done):
    folder, _ = done
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "checkpoints",
        "log.jsonl",
        "model.safetensors",
    }


def test_the_finished_model_samples_and_says_where_it_comes_from(drawn):
    folder, lines = drawn
    model = DDGAN.load(folder)
    assert model.sample(2).shape == (2, *tiny.UNET.shape)
    _, header = checkpoints.read(folder / "model.safetensors")
    record = header["provenance"]
    assert (record["data"], record["steps"], record["batch_size"]) == ("noise", 4, 8)
    assert (record["seed"], record["processes"]) == (0, 1)
    assert record["seconds"] >= lines[-1]["seconds"] - 0.001
    assert record["torch"] == torch.__version__
    assert "CPU" in record["hardware"]
    assert record["ddgan_lite"]


def test_the_card_names_the_code_that_the_run_began_with(tmp_path, monkeypatch):
    commits = iter(("at the beginning", "at the end"))
    monkeypatch.setattr(runs, "machine", lambda device: {"commit": next(commits)})
    go(points(), tmp_path)
    _, header = checkpoints.read(tmp_path / "model.safetensors")
    assert header["provenance"]["commit"] == "at the beginning"


def test_tensorboard_files_hold_the_log(drawn):
    folder, lines = drawn
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = accumulator.EventAccumulator(str(folder / "trackers" / "ddgan_lite"))
    board.Reload()
    scalars = {"d_real", "d_fake_by_step/t1", "d_fake_by_step/t2", "images_per_second"}
    assert scalars <= set(board.Tags()["scalars"])
    events = board.Scalars("d_real")
    assert [event.step for event in events] == [1, 2, 3, 4]
    assert [event.value for event in events] == pytest.approx([line["d_real"] for line in lines])


# -- going on --------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_run_stopped_midway_goes_on_to_the_same_end(lines, done, tmp_path):
    folder, whole = done
    stopped = run(points(), tmp_path, device="cpu")
    list(itertools.islice(stopped, lines))
    stopped.close()
    assert not (tmp_path / "model.safetensors").exists()
    go(points(), tmp_path)
    assert_same(tmp_path, folder)
    log = read_log(tmp_path)
    assert [line["step"] for line in log] == [2, 4, 6, 7]
    assert [line["seconds"] for line in log] == sorted(line["seconds"] for line in log)
    assert log[-1]["d_real"] == whole[-1]["d_real"]
    assert steps_saved(tmp_path) == steps_saved(folder)


def test_images_go_on_to_the_same_end(drawn, tmp_path):
    folder, whole = drawn
    stopped = run(pictures(), tmp_path, data=tiny.images(), device="cpu")
    list(itertools.islice(stopped, 3))
    stopped.close()
    rest = go(pictures(), tmp_path, data=tiny.images())
    assert [line["step"] for line in rest] == [3, 4]
    for line, expected in zip(rest, whole[2:], strict=True):
        assert all(line[name] == expected[name] for name in LOSSES | {"d_fake_by_step"})
    assert_same(tmp_path, folder)
    grids = [path / "samples" / "step_00000004.png" for path in (tmp_path, folder)]
    assert grids[0].read_bytes() == grids[1].read_bytes()


def test_a_finished_run_has_nothing_left_to_do(done):
    folder, _ = done
    files = [path for path in folder.rglob("*") if path.is_file()]
    before = [path.read_bytes() for path in files]
    assert go(points(), folder) == []
    assert [path.read_bytes() for path in files] == before


def test_a_run_stopped_before_its_model_was_written_writes_it(tmp_path, done):
    folder, _ = done
    go(points(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert go(points(), tmp_path) == []
    assert_same(tmp_path, folder)


def test_a_broken_checkpoint_falls_back_to_the_one_before(done, tmp_path):
    folder, _ = done
    go(points(), tmp_path)
    newest = checkpoints.history(tmp_path / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert [line["step"] for line in go(points(), tmp_path)] == [7]  # on from step 6
    assert_same(tmp_path, folder)


def test_checkpoints_that_are_all_broken_are_an_error(tmp_path):
    go(points(), tmp_path)
    for path in checkpoints.history(tmp_path / "checkpoints"):
        path.write_bytes(b"nothing")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match=r"step_00000007\.safetensors is not a whole"):
        go(points(), tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_broken_checkpoint_never_outlives_a_good_one(tmp_path):
    go(points(steps=6), tmp_path)
    broken = checkpoints.history(tmp_path / "checkpoints")[-1]
    broken.write_bytes(b"nothing")
    often = points(steps=6, log_every=1, save_every=1)
    list(itertools.islice(run(often, tmp_path, device="cpu", keep=1), 1))
    assert steps_saved(tmp_path) == [4, 6]  # and not the broken one alone


def test_a_log_cut_short_by_a_crash_goes_on(done, tmp_path):
    stopped = run(points(), tmp_path, device="cpu")
    list(itertools.islice(stopped, 2))  # logged to step 4, saved at step 3
    stopped.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 6, "seco')
    assert [line["step"] for line in read_log(tmp_path)] == [2, 4]
    go(points(), tmp_path)
    assert [line["step"] for line in read_log(tmp_path)] == [2, 4, 6, 7]


def test_leftovers_of_a_killed_write_are_removed(tmp_path):
    leftover = tmp_path / "checkpoints" / ".step_00000003.safetensors.123.part"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half a checkpoint")
    next(run(points(), tmp_path, device="cpu"))
    assert not leftover.exists()


def test_more_checkpoints_or_lines_may_be_asked_for_on_the_way(done, tmp_path):
    folder, _ = done
    stopped = run(points(), tmp_path, device="cpu")
    list(itertools.islice(stopped, 2))
    stopped.close()
    rest = go(points(log_every=1, save_every=2), tmp_path)
    assert [line["step"] for line in rest] == [4, 5, 6, 7]
    assert_same(tmp_path, folder)


# -- early, by the clock, at a stop ------------------------------------------------------------


def before_step(monkeypatch, step, act):
    """Let ``act`` happen as a run begins its step number ``step``."""
    original = runs.Trainer.advance

    def advance(self, *batch):
        if self.step == step - 1:
            act()
        return original(self, *batch)

    monkeypatch.setattr(runs.Trainer, "advance", advance)


def test_the_first_step_is_saved(tmp_path):
    lines = run(points(log_every=1), tmp_path, device="cpu")
    next(lines)
    assert steps_saved(tmp_path) == [1]
    next(lines), next(lines)
    assert steps_saved(tmp_path) == [3]  # where a regular one is, the first is not needed
    lines.close()


@pytest.mark.parametrize(("keep", "kept"), [(1, [7]), (2, [6, 7]), (9, [3, 6, 7])])
def test_checkpoints_by_the_clock_change_nothing(keep, kept, done, tmp_path):
    folder, _ = done
    go(points(save_minutes=1e-9), tmp_path, keep=keep)  # after every step
    assert steps_saved(tmp_path) == kept
    assert_same(tmp_path, folder)


def test_no_more_minutes_than_asked_for_are_ever_unsaved(tmp_path, monkeypatch):
    now, saved, lost = [0.0], [0.0], []
    monkeypatch.setattr(saves.time, "perf_counter", lambda: now[0])
    original = runs.resume.save

    def save(*args, **record):
        now[0] += 5.0  # it takes a while
        saved.append(record["seconds"])
        return original(*args, **record)

    monkeypatch.setattr(runs.resume, "save", save)
    steps = itertools.cycle([7.0, 8.0, 9.0, 8.0])

    def pass_time():
        now[0] += next(steps)
        lost.append(now[0] - 5.0 * (len(saved) - 1) - saved[-1])

    advance = runs.Trainer.advance
    monkeypatch.setattr(runs.Trainer, "advance", lambda *a: (pass_time(), advance(*a))[1])
    go(points(steps=60, save_every=1000, save_minutes=1.0), tmp_path)
    assert 40 < max(lost) <= 60
    assert len(saved) < 15


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_run_that_is_asked_to_stop_saves_its_step_first(
    number, step, done, tmp_path, monkeypatch, capfd
):
    folder, whole = done
    handlers = [signal.getsignal(each) for each in guard.SIGNALS]
    with monkeypatch.context() as patch:
        before_step(patch, step, lambda: signal.raise_signal(number))
        with pytest.raises(Stopped, match=f"^Stopped after step {step}, which is saved") as stopped:
            go(points(), tmp_path)
    assert stopped.value.signal == number
    assert "Stopping after this step; a second signal stops at once." in capfd.readouterr().err
    assert steps_saved(tmp_path)[-1] == step
    assert [signal.getsignal(each) for each in guard.SIGNALS] == handlers
    rest = go(points(), tmp_path)
    assert_same(tmp_path, folder)
    # Nor does the log show it: the means go over all the steps since the line before.
    assert rest == read_log(tmp_path)[-len(rest) :]
    for line, expected in zip(read_log(tmp_path), whole, strict=True):
        assert {name: line[name] for name in LOSSES} == {name: expected[name] for name in LOSSES}


def test_a_second_signal_stops_in_the_middle_of_a_step(tmp_path, monkeypatch):
    before_step(monkeypatch, 5, lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt, match=r"^Stopped; .*step_00000003\S+ is the last check"):
        go(points(), tmp_path)
    assert steps_saved(tmp_path) == [3]


def test_a_second_signal_in_the_first_step_says_that_nothing_is_saved(tmp_path, monkeypatch):
    before_step(monkeypatch, 1, lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt, match=r"^Stopped before anything was saved\.$"):
        go(points(), tmp_path)
    assert steps_saved(tmp_path) == []


def test_a_run_that_nobody_closes_does_not_take_the_signals_of_a_later_one(tmp_path):
    handlers = [signal.getsignal(each) for each in guard.SIGNALS]
    first, second = (run(points(), tmp_path / name, device="cpu") for name in "ab")
    next(first), next(second)
    first.close()
    assert signal.getsignal(signal.SIGTERM) not in handlers  # the second still listens
    second.close()
    # What the second met was the first, which by now is over: one signal, and all is as before.
    signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(each) for each in guard.SIGNALS] == handlers


def test_a_run_that_is_killed_and_then_asked_to_stop_ends_as_if_undisturbed(tmp_path, monkeypatch):
    # benchmarks/kills.py does it sixty times.
    monkeypatch.setitem(kills.TINY, "save_minutes", 0.002)
    stopped, whole, rng = tmp_path / "stopped", tmp_path / "whole", random.Random(0)
    kill = kills.training(stopped, 24, rng, aim=True, most=4)
    term = kills.training(stopped, 24, rng, signal.SIGTERM, most=4)
    assert kill["status"] == -signal.SIGKILL and kill["saved"] <= kill["logged"] < 24
    assert term["status"] == 128 + signal.SIGTERM and term["logged"] == term["saved"] < 24
    for folder in (stopped, whole):
        assert main(kills.arguments(folder, 24)) == 0
    assert kills.differences(stopped, whole) == []
    assert not list(stopped.glob("**/.*.part"))


def test_a_run_in_another_thread_trains_without_listening(done, tmp_path):
    folder, _ = done
    thread = threading.Thread(target=go, args=(points(), tmp_path))
    thread.start()
    thread.join()
    assert_same(tmp_path, folder)


def test_the_record_of_a_checkpoint_is_not_believed(tmp_path):
    stopped = run(points(), tmp_path, device="cpu")
    next(stopped)
    stopped.close()
    (path,) = checkpoints.history(tmp_path / "checkpoints")
    tensors, header = checkpoints.read(path)
    for wrong in ({"unlogged": [1]}, {"unlogged": {"d_real": 1}}, {"seconds": []}):
        checkpoints.write(path, tensors, header | wrong)
        with pytest.raises(CheckpointError, match=r"step_00000001\S+ cannot be resumed here"):
            go(points(), tmp_path)


# -- one run a folder ----------------------------------------------------------------------------


def test_a_second_run_in_a_folder_is_refused_and_the_first_unharmed(done, tmp_path, monkeypatch):
    folder, _ = done
    monkeypatch.setattr(guard, "PATIENCE", 0.1)
    first = run(points(), tmp_path, device="cpu")
    lines = [next(first)]
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(BlockingIOError, match=r"another run is training in .*: wait for its"):
        go(points(), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    lines += first
    assert read_log(tmp_path) == lines
    assert_same(tmp_path, folder)
    assert go(points(), tmp_path) == []  # free again


# -- what it says --------------------------------------------------------------------------------


def test_a_run_says_where_it_begins_and_when_it_saves(tmp_path, capsys):
    lines = run(points(save_minutes=2.5), tmp_path, device="cpu", show=True)
    next(lines)
    lines.close()
    anew, saves, line = capsys.readouterr().err.splitlines()
    assert anew == f"Training on gaussian_grid in {tmp_path}: 1 process, device cpu."
    assert saves == (
        "Nothing saved yet: starting anew. Next checkpoint at step 1, then at step 3 or in 2.5 "
        "minutes."
    )
    assert line.startswith("2/7 images_per_second=") and "d_real=" in line
    go(points(), tmp_path, show=True)
    on = capsys.readouterr().err.splitlines()[1]
    assert on == "Going on from step 1 of 7. Next checkpoint at step 3 or in 10 minutes."
    go(points(), tmp_path, show=True)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "Step 7 of 7 is done: nothing is left to do."
    ]


def test_a_terminal_gets_a_bar_with_rate_and_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    go(points(), tmp_path, show=True)
    bar = capsys.readouterr().err.splitlines()[-1]
    assert "7/7 [" in bar and "step/s" in bar and "d_real=" in bar
    assert "100%" in bar


def test_a_run_is_quiet_unless_asked(done, tmp_path, capfd):
    go(points(), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_trackers_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"unknown tracker 'tensorbord': known are aim, .*wandb"):
        go(points(), tmp_path / "run", trackers=["tensorbord"])
    with pytest.raises(
        ModuleNotFoundError, match="comet_ml is not installed: pip install comet-ml"
    ):
        go(points(), tmp_path / "run", trackers=["tensorboard", "comet_ml"])
    assert not (tmp_path / "run").exists()


# -- what is refused, and what is kept -------------------------------------------------------


def test_other_data_need_another_folder(drawn):
    folder, _ = drawn
    other = Images(tiny.images().images, name="other", flip=True)
    with pytest.raises(OtherRunError, match="was trained on noise, this run is on other: start in"):
        go(pictures(), folder, data=other)


class Spoiled:
    """Points that stop being numbers after a few batches."""

    name = "spoiled"

    def __init__(self, good):
        self.left = good

    def sample(self, n, rng=None):
        self.left -= 1
        return torch.randn(n, 2, generator=rng) + (0.0 if self.left >= 0 else math.nan)


def test_a_run_that_diverges_keeps_its_checkpoints_and_names_the_last(tmp_path):
    sentence = (
        r"no longer finite at step 5: .*Try a smaller learning rate or a larger r1\. Start in "
        r"another folder\. The last good checkpoint is .*step_00000003\.safetensors\.$"
    )
    with pytest.raises(FloatingPointError, match=sentence):
        go(points(), tmp_path, data=Spoiled(1 + 4))  # the first batch is looked at, not trained on
    assert steps_saved(tmp_path) == [3]
    assert not (tmp_path / "model.safetensors").exists()
    assert [line["step"] for line in read_log(tmp_path)] == [2, 4]
    go(points(), tmp_path, data=Spoiled(99))  # good data again: on from step 3
    assert [line["step"] for line in read_log(tmp_path)] == [2, 4, 6, 7]


def test_a_run_that_diverges_at_once_says_that_nothing_was_saved(tmp_path):
    with pytest.raises(FloatingPointError, match=r"larger r1\. No checkpoint was saved before\.$"):
        go(points(lr_discriminator=1e25), tmp_path)
    assert steps_saved(tmp_path) == []


def test_weights_that_diverge_are_not_saved(tmp_path, monkeypatch):
    original = runs.Trainer.advance

    def spoil(self, x_0):
        losses = original(self, x_0)
        if self.step == 6:
            with torch.no_grad():
                self.weights[0][0].fill_(math.inf)
        return losses

    monkeypatch.setattr(runs.Trainer, "advance", spoil)
    with pytest.raises(FloatingPointError, match=r"weights are no longer finite at step 6.*0003"):
        go(points(), tmp_path)
    assert steps_saved(tmp_path) == [3]


# -- from the networks of another run -------------------------------------------------------------


def test_a_run_can_start_from_the_networks_of_another(done, tmp_path):
    folder, _ = done
    rules = points(lr_generator=1e-9, lr_discriminator=1e-9, lr_end=0)  # learns next to nothing
    go(rules, tmp_path / "on", start=folder)
    newest = checkpoints.history(folder / "checkpoints")[-1]
    theirs = checkpoints.section(checkpoints.read(newest)[0], "generator")
    for name, weight in DDGAN.load(tmp_path / "on").generator.state_dict().items():
        assert torch.allclose(weight, theirs[name], atol=1e-5)
    go(rules, tmp_path / "afresh")
    fresh = weights(tmp_path / "afresh")
    assert any((fresh[name] - theirs[name]).abs().max() > 1e-3 for name in theirs)


def test_a_run_that_started_from_another_goes_on_with_itself(done, tmp_path):
    folder, _ = done
    go(points(), tmp_path / "whole", start=folder)
    lines = run(points(), tmp_path / "parts", device="cpu", start=folder)
    for _ in range(2):
        next(lines)
    lines.close()
    go(points(), tmp_path / "parts", start=folder)
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_what_no_run_can_start_from_is_refused(done, tmp_path):
    folder, _ = done
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no training checkpoint"):
        go(points(), tmp_path / "a", start=tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file at"):
        go(points(), tmp_path / "a", start=tmp_path / "absent")
    newest = checkpoints.history(folder / "checkpoints")[-1]
    for changes, sentence in (
        ({"width": 24}, f"{newest} holds networks with width=16, this run has 24."),
        ({"num_steps": 4, "latent_dim": 5}, "num_steps=3 and latent_dim=4, this run has 4 and 5."),
    ):
        with pytest.raises(CheckpointError, match=re.escape(sentence) + "$"):
            go(points(**changes), tmp_path / "a", start=folder)
    for keeps in (folder / "model.safetensors", tmp_path / "alone.safetensors"):
        shutil.copy(folder / "model.safetensors", tmp_path / "alone.safetensors")
        named = f" of its run, {newest}, or" if keeps.parent == folder else " of its run, or"
        with pytest.raises(CheckpointError, match=re.escape(named)):
            go(points(), tmp_path / "a", start=keeps)
        with pytest.raises(CheckpointError, match=re.escape(named)):
            DDGAN.load(keeps, keep="training")
