"""Two processes train what one does: through ``accelerate launch``, on the CPU."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
import two_processes
from PIL import Image
from two_processes import CASES

from ddgan_lite.__main__ import main
from ddgan_lite.files import checkpoints
from ddgan_lite.files.cards import card
from ddgan_lite.training.logs import read_log

SCRIPT = Path(two_processes.__file__)
NETWORKS = ("generator", "discriminator", "averaged")


def launch(*arguments):
    """Run a script, or a module after "-m", in two processes without a GPU."""
    # With --cpu, Accelerate would start one process, or ask for mpirun.
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    options += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *options, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


def largest(a, b):
    return (a - b).abs().max().item()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What the two processes ended with: case -> (first, second)."""
    folder = tmp_path_factory.mktemp("ranks")
    launch(SCRIPT, folder)
    names = (*CASES, "stop")
    return {name: [torch.load(folder / f"{name} {r}.pt") for r in (0, 1)] for name in names}


@pytest.mark.parametrize("case", CASES)
def test_both_processes_end_with_the_same_weights(case, ranks):
    first, second = ranks[case]
    assert first["processes"] == 2
    assert first["losses"] == second["losses"]
    for network in NETWORKS:
        assert torch.equal(first[network], second[network])


@pytest.mark.parametrize("case", CASES)
def test_one_process_with_the_whole_batch_ends_there_too(case, ranks):
    alone = two_processes.trainer(case, accumulate=1)
    start = tiny.networks(alone)
    losses, end = list(alone), tiny.networks(alone)
    for network in NETWORKS:
        assert largest(end[network], start[network]) > 3e-4  # or the bound below says nothing
        assert largest(end[network], ranks[case][0][network]) < 1e-5
    for ours, theirs in zip(losses, ranks[case][0]["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_processes_stop_together_and_go_on_together(ranks):
    first, second = ranks["stop"]
    assert first == second
    assert first["stopped"][0].startswith("Stopped after step 3, which is saved.")
    assert first["stopped"][1] == signal.SIGTERM
    assert "another run is training in" in first["refused"]
    assert first["rest"] == [4, 5, 6]


def test_accelerate_that_starts_one_process_of_two_is_noticed(tmp_path, capsys, monkeypatch):
    line = ["train", "gaussians", "--steps", "1", "--out", str(tmp_path), "--set", "batch_size=8"]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # as `accelerate launch --num_processes 2` does
    assert main(line) == 0
    said = capsys.readouterr().err
    assert "1 process, device" in said and "several only with --multi_gpu" in said


@pytest.mark.parametrize("case", ["unet in parts", "mlp in parts"])
def test_a_batch_in_parts_is_the_same_batch(case):
    whole, parts = two_processes.trainer(case, accumulate=1), two_processes.trainer(case)
    losses = list(whole)
    for ours, theirs in zip(list(parts), losses, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for network, end in tiny.networks(whole).items():
        assert largest(end, tiny.networks(parts)[network]) < 1e-5


def test_the_command_line_writes_one_log_and_one_model(tmp_path):
    options = tiny.as_options(**tiny.as_changes(tiny.UNET, batch_size=8, log_every=1, save_every=2))
    data = ("--data", "stacked_digits", "--steps", "3", "--out", tmp_path)
    done = launch("-m", "ddgan_lite", "train", "cifar10", "--quick", *data, *options)
    assert done.stdout.count("Done: ") == done.stderr.count(": 2 processes, device cpu.") == 1
    assert "2 processes" in card(tmp_path)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    _, header = checkpoints.read(tmp_path / "model.safetensors")
    assert header["provenance"]["processes"] == 2
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    steps = ("step_00000002", "step_00000003")
    assert names == {
        ".lock",
        "log.jsonl",
        "model.safetensors",
        *(f"checkpoints/{step}.safetensors" for step in steps),
        *(f"samples/{step}.png" for step in steps),
    }


@pytest.fixture
def saved(tmp_path):
    """The file of a small model, and a folder of 150 images: more than one part of the work."""
    folder = tmp_path / "real"
    folder.mkdir()
    for number, image in enumerate(tiny.images(150).images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:03d}.png")
    return tiny.model(tiny.UNET).save(tmp_path / "model.safetensors"), folder


def test_two_processes_draw_the_images_of_one(saved, tmp_path):
    line = ["sample", str(saved[0]), "--n", "9", "--batch", "2", "--out"]
    assert main([*line, str(tmp_path / "one"), "--seed", "3"]) == 0
    assert main([*line, str(tmp_path / "two"), "--seed", "4", "--n", "20"]) == 0  # to be replaced
    done = launch("-m", "ddgan_lite", *line, tmp_path / "two", "--seed", 3, "--overwrite")
    assert done.stdout.count("9 images in") == 1
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / k).iterdir()} for k in ("one", "two"))
    assert len(one) == 9
    assert one == two  # to the last bit


def test_two_processes_score_as_one_does(saved, tmp_path, capsys, monkeypatch):
    (tmp_path / "own_means.py").write_text(
        "def embed(images):\n    return images.float().unfold(2, 4, 4).mean((2, 4)).flatten(1)\n"
    )
    line = ("evaluate", saved[0], saved[1], "--n", 300, "--extractor", "own_means:embed")
    line = tuple(map(str, (*line, "--metrics", "fid", "kid", "prc", "dnc")))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    done = launch("-m", "ddgan_lite", *line)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(list(line)) == 0
    printed = capsys.readouterr()
    assert json.loads(done.stdout) == json.loads(printed.out)  # once, and to the last digit
    assert "real from PNG as they are" in done.stdout
    assert done.stderr.count("warning: FID is too high") == 1
