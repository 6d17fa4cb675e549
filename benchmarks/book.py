"""Keep with the results how long the chapters took in the last `make book` that ran them all.

    make clean book && python benchmarks/book.py

tools/build_book.py writes the times to ``_build/times.json``, and starts the longest chapter of
those kept here first.
"""

import json
import sys
from pathlib import Path

from ddgan_lite.files import results

TIMES = Path(__file__).resolve().parent.parent / "_build/times.json"


def main() -> int:
    """Store them, unless a chapter was not run: then the whole has no time."""
    times = json.loads(TIMES.read_text()) if TIMES.exists() else {"chapters": {}}
    missing = [name for name, seconds in times["chapters"].items() if seconds is None]
    if missing or not times["chapters"]:
        print(f"{TIMES} is not of a whole book: the record stays. `make clean book` runs it all.")
        return 0
    print(results.store("bench_book", "make clean book && python benchmarks/book.py", times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
