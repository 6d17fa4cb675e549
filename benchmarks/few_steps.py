r"""How good are few evaluations? The four steps of a DDGAN beside a DDPM of the same network.

    python benchmarks/photographs.py --cifar FOLDER --preset cifar10_32 --run runs/ddpm_32 --ddpm \
        --set steps=16500 denoiser_steps=16500
    python benchmarks/few_steps.py runs/ddpm_32 [--guidance 1 2] [--store]

The DDPM is the generator of the preset without a latent, trained by least squares alone on 32
levels of noise (``photographs.py --ddpm``). A row for every solver and number of steps: the scores
of 2,000 samples, 200 of each class, in the features of the judge that comes with the book. The
DDGAN is the one that comes with the book, or ``--ddgan FILE --called NAME``, its four steps scored
in the same way. Guidance other than 1 asks the network twice a step, and counts so. ``--store``
keeps the rows in book/results/bench_few_steps.json, in place of those of the same sampler,
guidance and numbers of evaluations and samples on the same processor, whatever the weights.
"""

import argparse
import itertools
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter

import seeded
import torch
from torch import Tensor

from ddgan_lite.baselines.solvers import SOLVERS, solve
from ddgan_lite.data.images import to_bytes, to_unit
from ddgan_lite.evaluation.judge import Judge
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN

NAME, AT_ONCE = "cifar10_32", 500
STEPS = (2, 4, 8, 16, 32)
Draw = Callable[..., Tensor]  # given rng


def solved(
    model: DDGAN, solver: str, steps: int, n: int, rng: torch.Generator, guidance: float = 1
) -> Tensor:
    """n samples by a solver of ordinary denoising; the labels in turn."""
    parts = []
    for y in model.label_rows("in turn", n).split(AT_ONCE):

        def guess(x: Tensor, t: int, y: Tensor = y) -> Tensor:
            t = torch.full((len(x),), t)
            return model.predict(x, t, y=y, guidance=guidance, weights="averaged")

        x = torch.randn(len(y), *model.config.shape, generator=rng)
        parts.append(solve(guess, x, model.diffusion, steps, solver=solver, rng=rng))
    return torch.cat(parts)


def row(judge: Judge, sampler: str, steps: int, guidance: float, draw: Draw) -> dict:
    """The scores of what ``draw`` draws, and the CPU seconds that it took."""
    begin = time.process_time()
    samples = draw(rng=torch.Generator().manual_seed(1))
    seconds = round(time.process_time() - begin, 1)
    evaluations = (2 * steps - 1 if sampler == "heun" else steps) * (1 if guidance == 1 else 2)
    about = {"sampler": sampler, "guidance": guidance, "evaluations": evaluations}
    about |= judge.scores(to_unit(to_bytes(samples.clamp(-1, 1)))) | {"cpu_seconds": seconds}
    return about | {"hardware": results.machine()["hardware"]}


@torch.no_grad()
def main() -> None:
    """Print one JSON object a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="keep the rows in book/results")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0], help="how strong (1)")
    parser.add_argument("--samples", type=int, default=2_000, help="how many to score (2000)")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="of the solvers")
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS), choices=SOLVERS)
    parser.add_argument("--ddgan", help="its file, if not the one of the book")
    parser.add_argument("--called", default="DDGAN", help="what its rows are called")
    parser.add_argument("ddpm", help="its run's folder, or its file of weights")
    args = parser.parse_args()
    seeded.one_thread()
    judge = Judge.load(results.find(f"{NAME}_judge.safetensors"))
    gan = DDGAN.load(args.ddgan or results.find(f"{NAME}.safetensors"))
    ddpm = DDGAN.load(args.ddpm)
    command = f"python benchmarks/few_steps.py {shlex.join(sys.argv[1:])}"
    same = itemgetter("sampler", "guidance", "evaluations", "samples", "hardware")

    def keep(sampler: str, steps: int, guidance: float, draw: Draw) -> None:
        made = row(judge, sampler, steps, guidance, draw) | {"samples": args.samples}
        seeded.keep(made, args, "bench_few_steps", command, same)

    for w in args.guidance:
        steps = gan.diffusion.num_steps
        draw = partial(gan.sample, args.samples, labels="in turn", guidance=w)
        keep(args.called, steps, w, draw)
        for steps, solver in itertools.product(args.steps, args.solvers):
            draw = partial(solved, ddpm, solver, steps, args.samples, guidance=w)
            keep(solver, steps, w, draw)


if __name__ == "__main__":
    main()
