"""Four cells of a table: a GAN with and without R1, at two settings of the optimisers.

    python benchmarks/gan_cells.py --seeds 3 [--steps 7000 --batch 1024] [--store]

What chapter 04 holds against DDGAN on 25 Gaussians. Its GAN "without R1" and its GAN "on its own
recipe" differ in two things, the penalty and the rates of Adam: here each changes alone. The fifth
row is DDGAN's recipe. One JSON object per run; ``--store`` adds them to the file
book/results/bench_gan_cells.json, in place of those with the same cell, budget, seed and processor.
"""

from operator import itemgetter

import seeded
import torch

from ddgan_lite.baselines.gan import GAN
from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.evaluation.metrics import mixture_scores
from ddgan_lite.files import results
from ddgan_lite.networks.toy import MLPConfig
from ddgan_lite.training.presets import PRESETS, preset
from ddgan_lite.training.trainer import train

SLOW = {"lr_generator": 1e-3, "lr_discriminator": 1e-3, "lr_end": 1e-5, "betas": (0.5, 0.9)}
RATES = {"slow": SLOW, "fast": {}}  # fast: those of the preset, 0.006 and (0, 0.99)
PENALTIES = {"no R1": {"r1": 0.0, "r1_end": None}, "R1": {"r1": 0.2, "r1_end": None}}
CELLS = {
    (rate, penalty): (MLPConfig(latent_dim=8), RATES[rate] | PENALTIES[penalty])
    for rate in RATES
    for penalty in PENALTIES
} | {("fast", "waves, R1 fades"): (PRESETS["gaussians"].config, {})}


def one(rates: str, penalty: str, seed: int, steps: int, batch: int) -> dict:
    """Train one GAN; its scores on 10,000 samples, and CPU seconds."""
    networks, changes = CELLS[rates, penalty]
    data = gaussian_grid()
    chosen = preset("gaussians", steps=steps, batch_size=batch, seed=seed, **changes)
    torch.manual_seed(seed)
    model = GAN(networks)
    seconds = seeded.cpu_seconds(train(model, data, chosen.settings))
    scores = mixture_scores(
        model.sample(10_000, rng=torch.Generator().manual_seed(10_000 + seed)), data
    )
    made = {"rates": rates, "penalty": penalty, "seed": seed, "steps": steps, "batch_size": batch}
    made["hardware"] = results.machine()["hardware"]
    return made | scores | {"cpu_seconds": round(seconds, 1)}


def main() -> None:
    """Print one JSON object a run."""
    parser = seeded.parser(__doc__, 3, "runs of each cell")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of cells, 0 to 4")
    parser.add_argument("--steps", type=int, default=3_000, help="updates; chapter 04's, quick")
    parser.add_argument("--batch", type=int, default=512, help="samples an update")
    args = parser.parse_args()
    seeded.one_thread()
    same = itemgetter("rates", "penalty", "seed", "steps", "batch_size", "hardware")
    command = "python benchmarks/gan_cells.py --store, with the options its head lists"
    for seed in seeded.seeds(args):
        for number, cell in enumerate(CELLS):
            if args.only and number not in args.only:
                continue
            row = one(*cell, seed, args.steps, args.batch)
            seeded.keep(row, args, "bench_gan_cells", command, same)


if __name__ == "__main__":
    main()
