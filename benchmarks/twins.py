"""Stacked digits: four steps against one, on several seeds, without the L1 term on either side.

    python benchmarks/twins.py --seeds 3 [--store]

Both sides have the networks, loss, penalties, batch and learning rate of the preset
``stacked_digits``. The DDGAN draws t = 1 for four tenths of its images, so it meets two twins of
one step: one with as many updates in all, and one with as many as the DDGAN has at t = 1.

One JSON object per run. ``--store`` adds the runs to those of chapter 06 in
book/results/stacked_digits.json, each with its own provenance.
"""

import json
from dataclasses import replace

import seeded
import torch

from ddgan_lite.data.toys import StackedDigits
from ddgan_lite.evaluation.metrics import frechet_distance, mode_scores, read_digits
from ddgan_lite.files import results
from ddgan_lite.training.presets import Preset, preset
from ddgan_lite.training.trainer import train

DDGAN, ONE, SHORT = KINDS = "ddgan", "equal", "equal-at-1"


def recipe(kind: str, seed: int, updates: int) -> Preset:
    """The preset without its L1 term, or its twin of one step."""
    base = preset("stacked_digits", seed=seed, reconstruction=0.0)
    weights = base.step_weights
    if kind != DDGAN:
        base = replace(base, config=replace(base.config, num_steps=1), step_weights=None)
    if kind == SHORT:
        updates = round(updates * weights[0] / sum(weights))
    return replace(base, settings=replace(base.settings, steps=updates))


def scores_of(images: torch.Tensor) -> dict[str, float]:
    """Modes, KL, Fréchet distance on pixels, and variance in units of that of the data."""
    real = StackedDigits().sample(26_000, torch.Generator().manual_seed(77))
    found = mode_scores(read_digits(images) @ torch.tensor([100, 10, 1]), StackedDigits.num_modes)
    found["fd"] = frechet_distance(images, real)
    return found | {"variance": (images.var(0).sum() / real.var(0).sum()).item()}


def one(made: Preset) -> dict:
    """Train one model; its scores on 26,000 samples and CPU seconds."""
    seed = made.settings.seed
    torch.manual_seed(seed)
    model = made.build()
    seconds = seeded.cpu_seconds(train(model, StackedDigits(), made.settings))
    drawn = model.sample(26_000, rng=torch.Generator().manual_seed(10_000 + seed))
    final = scores_of(drawn) | {"seconds": round(seconds, 1)}
    about = {"seed": seed, "updates": made.settings.steps, **results.machine()}
    return {"looks": [], "final": final, "provenance": about}


def keep(name: str, run: dict) -> None:
    """Add a run to the record of chapter 06, whose own provenance stays."""
    record = results.load("stacked_digits")
    record["runs"][name] = run
    path = results.folder() / "stacked_digits.json"
    path.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Print one JSON object a run."""
    parser = seeded.parser(__doc__, 3, "seeds")
    parser.add_argument("--updates", type=int, default=2_000, help="updates of the DDGAN")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="which sides")
    args = parser.parse_args()
    seeded.one_thread()
    for seed in seeded.seeds(args):
        for kind in args.kinds:
            made = recipe(kind, seed, args.updates)
            run = one(made)
            name = f"T = {made.config.num_steps}, {made.settings.steps:,} updates, seed {seed}"
            print(json.dumps({name: run}), flush=True)
            if args.store:
                keep(name, run)


if __name__ == "__main__":
    main()
