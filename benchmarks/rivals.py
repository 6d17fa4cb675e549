"""Few evaluations, fairly: one DDPM under four solvers, and flow matching under two.

    python benchmarks/rivals.py --seeds 3 [--data stacked_digits] [--share 0.5] [--dry]

Each solver takes 1 to 16 evaluations, at levels even in t, quadratic in t and even in log-SNR. The
networks are those of the trilemma's recipes, trained for ``share`` of their steps. One JSON object
per row; book/results/rivals.json keeps them, in place of those with the same data and seed.
"""

import argparse
import json
from collections.abc import Iterator
from operator import itemgetter

import seeded
import torch

from ddgan_lite.baselines.solvers import SOLVERS, SPACINGS
from ddgan_lite.baselines.trilemma import NUM_SAMPLES, RECIPES, sampler, score
from ddgan_lite.files import results

EVALUATIONS = (1, 2, 4, 6, 8, 10, 16)


def draws(data_name: str, seed: int, share: float) -> Iterator[tuple[dict, torch.Tensor]]:
    """What names a row, and its samples."""
    n = NUM_SAMPLES[data_name]
    chosen = {"data": data_name, "seed": seed, "share": share}
    ddpm = sampler("DDPM", data_name, seed, share=share)[0].__self__
    flow = sampler("flow matching", data_name, seed, share=share)[0].func.__self__
    for count in EVALUATIONS:
        for solver in SOLVERS:
            # Heun's last step takes one evaluation, all others two: an odd number in all.
            steps = (count + 1) // 2 if solver == "heun" else count
            taken = 2 * steps - 1 if solver == "heun" else count
            for spacing in SPACINGS:
                rng = torch.Generator().manual_seed(10_000 + seed)
                about = {"model": "DDPM", "solver": solver, "spacing": spacing}
                x = ddpm.sample_few(n, steps, solver=solver, spacing=spacing, rng=rng)
                yield chosen | about | {"evaluations": taken}, x
        for solver, each in (("euler", 1), ("midpoint", 2)):
            if count % each == 0:
                rng = torch.Generator().manual_seed(10_000 + seed)
                about = {"model": "flow matching", "solver": solver, "spacing": "even"}
                x = flow.sample(n, steps=count // each, solver=solver, rng=rng)
                yield chosen | about | {"evaluations": count}, x


def main() -> None:
    """Train, sample, score, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--share", type=float, default=0.5, help="of the recipes' steps")
    parser.add_argument("--dry", action="store_true", help="print only, keep nothing")
    args = parser.parse_args()
    seeded.one_thread()
    for seed in seeded.seeds(args):
        for data_name in args.data:
            rows = []
            for about, samples in draws(data_name, seed, args.share):
                rows.append(about | score(samples, data_name))
                print(json.dumps(rows[-1]), flush=True)
            if not args.dry:
                command = f"python benchmarks/rivals.py --seeds 3 --share {args.share:g}"
                results.add_rows("rivals", command, rows, itemgetter("data", "seed"))


if __name__ == "__main__":
    main()
