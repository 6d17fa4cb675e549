"""The generative learning trilemma, measured: six families, one data set, one training budget."""

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from ddgan_lite.baselines.ddpm import DDPM
from ddgan_lite.baselines.fit import fit
from ddgan_lite.baselines.flow import Flow
from ddgan_lite.baselines.gan import GAN
from ddgan_lite.baselines.matching import FlowMatching
from ddgan_lite.baselines.vae import VAE
from ddgan_lite.data.toys import StackedDigits, gaussian_grid
from ddgan_lite.evaluation.metrics import frechet_distance, mixture_scores, mode_scores, read_digits
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import MLPConfig
from ddgan_lite.training.presets import OURS, PRESETS
from ddgan_lite.training.trainer import TrainSettings, train

# Network evaluations per sample.
FAMILIES = {
    "VAE": 1,
    "flow": 1,
    "GAN": 1,
    "DDPM": 1000,
    "DDIM": 50,
    "2M": 8,
    "flow matching": 16,
    "DDGAN": 4,
}
# Two more samplers of the network that DDPM trains: DDIM at evenly spaced times, as published, and
# DPM-Solver++(2M) at quadratic ones, the best that we found for it.
OF_DDPM = {
    "DDIM": {"solver": "ddim", "spacing": "even"},
    "2M": {"solver": "2m", "spacing": "quadratic"},
}
NUM_SAMPLES = {"gaussian_grid": 10_000, "stacked_digits": 10_000}  # for a score
# Those that may choose their evaluations, and what :func:`rows` measures.
CHOICES = {"DDIM": (100, 50, 10, 4), "2M": (16, 8, 4), "flow matching": (16, 8, 4)}
WAVES = PRESETS["gaussians"].config.frequencies  # also for rivals that see a noisy point
QUALITY = {"gaussian_grid": "hq3", "stacked_digits": "fd"}

_DIGITS = MLPConfig(shape=(3, 8, 8), latent_dim=32, width=256, slope=0.2)
_DIGITS_GAME = {
    "batch_size": 128,
    "lr_generator": 4e-3,
    "lr_discriminator": 4e-3,
    "lr_end": 4e-5,
    "ema_decay": 0.99,
}
# How to build each family and how to train it: the best setting found for it. The steps are such
# that each takes about 75 CPU seconds; lab/trilemma-settings.md lists what was tried.
RECIPES = {
    "gaussian_grid": {
        "VAE": (
            partial(VAE, (2,), width=64, noise=0),
            {"steps": 16_000, "batch_size": 512, "lr": 2e-2},
        ),
        "flow": (partial(Flow, (2,)), {"steps": 9_000, "batch_size": 256, "lr": 3e-3}),
        "GAN": (partial(GAN, MLPConfig()), TrainSettings(steps=10_500)),
        "DDPM": (
            partial(DDPM, (2,), clip=2.2, crowding=2, frequencies=WAVES),
            {"steps": 13_000, "lr": 5e-3},
        ),
        "flow matching": (
            partial(FlowMatching, (2,), frequencies=WAVES),
            {"steps": 13_000, "lr": 2e-3},
        ),
        "DDGAN": (
            PRESETS["gaussians"].build,
            replace(PRESETS["gaussians"].settings, steps=11_000),
        ),
    },
    "stacked_digits": {
        "VAE": (
            partial(VAE, (3, 8, 8), latent_dim=64, width=256),
            {"steps": 8_500, "batch_size": 128, "lr": 3e-3},
        ),
        "flow": (
            partial(Flow, (3, 8, 8), couplings=6, width=128, bin_width=1 / 8),
            {"steps": 5_500, "batch_size": 128, "lr": 5e-3},
        ),
        "GAN": (partial(GAN, _DIGITS), TrainSettings(steps=5_600, **_DIGITS_GAME)),
        "DDPM": (
            partial(DDPM, (3, 8, 8), width=256, clip=1),
            {"steps": 9_000, "batch_size": 256, "lr": 2e-3},
        ),
        "flow matching": (
            partial(FlowMatching, (3, 8, 8), width=256),
            {"steps": 17_000, "batch_size": 128, "lr": 2e-3},
        ),
        "DDGAN": (
            partial(DDGAN, _DIGITS, step_weights=(4, 3, 2, 1)),
            replace(OURS, steps=3_600, **_DIGITS_GAME),
        ),
    },
}


def measure(
    family: str,
    data_name: str = "gaussian_grid",
    seed: int = 0,
    *,
    share: float = 1.0,
    evaluations: int | None = None,
    num_samples: int | None = None,
) -> dict[str, float]:
    """Train one family, sample from it, and score quality, coverage and sampling time.

    Args:
        family: one of FAMILIES, or ``"data"`` for true samples: the floor of every score.
        data_name: ``"gaussian_grid"`` or ``"stacked_digits"``.
        seed: of the initial weights, the training and the samples.
        share: of the full budget's steps.
        evaluations: network evaluations per sample; only the families of CHOICES can choose,
            flow matching (by midpoint, two a step) an even number.
        num_samples: how many to score, NUM_SAMPLES if left out; scores of different numbers
            do not compare.

    Returns:
        The scores of :func:`ddgan_lite.evaluation.metrics.mixture_scores`, or for digits
        ``modes``, ``kl`` and the pixels' Fréchet distance ``fd`` from training stacks; for a
        family also ``evaluations`` per sample, ``seconds`` of CPU time per 1,000 samples on one
        thread (what a clock shows on an idle core), ``training_steps`` and ``training_seconds``
        of CPU time.

    Raises:
        ValueError: if the family or the data set is unknown, or cannot take ``evaluations``.

    Example:
        >>> scores = measure("data", num_samples=1000)  # true samples: nothing is trained
        >>> scores["hq3"] > 0.97, scores["modes20"]
        (True, 25)
    """
    rng = torch.Generator().manual_seed(10_000 + seed)
    draw, training = sampler(family, data_name, seed, share=share, evaluations=evaluations)
    samples = draw(num_samples or NUM_SAMPLES[data_name], rng=rng)
    scores = score(samples, data_name)
    if family == "data":
        return scores
    return scores | {
        "evaluations": evaluations or FAMILIES[family],
        "seconds": _seconds(lambda: draw(1000, rng=rng)),
        **training,
    }


def rows(
    data_name: str, seed: int = 0, *, share: float = 1.0, families: Collection[str] = ()
) -> Iterator[dict]:
    """What :func:`measure` finds for true samples and each family, at all its CHOICES.

    Only those among ``families``, if any are named.

    Example:
        >>> from unittest.mock import patch
        >>> with patch.dict(NUM_SAMPLES, gaussian_grid=500):  # few, to be quick
        ...     next(rows("gaussian_grid"))["family"]
        'data'
    """
    for family in ("data", *FAMILIES):
        if families and family not in families:
            continue
        for evaluations in CHOICES.get(family, (None,)):
            row = measure(family, data_name, seed, share=share, evaluations=evaluations)
            yield {"data": data_name, "seed": seed, "share": share, "family": family, **row}


def sampler(
    family: str,
    data_name: str,
    seed: int = 0,
    *,
    share: float = 1.0,
    evaluations: int | None = None,
) -> tuple[Callable[..., Tensor], dict[str, float]]:
    """``draw(n, rng=...)`` of a trained family, and what its training took.

    The last few trained models are kept, so that DDIM and 2M find the network of DDPM.
    Arguments and errors are those of :func:`measure`.

    Example:
        >>> draw, training = sampler("VAE", "gaussian_grid", share=1e-4)
        >>> draw(5).shape, training["training_steps"]  # of 16,000
        (torch.Size([5, 2]), 2)
    """
    if data_name not in RECIPES or family not in (*FAMILIES, "data"):
        raise ValueError(
            f"unknown family {family!r} or data set {data_name!r}: known are "
            f"{', '.join(FAMILIES)}, data; {', '.join(RECIPES)}."
        )
    if evaluations is not None and family not in CHOICES:
        raise ValueError(f"{family} cannot choose its evaluations; {', '.join(CHOICES)} can.")
    if family == "data":
        return (lambda n, rng: _data(data_name).sample(n, rng).float()), {}
    trained = "DDPM" if family in OF_DDPM else family
    model, training = _trained(trained, data_name, seed, share)
    number = evaluations or FAMILIES[family]
    if family in OF_DDPM:
        return partial(model.sample_few, steps=number, **OF_DDPM[family]), training
    if family == "flow matching":
        if number % 2:
            raise ValueError(f"midpoint takes two evaluations a step: {number} is odd.")
        return partial(model.sample, steps=number // 2), training
    return model.sample, training


@lru_cache(maxsize=16)
def _trained(
    family: str, data_name: str, seed: int, share: float
) -> tuple[nn.Module, dict[str, float]]:
    build, settings = RECIPES[data_name][family]
    torch.manual_seed(seed)  # decides the initial weights
    model = build()
    if isinstance(settings, TrainSettings):
        steps = max(round(share * settings.steps), 1)
        loop = train(model, _data(data_name), replace(settings, steps=steps, seed=seed))
    else:
        steps = max(round(share * settings["steps"]), 1)
        loop = fit(model, _data(data_name), **settings | {"steps": steps, "seed": seed})
    begin = time.process_time()
    for _ in loop:
        pass
    seconds = time.process_time() - begin
    return model, {"training_steps": steps, "training_seconds": seconds}


def _data(data_name: str):
    return gaussian_grid() if data_name == "gaussian_grid" else StackedDigits()


def score(samples: Tensor, data_name: str) -> dict[str, float]:
    """Quality and coverage of samples, by the keys that :func:`measure` lists.

    Example:
        >>> samples = gaussian_grid(side=1).sample(1000, torch.Generator().manual_seed(0))
        >>> score(samples, "gaussian_grid")["modes20"]  # all on the middle one of 25
        1
    """
    if data_name == "gaussian_grid":
        return mixture_scores(samples, gaussian_grid())
    modes = read_digits(samples) @ torch.tensor([100, 10, 1])
    reference = StackedDigits().sample(26_000, torch.Generator().manual_seed(1))
    distance = {"fd": frechet_distance(samples, reference)}
    return mode_scores(modes, StackedDigits.num_modes) | distance


def _seconds(draw: Callable[[], Tensor]) -> float:
    """The least CPU time of some calls: a few slow ones or many fast ones, the first a warm-up."""
    times: list[float] = []
    while len(times) < 2 or (len(times) < 20 and sum(times) < 2):
        begin = time.process_time()
        draw()
        times.append(time.process_time() - begin)
    return min(times)


def corners(
    rows: dict[str, dict[str, float]], floor: dict[str, float], data_name: str
) -> dict[str, tuple[float, float, float]]:
    """Quality, coverage and speed of each row on one scale, from 0 (the worst row) to 1.

    Each is an error x, the smaller the better: the share of samples off the modes (1 - HQ3) or
    the Fréchet distance; the KL divergence; the sampling time. Its score is
    log(worst / x) / log(worst / best), cut at 1: equal factors are equal distances. The best is
    what true samples score (``floor``), and for time the fastest row.

    Example:
        >>> rows = {
        ...     "slow": {"hq3": 0.99, "kl": 0.01, "seconds": 1.0},
        ...     "bad": {"hq3": 0.90, "kl": 0.10, "seconds": 0.1},
        ... }
        >>> corners(rows, {"hq3": 0.99, "kl": 0.01}, "gaussian_grid")
        {'slow': (1.0, 1.0, 0.0), 'bad': (0.0, 0.0, 1.0)}
    """

    def error(scores: dict[str, float]) -> float:
        quality = scores[QUALITY[data_name]]
        return 1 - quality if data_name == "gaussian_grid" else quality

    table = {name: (error(row), row["kl"], row["seconds"]) for name, row in rows.items()}
    worst = [max(column) for column in zip(*table.values(), strict=True)]
    best = (error(floor), floor["kl"], min(row["seconds"] for row in rows.values()))
    return {
        name: tuple(
            min(math.log(w / max(x, b)) / math.log(w / b), 1.0) if w > b else 1.0
            for x, w, b in zip(errors, worst, best, strict=True)
        )
        for name, errors in table.items()
    }
