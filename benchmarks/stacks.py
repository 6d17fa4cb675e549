"""StackedMNIST on a CPU: the modes of 26,000 samples, and how evenly they are filled.

    python benchmarks/stacks.py --root data --run runs/stacks [--set steps=...] [--store]

Three MNIST digits are the channels of one image: 1,000 modes (chapter 06). The recipe of the preset
``mnist`` with three channels and, as in the published comparisons, without labels: the
discriminator names no class and is told none. A run that was stopped goes on by the same line; of
one that is finished the samples are scored, each digit read by the judge that comes with the book.
``--store`` keeps the scores in book/results/bench_stacks.json, in place of those of as many
steps, the same seed and processor.
"""

import argparse
import json
from operator import itemgetter
from pathlib import Path

import seeded
import torch
from torch import Tensor

from ddgan_lite.data.images import load_images
from ddgan_lite.evaluation.judge import CONFIDENT, Judge
from ddgan_lite.evaluation.metrics import mode_scores
from ddgan_lite.files.results import machine
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.logs import read_log
from ddgan_lite.training.presets import Preset, parse, preset
from ddgan_lite.training.runs import run

SAMPLES, AT_ONCE = 26_000, 500
STACKS = {"data": "stacked_mnist", "shape": (3, 32, 32), "classes": 0, "classifier_steps": 0}


def rules(**changes: object) -> Preset:
    """The preset ``mnist`` for stacks, with some of its values changed."""
    return preset("mnist", **STACKS | changes)


def read(judge: Judge, stacks: Tensor) -> tuple[Tensor, Tensor]:
    """The modes 0..999 of stacks (n, 3, h, w), and how sure the judge is of their digits (3 n,)."""
    sure, digits = judge.look(stacks.reshape(-1, 1, *stacks.shape[2:]))[1].max(1)
    return digits.reshape(-1, 3) @ torch.tensor([100, 10, 1]), sure


@torch.no_grad()
def scores(model: DDGAN, judge: Judge, n: int) -> dict[str, float]:
    """Modes and KL of n stacks; the share of their digits that the judge is sure of."""
    rng, modes, sure = torch.Generator().manual_seed(1), [], []
    for start in range(0, n, AT_ONCE):
        some, confidence = read(judge, model.sample(min(AT_ONCE, n - start), rng=rng))
        modes.append(some)
        sure.append(confidence >= CONFIDENT)
    found = mode_scores(torch.cat(modes), 1000)
    return found | {"recognised": torch.cat(sure).double().mean().item(), "samples": n}


def main() -> None:
    """Train or go on; then print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where MNIST lies (data)")
    parser.add_argument("--run", type=Path, required=True, help="the run's folder")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="as for train")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="how many to score (26000)")
    parser.add_argument("--store", action="store_true", help="keep the scores in book/results")
    args = parser.parse_args()
    seeded.one_thread()
    made, judge = rules(**parse(args.set)), Judge.load()
    command = f"python benchmarks/stacks.py --root ROOT --run {args.run}"
    command += f" --set {' '.join(args.set)}" * bool(args.set)
    for line in run(made, args.run, data=load_images("stacked_mnist", root=args.root), show=True):
        print(json.dumps(line), flush=True)
    row = {"steps": made.settings.steps, "seed": made.settings.seed}
    row |= scores(DDGAN.load(args.run), judge, args.samples)
    row |= {"seconds": read_log(args.run)[-1]["seconds"]} | {"hardware": machine()["hardware"]}
    seeded.keep(row, args, "bench_stacks", command, itemgetter("steps", "seed", "hardware"))


if __name__ == "__main__":
    main()
