"""How good are few evaluations? The four steps of a DDGAN beside a DDPM of the same network.

    python benchmarks/photographs.py --cifar FOLDER --preset cifar10_32 --run runs/ddpm_32 --ddpm
    python benchmarks/few_steps.py runs/ddpm_32 [--store]

The DDPM is the generator of the preset without a latent, trained by least squares alone on 32
levels of noise (``photographs.py --ddpm``). A row for every solver and number of steps: the scores
of 10,000 samples, 1,000 of each class, in the features of the judge that comes with the book. The
DDGAN is the one that comes with the book, its four evaluations scored in the same way. ``--store``
keeps the rows in book/results/bench_few_steps.json.
"""

import argparse
import time
from collections.abc import Callable
from operator import itemgetter

import seeded
import torch
from torch import Tensor

from ddgan_lite.baselines.solvers import SOLVERS, spaced
from ddgan_lite.data.images import to_bytes, to_unit
from ddgan_lite.evaluation.judge import Judge
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.runs import in_turn

NAME, SAMPLES, AT_ONCE = "cifar10_32", 10_000, 500
STEPS = (2, 4, 8, 16, 32)


def solved(model: DDGAN, solver: str, steps: int, n: int, rng: torch.Generator) -> Tensor:
    """n samples by a solver of ordinary denoising; the labels in turn."""
    times = spaced(model.diffusion, steps, "log-SNR")
    fresh = {"rng": rng} if solver == "ancestral" else {}
    parts = []
    for y in in_turn(model, n).split(AT_ONCE):

        def guess(x: Tensor, i: int, y: Tensor = y) -> Tensor:
            t = torch.full((len(x),), times[i])
            return model.predict(x, t, y=y, weights="averaged")

        x = torch.randn(len(y), *model.config.shape, generator=rng)
        parts.append(SOLVERS[solver](guess, x, model.diffusion.alpha_bar[times], **fresh))
    return torch.cat(parts)


def row(sampler: str, evaluations: int, draw: Callable[[torch.Generator], Tensor]) -> dict:
    """The scores of what ``draw`` draws, and the CPU seconds that it took."""
    begin = time.process_time()
    samples = draw(torch.Generator().manual_seed(1))
    seconds = round(time.process_time() - begin, 1)
    judge = Judge.load(results.find(f"{NAME}_judge.safetensors"))
    found = judge.scores(to_unit(to_bytes(samples.clamp(-1, 1))))
    about = {"sampler": sampler, "evaluations": evaluations, "cpu_seconds": seconds}
    return about | found | {"hardware": results.machine()["hardware"]}


@torch.no_grad()
def main() -> None:
    """Print one JSON object a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="keep the rows in book/results")
    parser.add_argument("ddpm", help="its run's folder, or its file of weights")
    args = parser.parse_args()
    seeded.one_thread()
    command = "python benchmarks/few_steps.py runs/ddpm_32"
    same = itemgetter("sampler", "evaluations")
    gan = DDGAN.load(results.find(f"{NAME}.safetensors"))
    labels = in_turn(gan, SAMPLES)
    four = row("DDGAN", 4, lambda rng: gan.sample(SAMPLES, labels=labels, rng=rng))
    seeded.keep(four, args, "bench_few_steps", command, same)
    ddpm = DDGAN.load(args.ddpm)
    for steps in STEPS:
        for solver in SOLVERS:
            evaluations = 2 * steps - 1 if solver == "heun" else steps
            made = row(
                solver, evaluations, lambda rng, s=solver, n=steps: solved(ddpm, s, n, SAMPLES, rng)
            )
            seeded.keep(made, args, "bench_few_steps", command, same)


if __name__ == "__main__":
    main()
