"""The solvers: where they meet, how fast they converge, and against the published 2M."""

import itertools
import math

import pytest
import torch

from ddgan_lite.baselines.ddpm import DDPM
from ddgan_lite.baselines.solvers import (
    SOLVERS,
    SPACINGS,
    ancestral,
    ddim,
    dpm_solver_2m,
    heun,
    spaced,
)
from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.chain.mixtures import GaussianMixture

# Wide enough that the exact flow is smooth: orders show at moderate numbers of steps.
DATA = GaussianMixture(torch.tensor([[-1.0], [0.5], [1.2]]), std=0.4)


def levels(steps: int) -> torch.Tensor:
    """Signal shares even in log sigma from 20 to 0.05, then clean data."""
    sigma = torch.logspace(math.log10(20), math.log10(0.05), steps, dtype=torch.float64)
    return torch.cat([1 / (1 + sigma**2), torch.ones(1, dtype=torch.float64)])


def solve(solver, steps: int) -> torch.Tensor:
    """From fixed starts, with the exact guess E[x_0 | x]."""
    alpha_bar = levels(steps)
    starts = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]

    def exact(x, i):
        return DATA.denoising(x, 1.0, float(alpha_bar[i])).mean()

    return solver(exact, starts, alpha_bar)


@pytest.mark.parametrize(("solver", "order"), [(ddim, 1), (dpm_solver_2m, 2), (heun, 2)])
def test_the_order_of_convergence_on_the_exact_denoiser(solver, order):
    truth = solve(heun, 3000)
    errors = [(solve(solver, steps) - truth).abs().max().item() for steps in (40, 80, 160)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(order - 0.25 < each < order + 0.4 for each in orders), orders


def test_at_few_steps_the_second_order_is_closer():
    truth = solve(heun, 3000)
    far, near = ((solve(s, 12) - truth).abs().mean().item() for s in (ddim, dpm_solver_2m))
    assert near < 0.5 * far


def test_one_step_is_the_guess_and_a_constant_guess_is_reached_by_all():
    alpha_bar, x = torch.tensor([1e-4, 1.0]), torch.randn(7, 3)
    for solver in SOLVERS.values():
        assert torch.allclose(solver(lambda x, i: 0.5 * x, x, alpha_bar), 0.5 * x, atol=1e-6)
        end = solver(lambda x, i: torch.full_like(x, 0.7), x, levels(5))
        torch.testing.assert_close(end, torch.full_like(x, 0.7))


def test_ancestral_steps_are_those_of_the_chain():
    chain = Diffusion(6)
    shares = chain.alpha_bar.flip(0)
    x = torch.randn(9, 2, dtype=torch.float64)
    by_solver = ancestral(lambda x, i: x.tanh(), x, shares, torch.Generator().manual_seed(1))
    rng = torch.Generator().manual_seed(1)
    for t in range(6, 0, -1):
        x = chain.posterior_sample(x.tanh(), x, t, rng)
    torch.testing.assert_close(by_solver, x)


def test_ancestral_sampling_at_every_level_is_ddpm():
    model = DDPM((2,), num_steps=12, width=8, depth=2, clip=1.5)
    a, b = (torch.Generator().manual_seed(3) for _ in range(2))
    whole = model.sample_few(5, 12, solver="ancestral", spacing="even", rng=a)
    torch.testing.assert_close(whole, model.sample(5, rng=b))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8, 16, 50, 999, 1000])
def test_levels_fall_from_the_noisiest_to_clean_data(spacing, steps):
    times = spaced(Diffusion(1000), steps, spacing)
    assert len(times) == steps + 1 and times[0] == 1000 and times[-1] == 0
    assert all(a > b for a, b in itertools.pairwise(times))


def test_evaluations_are_as_many_as_promised():
    for name, solver in SOLVERS.items():
        calls = []
        solver(lambda x, i, calls=calls: calls.append(i) or x, torch.zeros(1, 1), levels(6))
        assert len(calls) == (11 if name == "heun" else 6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: spaced(Diffusion(10), 11), r"steps must lie in 1\.\.10, got 11"),
        (lambda: spaced(Diffusion(10), 0), "steps must lie in"),
        (
            lambda: spaced(Diffusion(10), 2, "log"),
            "spacing must be one of even, quadratic, log-SNR",
        ),
        (lambda: ddim(None, torch.zeros(1), torch.tensor([0.5, 0.9])), "end at 1, clean data"),
        (lambda: ddim(None, torch.zeros(1), torch.tensor([0.5, 0.5, 1])), "must rise"),
        (
            lambda: DDPM((2,)).sample_few(1, 2, solver="rk4"),
            "solver must be one of ddim, ancestral",
        ),
        (lambda: DDPM((2,)).sample_few(0, 2), "n must be at least 1"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_2m_is_that_of_diffusers():
    schedulers = pytest.importorskip("diffusers.schedulers")
    chain, steps = Diffusion(1000), 9
    times = spaced(chain, steps, "log-SNR")
    theirs = schedulers.DPMSolverMultistepScheduler(
        num_train_timesteps=1001,
        trained_betas=chain.beta.clamp(min=1e-12).float().numpy(),  # index t, as ours
        prediction_type="sample",
        final_sigmas_type="zero",
        lower_order_final=True,
        euler_at_final=True,
    )
    theirs.set_timesteps(timesteps=times[:-1])
    x = start = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    for t in theirs.timesteps:
        x = theirs.step((0.9 * x).tanh(), int(t), x).prev_sample
    ours = dpm_solver_2m(lambda x, i: (0.9 * x).tanh(), start, chain.alpha_bar[times])
    torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)
