"""Train the one-step generator of distribution matching on 25 Gaussians, with the exact teacher.

    python benchmarks/distil.py --seeds 5 [--store]

One JSON object per run, CPU seconds of training included. ``--store`` adds the runs to
book/results/bench_distil.json, in place of those with the same seed and processor.
"""

import argparse
import json
import time
from operator import itemgetter

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
    begin = time.process_time()
    for _ in distil(model, data.denoise, seed=seed):
        pass
    seconds = time.process_time() - begin
    drawn = model.sample(samples, rng=torch.Generator().manual_seed(10_000 + seed))
    made = {"seed": seed, "hardware": results.machine()["hardware"]}
    return made | mixture_scores(drawn, data) | {"cpu_seconds": round(seconds, 1)}


def main() -> None:
    """Print one JSON object a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    torch.set_num_threads(1)  # networks this small run fastest on one thread
    torch.set_flush_denormal(True)
    for seed in range(args.first, args.first + args.seeds):
        row = one(seed)
        print(json.dumps(row), flush=True)
        if args.store:
            command = "python benchmarks/distil.py --store"
            results.add_rows("bench_distil", command, [row], itemgetter("seed", "hardware"))


if __name__ == "__main__":
    main()
