"""Execute every notebook that changed, build the site from the results and check it.

    python tools/build_book.py [--profile quick]

Notebooks run through papermill, each in a fresh kernel, into a staging folder; the sources
stay as they are. A notebook is run again only when its code, the library, its parameters or
the lock changed. Jupyter Book's own cache is off: it does not see edits of the library.

The site is built whatever the notebooks say. A claim that does not hold on this machine is shown in
a box on its page; a chapter that stops for another reason shows the outputs stored with it, and a
box says so. Only with STRICT=1 in the environment, as in CI, does either one make this fail.

Two run at a time, the longest first, so that none is left to end alone. How long each took goes to
``_build/times.json``; ``python benchmarks/book.py`` keeps it with the results.
"""

import argparse
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import check_site
import figures
import fold
import nbformat
import set_address
import student
from execute import Outcome, execute

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
FAILED = BUILD / "failed"  # logs
STAGING = BUILD / "src"
TIMES = BUILD / "times.json"
RECORDED = ROOT / "book/results/bench_book.json"
# Where the blanks of the student notebooks begin and end, and what is meant for the formatter: no
# page shows it.
MARKER = re.compile(rf"^[ \t]*{student.MARK.pattern}[ \t]*\n?|{student.FORMATTER}", re.MULTILINE)
HIDING = {"hide-cell", "hide-output", "remove-cell", "remove-output"}  # tags


def key_of(notebook: Path, profile: str) -> str:
    """A hash of everything the outputs of a notebook depend on."""
    cells = nbformat.read(notebook, as_version=4).cells
    digest = hashlib.sha256(json.dumps([profile, sys.version_info[:2]]).encode())
    # Prose and metadata count too: the page shows them.
    digest.update(json.dumps([[c.cell_type, c.source, c.metadata] for c in cells]).encode())
    code = "".join(cell.source for cell in cells)
    stored = [p for p in sorted((ROOT / "book/results").glob("*")) if f'"{p.stem}' in code]
    library = sorted((ROOT / "ddgan_lite").rglob("*.py"))
    for path in [*library, ROOT / "constraints.txt", *stored]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def run(notebook: Path, profile: str) -> Outcome:
    """Execute one notebook if needed (its seconds are None if not)."""
    target, stamp = EXECUTED / notebook.name, EXECUTED / f"{notebook.stem}.key"
    key = key_of(notebook, profile)
    if target.exists() and stamp.exists() and stamp.read_text() == key:
        return Outcome(notebook.stem, None)
    log = FAILED / f"{notebook.stem}.log"
    for path in (stamp, log, FAILED / notebook.name):
        path.unlink(missing_ok=True)
    if profile == "quick":  # the default of every notebook
        outcome = execute(notebook, target, first_line=figures.VECTORS, timeout=900)
    else:
        outcome = execute(notebook, target, {"profile": profile}, first_line=figures.VECTORS)
    if outcome.passed:
        stamp.write_text(key)
        return outcome
    FAILED.mkdir(exist_ok=True)
    log.write_text("\n".join([*notes(outcome), "", outcome.log]))
    if outcome.crash and target.exists():
        target.replace(FAILED / notebook.name)  # half a chapter is none
    return outcome


def notes(outcome: Outcome) -> list[str]:
    """A line for everything that went wrong in a chapter."""
    stopped = [f"STOPPED: {outcome.crash}; the page shows stored outputs"] if outcome.crash else []
    return stopped + [f"MISSED: {each['words']}" for each in outcome.missed.values()]


def longest_first(notebooks: list[Path]) -> list[Path]:
    """By the seconds on record; a chapter without any is new and might be the longest."""
    record = json.loads(RECORDED.read_text())["chapters"] if RECORDED.exists() else {}
    return sorted(notebooks, key=lambda notebook: -record.get(notebook.stem, float("inf")))


def execute_all(notebooks: list[Path], profile: str) -> list[Outcome]:
    """Execute what changed, print the table and keep the times."""
    print(f"Executing {len(notebooks)} notebooks ...", flush=True)
    at_once = min(2, os.cpu_count() or 1)
    begin, before = time.perf_counter(), os.times()
    with ThreadPoolExecutor(at_once) as pool:
        jobs = [pool.submit(run, each, profile) for each in longest_first(notebooks)]
        outcomes = sorted((job.result() for job in jobs), key=lambda outcome: outcome.name)
    total, after = time.perf_counter() - begin, os.times()
    times = {
        "date": datetime.date.today().isoformat(),
        "profile": profile,
        "at_once": at_once,
        "wall_s": total,
        "cpu_s": sum(after[2:4]) - sum(before[2:4]),  # of the kernels: user and system
        # None: was unchanged, or did not get to the end.
        "chapters": {each.name: None if each.crash else each.seconds for each in outcomes},
    }
    TIMES.write_text(json.dumps(times, indent=1) + "\n")
    print(f"\n{'chapter':<32}{'seconds':>10}")
    for outcome in outcomes:
        state = "unchanged" if outcome.seconds is None else f"{outcome.seconds:.1f}"
        print(f"{outcome.name:<32}{state:>10}")
        print("".join(f"    {note}\n" for note in notes(outcome)), end="")
    print(f"{'all, wall clock':<32}{total:>10.1f}\n", flush=True)
    return outcomes


def announced(source: str, crash: str) -> str:
    """The first cell of a chapter, with a box under the title that says why its outputs are old."""
    title, _, rest = source.partition("\n")
    why = crash.replace("`", "'")
    box = (
        "```{warning}\nThis chapter could not be executed on this machine: "
        f"`{why}`. Its outputs are those stored with the book.\n```"
    )
    return f"{title}\n\n{box}\n{rest}"


def stage(notebooks: list[Path], crashes: dict[str, str] | None = None) -> None:
    """Lay out what Jupyter Book reads: the prose as it is, the notebooks as executed.

    ``crashes``: why a chapter, by its name, could not be executed.
    """
    shutil.rmtree(STAGING, ignore_errors=True)
    (STAGING / "notebooks").mkdir(parents=True)
    shutil.copytree(ROOT / "book", STAGING / "book")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, STAGING)
    for notebook in notebooks:
        crash = (crashes or {}).get(notebook.stem)
        book = nbformat.read(notebook if crash else EXECUTED / notebook.name, as_version=4)
        book.metadata.pop("widgets", None)  # the page has no kernel: sliders would be dead
        if crash:
            book.cells[0].source = announced(book.cells[0].source, crash)
        book.cells = fold.fold(book.cells)
        for cell in book.cells:
            cell.source = MARKER.sub("", cell.source)
            for output in cell.get("outputs", []):
                if "image/svg+xml" in output.get("data", {}):
                    output.data["image/svg+xml"] = figures.lighter(output.data["image/svg+xml"])
            if any("claim" in output.get("metadata", {}) for output in cell.get("outputs", [])):
                cell.metadata["tags"] = sorted({*cell.metadata.get("tags", [])} - HIDING)
        nbformat.write(book, STAGING / "notebooks" / notebook.name)


def live() -> int:
    """Make what the live pages and the first page show; the exit status."""
    # Processes of their own: they import torch, for seconds, and nothing else here does.
    tools, book = Path(__file__).resolve().parent, STAGING / "book"
    for command in (
        [tools / "build_live.py", book],
        [tools / "build_pictures.py", book, STAGING / "notebooks"],
    ):
        if status := subprocess.run([sys.executable, *map(str, command)]).returncode:
            return status
    return 0


def build_site() -> int:
    """Build the site from what is staged, and check it; the exit status."""
    site = BUILD / "html"
    shutil.rmtree(site, ignore_errors=True)
    jupyter_book = Path(sys.executable).parent / "jupyter-book"
    build = [str(jupyter_book), "build", "-W", "--keep-going", "--all"]
    done = subprocess.run([*build, "--path-output", str(BUILD.parent), str(STAGING)], cwd=ROOT)
    if done.returncode:
        return done.returncode
    problems = check_site.problems(site)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"\nThe book is built. Open {site / 'index.html'}")
    return int(bool(problems))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="quick", choices=["quick", "full"])
    profile = parser.parse_args(arguments).profile
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    EXECUTED.mkdir(parents=True, exist_ok=True)
    outcomes = execute_all(notebooks, profile)
    stage(notebooks, {each.name: each.crash for each in outcomes if each.crash})
    if status := live() or build_site():
        return status
    failed = [each.name for each in outcomes if not each.passed]
    if not failed:
        return 0
    repository, _ = set_address.wanted()
    print(
        f"\nWARNING: on this machine {len(failed)} of {len(outcomes)} chapters do not come out as "
        f"the book says: {', '.join(failed)}. All pages can be read, and a box on theirs says what "
        f"differs. Please report the lines above, with {FAILED.relative_to(ROOT)}/*.log, at "
        f"https://github.com/{repository}/issues"
    )
    return int(os.environ.get("STRICT", "0") not in ("", "0"))


if __name__ == "__main__":
    sys.exit(main())
