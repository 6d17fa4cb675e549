"""How much every claim of the chapters holds, over seeds and settings of the processor.

    python benchmarks/robust.py [--chapters 00 04] [--seeds 0 1] [--settings native avx2] [--jobs 2]
    python benchmarks/robust.py --report

It runs for hours, and the same line goes on after any stop: each run is kept as soon as it ends,
in ``book/results/robust.json``, and what is kept is not run again. Margins are those of
``tools/claims.py``. A chapter is measured anew when the code changed that its claims come from
(``tools/slices.py``: not what only draws, no asserts, imports or comments), and another band for
the same expression is judged by the numbers on record (``bands.py``).
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import nbformat

from ddgan_lite.files import results

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import bands  # noqa: E402
import claims  # noqa: E402
import execute  # noqa: E402
import slices  # noqa: E402

NAME = "robust"
SEEDS = range(20)
SETTINGS = ("native", "avx2", "two threads")
FIELDS = ("margin", *claims.PARTS)
LOCK = ROOT / "_build/robust.lock"


# -- what is measured ----------------------------------------------------------------------------


class WithoutImports(ast.NodeTransformer):
    """Where a name comes from changes no number. Nor does the check of parameters."""

    def visit_Import(self, node):
        return None

    visit_ImportFrom = visit_Import

    def visit_Expr(self, node):
        return None if ast.unparse(node) == "check_parameters()" else node


def statements_of(notebook: Path) -> tuple[list[ast.stmt], list[str]]:
    """Those of all cells, without imports, and the cells that are no plain Python."""
    statements, magics = [], []
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            try:
                statements += WithoutImports().visit(ast.parse(cell.source)).body
            except SyntaxError:
                magics.append(cell.source)
    return statements, magics


def code_of(notebook: Path) -> str:
    """A hash of the code that the claims come from: of the notebook alone, not of the library."""
    statements, magics = statements_of(notebook)
    sources = slices.slice_of(statements) + magics
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:12]


def claims_of(notebook: Path) -> list[str]:
    """The claims in a notebook, named as the ledger names them."""
    rewrite = claims.Rewrite()
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code" and "assert " in cell.source:
            rewrite.visit(ast.parse(cell.source))
    return rewrite.claims


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


def rows_of(claim: dict, runs: int) -> list[dict]:
    """A stored claim as one {field: value} for each run."""
    columns = {
        field: claim[field] if isinstance(claim[field], list) else [claim[field]] * runs
        for field in FIELDS
        if field in claim
    }
    return [
        {field: column[i] for field, column in columns.items() if column[i] is not None}
        for i in range(runs)
    ]


def columns_of(rows: list[dict]) -> dict:
    """The inverse; a column with one value throughout is kept as that value, None as nothing."""
    claim = {}
    for field in FIELDS:
        column = [rounded(row.get(field)) for row in rows]
        same = len(set(map(json.dumps, column))) == 1  # as text: True is no 1
        if not same or column[0] is not None:
            claim[field] = column[0] if same else column
    return claim


def added(chapter: dict, run: dict, measured: dict[str, dict]) -> dict:
    """The chapter with one more run, and with the claims that this run knows."""
    before = len(chapter["runs"])
    table = {
        claim: columns_of([*rows_of(chapter["claims"].get(claim, {}), before), row])
        for claim, row in measured.items()
    }
    return {**chapter, "runs": [*chapter["runs"], run], "claims": table}


def current(notebook: Path, chapter: dict | None) -> dict | None:
    """What is stored about a notebook as it is, with the bands it has now; None: nothing is."""
    if chapter is None or chapter["code"] != code_of(notebook):
        return None
    runs, table, old = len(chapter["runs"]), {}, {}
    for claim in chapter["claims"]:
        old.setdefault(bands.skeleton(claim), []).append(claim)
    stored = {claim: rows_of(columns, runs) for claim, columns in chapter["claims"].items()}
    known: list[dict] = []  # of each run, where a claim asks for it
    for claim in claims_of(notebook):
        if alike := old.get(bands.skeleton(claim)):
            before = alike.pop(0)  # claims of one skeleton are told apart by their order
            rows = [bands.moved(before, claim, row) for row in stored[before]]
        else:  # a new claim, perhaps about what others have told
            known = known or [
                bands.values({c: rows[i] for c, rows in stored.items()}) for i in range(runs)
            ]
            rows = [bands.judged(claim, each) for each in known]
        if None in rows:
            return None
        table[claim] = columns_of(rows)
    return {**chapter, "claims": table}


@contextmanager
def alone() -> Iterator[None]:
    """No other thread or session writes meanwhile: several may run, each on chapters of its own."""
    import fcntl  # not on Windows, where nothing else here needs it

    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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


# -- the runs ------------------------------------------------------------------------------------


def plan(notebooks: list[Path], seeds, settings) -> list[tuple[Path, int, str]]:
    """The runs that are missing, all chapters of one seed before the next seed."""
    stored = load()
    done = set()
    for notebook in notebooks:
        chapter = current(notebook, stored.get(notebook.stem)) or {"runs": []}
        done |= {(notebook, run["seed"], run["setting"]) for run in chapter["runs"]}
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
    with alone():
        chapters = load()
        if code != code_of(notebook):
            return f"{line}, dropped: the notebook changed meanwhile"
        chapter = current(notebook, chapters.get(notebook.stem))
        chapter = chapter or {"code": code, "runs": [], "claims": {}}
        # Some claims are behind an `if`: that no run came to them is known as well.
        measured = {**{claim: {} for claim in claims_of(notebook)}, **done.claims}
        chapters[notebook.stem] = added(chapter, run, measured)
        save(chapters)
    words = "".join(f"\n    {each['words']}" for each in done.missed.values())
    return f"{line}, {len(done.claims)} claims, {len(done.missed)} missed{words}"


def report(closest: int = 3) -> str:
    """For each chapter the claims that break the rule, or those that come closest."""
    lines = []
    stored = load()
    for notebook in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        name, chapter = notebook.stem, current(notebook, stored.get(notebook.stem))
        if chapter is None:
            lines.append(f"{name}: not measured as it is now")
            continue
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
    return "\n".join(lines)


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
