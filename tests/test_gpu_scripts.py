"""The scripts for a GPU, tried out on a CPU: what they plan, keep, go on with and judge."""

import json

import gpu
import gpu_train
import pytest
import torch
from PIL import Image
from tiny import UNET, as_changes, as_options

from ddgan_lite.files import cards, checkpoints
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import PyramidConfig

SMALL = PyramidConfig(
    shape=(1, 8, 8), num_steps=2, latent_dim=4, width=8, levels=1, hidden=8, style=8
)


@pytest.fixture
def line(tmp_path, monkeypatch):
    """What to say for 11 steps on ten JPEG files, however fast the machine."""
    monkeypatch.setattr(gpu_train, "pace", lambda *_: (2_400.0, 0.0))
    monkeypatch.setattr(gpu_train, "SAVES", 4)
    rng = torch.Generator().manual_seed(0)
    (tmp_path / "noise").mkdir()
    for number in range(10):
        pixels = torch.randint(256, (8, 8, 3), dtype=torch.uint8, generator=rng)
        Image.fromarray(pixels.numpy()).save(tmp_path / "noise" / f"{number}.jpg")
    changes = as_changes(SMALL, batch_size=4, log_every=1)
    words = ["--preset", "mnist", "--quick", "--device", "cpu", *as_options(**changes)]
    words += ["--data", tmp_path / "noise", "--run", tmp_path / "run", "--samples", 5]
    words += ["--out", tmp_path / "kept" / "mnist", "--minutes", 500, "--code", "abc1234"]
    return [str(word) for word in words]


def test_what_is_kept_of_a_run_says_where_it_comes_from(line, tmp_path, capsys):
    assert gpu_train.main(line) == 0, capsys.readouterr().err
    kept = tmp_path / "kept"
    result = json.loads((kept / "mnist.json").read_text())
    about, steps = result["provenance"], result["plan"]["steps"]
    assert about["data"].endswith("/noise (JPEG files)")
    assert (about["preset"], about["commit"]) == ("mnist (quick)", "abc1234")
    assert about["command"].startswith("python benchmarks/gpu_train.py --preset mnist")
    assert about["steps"] == steps == result["log"][-1]["step"] == 11
    assert "no FID" in about["protocol"]
    pictures = {"mnist.png", "mnist-step-3.png", "mnist-step-9.png"}  # of checkpoints 1, 3 and 4
    assert {path.name for path in kept.glob("*.png")} == pictures
    weights = kept / "mnist.safetensors"
    assert cards.missing(weights) == []
    assert {w.dtype for w in checkpoints.read(weights)[0].values()} == {torch.float16}
    assert DDGAN.load(weights).sample(2).shape == (2, 1, 8, 8)


def test_the_pace_is_that_of_steps_and_checkpoints():
    small = gpu.preset("speedrun", quick=True, **as_changes(UNET, batch_size=4, log_every=1))
    step, save = gpu_train.pace(small, gpu.noise(UNET.shape, n=8), "cpu")
    assert step > 0 and save >= 0


def test_a_run_that_was_cut_off_goes_on_by_its_plan(line, tmp_path, monkeypatch):
    real, seen = gpu_train.keep, []

    def keep(*args, **more):
        seen.append(real(*args, **more))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return seen[-1]

    monkeypatch.setattr(gpu_train, "keep", keep)
    with pytest.raises(KeyboardInterrupt):
        gpu_train.main(line)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    cut = json.loads((tmp_path / "kept" / "mnist.json").read_text())
    assert 0 < cut["provenance"]["steps"] < plan["steps"]
    assert gpu_train.main(line) == 0
    whole = json.loads((tmp_path / "kept" / "mnist.json").read_text())
    assert whole["plan"] == plan
    steps = [entry["step"] for entry in whole["log"]]
    assert steps == sorted(set(steps)) and steps[-1] == plan["steps"]
    assert gpu_train.main(line) == 0  # nothing is left to train; the results stay whole
    assert json.loads((tmp_path / "kept" / "mnist.json").read_text())["log"] == whole["log"]


def test_weights_too_large_for_git_stay_with_the_run(line, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_train, "LARGEST", 1_000)
    assert gpu_train.main(line) == 0
    assert not (tmp_path / "kept" / "mnist.safetensors").exists()
    assert cards.missing(tmp_path / "run" / "half.safetensors") == []


def test_what_is_missing_gets_a_sentence(line, tmp_path, capsys, monkeypatch):
    def answer(*words):
        assert gpu_train.main([*line, *map(str, words)]) == 1
        return capsys.readouterr().err

    assert "20 minutes are too short" in answer("--minutes", 20)
    assert "neither a folder nor one of the sets" in answer("--data", tmp_path / "nothing")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert answer("--device", "cuda").startswith("error: there is no CUDA device here")


def test_the_bars_are_those_of_one_run_and_can_be_missed():
    rates = {"fp32": 100.0, gpu.FASTEST: 250.0}
    result = {
        "difference_from_cpu": {"generator": 1e-6, "gradients": 2e-3},
        "training": {way: {"images_per_second": rate} for way, rate in rates.items()},
        "sampling": {"fp32": {"ms_per_100_images": 90.0}, gpu.GRAPHS: {"ms_per_100_images": 20.0}},
    }
    found = {name: (each["measured"], each["met"]) for name, each in gpu.bars(result).items()}
    assert found == {
        "largest relative difference from the CPU": (2e-3, False),
        f"training, {gpu.FASTEST} / fp32": (2.5, False),
        f"ms for 100 images, {gpu.GRAPHS}": (20.0, True),
    }
    assert gpu.bars({}) == {}


def test_the_speeds_are_measured():
    small = gpu.preset("cifar10", quick=True, **as_changes(UNET, batch_size=4, **gpu.PLAIN))
    trained = gpu.training(small, 0.0, "cpu")
    assert 0 < trained["slowest"] <= trained["images_per_second"] <= trained["fastest"]
    drawn = gpu.sampling(small, False, 0.0, "cpu")
    assert 0 < drawn["fastest"] <= drawn["ms_per_100_images"] <= drawn["slowest"]
    assert drawn["difference_of_one_evaluation"] == 0  # the same way twice
