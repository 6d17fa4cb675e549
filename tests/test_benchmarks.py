"""The tables on benchmarks are those of the stored results; what was not measured says so."""

import importlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import few_steps
import import_time
import photographs
import pytest
import stacks
import table
import torch

from ddgan_lite.data.images import Images
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.presets import preset
from ddgan_lite.training.runs import run
from ddgan_lite.training.trainer import train

ROOT = Path(__file__).resolve().parent.parent
TABLES = table.tables()


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_every_script_finds_what_it_imports(script):
    if script.stem == "live":  # a browser's driver, which only `make site-test` installs
        pytest.importorskip("playwright")
    importlib.import_module(script.stem)


@pytest.mark.parametrize("name", TABLES)
def test_the_committed_table_is_that_of_the_results(name):
    assert results.find(name).read_text() == TABLES[name], "python benchmarks/table.py"
    assert f"{{include}} results/{name}\n" in (ROOT / "book/benchmarks.md").read_text()


def test_what_was_not_measured_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "folder", lambda: tmp_path)
    rows = table.tables()["benchmarks.md"].splitlines()[2:]
    assert len(rows) >= 12
    assert all("not measured: " in row for row in rows)
    assert sum("no GPU was lent" in row for row in rows) == 3


def test_a_measurement_of_a_gpu_is_shown_even_if_it_misses_its_bar(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "folder", lambda: tmp_path)
    about = {"hardware": "a GPU", "date": "2026-11-23", "commit": "abc"}
    bars = {
        "slow": {"measured": 61.23, "bar": "at most 50", "met": False},
        "tf32": {"measured": 2.0},
    }
    (tmp_path / "gpu.json").write_text(json.dumps({"provenance": about, "bars": bars}))
    text = table.tables()["benchmarks.md"]
    assert "| GPU: slow | at most 50 | 61.2 (**missed**) | A | 2026-11-23, `abc` |" in text
    assert text.count("a GPU") == 1 and text.endswith("\n- **A**: a GPU\n")
    assert "| GPU: tf32 | none | 2 | A |" in text and "no GPU was lent" not in text


@pytest.mark.parametrize(("gib", "verdict"), [(1.99, ""), (2.0, " (**missed**)")])
def test_what_misses_its_bar_says_so(gib, verdict, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "folder", lambda: tmp_path)
    about = {"hardware": "a CPU", "date": "2026-11-23", "commit": "abc"}
    memory = {"provenance": about, "peak_gib": gib, "n": 16}
    (tmp_path / "bench_memory.json").write_text(json.dumps(memory))
    text = table.tables()["benchmarks.md"]
    assert f"| < 2 GiB | {gib:.2f} GiB for 16{verdict} | A |" in text


# What takes seconds to import, and is left to the functions that need it.
LATE = ("accelerate", "huggingface_hub", "lmdb", "scipy", "sklearn", "torch._dynamo", "torchvision")


def test_nothing_slow_is_imported_before_it_is_needed():
    code = "".join(f"import ddgan_lite.{name}; " for name in import_time.MODULES if name)
    code += f"import sys; print(*sorted(set({LATE}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_four_steps_lead_their_twin_after_2000_updates_on_every_seed():
    """What chapter 06 reads off the record of benchmarks/twins.py."""
    runs = results.load("stacked_digits")["runs"]
    for seed in range(3):
        four, one, short = (
            runs[f"T = {steps}, {updates:,} updates, seed {seed}"]["final"]
            for steps, updates in ((4, 2_000), (1, 2_000), (1, 800))
        )
        for score in ("kl", "fd"):
            assert four[score] < one[score] < short[score]


@pytest.mark.parametrize("name", photographs.VARIANTS)
def test_every_variant_of_photographs_trains_and_draws(name):
    """By its own rules, but three updates of each kind that it has, and narrow networks."""
    made = photographs.rules(name, 0)
    first = min(made.settings.denoiser_steps, 3)
    few = {"steps": first + 6, "denoiser_steps": first, "head_start": 3, "batch_size": 8}
    made = replace(
        made,
        config=replace(made.config, width=8, hidden=16, style=16),
        settings=replace(made.settings, **few),
    )
    model = photographs.VARIANTS[name][0](made)
    pixels = torch.randint(256, (16, 3, 16, 16), dtype=torch.uint8)
    labels = torch.arange(16) % 10 if model.classes else None
    images = Images(pixels, name="any", flip=True)
    images.labels = labels
    losses = list(train(model, images, made.settings))
    assert [("g_denoising" in each, "g_relativistic" in each) for each in losses] == (
        [(True, False)] * first + [(False, False)] * 3 + [(False, True)] * 3
    )
    assert model.sample(500).isfinite().all() and model.sample(500).std() > 0.01


def test_a_finished_run_is_scored_with_what_its_weights_say_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "SAMPLES", 100)
    images = Images(torch.randint(256, (100, 3, 16, 16), dtype=torch.uint8), name="any")
    images.labels = torch.arange(100) % 10
    few = {"steps": 2, "denoiser_steps": 1, "head_start": 0, "batch_size": 8}
    made = preset("cifar10_16", width=8, hidden=16, style=16, seed=3, **few)
    list(run(made, tmp_path, data=images, about={"command": "python this"}))
    row = photographs.finished(tmp_path, images)
    assert (row["command"], row["steps"], row["seed"]) == ("python this", 2, 3)
    assert row["config"]["width"] == 8 and row["scores"]["fd"] > 0
    assert 0 <= row["scores"]["recall"] <= 1 <= row["scores"]["is"]


@pytest.mark.parametrize("solver", few_steps.SOLVERS)
def test_a_ddpm_of_photographs_that_knows_the_image_draws_it(solver, monkeypatch):
    """Whatever the number of steps; and each sample by its own label."""
    made = preset("cifar10_32", **photographs.DDPM)
    config = replace(made.config, width=8, hidden=16, style=16)
    assert made.settings.steps == made.settings.denoiser_steps  # no game
    model, shape = DDGAN(config), config.shape
    right = torch.rand(10, *shape) * 2 - 1  # one image for each class
    monkeypatch.setattr(model, "predict", lambda x, t, *, y, guidance, weights: right[y])
    for steps in (1, 4, 32):
        drawn = few_steps.solved(model, solver, steps, 20, torch.Generator().manual_seed(0))
        assert torch.allclose(drawn, right.repeat(2, 1, 1, 1), atol=1e-4)


def test_a_variant_has_the_updates_that_its_name_says():
    at_each = {
        name: made.settings.steps / made.config.num_steps
        for name in photographs.VARIANTS
        for made in [photographs.rules(name, 0)]
    }
    taught = [name for name in photographs.VARIANTS if "updates of" in name]
    assert len(taught) == 3
    assert len({at_each[name] for name in ("T = 4, classes taught", *taught)}) == 1


def test_stacks_are_counted_by_their_three_digits():
    """Even stacks of all digits, then one stack only; a judge that reads the brightness."""
    digits = torch.cartesian_prod(*[torch.arange(10)] * 3)

    class Reader:
        def look(self, images):
            logits = torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), 10).double()
            return None, torch.where(images[:, :1, 0, 0] < 9, logits, logits * 0.5)  # 9: not sure

    def painter(rows):
        rows = iter(rows.split(stacks.AT_ONCE))
        return lambda n: next(rows)[:, :, None, None].float().expand(n, -1, 32, 32)

    found = stacks.scores(painter(digits.repeat(2, 1)), Reader(), 2_000)
    assert found["modes"] == 1_000 and found["counts"] == [2] * 1_000
    assert found["kl"] == pytest.approx(0, abs=1e-9)
    assert found["recognised"] == pytest.approx(0.9)
    found = stacks.scores(painter(digits[123:124].repeat(700, 1)), Reader(), 700)
    assert found["modes"] == 1 and found["counts"][123] == 700
    assert found["kl"] == pytest.approx(math.log(1_000))
    assert stacks.rules().build().sample(1).shape == (1, 3, 32, 32)
