"""Execute every notebook that changed, build the site from the results and check it.

    python tools/build_book.py [--profile quick]

Notebooks run through papermill, each in a fresh kernel, into a staging folder; the sources
stay as they are. A notebook is run again only when its code, the library, its parameters or
the lock changed. Jupyter Book's own cache is off: it does not see edits of the library.

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
import nbformat
import student

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
STAGING = BUILD / "src"
TIMES = BUILD / "times.json"
RECORDED = ROOT / "book/results/bench_book.json"
# Where the blanks of the student notebooks begin and end; no page shows these lines.
MARKER = re.compile(rf"^[ \t]*{student.MARK.pattern}[ \t]*\n?", re.MULTILINE)


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


def execute(notebook: Path, profile: str) -> tuple[str, float | None, bool]:
    """Run one notebook if needed: its name, its seconds (None: nothing to do), success."""
    target, stamp = EXECUTED / notebook.name, EXECUTED / f"{notebook.stem}.key"
    key = key_of(notebook, profile)
    if target.exists() and stamp.exists() and stamp.read_text() == key:
        return notebook.stem, None, True
    stamp.unlink(missing_ok=True)
    begin = time.perf_counter()
    command = [sys.executable, "-m", "papermill", str(notebook), str(target), "-k", "python3"]
    command += ["--cwd", str(notebook.parent), "--no-progress-bar"]
    if profile == "quick":  # the default of every notebook
        command += ["--execution-timeout", "900"]  # seconds a cell; papermill would wait for ever
    else:
        command += ["-p", "profile", profile]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode == 0:
        stamp.write_text(key)
    else:
        print(f"--- {notebook.name} failed:\n{result.stdout[-6000:]}", flush=True)
    return notebook.stem, time.perf_counter() - begin, result.returncode == 0


def longest_first(notebooks: list[Path]) -> list[Path]:
    """By the seconds on record; a chapter without any is new and might be the longest."""
    record = json.loads(RECORDED.read_text())["chapters"] if RECORDED.exists() else {}
    return sorted(notebooks, key=lambda notebook: -record.get(notebook.stem, float("inf")))


def stage(notebooks: list[Path]) -> None:
    """Lay out what Jupyter Book reads: the prose as it is, the notebooks as executed."""
    shutil.rmtree(STAGING, ignore_errors=True)
    (STAGING / "notebooks").mkdir(parents=True)
    shutil.copytree(ROOT / "book", STAGING / "book")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, STAGING)
    for notebook in notebooks:
        book = nbformat.read(EXECUTED / notebook.name, as_version=4)
        book.metadata.pop("widgets", None)  # the page has no kernel: sliders would be dead
        for cell in book.cells:
            cell.source = MARKER.sub("", cell.source)
        nbformat.write(book, STAGING / "notebooks" / notebook.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="quick", choices=["quick", "full"])
    profile = parser.parse_args().profile
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    EXECUTED.mkdir(parents=True, exist_ok=True)

    print(f"Executing {len(notebooks)} notebooks ...", flush=True)
    at_once = min(2, os.cpu_count() or 1)
    begin, before = time.perf_counter(), os.times()
    with ThreadPoolExecutor(at_once) as pool:
        jobs = [pool.submit(execute, each, profile) for each in longest_first(notebooks)]
        results = sorted(job.result() for job in jobs)
    total, after = time.perf_counter() - begin, os.times()
    times = {
        "date": datetime.date.today().isoformat(),
        "profile": profile,
        "at_once": at_once,
        "wall_s": total,
        "cpu_s": sum(after[2:4]) - sum(before[2:4]),  # of the kernels: user and system
        "chapters": {name: seconds for name, seconds, _ in results},  # None: was unchanged
    }
    TIMES.write_text(json.dumps(times, indent=1) + "\n")
    print(f"\n{'chapter':<32}{'seconds':>10}")
    for name, seconds, passed in results:
        state = "unchanged" if seconds is None else f"{seconds:.1f}"
        print(f"{name:<32}{state:>10}{'' if passed else '   FAILED'}")
    print(f"{'all, wall clock':<32}{total:>10.1f}\n", flush=True)
    if not all(passed for _, _, passed in results):
        return 1

    stage(notebooks)
    # A process of its own: it imports torch, for seconds, and nothing else here does.
    build_live = [sys.executable, str(ROOT / "tools/build_live.py"), str(STAGING / "book")]
    live = subprocess.run(build_live)
    if live.returncode:
        return live.returncode
    site = BUILD / "html"
    shutil.rmtree(site, ignore_errors=True)
    jupyter_book = Path(sys.executable).parent / "jupyter-book"
    build = [str(jupyter_book), "build", "-W", "--keep-going", "--all"]
    done = subprocess.run([*build, "--path-output", str(ROOT), str(STAGING)], cwd=ROOT)
    if done.returncode:
        return done.returncode
    problems = check_site.problems(site)
    for problem in problems:
        print(problem)
    if problems:
        return 1
    print(f"\nThe book is built. Open {site / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
