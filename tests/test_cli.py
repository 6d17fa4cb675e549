"""The command line: every command, and every mishap as one sentence that costs nothing."""

import os
import re
import subprocess
import sys
from urllib.error import URLError

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from test_images import write_mnist
from torchvision.datasets import CIFAR10

from ddgan_lite.__main__ import main, parser
from ddgan_lite.chain.randomness import Numbered
from ddgan_lite.data.images import to_bytes
from ddgan_lite.files.checkpoints import history, read
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import UNetConfig
from ddgan_lite.training import runs
from ddgan_lite.training.logs import read_log
from ddgan_lite.training.presets import PRESETS

CHANGES = tiny.as_changes(tiny.UNET, batch_size=8, log_every=1, save_every=2, fresh_fake=True)
POINTS = {"width": 8, "batch_size": 16, "log_every": 1, "save_every": 1}


def train(out, *words, **changes):
    """The words that train the tiny network on digits in ``out`` for five steps."""
    line = ["train", "cifar10", "--quick", "--device", "cpu", "--data", "stacked_digits"]
    options = tiny.as_options(**(CHANGES | changes))
    return [*line, "--steps", "5", "--out", str(out), *options, *map(str, words)]


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same_model(a, b):
    ours, theirs = (read(folder / "model.safetensors")[0] for folder in (a, b))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(train(folder)) == 0
    return folder


@pytest.fixture
def answer(capsys):
    """Run a command that must fail: its one sentence; with ``begun`` a run's lines stand above."""

    def run(words, begun=False):
        capsys.readouterr()
        assert main(list(map(str, words))) == 1
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        progress, _, sentence = printed.err.rstrip("\n").rpartition("\n")
        assert sentence.startswith("error: ")
        assert re.fullmatch(
            r"Training on .*\n.*Next checkpoint .*(\n\d+/.*)*" if begun else "", progress
        )
        return sentence

    return run


# -- commands --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (None, ["train", "sample", "evaluate", "convert"]),
        ("train", [*PRESETS, "--set", "accumulate=4", "accelerate launch -m ddgan_lite train"]),
        ("sample", ["--n", "--out", "--seed", "owner/name", "samples.png", "--steps", "--append"]),
        ("evaluate", ["--data", "--weights", "--metrics", "--extractor", "--size"]),
        ("convert", ["netG_1200.pth", "--num-steps"]),
    ],
)
def test_help_teaches(command, words, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"] if command else ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(word in text for word in words)
    assert "None" not in text
    if command:
        assert "examples:" in text


def test_the_examples_of_the_help_are_lines_of_the_command_line():
    (commands,) = (action for action in parser()._actions if action.dest == "command")
    lines = [
        line.split("-m ddgan_lite ")[1]
        for command in commands.choices.values()
        for line in command.epilog.splitlines()
        if "-m ddgan_lite " in line
    ]
    assert len(lines) >= 8
    for line in lines:
        parser().parse_args(line.replace('"', "").replace(", ", ",").split())


def test_training_shows_its_progress_and_where_the_model_is(tmp_path, capsys):
    assert main(train(tmp_path / "run")) == 0
    printed = capsys.readouterr()
    assert f"Done: {tmp_path / 'run' / 'model.safetensors'}" in printed.out
    assert "5/5" in printed.err
    assert "g_adversarial=" in printed.err
    assert [line["step"] for line in read_log(tmp_path / "run")] == [1, 2, 3, 4, 5]


def test_the_same_line_does_nothing_to_a_finished_run(trained):
    before = content(trained)
    assert main(train(trained)) == 0
    assert content(trained) == before


def interrupt(monkeypatch, step, error=KeyboardInterrupt):
    """Let a run end in an error before it makes step number ``step``."""
    original = runs.Trainer.advance

    def advance(self, x_0):
        if self.step == step - 1:
            raise error
        return original(self, x_0)

    return monkeypatch.setattr(runs.Trainer, "advance", advance)


def test_the_same_line_goes_on_after_a_stop(trained, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        assert main(train(tmp_path)) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    (newest,) = history(tmp_path / "checkpoints")
    assert last == f"Stopped; {newest} is the last checkpoint. The same line goes on from there."
    assert [path.stem for path in history(tmp_path / "checkpoints")] == ["step_00000002"]
    assert main(train(tmp_path)) == 0
    assert same_model(tmp_path, trained)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4, 5]


def draw(model, out, *words):
    """Sample ten images, unless the words say otherwise."""
    line = ["sample", model, "--n", 10, "--out", out, "--device", "cpu", *words]
    return main(list(map(str, line)))


def pixels(folder):
    """The images of a folder by their names, (H, W, C) each."""
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


def close(images, others):
    """Whether the names are the same, and the images, up to the rounding of the networks."""
    pairs = [(images[name].astype(int), others[name].astype(int)) for name in images]
    return images.keys() == others.keys() and all(abs(a - b).max() <= 1 for a, b in pairs)


def test_sampling_a_grid(trained, tmp_path, capsys):
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    checkpoint = history(trained / "checkpoints")[-1]
    for path, model, seed in zip(paths, (trained, checkpoint, trained), (0, 0, 1), strict=True):
        assert draw(model, path, "--seed", seed) == 0
    assert Image.open(paths[0]).size == (8 * 10 + 2, 2 * 10 + 2)
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()
    assert str(paths[0]) in capsys.readouterr().out
    assert draw(trained, paths[0], "--columns", 3) == 0
    assert Image.open(paths[0]).size == (3 * 10 + 2, 4 * 10 + 2)


def test_sampling_the_steps(trained, tmp_path):
    assert draw(trained, tmp_path / "steps.png", "--steps", "--n", 5) == 0
    assert draw(trained, tmp_path / "images") == 0
    steps = np.asarray(Image.open(tmp_path / "steps.png"))
    assert steps.shape == (3 * 10 + 2, 5 * 10 + 2, 3)  # x_2, x_1, x_0
    rows = [steps[2 + 10 * row : 10 + 10 * row] for row in range(3)]
    noise = to_bytes(Numbered(0, range(5)).randn((5, 3, 8, 8)))
    assert (rows[0][:, 2:10] == noise[0].permute(1, 2, 0).numpy()).all()
    last = {f"{k:06d}.png": rows[2][:, 2 + 10 * k : 10 + 10 * k] for k in range(5)}
    images = pixels(tmp_path / "images")
    assert close(last, {name: images[name] for name in last})  # x_0 are the samples
    line = ["sample", trained, "--steps", "--out", tmp_path / "eight.png", "--device", "cpu"]
    assert main(list(map(str, line))) == 0
    assert Image.open(tmp_path / "eight.png").size == (8 * 10 + 2, 3 * 10 + 2)


def test_an_image_follows_from_the_seed_and_its_number(trained, tmp_path):
    for name, *words in (("a", "--batch", 3), ("b", "--batch", 1), ("c", "--n", 7), ("d",)):
        assert draw(trained, tmp_path / name, *words) == 0
    a, b, c, d = (pixels(tmp_path / name) for name in "abcd")
    assert list(a) == [f"{i:06d}.png" for i in range(10)]
    assert {image.shape for image in a.values()} == {(8, 8, 3)}
    assert len({image.tobytes() for image in a.values()}) == 10
    assert close(a, b) and close(a, d)
    assert close(c, {name: a[name] for name in c})
    assert draw(trained, tmp_path / "grid.png") == 0
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert close({"000009.png": grid[12:20, 12:20]}, {"000009.png": a["000009.png"]})
    assert draw(trained, tmp_path / "other", "--seed", 1) == 0
    assert not close(a, pixels(tmp_path / "other"))


def test_samples_never_lie_among_others(trained, tmp_path, answer):
    folder = tmp_path / "samples"
    assert draw(trained, folder) == 0
    before = content(folder)
    line = ["sample", trained, "--n", 4, "--out", folder, "--device", "cpu"]
    assert "holds 10 files already: choose another folder, or overwrite" in answer(line)
    assert content(folder) == before
    assert draw(trained, folder, "--n", 4, "--overwrite") == 0
    four = pixels(folder)
    assert list(four) == [f"{i:06d}.png" for i in range(4)]
    assert draw(trained, folder, "--n", 6, "--append") == 0  # as if ten had been asked for
    assert {path.name for path in before} == {path.name for path in folder.iterdir()}
    (folder / "000005.png").unlink()
    assert "some are missing: overwrite them" in answer([*line, "--append"])
    (folder / "cat.png").write_text("mine")
    for how in ("--append", "--overwrite"):
        assert "holds cat.png, which is no sample: choose another folder" in answer([*line, how])
    assert (folder / "cat.png").read_text() == "mine"
    assert (folder / "000004.png").exists()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A generator in a file like those that the authors published."""
    torch.manual_seed(0)
    config = UNetConfig((3, 16, 16), 2, 4, 8, (1, 2), 1, 16, 8, 1)
    generator = config.build_generator()
    path = tmp_path_factory.mktemp("published") / "netG_7.pth"
    torch.save(tiny.published(generator), path)
    return path, generator.state_dict()


def test_converting_a_published_checkpoint(published, tmp_path, capsys):
    path, weights = published
    out = tmp_path / "new" / "model.safetensors"
    assert main(["convert", str(path), str(out), "--num-steps", "2"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    tensors, header = read(out)
    assert header["provenance"] == {
        "source": "netG_7.pth",
        "T": "2, as given: the file does not say",
    }
    assert header["config"]["num_steps"] == 2
    assert all(torch.equal(tensors[name], weights[name]) for name in weights)
    assert DDGAN.load(out).sample(1).shape == (1, 3, 16, 16)


# -- mishaps: a sentence, status 1, and what was there is still there ------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"wideness": 8}, "unknown key 'wideness': "),
        ({"betas": "(2.0, 0.9)"}, "Invalid beta parameter at index 0: 2.0"),
        ({"batch_size": 6}, "compares samples in groups of 4: the batch of each process must be"),
        ({"accumulate": 3}, "a batch of 8 cannot be cut into 3 equal parts"),
        ({"accumulate": 8, "batch_size": 48}, "must be 1, 2, 3 or a multiple of 4, got 6"),
        ({"mixed_precision": "fp16"}, "'fp16' needs a CUDA device: take 'bf16' or 'no'"),
        ({"latent_dim": 10**15}, "latent_dim must be at most 65536"),
        ({"lr_generator": 0.5}, "was trained with lr_generator = "),
    ],
)
def test_values_that_do_not_fit(changes, sentence, trained, answer):
    before = content(trained)
    assert sentence in answer(train(trained, **changes))
    assert content(trained) == before


def test_a_batch_beyond_the_memory_is_one_sentence(tmp_path, answer):
    assert "out of memory. Try a smaller batch" in answer(
        train(tmp_path, batch_size=4 * 10**14), begun=True
    )


@pytest.mark.parametrize("name", ["steps", "keep"])
def test_nothing_to_do_or_to_keep_is_refused(name, trained, answer):
    assert f"{name} must be at least 1, got 0" in answer(train(trained, f"--{name}", 0))


def test_cifar10_that_is_not_there_and_cannot_be_had(tmp_path, answer, monkeypatch):
    def offline(self):
        raise URLError("no route\nto host")

    monkeypatch.setattr(CIFAR10, "download", offline)
    options = tiny.as_options(batch_size=8)
    line = ["train", "cifar10", "--out", tmp_path / "run", "--root", tmp_path, *options]
    assert "cifar10 cannot be read from" in (sentence := answer(line))
    assert "give download=True and a connection, or " in sentence
    assert not (tmp_path / "run").exists()


def test_grey_images_of_any_size_train_a_network_for_colour(tmp_path):
    images = tmp_path / "photos"
    images.mkdir()
    for i in range(4):
        Image.new("L", (10 + i, 12), 60 * i).save(images / f"{i}.png")
    assert main(train(tmp_path / "run", "--data", images, "--steps", 1)) == 0
    _, header = read(tmp_path / "run" / "model.safetensors")
    assert header["provenance"]["data"] == "photos"


def test_digits_of_one_channel_are_refused_by_a_network_for_colour(tmp_path, answer):
    digits = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        write_mnist(tmp_path, digits, range(6), part)
    words = ["--data", "mnist", "--root", tmp_path, "--steps", 1]
    sentence = answer(train(tmp_path / "run", *words, shape=(3, 32, 32)))
    assert "(1, 32, 32), the networks are built for (3, 32, 32): set shape=(1, 32, 32)" in sentence
    sentence = answer(train(tmp_path / "run", *words, shape=(1, 48, 48)))
    assert "(1, 32, 32), the networks are built for (1, 48, 48): set shape=(1, 32, 32)" in sentence
    assert main(train(tmp_path / "run", *words, shape=(1, 32, 32))) == 0
    assert main(train(tmp_path / "small", *words, shape=(1, 16, 16))) == 0  # means of 2 x 2


def test_a_diverging_run_in_mixed_precision_may_go_on_without(tmp_path, answer, monkeypatch):
    error = FloatingPointError("the losses are no longer finite at step 4. Try this.")
    with monkeypatch.context() as patch:
        interrupt(patch, 4, error)
        sentence = answer(train(tmp_path, mixed_precision="bf16"), begun=True)
    (good,) = history(tmp_path / "checkpoints")
    assert "Try this. Start in another folder, or go on in this one with " in sentence
    assert sentence.endswith(f"mixed_precision=no. The last good checkpoint is {good}.")
    assert main(train(tmp_path, mixed_precision="no")) == 0


def test_models_and_options_that_do_not_fit(trained, published, tmp_path, answer):
    path, _ = published
    out = tmp_path / "out.safetensors"
    points = tmp_path / "points"
    line = ["train", "gaussians", "--out", str(points), "--steps", "1", *tiny.as_options(**POINTS)]
    assert main(line) == 0
    for line, sentence in (
        (["sample", points], f"(2,), not images. In Python: DDGAN.load({str(points)!r})"),
        (["sample", trained, "--n", 0], "--n must be at least 1, got 0"),
        (["sample", trained, "--batch", 0], "--batch must be at least 1, got 0"),
        (["sample", trained, "--columns", 0], "--columns must be at least 1, got 0"),
        (["sample", trained, "--seed", -1], "seed must be at least 0, got -1"),
        (["sample", trained, "--append"], "--append needs a folder as --out, not samples.png"),
        (["sample", trained, "--overwrite"], "--overwrite needs a folder as --out, not samples"),
        (["sample", trained, "--steps", "--out", tmp_path / "a"], "--steps needs a .png file as"),
        (["sample", trained, "--columns", 2, "--out", tmp_path / "a"], "--columns needs a .png f"),
        (["evaluate", trained], "name the real images once: evaluate A B, or evaluate A --data B"),
        (["evaluate", trained, "digits", "--data", "digits"], "name the real images once"),
        (["evaluate", trained, "digits", "--size", 8], "--size is for two sets of images"),
        (["evaluate", "digits", "digits", "--n", 9], "--n is for a model: of two sets"),
        (["sample", trained, "--out", tmp_path / "a.jpg"], "--out must be a .png file or a folder"),
        (["convert", path, out, "--num-steps", 0], "error: num_steps must be at least 1 and at "),
        (["convert", path, out], "does not say with how many steps T it was trained"),
        (["convert", trained / "model.safetensors", out], "One of ours goes to sample, evaluate"),
        (["sample", path], "python -m ddgan_lite convert netG_7.pth OUT.safetensors"),
        (["sample", str(trained) + "s"], f"Did you mean {trained}?"),
    ):
        assert sentence in answer(line)
    assert not out.exists()


def test_a_folder_that_cannot_be_written(tmp_path, answer):
    (tmp_path / "file").write_text("in the way")
    assert "Not a directory" in answer(train(tmp_path / "file" / "run"))


@pytest.mark.parametrize("device", ["cuda:77", "mps", "gpu", "meta"])
@pytest.mark.parametrize("command", ["train", "sample", "evaluate"])
def test_a_device_that_is_not_there(command, device, answer):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is there")
    assert f"no device {device!r} here: known are cpu" in answer(
        [command, "cifar10", "--device", device]
    )


def test_data_that_is_not_there(tmp_path, answer, capsys):
    for data, sentence in (("ring", "Did you mean gaussian_ring?"), (tmp_path / "no", "_256.")):
        line = ["train", "gaussians", "--out", tmp_path / "run", "--data", data]
        assert answer(line).endswith(sentence)  # and "Training on ..." does not stand above it
    options = tiny.as_options(**POINTS)
    line = [
        "train",
        "gaussians",
        "--data",
        "gaussian_ring",
        "--steps",
        1,
        "--out",
        tmp_path / "run",
    ]
    assert main([*map(str, line), *options]) == 0
    assert "Training on gaussian_ring in" in capsys.readouterr().err


def test_a_full_disk_costs_one_sentence_and_no_checkpoint(trained, tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")  # not on Windows
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        assert main(train(tmp_path)) == 130
    (good,) = history(tmp_path / "checkpoints")
    before, size = good.read_bytes(), good.stat().st_size

    def allow_little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    done = subprocess.run(
        [sys.executable, "-m", "ddgan_lite", *train(tmp_path)],
        preexec_fn=allow_little,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"error: {good.with_name('step_00000004.safetensors')} could not ")
    assert list((tmp_path / "checkpoints").iterdir()) == [good]
    assert good.read_bytes() == before
    assert DDGAN.load(tmp_path).sample(1).shape == (1, *tiny.UNET.shape)
    assert main(train(tmp_path)) == 0  # there is room again
    assert same_model(tmp_path, trained)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4, 5]
