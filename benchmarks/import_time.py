"""What importing the library costs beyond PyTorch (and, for plots, Matplotlib).

    python benchmarks/import_time.py [--repeats 7] [--store]

Fresh processes take turns, one without the library and one with it, so that the difference holds
on a machine whose speed drifts. Medians; processor seconds, which waiting does not change, and
seconds by the clock.
"""

import argparse
import json
import statistics
import subprocess
import sys

from ddgan_lite.files import results

# What a reader's first cell imports, and what it would import without this library.
MODULES = {
    name: "torch, matplotlib.pyplot, IPython.display" if name == "figures.plots" else "torch"
    for name in (
        "",
        "method.model",
        "training.trainer",
        "training.presets",
        "evaluation.metrics",
        "data.toys",
        "figures.plots",
    )
}
TIMED = """\
import time
wall, cpu = time.perf_counter(), time.process_time()
import {modules}
print(time.process_time() - cpu, time.perf_counter() - wall)
"""


def seconds(modules: str) -> tuple[float, ...]:
    """Processor and clock seconds of importing ``modules`` in a process of its own."""
    command = [sys.executable, "-c", TIMED.format(modules=modules)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return tuple(float(number) for number in done.stdout.split())


def main() -> None:
    """Print one JSON object a module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="turns of each module (7)")
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    modules = {f"ddgan_lite.{name}".strip("."): base for name, base in MODULES.items()}
    taken: dict[str, list[tuple[float, ...]]] = {}
    for turn in range(args.repeats + 1):
        for line in [*dict.fromkeys(MODULES.values()), *modules]:
            found = seconds(f"{modules[line]}, {line}" if line in modules else line)
            if turn:  # the first brings the files into the system's cache
                taken.setdefault(line, []).append(found)
    rows = []
    for module, base in modules.items():
        pairs = list(zip(taken[base], taken[module], strict=True))
        row = {"module": module, "beyond": base}
        for index, clock in enumerate(("cpu", "wall")):
            without, with_it = (statistics.median(p[i][index] for p in pairs) for i in (0, 1))
            extra = statistics.median(b[index] - a[index] for a, b in pairs)
            row |= {f"{clock}_without_s": without, f"{clock}_with_s": with_it}
            row[f"{clock}_extra_s"] = extra
        print(json.dumps({k: v if isinstance(v, str) else round(v, 3) for k, v in row.items()}))
        rows.append(row)
    if args.store:
        command = f"python benchmarks/import_time.py --repeats {args.repeats} --store"
        results.store("bench_imports", command, {"repeats": args.repeats, "rows": rows})


if __name__ == "__main__":
    main()
