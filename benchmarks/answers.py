"""How many answers a noisy point leaves open, and what the best discriminator makes of each step.

    python benchmarks/answers.py [--mnist ROOT] [--cifar FOLDER] [--store]

The data are spots: N equal Gaussians of width ``SPOT`` around the 25 means, or around images:
scikit-learn's digits, MNIST or CIFAR-10. Of them everything is exact: the probabilities of the N
answers, given x_t, and the log ratio of the true step to an opponent's, which is the logit of the
best discriminator. ROOT holds MNIST/raw; FOLDER one folder of images for each class, such as the
training part of CIFAR-10. One JSON object per data set and chain; ``--store`` keeps them
in book/results/bench_answers.json, in place of those with the same data and chain; those of
photographs of 16 x 16 pixels in bench_answers_16.json.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
import seeded
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import softplus

from ddgan_lite.chain.diffusion import Diffusion, cosine_levels
from ddgan_lite.data.images import load_images, to_unit
from ddgan_lite.data.toys import Digits, gaussian_grid

SPOT = 0.05  # of the 25 Gaussians; of images, some six grey values of 255
LEVELS = torch.logspace(-1.5, 3, 28, dtype=torch.float64)
CHAINS = {
    "the paper's": Diffusion(4),
    "cosine": Diffusion(4, noise_levels=cosine_levels(4)),
    "one step": Diffusion(1),
}
PART = 50  # points at a time
SMALL = "CIFAR-10, 16 pixels, 10,000 images"


def answers(centres: Tensor, x_t: Tensor, alpha_bar: float) -> Tensor:
    """q(spot | x_t), shape (n, N), for N spots of width SPOT around ``centres`` (N, d)."""
    variance = alpha_bar * SPOT**2 + 1 - alpha_bar
    signal = alpha_bar**0.5
    fit = signal * x_t @ centres.T - 0.5 * alpha_bar * centres.square().sum(1)
    return (fit / variance).log_softmax(1).exp()


def entropy(weights: Tensor) -> Tensor:
    """In nats, (n,)."""
    return torch.special.entr(weights).sum(1)


def step_of(chain: Diffusion, t: int) -> tuple[float, float, float]:
    """Of q(x_{t-1} | x_t, spot) = N(a centre + b x_t, v I): a, b and v."""
    before, now = (float(share) for share in chain.alpha_bar[t - 1 : t + 1])
    spot, alpha = before * SPOT**2 + 1 - before, now / before  # variance of x_{t-1} in one spot
    total = alpha * spot + 1 - alpha
    return (1 - alpha) * before**0.5 / total, alpha**0.5 * spot / total, spot * (1 - alpha) / total


def logits(centres, weights, mean, residual, a: float, v: float) -> Tensor:
    """log q(x_{t-1} | x_t) - log p(x_{t-1} | x_t), (n,), for two opponents p: shape (2, n).

    Args:
        centres: (N, d).
        weights: q(spot | x_t), (n, N).
        mean: of all answers, (n, d).
        residual: x_{t-1} - b x_t, (n, d).
        a, v: see :func:`step_of`.

    The first opponent gives one answer: the Gaussian N(a mean + b x_t, v I) around the mean of
    all answers. The second ignores x_t: any spot, then the posterior.
    """
    # log N(x_{t-1}; spot i) - log N(x_{t-1}; mean), for all i by one product of matrices
    half = 0.5 * a * centres.square().sum(1)
    spots = a / v * (residual @ centres.T - half)
    centre = a / v * ((residual * mean).sum(1) - 0.5 * a * mean.square().sum(1))
    true = (weights.log() + spots).logsumexp(1)
    stranger = spots.logsumexp(1) - torch.tensor(len(centres), dtype=spots.dtype).log()
    return torch.stack([true - centre, true - stranger])


def game(centres: Tensor, classes: Tensor, chain: Diffusion, t: int, n: int, rng) -> dict:
    """One step, averaged over n draws: open answers, own class, the best discriminator's losses.

    A loss is half of the two terms together, log 2 for a discriminator that cannot tell.
    """
    (a, b, v), found = step_of(chain, t), []
    before, now = (float(share) for share in chain.alpha_bar[t - 1 : t + 1])
    for size in [PART] * (n // PART):
        normal = partial(torch.randn, size, centres.shape[1], generator=rng, dtype=centres.dtype)
        i = torch.randint(len(centres), (size,), generator=rng)
        x_0 = centres[i] + SPOT * normal()
        x_prev = before**0.5 * x_0 + (1 - before) ** 0.5 * normal()
        alpha = now / before
        x_t = alpha**0.5 * x_prev + (1 - alpha) ** 0.5 * normal()
        weights = answers(centres, x_t, now)
        mean = weights @ centres
        own = (weights * (classes == classes[i, None])).sum(1)
        on_real = logits(centres, weights, mean, x_prev - b * x_t, a, v)
        any_spot = centres[torch.randint(len(centres), (size,), generator=rng)]
        on_fake = [
            logits(centres, weights, mean, a * guess + v**0.5 * normal(), a, v)[k]
            for k, guess in enumerate((mean, any_spot))
        ]
        losses = 0.5 * (softplus(-on_real) + softplus(torch.stack(on_fake)))
        open_ = entropy(weights)
        found.append(torch.stack([open_, open_.exp(), own, *losses]))
    means = torch.cat(found, 1).mean(1).tolist()
    errors = (torch.cat(found, 1).std(1) / n**0.5).tolist()
    names = ("open_nats", "answers_mean", "own_class", "one_answer", "ignores_x_t")
    stated = dict(zip(names, means, strict=True)) | {"answers": float(np.exp(means[0]))}
    return {"t": t, **stated, "standard_errors": dict(zip(names, errors, strict=True))}


def curve(centres: Tensor, n: int, rng: torch.Generator) -> list[float]:
    """The open answers, in nats, at each of LEVELS: the noise in units of the signal."""
    found = []
    for level in LEVELS.tolist():
        alpha_bar, total = 1 / (1 + level**2), []
        for size in [PART] * (n // PART):
            i = torch.randint(len(centres), (size,), generator=rng)
            noise = torch.randn(2, size, centres.shape[1], generator=rng, dtype=centres.dtype)
            x_0 = centres[i] + SPOT * noise[0]
            x_t = alpha_bar**0.5 * x_0 + (1 - alpha_bar) ** 0.5 * noise[1]
            total.append(entropy(answers(centres, x_t, alpha_bar)))
        found.append(torch.cat(total).mean().item())
    return found


def images_of(folder: Path, number: int) -> tuple[Tensor, Tensor]:
    """``number`` images, equally many of each class: (number, d) in [-1, 1], and their classes."""
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [path for kind in kinds for path in sorted(kind.iterdir())[: number // len(kinds)]]
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in files])
    labels = torch.arange(len(kinds)).repeat_interleave(number // len(kinds))
    return to_unit(pixels).flatten(1), labels


def sets(mnist: Path | None, cifar: Path | None) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, centres (N, d) and classes (N,) of each data set."""
    yield "25 Gaussians", gaussian_grid().means, torch.arange(25)
    digits = Digits("all")
    yield "digits", digits.images.flatten(1), digits.labels
    if mnist:
        images = load_images(
            "mnist", root=mnist, download=False
        )  # padded to 32 x 32, the first of the training set
        pixels = to_unit(images.images[:10_000]).flatten(1)
        yield "MNIST, 10,000 images", pixels, images.labels[:10_000]
    for number in (1_000, 10_000) if cifar else ():
        pixels, classes = images_of(cifar, number)
        yield f"CIFAR-10, {number:,} images", pixels, classes
    if cifar:  # the last of them again, as photographs.py has them
        small = pixels.unflatten(1, (16, 2, 16, 2, 3)).mean((2, 4)).flatten(1)
        yield SMALL, small, classes


def row_of(centres: Tensor, classes: Tensor, chain_name: str, most: int) -> dict:
    """The open answers at LEVELS, or a chain's games, of at most ``most`` draws each."""
    draws, rng = min(most, max(2 * PART, 2_000_000 // len(centres))), torch.Generator()
    about = {"chain": chain_name, "spots": len(centres), "dim": centres.shape[1], "spot": SPOT}
    about |= {"draws": draws, "seed": 0}
    rng.manual_seed(0)
    if chain_name == "levels":
        nats = curve(centres, min(draws, 2 * PART), rng)
        return {**about, "draws": 2 * PART, "levels": LEVELS.tolist(), "open_nats": nats}
    chain = CHAINS[chain_name]
    steps = range(1, chain.num_steps + 1)
    return about | {"steps": [game(centres, classes, chain, t, draws, rng) for t in steps]}


def main() -> None:
    """Print one JSON object for each data set and chain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="the folder that holds MNIST/raw")
    parser.add_argument("--cifar", type=Path, help="a folder with one folder for each class")
    parser.add_argument("--data", help="only data sets whose name begins so")
    parser.add_argument("--chains", nargs="+", choices=("levels", *CHAINS), help="only these")
    parser.add_argument(
        "--most", type=int, default=2_000, help="draws a step; fewer for long lists"
    )
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    command = "python benchmarks/answers.py --mnist ROOT --cifar FOLDER --store"
    for name, centres, classes in sets(args.mnist, args.cifar):
        if args.data and not name.startswith(args.data):
            continue
        for chain_name in args.chains or ("levels", *CHAINS):
            row = {"data": name, **row_of(centres.double(), classes, chain_name, args.most)}
            # What chapter 04 reads, and what 05 does.
            file = "bench_answers_16" if name == SMALL else "bench_answers"
            seeded.keep(row, args, file, command, itemgetter("data", "chain"))


if __name__ == "__main__":
    main()
