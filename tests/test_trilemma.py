"""The trilemma's measurements: what is timed, counted and scored, at sizes that take seconds."""

import math

import pytest
import torch

from ddgan_lite.baselines import trilemma
from ddgan_lite.baselines.ddpm import DDPM
from ddgan_lite.baselines.trilemma import (
    FAMILIES,
    NUM_SAMPLES,
    OF_DDPM,
    RECIPES,
    corners,
    measure,
    sampler,
    score,
)
from ddgan_lite.data.toys import StackedDigits
from ddgan_lite.training.settings import TrainSettings

TINY = {"share": 1e-9, "num_samples": 50}  # one step of training


@pytest.fixture(autouse=True)
def short_chain(monkeypatch):
    """A DDPM of 100 steps instead of 1,000, and nothing remembered from other tests."""
    trilemma._trained.cache_clear()
    for data_name, shape in (("gaussian_grid", (2,)), ("stacked_digits", (3, 8, 8))):
        short = (lambda shape=shape: DDPM(shape, 100, width=8, depth=2), {"steps": 5})
        monkeypatch.setitem(RECIPES[data_name], "DDPM", short)


def test_every_family_has_a_recipe_and_samplers_of_ddpm_borrow_one():
    for recipes in RECIPES.values():
        assert {*recipes, *OF_DDPM} == set(FAMILIES)
    assert set(RECIPES) == set(NUM_SAMPLES)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_trained_sampled_and_scored(family):
    evaluations = {"DDIM": 7, "2M": 3, "flow matching": 6}.get(family)
    row = measure(family, "gaussian_grid", evaluations=evaluations, **TINY)
    assert row["evaluations"] == (evaluations or FAMILIES[family])
    assert row["training_steps"] == 1
    assert row["seconds"] > 0 and row["training_seconds"] > 0
    assert {"hq3", "sd_ratio_median", "modes20", "modes50", "kl"} <= set(row)


def test_scores_repeat_and_differ_between_seeds():
    rows = []
    for seed in (0, 0, 1):
        trilemma._trained.cache_clear()
        row = measure("VAE", seed=seed, **TINY)
        rows.append({name: row[name] for name in ("hq3", "kl", "sw2")})
    assert rows[0] == rows[1] != rows[2]


def test_digits_are_scored_by_a_judge_and_the_frechet_distance(rng):
    row = measure("flow", "stacked_digits", **TINY)
    assert {"modes", "kl", "fd", "seconds"} <= set(row)
    stacks, modes = StackedDigits().sample_labelled(3000, rng)
    true = score(stacks, "stacked_digits")
    counts = torch.bincount(modes, minlength=1000)
    assert true["modes"] == pytest.approx(int((counts > 0).sum()), abs=3)  # the judge reads well
    noisy = score(stacks + 0.5 * torch.randn(stacks.shape, generator=rng), "stacked_digits")
    assert true["fd"] < 5 < noisy["fd"]


@pytest.mark.parametrize("data_name", RECIPES)
def test_the_floor_is_true_samples(data_name):
    row = measure("data", data_name, num_samples=2000)
    assert "seconds" not in row
    assert row.get("hq3", 0.989) > 0.97 and row.get("fd", 0.0) < 3


def test_ddim_and_2m_use_the_network_that_ddpm_trained():
    ancestral, _ = sampler("DDPM", "gaussian_grid", share=1e-9)
    model = ancestral.__self__
    for family, how in OF_DDPM.items():
        jumping, _ = sampler(family, "gaussian_grid", share=1e-9, evaluations=4)
        assert jumping.func.__self__ is model
        drawn = jumping(5, rng=torch.Generator().manual_seed(0))
        again = model.sample_few(5, 4, **how, rng=torch.Generator().manual_seed(0))
        assert torch.equal(drawn, again)


@pytest.mark.parametrize("evaluations", [2, 8])
def test_evaluations_are_counted_as_they_are_made(evaluations):
    for family in ("DDIM", "2M", "flow matching"):
        draw, _ = sampler(family, "gaussian_grid", share=1e-9, evaluations=evaluations)
        model, calls = draw.func.__self__, []
        hook = model.averaged.module.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        draw(5, rng=torch.Generator().manual_seed(0))
        hook.remove()
        assert len(calls) == evaluations


def test_a_share_shortens_the_training(monkeypatch):
    build, settings = RECIPES["gaussian_grid"]["VAE"]
    monkeypatch.setitem(RECIPES["gaussian_grid"], "VAE", (build, settings | {"steps": 10}))
    assert measure("VAE", share=0.3, num_samples=50)["training_steps"] == 3
    build, _ = RECIPES["gaussian_grid"]["GAN"]
    short = TrainSettings(steps=10, batch_size=8)
    monkeypatch.setitem(RECIPES["gaussian_grid"], "GAN", (build, short))
    assert measure("GAN", share=0.2, num_samples=50)["training_steps"] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("diffusion",), "unknown family 'diffusion' or data set 'gaussian_grid': known are VAE"),
        (("VAE", "cifar10"), "unknown family 'VAE' or data set 'cifar10'"),
    ],
)
def test_what_is_unknown_gets_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure(*arguments)
    with pytest.raises(ValueError, match="GAN cannot choose its evaluations; DDIM, 2M"):
        measure("GAN", evaluations=3)
    with pytest.raises(ValueError, match="two evaluations a step: 3 is odd"):
        measure("flow matching", evaluations=3, **TINY)


def test_corners_are_logarithms_between_the_worst_and_the_best():
    def row(hq3, kl, seconds):
        return {"hq3": hq3, "kl": kl, "seconds": seconds}

    rows = {"a": row(0.6, 0.1, 1e-3), "b": row(0.96, 1.0, 1.0), "c": row(0.999, 1e-4, 1e-1)}
    found = corners(rows, {"hq3": 0.99, "kl": 0.001}, "gaussian_grid")
    span = math.log(0.4 / 0.01)
    expected = {
        "a": (0.0, 1 / 3, 1.0),
        "b": (math.log(0.4 / 0.04) / span, 0.0, 0.0),
        "c": (1.0, 1.0, 1 / 3),  # better than the data is no better than the data
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(values)


def test_corners_of_digits_use_the_frechet_distance():
    rows = {
        "a": {"fd": 10.0, "kl": 0.1, "seconds": 1.0},
        "b": {"fd": 100.0, "kl": 0.1, "seconds": 1.0},
    }
    found = corners(rows, {"fd": 1.0, "kl": 0.01}, "stacked_digits")
    assert found == {"a": pytest.approx((0.5, 0.0, 1.0)), "b": pytest.approx((0.0, 0.0, 1.0))}
