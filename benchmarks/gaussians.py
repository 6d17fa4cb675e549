"""Train the recipe of the 25 Gaussians from many seeds, on them and on data it was not made for.

    python benchmarks/gaussians.py --seeds 20 --first 100 --store
    python benchmarks/gaussians.py --data turned ring unequal two_scales --store

One JSON object per run, CPU seconds of training included. ``--store`` adds them to the file
book/results/bench_gaussians.json, in place of those with the same data, seed and processor; the
variables of ``AVX2`` in tools/execute.py choose another set of instructions.
"""

import math

import seeded
import torch

from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.data.toys import gaussian_grid, gaussian_ring
from ddgan_lite.evaluation.metrics import mixture_scores
from ddgan_lite.files import results
from ddgan_lite.training.presets import PRESETS, preset
from ddgan_lite.training.trainer import train


def turned(degrees: float = 30) -> GaussianMixture:
    """The grid, no longer along the axes, which the waves of the networks are."""
    angle = torch.tensor(math.radians(degrees), dtype=torch.float64)
    turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()]).reshape(2, 2)
    return GaussianMixture(gaussian_grid().means @ turn, 0.05)


def unequal() -> GaussianMixture:
    """The grid with weights from 1 to 5, in a fixed disorder."""
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    weights = torch.linspace(1, 5, 25, dtype=torch.float64)[order]
    return GaussianMixture(gaussian_grid().means, 0.05, weights)


def two_scales() -> GaussianMixture:
    """3 x 3 groups, 1.6 apart, of 2 x 2 modes, 0.4 apart."""
    groups, inside = torch.tensor([-1.6, 0, 1.6]).double(), torch.tensor([-0.2, 0.2]).double()
    axis = (groups[:, None] + inside).flatten()
    return GaussianMixture(torch.cartesian_prod(axis, axis), 0.04)


DATA = {
    "grid": gaussian_grid,
    "turned": turned,
    "ring": gaussian_ring,
    "unequal": unequal,
    "two_scales": two_scales,
}


def one(name: str, seed: int, steps: int, samples: int) -> dict:
    """Train the preset on one data set; its scores and CPU seconds."""
    data, chosen = DATA[name](), preset("gaussians", steps=steps, seed=seed)
    torch.manual_seed(seed)
    model = chosen.build()
    seconds = seeded.cpu_seconds(train(model, data, chosen.settings))
    drawn = model.sample(samples, rng=torch.Generator().manual_seed(10_000 + seed))
    scores = mixture_scores(drawn, data)
    made = {"data": name, "seed": seed, "steps": steps, "hardware": results.machine()["hardware"]}
    return {**made, "of_modes": data.num_components, **scores, "cpu_seconds": round(seconds, 1)}


def same(row: dict) -> tuple:
    """What makes two runs the same one."""
    return row["data"], row["seed"], row["steps"], row["hardware"]


def main() -> None:
    parser = seeded.parser(__doc__, 5, "runs on each")
    parser.add_argument("--data", nargs="+", choices=DATA, default=["grid"])
    parser.add_argument("--steps", type=int, default=PRESETS["gaussians"].settings.steps)
    parser.add_argument("--samples", type=int, default=10_000)
    arguments = parser.parse_args()

    seeded.one_thread()
    # The first optimiser of a process imports torch's compiler, some seconds that are no training.
    next(train(PRESETS["gaussians"].build(), gaussian_grid(), PRESETS["gaussians"].settings))
    command = "python benchmarks/gaussians.py --store, with the options its head lists"
    for name in arguments.data:
        for seed in seeded.seeds(arguments):
            row = one(name, seed, arguments.steps, arguments.samples)
            seeded.keep(row, arguments, "bench_gaussians", command, same)


if __name__ == "__main__":
    main()
