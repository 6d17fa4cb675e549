"""The trilemma of chapter 01 in full: six families, two data sets, several seeds.

python benchmarks/trilemma.py --seeds 3
python benchmarks/trilemma.py --seeds 3 --data stacked_digits --families DDGAN

Prints one JSON object per row and keeps all of them in book/results/trilemma.json, each with the
commit it was made at. Rows of other data sets, seeds and families that are there already stay, so
the runs can be shared out, and a new recipe of one family costs only that family's runs.
"""

import argparse
import json
from operator import itemgetter

import seeded

from ddgan_lite.baselines.trilemma import FAMILIES, RECIPES, rows
from ddgan_lite.files import results

NAME = "trilemma"


def main(arguments: argparse.Namespace) -> None:
    """Measure, print and keep."""
    seeded.one_thread()
    for seed in seeded.seeds(arguments):
        for data_name in arguments.data:
            found = []
            wanted = {"share": arguments.share, "families": arguments.families}
            for row in rows(data_name, seed, **wanted):
                row["commit"] = results.machine()["commit"]
                found.append(row)
                print(json.dumps(row), flush=True)
            if not arguments.dry:
                command = f"python benchmarks/trilemma.py --seeds 3 --share {arguments.share:g}"
                results.add_rows(NAME, command, found, itemgetter("data", "seed", "family"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--families", nargs="+", choices=["data", *FAMILIES], default=[])
    parser.add_argument("--share", type=float, default=1.0, help="of the full budget's steps")
    parser.add_argument("--dry", action="store_true", help="print only, keep nothing")
    main(parser.parse_args())
