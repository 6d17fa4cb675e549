"""Search the noise levels at which N Gaussian steps that follow the conditional do best, in 1-D.

    python benchmarks/levels.py --scales 1 --steps 2 4 6 8 [--store]

The data are spikes at one, two or three scales: five, five groups of five, five groups of those.
Every step is a Gaussian with the exact mean and variance of q(x_{t-1} | x_t), and the whole density
is carried from grid to grid, nothing sampled. One JSON object per search; ``--store`` keeps them in
book/results/bench_levels.json, in place of those of the same question.
"""

import argparse
import math
import time
from operator import itemgetter

import seeded
import torch
from scipy.optimize import minimize
from torch import Tensor

from ddgan_lite.chain.mixtures import GaussianMixture

LEAST = 0.95  # HQ3 that the objective "weights" insists on
APART = 0.05  # between the logarithms of two levels
TRUE = math.erf(3 / math.sqrt(2))  # of a Gaussian, within three standard deviations
PENALTY = 20.0  # for every unit of HQ3 that is missing


def spikes(scales: int) -> GaussianMixture:
    """5^scales equal Gaussians on a line: groups of five, spacings 1, 0.1, ..; std 1/20 of the
    smallest."""
    five, means = torch.arange(-2.0, 3, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for scale in range(scales):
        means = (means[:, None] + five * 0.1**scale).flatten()
    return GaussianMixture(means[:, None], 0.05 * 0.1 ** (scales - 1))


def near(centres: Tensor, middle: Tensor, reach: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For every middle the sorted ``centres`` within reach, in batches of similar count: rows of
    ``middle``, indices of the centres, which of them count."""
    first = torch.searchsorted(centres, middle - reach)
    count = torch.searchsorted(centres, middle + reach) - first
    size = 2 ** torch.ceil(torch.log2(count.clamp_min(1).double())).long()
    batches = []
    for width in size.unique().tolist():
        rows = (size == width).nonzero().flatten()
        place = first[rows, None] + torch.arange(width)
        counts = torch.arange(width) < count[rows, None]
        batches.append((rows, place.clamp_max(len(centres) - 1), counts))
    return batches


def origin(data: GaussianMixture, y: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of x_0, given x_0 + sigma eps = y."""
    centres, square = data.means.flatten(), float(data.std[0]) ** 2
    width = math.sqrt(square + sigma**2)
    nearest = (y - centres[torch.searchsorted(centres, y).clamp(max=len(centres) - 1)]).abs()
    mean, between = torch.empty_like(y), torch.empty_like(y)
    for rows, place, counts in near(centres, y, nearest + 8 * width):
        x = centres[place]
        power = -0.5 * ((y[rows, None] - x) / width) ** 2
        share = torch.softmax(power.masked_fill(~counts, -math.inf), 1)
        mean[rows] = (share * x).sum(1)
        between[rows] = (share * (x - mean[rows, None]) ** 2).sum(1)
    kept = square / width**2
    return kept * y + (1 - kept) * mean, (1 - kept) ** 2 * between + square * (1 - kept)


def spread(mass: Tensor, mean: Tensor, std: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Nodes ``step`` apart and the mass on them, if each mass spreads as N(mean, std^2)."""
    low = float((mean - 6 * std).min())
    whole = torch.zeros(int((float((mean + 6 * std).max()) - low) / step) + 2, dtype=mass.dtype)
    place, wide = (mean - low) / step, std / step
    size = torch.ceil(torch.log2(13 * wide)).long()
    for power in size.unique().tolist():
        chosen, width = (size == power).nonzero().flatten(), 2**power
        for rows in chosen.split(max(1, 1_000_000 // width)):
            k = (place[rows].round().long() - width // 2)[:, None] + torch.arange(width)
            density = torch.exp(-0.5 * ((k - place[rows, None]) / wide[rows, None]) ** 2)
            density *= (mass[rows] / wide[rows] / math.sqrt(2 * math.pi))[:, None]
            inside = (k >= 0) & (k < len(whole))
            whole.index_add_(0, k.clamp(0, len(whole) - 1).flatten(), (density * inside).flatten())
    return low + step * torch.arange(len(whole), dtype=mass.dtype), whole


def held(data: GaussianMixture, levels, fine: int = 6) -> Tensor:
    """Probability within 3 std of each component, (K,), after the Gaussian steps."""
    start = math.sqrt(1 + levels[-1] ** 2)  # x_T ~ N(0, 1), in units of the signal
    y = torch.arange(0.5, 7 * start * fine / min(levels[-1], start), dtype=torch.float64)
    y = y * min(levels[-1], start) / fine  # one half: the data are symmetric, mirrored is as good
    mass = torch.softmax(-0.5 * (y / start) ** 2, 0)
    for sigma, before in zip(reversed(levels), [*reversed(levels[:-1]), 0.0], strict=True):
        y, mass = y[mass > 1e-10], mass[mass > 1e-10]
        kept = (before / sigma) ** 2
        mean, variance = origin(data, y, sigma)
        mean = ((1 - kept) * mean + kept * y).abs()
        std = (before**2 * (1 - kept) + (1 - kept) ** 2 * variance).sqrt()
        if before:
            y, mass = spread(mass, mean, std, before / fine)
    centres, three = data.means.flatten(), 3 * float(data.std[0])
    shares = torch.zeros_like(centres)
    for rows, place, counts in near(centres, mean, 6 * std + three):
        away, width = centres[place] - mean[rows, None], std[rows, None]
        inside = torch.special.ndtr((away + three) / width)
        inside = (inside - torch.special.ndtr((away - three) / width)) * counts
        shares.index_add_(0, place.flatten(), (mass[rows, None] * inside).flatten())
    return (shares + shares.flip(0)) / 2


def scores(shares: Tensor) -> dict[str, float]:
    """HQ3, KL of the weights as in mixture_scores, and KL(data || model) over the K spikes and the
    rest, a lower bound of that between the densities."""
    hq3, n = float(shares.sum()), len(shares)
    model = shares / hq3
    both = TRUE * (TRUE / n / shares.clamp_min(1e-300)).log().mean()
    both = float(both) + (1 - TRUE) * math.log((1 - TRUE) / max(1 - hq3, 1e-300))
    return {"hq3": hq3, "kl": float(torch.xlogy(model, n * model).sum()), "both": both}


OBJECTIVES = {
    "both": lambda found: found["both"],
    "quality": lambda found: -found["hq3"] + 1e-3 * found["kl"],
    "weights": lambda found: found["kl"] + PENALTY * max(0.0, LEAST - found["hq3"]),
}


def unfold(place, std: float) -> list[float]:
    """Rising levels from free numbers: log of the first in units of std, logs of the gaps."""
    gaps = [APART + math.exp(min(gap, 3)) for gap in place[1:]]
    logs, at = [], math.log(std) + min(max(place[0], -2.0), 6.0)
    for gap in (0.0, *gaps):
        at += gap
        logs.append(min(at, math.log(200) + 1e-3 * len(logs)))
    return [math.exp(value) for value in logs]


def starts(scales: int, steps: int, count: int, seed: int) -> list[list[float]]:
    """Where searches begin: even in log to 1 and to 5, with the last level far away, scattered."""
    rng, std = torch.Generator().manual_seed(seed), 0.05 * 0.1 ** (scales - 1)
    begin = []
    for k in range(count):
        first, last = (1.0, 2.0, 1.5)[k % 3], (1.0, 5.0, 0.4)[k % 3]
        gaps = steps - 1 - (k % 3 == 2)
        gap = math.log(last / (first * std)) / max(gaps, 1)
        place = [math.log(first), *[math.log(gap)] * gaps]
        if k % 3 == 2:
            place.append(math.log(5.5))
        noise = torch.randn(steps, generator=rng) * (0.0 if k < 3 else 0.4)
        begin.append([a + float(b) for a, b in zip(place, noise, strict=True)])
    return begin


def search(scales: int, steps: int, aim: str, count: int, seed: int, evaluations: int) -> dict:
    """The best levels over ``count`` runs of Nelder-Mead, what they reach, and the CPU seconds."""
    data, begin = spikes(scales), time.process_time()
    std = float(data.std[0])

    def loss(place, fine=4):
        return OBJECTIVES[aim](scores(held(data, unfold(place, std), fine)))

    options = {"maxfev": evaluations, "xatol": 3e-3, "fatol": 1e-5, "adaptive": True}
    runs = [
        minimize(loss, start, method="Nelder-Mead", options=options)
        for start in starts(scales, steps, count, seed)
    ]
    ends = sorted((float(run.fun), k) for k, run in enumerate(runs))
    last = minimize(loss, runs[ends[0][1]].x, method="Nelder-Mead", options=options)
    levels = [float(f"{level:.4g}") for level in unfold(last.x, std)]
    row = {"scales": scales, "steps": steps, "aim": aim, "levels": levels}
    row |= scores(held(data, levels, 8)) | {"ends": [round(end, 5) for end, _ in ends]}
    spent = {"starts": count, "seed": seed, "evaluations": evaluations * (count + 1)}
    return row | spent | {"cpu_seconds": round(time.process_time() - begin, 1)}


def main() -> None:
    """Print one JSON object a search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 2, 3], choices=(1, 2, 3))
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 4, 6, 8])
    parser.add_argument("--aims", nargs="+", default=list(OBJECTIVES), choices=list(OBJECTIVES))
    parser.add_argument("--starts", type=int, default=6, help="runs of Nelder-Mead")
    parser.add_argument("--evaluations", type=int, default=400, help="of each of them, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the scattered starts")
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    same = itemgetter("scales", "steps", "aim")
    for aim in args.aims:
        for scales in args.scales:
            for steps in args.steps:
                row = search(scales, steps, aim, args.starts, args.seed, args.evaluations)
                seeded.keep(row, args, "bench_levels", "python benchmarks/levels.py", same)


if __name__ == "__main__":
    main()
