"""Answers: what benchmarks/answers.py computes by matrix products is what mixtures say."""

import math

import answers
import pytest
import torch

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.chain.mixtures import GaussianMixture


@pytest.mark.parametrize("t", [1, 2, 4])
def test_logits_are_log_ratios_of_mixtures(t):
    rng = torch.Generator().manual_seed(t)
    chain, centres = Diffusion(4), torch.randn(7, 3, generator=rng, dtype=torch.float64)
    spots = GaussianMixture(centres, answers.SPOT)
    x_prev, x_t = chain.q_sample_pair(spots.sample(20, rng), t, rng)
    before, now = (float(share) for share in chain.alpha_bar[t - 1 : t + 1])
    true = spots.denoising(x_t, before, now)

    weights = answers.answers(centres, x_t, now)
    assert torch.allclose(weights, true.weights)
    a, b, v = answers.step_of(chain, t)
    assert torch.allclose(a * centres + b * x_t[:, None], true.means)
    assert math.isclose(v, true.std[0, 0] ** 2)

    one = GaussianMixture(true.mean()[:, None], true.std[:, :1])
    stranger = GaussianMixture(true.means, true.std)
    exact = [true.log_prob(x_prev) - p.log_prob(x_prev) for p in (one, stranger)]
    mean = weights @ centres
    fast = answers.logits(centres, weights, mean, x_prev - b * x_t, a, v)
    assert torch.allclose(fast, torch.stack(exact), atol=1e-7)


def test_one_spot_leaves_nothing_to_tell():
    centres, rng = torch.zeros(1, 2, dtype=torch.float64), torch.Generator().manual_seed(0)
    step = answers.game(centres, torch.zeros(1), Diffusion(4), 2, answers.PART, rng)
    assert step["answers"] == step["own_class"] == 1
    assert math.isclose(step["one_answer"], math.log(2))
    assert math.isclose(step["ignores_x_t"], math.log(2))


def test_far_spots_at_little_noise_are_told_apart():
    centres, rng = 100 * torch.eye(4, dtype=torch.float64), torch.Generator().manual_seed(0)
    step = answers.game(centres, torch.arange(4), Diffusion(4), 1, answers.PART, rng)
    assert math.isclose(step["answers"], 1) and step["own_class"] == 1
    # The opponent that gives one answer gives the right one; a stranger hits it one time in four:
    # the logit is log 4 on the true spot and minus infinity on the others.
    assert math.isclose(step["one_answer"], math.log(2), abs_tol=1e-9)
    expected = 0.5 * (math.log(1.25) + 0.25 * math.log(5))
    assert math.isclose(step["ignores_x_t"], expected, abs_tol=0.2)
