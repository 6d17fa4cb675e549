"""Train the one-step generator of distribution matching on 25 Gaussians, with the exact teacher.

    python benchmarks/distil.py --seeds 5 [--store]

One JSON object per run, CPU seconds of training included. ``--store`` adds the runs to
book/results/bench_distil.json, in place of those with the same seed and processor.
"""

from operator import itemgetter

import seeded
import torch

from ddgan_lite.baselines.distilled import OneStep, distil
from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.evaluation.metrics import mixture_scores
from ddgan_lite.files import results


def one(seed: int, samples: int = 10_000) -> dict:
    """Train from one seed; its scores and CPU seconds."""
    data = gaussian_grid()
    torch.manual_seed(seed)
    model = OneStep(2)
    seconds = seeded.cpu_seconds(distil(model, data.denoise, seed=seed))
    drawn = model.sample(samples, rng=torch.Generator().manual_seed(10_000 + seed))
    made = {"seed": seed, "hardware": results.machine()["hardware"]}
    return made | mixture_scores(drawn, data) | {"cpu_seconds": round(seconds, 1)}


def main() -> None:
    """Print one JSON object a run."""
    args = seeded.parser(__doc__, 5).parse_args()
    seeded.one_thread()
    command = "python benchmarks/distil.py --store"
    for seed in seeded.seeds(args):
        seeded.keep(one(seed), args, "bench_distil", command, itemgetter("seed", "hardware"))


if __name__ == "__main__":
    main()
