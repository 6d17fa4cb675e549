"""How much every claim of the chapters holds, over seeds and settings of the processor.

    python benchmarks/robust.py [--chapters 00 04] [--seeds 0 1] [--settings native avx2] [--jobs 2]
    python benchmarks/robust.py --report

It runs for hours, and the same line goes on after any stop: each run is kept as soon as it ends,
in ``book/results/robust.json``, and what is kept is not run again. Margins are those of
``tools/claims.py``. A chapter whose code changed is measured anew; asserts and comments are no code
here, but a claim with other words has no record, and then the chapter runs again as well.
"""

import argparse
import ast
import hashlib
import json
import math
import os
import re
import statistics
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

from ddgan_lite import results

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import claims  # noqa: E402
import execute  # noqa: E402

NAME = "robust"
SEEDS = range(20)
SETTINGS = ("native", "avx2", "two threads")
FIELDS = ("margin", "left", "op", "right")
LOCK = threading.Lock()


# -- what is measured ----------------------------------------------------------------------------


class WithoutAsserts(ast.NodeTransformer):
    def visit_Assert(self, node):
        return None


def code_of(notebook: Path) -> str:
    """A hash of the code that the numbers come from: of the notebook alone, not of the library."""
    sources = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            try:
                sources.append(ast.unparse(WithoutAsserts().visit(ast.parse(cell.source))))
            except SyntaxError:  # a magic
                sources.append(cell.source)
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:12]


def claims_of(notebook: Path) -> list[str]:
    """The claims in a notebook, named as the ledger names them."""
    rewrite = claims.Rewrite()
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code" and "assert " in cell.source:
            rewrite.visit(ast.parse(cell.source))
    return [
        claim if number == 1 else f"{claim}  # {number}"
        for claim, count in rewrite.seen.items()
        for number in range(1, count + 1)
    ]


# -- the rule ------------------------------------------------------------------------------------


def margins_of(claim: dict, runs: int) -> list[float]:
    """The margins of a stored claim, one for each run that came to it."""
    stored = claim.get("margin")
    column = stored if isinstance(stored, list) else [stored] * runs
    infinite = {True: math.inf, False: -math.inf}
    return [infinite[x] if isinstance(x, bool) else x for x in column if x is not None]


def slack(margins: list[float]) -> float:
    """How far the worst margin is from breaking the rule, in units of the median.

    The rule: no margin is negative, and the worst is at least half of the median. The band of a
    symmetric distribution then lies beyond the worst run by half of the spread. Claims without
    numbers, and those whose margin never varies, need to hold and no more (slack: inf).
    """
    finite = [margin for margin in margins if margin != math.inf]
    if min(margins, default=0) < 0:
        return -math.inf
    if len(set(finite)) < 2:
        return math.inf
    return min(finite) / statistics.median(finite) - 0.5


def faults(name: str, chapter: dict) -> list[str]:
    """A sentence for every claim of a stored chapter that breaks the rule."""
    found = []
    for claim, stored in chapter["claims"].items():
        margins = margins_of(stored, len(chapter["runs"]))
        if slack(margins) < 0:
            middle = statistics.median(margins)
            found.append(
                f"{name}: `{claim}` has a worst margin of {min(margins):.4g}, which is less than "
                f"half of the median, {middle:.4g}, over {len(margins)} runs."
            )
    return found


# -- the file ------------------------------------------------------------------------------------


def rounded(value):
    """A number with four digits; an infinite margin as a bool, which JSON has."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if math.isinf(value):
        return value > 0
    return float(f"{value:.4g}") if isinstance(value, float) else value


def added(chapter: dict, run: dict, measured: dict[str, dict]) -> dict:
    """The chapter with one more run, and with the claims that this run knows.

    A column with one value throughout is kept as that value, None as nothing.
    """
    before = len(chapter["runs"])
    columns = {}
    for claim, new in measured.items():
        columns[claim] = {}
        for field in FIELDS:
            value = chapter["claims"].get(claim, {}).get(field)
            column = [*value] if isinstance(value, list) else [value] * before
            column.append(rounded(new.get(field)))
            same = len(set(map(json.dumps, column))) == 1  # as text: True is no 1
            if not same or column[0] is not None:
                columns[claim][field] = column[0] if same else column
    return {**chapter, "runs": [*chapter["runs"], run], "claims": columns}


def load() -> dict:
    """The chapters as stored."""
    path = results.folder() / f"{NAME}.json"
    return json.loads(path.read_text())["chapters"] if path.exists() else {}


def save(chapters: dict) -> None:
    """All or nothing; a line for each run and each claim, so that a difference can be read."""
    about = {"command": "python benchmarks/robust.py", **results.machine()}
    text = json.dumps({"provenance": about, "chapters": dict(sorted(chapters.items()))}, indent=1)
    text = re.sub(r"\n {4}(?=[}\]])", "", re.sub(r"\n {5,}", " ", text))
    path = results.folder() / f"{NAME}.json"
    draft = path.with_suffix(".part")
    draft.write_text(text + "\n")
    os.replace(draft, path)


def usable(chapter: dict | None, notebook: Path) -> bool:
    """Whether what is stored is about the notebook as it is."""
    same = chapter is not None and chapter["code"] == code_of(notebook)
    return same and set(claims_of(notebook)) <= set(chapter["claims"])


# -- the runs ------------------------------------------------------------------------------------


def plan(notebooks: list[Path], seeds, settings) -> list[tuple[Path, int, str]]:
    """The runs that are missing, all chapters of one seed before the next seed."""
    stored = load()
    done = set()
    for notebook in notebooks:
        if usable(stored.get(notebook.stem), notebook):
            runs = stored[notebook.stem]["runs"]
            done |= {(notebook, run["seed"], run["setting"]) for run in runs}
    seeded = {notebook: "seed" in execute.parameters_of(notebook) for notebook in notebooks}
    runs = [(n, k, s) for k in seeds for s in settings for n in notebooks]
    return [run for run in runs if run not in done and (seeded[run[0]] or run[1] == seeds[0])]


def measure(notebook: Path, seed: int, setting: str) -> str:
    """Do one run and keep it; a line about it. A run that did not get to the end is not kept."""
    code = code_of(notebook)
    environment, first_line = execute.SETTINGS[setting]
    with tempfile.TemporaryDirectory() as folder:
        done = execute.execute(
            notebook,
            Path(folder) / notebook.name,
            {"seed": seed},
            {"MPLBACKEND": "agg", **environment},  # no pictures: that saves time
            first_line,
        )
    line = f"{notebook.stem}, seed {seed}, {setting}: {done.seconds:.0f} s"
    if done.crash:
        return f"{line}, FAILED: {done.crash}"
    machine = results.machine()
    run = {"seed": seed, "setting": setting, "seconds": round(done.seconds, 1)}
    run |= {key: machine[key] for key in ("hardware", "torch", "commit")}
    with LOCK:
        chapters = load()
        if code != code_of(notebook):
            return f"{line}, dropped: the notebook changed meanwhile"
        if not usable(chapters.get(notebook.stem), notebook):
            chapters[notebook.stem] = {"code": code, "runs": [], "claims": {}}
        # Some claims are behind an `if`: that no run came to them is known as well.
        measured = {**{claim: {} for claim in claims_of(notebook)}, **done.claims}
        chapters[notebook.stem] = added(chapters[notebook.stem], run, measured)
        save(chapters)
    words = "".join(f"\n    {each['words']}" for each in done.missed.values())
    return f"{line}, {len(done.claims)} claims, {len(done.missed)} missed{words}"


def report(closest: int = 3) -> str:
    """For each chapter the claims that break the rule, or those that come closest."""
    lines = []
    for name, chapter in load().items():
        runs = chapter["runs"]
        margins = {c: margins_of(s, len(runs)) for c, s in chapter["claims"].items()}
        varying = {claim: slack(m) for claim, m in margins.items() if slack(m) < math.inf}
        seconds = statistics.mean(run["seconds"] for run in runs)
        lines.append(
            f"{name}: {len(runs)} runs of {seconds:.0f} s, {len(margins)} claims, {len(varying)} "
            f"of them vary, {sum(each < 0 for each in varying.values())} break the rule"
        )
        ranked = sorted(varying, key=varying.get)
        broken = [claim for claim in ranked if varying[claim] < 0]
        for claim in broken or ranked[:closest]:
            worst, middle = min(margins[claim]), statistics.median(margins[claim])
            mark = "BREAKS" if varying[claim] < 0 else "holds"
            lines.append(f"  {mark:<7}worst {worst:<10.4g} median {middle:<10.4g} {claim}")
    return "\n".join(lines) or "Nothing is measured yet."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapters", nargs="*", default=[""], help="for example 00 04; all")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS), help="0 to 19")
    parser.add_argument("--settings", nargs="*", default=SETTINGS, choices=list(SETTINGS))
    parser.add_argument("--jobs", type=int, default=1, help="chapters at the same time")
    parser.add_argument("--report", action="store_true", help="run nothing, say what is stored")
    asked = parser.parse_args(arguments)
    if asked.report:
        print(report())
        return 0
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    notebooks = [path for path in notebooks if path.name.startswith(tuple(asked.chapters))]
    runs = plan(notebooks, asked.seeds, asked.settings)
    print(f"{len(runs)} runs are missing.", flush=True)
    failed = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        for line in pool.map(lambda run: measure(*run), runs):
            failed += "FAILED" in line
            print(line, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
