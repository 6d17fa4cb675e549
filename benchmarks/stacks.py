"""StackedMNIST on a CPU: the modes of 26,000 samples, and how evenly they are filled.

    python benchmarks/stacks.py --root data --run runs/stacks [--set steps=...] [--store]

Three MNIST digits are the channels of one image: 1,000 modes (chapter 06). The recipe of the preset
``mnist`` with three channels and, as in the published comparisons, without labels: the
discriminator names no class and is told none. A run that was stopped goes on by the same line; of
one that is finished the samples are scored, each digit read by the judge that comes with the book.
Beside them stand those of as many stacks of training digits, and the discriminator's loss at each t
in the mean of the run's second half. ``--store`` keeps the scores in
book/results/bench_stacks.json, in place of those of as many steps, the same seed and processor, and
the first samples in bench_stacks.npz.
"""

import argparse
import json
import shlex
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

import numpy as np
import seeded
import torch
from torch import Tensor

from ddgan_lite.data.images import load_images, to_bytes
from ddgan_lite.evaluation.judge import CONFIDENT, Judge
from ddgan_lite.evaluation.metrics import mode_scores
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.logs import read_log
from ddgan_lite.training.presets import Preset, parse, preset
from ddgan_lite.training.runs import run

SAMPLES, AT_ONCE, SHOWN = 26_000, 500, 40
STACKS = {"data": "stacked_mnist", "shape": (3, 32, 32), "classes": 0, "classifier_steps": 0}


def rules(**changes: object) -> Preset:
    """The preset ``mnist`` for stacks, with some of its values changed."""
    return preset("mnist", **STACKS | changes)


def read(judge: Judge, stacks: Tensor) -> tuple[Tensor, Tensor]:
    """The modes 0..999 of stacks (n, 3, h, w), and how sure the judge is of their digits (3 n,)."""
    sure, digits = judge.look(stacks.reshape(-1, 1, *stacks.shape[2:]))[1].max(1)
    return digits.reshape(-1, 3) @ torch.tensor([100, 10, 1]), sure


@torch.no_grad()
def scores(draw: Callable[[int], Tensor], judge: Judge, n: int) -> dict:
    """Of n stacks: modes, KL, how often each mode came, the share of digits it is sure of."""
    modes, sure = [], []
    for start in range(0, n, AT_ONCE):
        some, confidence = read(judge, draw(min(AT_ONCE, n - start)))
        modes.append(some)
        sure.append(confidence >= CONFIDENT)
    modes = torch.cat(modes)
    found = mode_scores(modes, 1000) | {"counts": modes.bincount(minlength=1000).tolist()}
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
    command += f" --set {shlex.join(args.set)}" * bool(args.set)
    data = load_images("stacked_mnist", root=args.root)
    for line in run(made, args.run, data=data, show=True):
        print(json.dumps(line), flush=True)
    model, rng = DDGAN.load(args.run), torch.Generator().manual_seed(1)
    row = {"steps": made.settings.steps, "seed": made.settings.seed}
    row |= scores(lambda n: model.sample(n, rng=rng), judge, args.samples)
    row |= {"training stacks": scores(lambda n: data.sample(n, rng), judge, args.samples)}
    log = read_log(args.run)
    late = [line for line in log if line["step"] > made.settings.steps / 2]
    seen = [line["d_relativistic_by_step"] for line in late]
    row |= {"seconds": log[-1]["seconds"], "d_relativistic": np.mean(seen, axis=0).tolist()}
    row |= {"hardware": results.machine()["hardware"]}
    if args.store:
        first = to_bytes(model.sample(SHOWN, rng=rng.manual_seed(1))).numpy()
        np.savez_compressed(results.folder() / "bench_stacks.npz", samples=first)
    seeded.keep(row, args, "bench_stacks", command, itemgetter("steps", "seed", "hardware"))


if __name__ == "__main__":
    main()
