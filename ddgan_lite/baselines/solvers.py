"""Few evaluations of one trained denoiser: DDIM, ancestral steps, DPM-Solver++(2M), Heun.

All four walk down the same levels and differ in what they make of the guesses of x_0 on the way. A
solver takes

- ``guess(x, i)``: the denoiser's guess of x_0 (n, ...) from x (n, ...) at the i-th level,
- ``x``: where to start (n, ...), a draw of the first level,
- ``alpha_bar``: the signal shares of the levels (N + 1,), rising, the last one 1: clean data.

It evaluates ``guess`` N times (:func:`heun`: 2 N - 1 times) and returns x_0 (n, ...).
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.chain.randomness import randn_like

Guess = Callable[[Tensor, int], Tensor]
SPACINGS = ("even", "quadratic", "log-SNR")


def spaced(diffusion: Diffusion, steps: int, spacing: str = "even") -> list[int]:
    """N + 1 levels of a long chain, t = T first and t = 0 last.

    Args:
        diffusion: the chain of T steps that the denoiser was trained on.
        steps: N, in 1..T.
        spacing: ``"even"`` in t; ``"quadratic"``, t = T (k / N)^2, closer together near the data
            (Song et al. 2021a); ``"log-SNR"``, even in log(alpha_bar / (1 - alpha_bar)) from t = T
            to t = 1 (Lu et al. 2022).

    Raises:
        ValueError: if ``steps`` does not fit the chain, or the spacing is unknown.

    Example:
        >>> chain = Diffusion(1000)
        >>> [spaced(chain, 4, spacing) for spacing in SPACINGS[:2]]
        [[1000, 750, 500, 250, 0], [1000, 562, 250, 62, 0]]
        >>> spaced(chain, 4, "log-SNR")
        [1000, 608, 78, 1, 0]
    """
    last = diffusion.num_steps
    if not 1 <= steps <= last:
        raise ValueError(f"steps must lie in 1..{last}, got {steps}.")
    if spacing not in SPACINGS:
        raise ValueError(f"spacing must be one of {', '.join(SPACINGS)}, got {spacing!r}.")
    if spacing == "log-SNR":
        log_snr = _log_snr(diffusion.alpha_bar[1:])
        wanted = torch.linspace(float(log_snr[-1]), float(log_snr[0]), steps, dtype=torch.float64)
        times = [int((log_snr - each).abs().argmin()) + 1 for each in wanted] + [0]
    else:
        places = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        times = (last * places ** (2 if spacing == "quadratic" else 1)).round().long().tolist()
    # Where two fall on one level, the later moves down; the chain is long enough for all.
    for i in range(1, steps):
        times[i] = max(min(times[i], times[i - 1] - 1), steps - i)
    return times


def ddim(guess: Guess, x: Tensor, alpha_bar: Tensor) -> Tensor:
    """Deterministic steps of first order (Song et al. 2021a).

    Example:
        >>> levels = torch.tensor([0.01, 0.5, 1.0])
        >>> ddim(lambda x, i: torch.ones_like(x), torch.zeros(5, 2), levels).unique()
        tensor([1.])
    """
    for i, signal, noise, signal_next, noise_next in _steps(alpha_bar):
        x_0 = guess(x, i)
        x = signal_next * x_0 + noise_next * ((x - signal * x_0) / noise)
    return x


def ancestral(
    guess: Guess, x: Tensor, alpha_bar: Tensor, rng: torch.Generator | None = None
) -> Tensor:
    """Steps of DDPM: x_next ~ q(x_next | x, x_0 = guess), fresh noise each time (Ho et al. 2020).

    Example:
        >>> levels = torch.tensor([0.01, 0.5, 1.0])
        >>> ancestral(lambda x, i: torch.ones_like(x), torch.zeros(5, 2), levels).unique()
        tensor([1.])
    """
    for i, signal, noise, signal_next, noise_next in _steps(alpha_bar):
        share = (signal / signal_next) ** 2
        kept = signal / signal_next * noise_next**2 / noise**2
        std = noise_next * (1 - share) ** 0.5 / noise
        mean = signal_next * (1 - share) / noise**2 * guess(x, i) + kept * x
        x = mean + std * randn_like(mean, rng)
    return x


def dpm_solver_2m(guess: Guess, x: Tensor, alpha_bar: Tensor) -> Tensor:
    """DPM-Solver++(2M): second order from two guesses in a row (Lu et al. 2022, algorithm 2).

    The first and the last step are of first order: the one has no guess before it, the other ends
    where the log-SNR is infinite. One evaluation a step.

    Example:
        >>> levels = torch.tensor([0.01, 0.5, 1.0])
        >>> dpm_solver_2m(lambda x, i: torch.ones_like(x), torch.zeros(5, 2), levels).unique()
        tensor([1.])
    """
    half_log_snr = 0.5 * _log_snr(alpha_bar.double())
    before = None
    for i, signal, noise, signal_next, noise_next in _steps(alpha_bar):
        x_0 = slope = guess(x, i)
        if before is not None and noise_next > 0:
            width = float(half_log_snr[i + 1] - half_log_snr[i])
            ratio = float(half_log_snr[i] - half_log_snr[i - 1]) / width
            slope = x_0 + (x_0 - before) / (2 * ratio)
        shrink = noise_next / noise
        x = shrink * x + (signal_next - shrink * signal) * slope
        before = x_0
    return x


def heun(guess: Guess, x: Tensor, alpha_bar: Tensor) -> Tensor:
    """Second order from a trial step and a correction (Karras et al. 2022, algorithm 1).

    It solves for x / sqrt(alpha_bar) along sigma, the noise in units of the signal. Two evaluations
    a step, one for the last.

    Example:
        >>> levels = torch.tensor([0.01, 0.5, 1.0])
        >>> heun(lambda x, i: torch.ones_like(x), torch.zeros(5, 2), levels).unique()
        tensor([1.])
    """
    for i, signal, noise, signal_next, noise_next in _steps(alpha_bar):
        x_0 = guess(x, i)
        if noise_next == 0:
            break
        sigma, sigma_next, scaled = noise / signal, noise_next / signal_next, x / signal
        slope = (scaled - x_0) / sigma
        trial = scaled + (sigma_next - sigma) * slope
        again = (trial - guess(signal_next * trial, i + 1)) / sigma_next
        x = signal_next * (scaled + (sigma_next - sigma) * 0.5 * (slope + again))
    return x_0


SOLVERS = {"ddim": ddim, "ancestral": ancestral, "2m": dpm_solver_2m, "heun": heun}


def solve(
    denoise: Guess,
    x: Tensor,
    diffusion: Diffusion,
    steps: int,
    *,
    solver: str = "2m",
    spacing: str = "log-SNR",
    rng: torch.Generator | None = None,
) -> Tensor:
    """Samples (n, ...) in ``steps`` steps of a solver down a long chain.

    Args:
        denoise: ``denoise(x, t)``, the guess of x_0 (n, ...) from x_t (n, ...).
        x: where to start (n, ...), a draw of x_T.
        diffusion: the chain of T steps that the denoiser was trained on.
        steps: of the solver, 1..T: as many evaluations, for ``"heun"`` 2 steps - 1.
        solver: one of :data:`SOLVERS`.
        spacing: of the levels, as in :func:`spaced`.
        rng: random generator of the ancestral steps.

    Raises:
        ValueError: if ``steps``, the solver or the spacing is not one of these.

    Example:
        >>> solve(lambda x, t: 0 * x + t, torch.zeros(2, 1), Diffusion(10), steps=3).tolist()
        [[1.0], [1.0]]
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {solver!r}.")
    times = spaced(diffusion, steps, spacing)
    fresh = {"rng": rng} if solver == "ancestral" else {}
    levels = diffusion.alpha_bar[times]
    return SOLVERS[solver](lambda x, i: denoise(x, times[i]), x, levels, **fresh)


def _log_snr(alpha_bar: Tensor) -> Tensor:
    return alpha_bar.log() - torch.log1p(-alpha_bar)


def _steps(alpha_bar: Tensor) -> Iterator[tuple[int, float, float, float, float]]:
    """For each step its index, sqrt(alpha_bar) and sqrt(1 - alpha_bar), now and after it."""
    shares = alpha_bar.double()
    if shares.ndim != 1 or len(shares) < 2 or shares[-1] != 1 or (shares.diff() <= 0).any():
        raise ValueError("alpha_bar must rise from level to level and end at 1, clean data.")
    signal, noise = shares.sqrt().tolist(), (1 - shares).sqrt().tolist()
    for i in range(len(shares) - 1):
        yield i, signal[i], noise[i], signal[i + 1], noise[i + 1]
