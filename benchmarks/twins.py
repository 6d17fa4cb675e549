"""Stacked digits: four steps against one, on several seeds, without the L1 term on either side.

    python benchmarks/twins.py --seeds 3 [--store]

Both sides have the networks, loss, penalties, batch and learning rate of the preset
``stacked_digits``. The DDGAN draws t = 1 for four tenths of its images, so it meets two twins of
one step: one with as many updates in all, and one with as many as the DDGAN has at t = 1.

One JSON object per run. ``--store`` adds the runs to those of chapter 06 in
book/results/stacked_digits.json, each with its own provenance.
"""

import argparse
import json
import time
from dataclasses import replace

import torch
from sklearn.svm import SVC

from ddgan_lite.data.toys import Digits, StackedDigits
from ddgan_lite.evaluation.metrics import frechet_distance, mode_scores
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
    digits = Digits("train")
    judge = SVC(gamma=0.03, C=10).fit(digits.images.flatten(1), digits.labels)
    digit = torch.tensor(judge.predict(images.reshape(-1, 64))).reshape(-1, 3)
    real = StackedDigits(digits).sample(26_000, torch.Generator().manual_seed(77))
    found = mode_scores(digit @ torch.tensor([100, 10, 1]), 1000)
    found["fd"] = frechet_distance(images, real)
    return found | {"variance": (images.var(0).sum() / real.var(0).sum()).item()}


def one(kind: str, seed: int, updates: int) -> dict:
    """Train one model; its scores on 26,000 samples and CPU seconds."""
    made = recipe(kind, seed, updates)
    torch.manual_seed(seed)
    model, begin = made.build(), time.process_time()
    for _ in train(model, StackedDigits(), made.settings):
        pass
    seconds = time.process_time() - begin
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--updates", type=int, default=2_000, help="updates of the DDGAN")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="which sides")
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    torch.set_num_threads(1)  # networks this small run fastest on one thread
    torch.set_flush_denormal(True)
    for seed in range(args.first, args.first + args.seeds):
        for kind in args.kinds:
            run = one(kind, seed, args.updates)
            made = recipe(kind, seed, args.updates)
            name = f"T = {made.config.num_steps}, {made.settings.steps:,} updates, seed {seed}"
            print(json.dumps({name: run}), flush=True)
            if args.store:
                keep(name, run)


if __name__ == "__main__":
    main()
