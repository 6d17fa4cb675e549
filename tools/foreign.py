"""Execute the chapters as another machine and another seed would, and say which claims hold.

    python tools/foreign.py [--chapters 00 04] [--seed 1] [--setting avx2]

A network in training amplifies the rounding of the processor, so that another instruction set is as
good as another seed. Nothing is stored; the executed copies lie in ``_build/foreign``.
"""

import argparse
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from build_book import longest_first
from execute import SETTINGS, Outcome, execute

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = ROOT / "_build/foreign"


def tightness(claim: dict) -> float:
    """The margin of a held claim as a share of the numbers compared; inf if there are none."""
    if "left" not in claim or claim["op"] == "==":
        return math.inf
    return claim["margin"] / max(abs(claim["left"]), abs(claim["right"]), 1e-300)


def lines(outcome: Outcome) -> str:
    """What the table says of one chapter."""
    held = {claim: each for claim, each in outcome.claims.items() if each["margin"] >= 0}
    counts = f"{outcome.seconds:>8.0f}{len(held):>6}{len(outcome.missed):>8}"
    closest = min(held, key=lambda claim: tightness(held[claim]), default=None)
    words = ""
    if closest is not None and tightness(held[closest]) < math.inf:
        values = "{left:.4g} {op} {right:.4g}".format(**held[closest])
        words = f"  {values} in {closest}"
    faults = [f"MISSED: {each['words']}" for each in outcome.missed.values()]
    faults += [f"STOPPED: {outcome.crash}"] if outcome.crash else []
    return f"{outcome.name:<28}{counts}{words}" + "".join(f"\n    {fault}" for fault in faults)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapters", nargs="*", default=[""], help="for example 00 04; all")
    parser.add_argument("--seed", type=int, default=1, help="1; left out where there is none")
    parser.add_argument("--setting", default="avx2", choices=list(SETTINGS))
    asked = parser.parse_args(arguments)
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    chosen = [path for path in notebooks if path.name.startswith(tuple(asked.chapters))]
    if not chosen:
        sys.exit(f"No chapter is called {' or '.join(asked.chapters)}: name it by its number.")
    FOREIGN.mkdir(parents=True, exist_ok=True)
    environment, first_line = SETTINGS[asked.setting]

    def run(path: Path) -> Outcome:
        target = FOREIGN / path.name
        seed = {"seed": asked.seed}
        environ = {"MPLBACKEND": "agg", **environment}  # no pictures: that saves time
        outcome = execute(path, target, seed, environ, first_line, timeout=900)
        if outcome.crash:
            target.with_suffix(".log").write_text(outcome.log)
        return outcome

    print(f"{len(chosen)} chapters, {asked.setting}, seed {asked.seed}", flush=True)
    print(f"{'chapter':<28}{'seconds':>8}{'held':>6}{'missed':>8}  tightest", flush=True)
    passed = True
    with ThreadPoolExecutor(2) as pool:
        for outcome in pool.map(run, longest_first(chosen)):
            passed &= outcome.passed
            print(lines(outcome), flush=True)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
