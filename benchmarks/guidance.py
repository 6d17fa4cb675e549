"""Guide a stochastic guess of x_0, in three ways, on labelled digits: quality against variety.

    python benchmarks/guidance.py --seeds 3 --out runs/guidance [--store]

Each seed trains the preset ``digits`` anew (or goes on with what lies in the folder) and draws 100
digits of every class at each strength w, from three seeds of noise. The ways, by the guess:

``draw``: G(z) + w (G(z, y) - G(z)), one latent z for both: what ``guidance`` does in the library.
``apart``: the same with another latent for the guess without a label.
``mean``: m() + w (m(y) - m()) + G(z, y) - m(y), m the mean of the guess over eight latents: what
classifier-free guidance extrapolates in a diffusion model is such a mean; the residual of one
draw is put back.

One JSON object per seed of noise, way and strength. ``--store`` adds them to
book/results/guidance.json, in place of those with the same key. A row with the way ``held out``
scores true digits like samples.
"""

import json
from operator import itemgetter
from pathlib import Path

import seeded
import torch
from torch import Tensor

from ddgan_lite.data.toys import Digits
from ddgan_lite.evaluation.metrics import frechet_distance, read_digits
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.presets import preset
from ddgan_lite.training.runs import run

WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
WAYS = ("draw", "apart", "mean")
EACH = 100  # samples per class
LATENTS = 8  # over which the way "mean" averages


def guess(model: DDGAN, way: str, w: float, x_t: Tensor, t: Tensor, y: Tensor, rng) -> Tensor:
    """x_0, guided; the averaged generator."""
    network = model.network("averaged")
    z = model.draw_latent(len(x_t), rng)
    asked = network(x_t, t, z, y)
    if way == "apart":
        free = network(x_t, t, model.draw_latent(len(x_t), rng))
        return free + w * (asked - free)
    if way == "draw":
        free = network(x_t, t, z)
        return asked if w == 1 else free + w * (asked - free)
    others = [model.draw_latent(len(x_t), rng) for _ in range(LATENTS)]
    towards = sum(network(x_t, t, other, y) - network(x_t, t, other) for other in others) / LATENTS
    return asked + (w - 1) * towards  # the means and the residual, written in one line


@torch.no_grad()
def guided(model: DDGAN, way: str, w: float, y: Tensor, rng: torch.Generator) -> Tensor:
    """A sample for every label of y (n,)."""
    x = torch.randn(len(y), *model.config.shape, generator=rng)
    for step in range(model.diffusion.num_steps, 0, -1):
        t = torch.full((len(y),), step)
        x_0 = guess(model, way, w, x, t, y, rng)
        x = model.diffusion.posterior_sample(x_0, x, step, rng)
    return x


def vendi(x: Tensor, width: float) -> float:
    """The effective number of different ones among x (n, d) (Friedman and Dieng 2023)."""
    kernel = (-torch.cdist(x, x).square() / (2 * width**2)).exp() / len(x)
    values = torch.linalg.eigvalsh(kernel).clamp(min=1e-12)
    return (-(values * values.log()).sum()).exp().item()


def reach(x: Tensor, k: int = 3) -> Tensor:
    """Each one's distance to its k-th nearest neighbour among x (n, d)."""
    return torch.cdist(x, x).kthvalue(k + 1).values


def scores(x: Tensor, y: Tensor, true: Digits) -> dict[str, float]:
    """Quality and variety of samples x (n, 1, 8, 8) that were asked for as y (n,).

    ``recognised``, ``worst``: share that the judge reads as asked, of all and of the worst class;
    ``fd``: squared Fréchet distance in pixels from the training digits. Within the classes, and
    averaged over them: ``spread``, the variance over that of the training digits; ``vendi``, the
    effective number of 60; ``precision`` and ``recall``, the share of samples among the training
    digits' three nearest neighbours and the reverse (Kynkäänniemi et al. 2019), 60 of each;
    ``nearest``, the median distance to a training digit. ``outside``: pixels beyond [-1.1, 1.1].
    """
    flat, images = x.flatten(1).double(), true.images.flatten(1).double()
    right = (read_digits(x)[:, 0] == y).double()
    classes = []
    for label in range(10):
        own, real = flat[y == label], images[true.labels == label]
        few, others = own[:60], real[:60]
        width = torch.cdist(real, real).median().item() / 2
        across = torch.cdist(few, others)
        classes.append(
            {
                "recognised": right[y == label].mean().item(),
                "spread": (own.var(0).sum() / real.var(0).sum()).item(),
                "vendi": vendi(few, width),
                "precision": (across <= reach(others)).any(1).double().mean().item(),
                "recall": (across <= reach(few)[:, None]).any(0).double().mean().item(),
                "nearest": torch.cdist(own, images).min(1).values.median().item(),
            }
        )
    found = {name: sum(each[name] for each in classes) / 10 for name in classes[0]}
    return found | {
        "worst": min(each["recognised"] for each in classes),
        "fd": frechet_distance(flat, images),
        "outside": (flat.abs() > 1.1).double().mean().item(),
    }


def main() -> None:
    """Print one JSON object a row."""
    parser = seeded.parser(__doc__, 3, "training runs")
    parser.add_argument("--out", type=Path, default=Path("runs/guidance"), help="the runs' folder")
    args = parser.parse_args()
    seeded.one_thread()
    true, held_out = Digits("train"), Digits("test")
    y = torch.arange(10).repeat(EACH)
    here = {"hardware": results.machine()["hardware"]}
    real = scores(held_out.images.unsqueeze(1), held_out.labels, true)
    rows = [{"seed": None, "noise": None, "way": "held out", "w": None, **here, **real}]
    for seed in seeded.seeds(args):
        folder = args.out / f"seed{seed}"
        seconds = seeded.cpu_seconds(run(preset("digits", seed=seed), folder, device="cpu"))
        print(f"seed {seed}: {seconds:.0f} CPU seconds", flush=True)
        model = DDGAN.load(folder)
        for way in WAYS:
            for w in WEIGHTS:
                for noise in range(3):
                    x = guided(model, way, w, y, torch.Generator().manual_seed(noise))
                    row = {"seed": seed, "noise": noise, "way": way, "w": w, **here}
                    rows.append(row | scores(x, y, true))
                    print(json.dumps(rows[-1]), flush=True)
    if args.store:
        command = "python benchmarks/guidance.py --store"
        key = itemgetter("seed", "noise", "way", "w", "hardware")
        results.add_rows("guidance", command, rows, key)


if __name__ == "__main__":
    main()
