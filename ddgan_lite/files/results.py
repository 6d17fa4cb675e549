"""Results of long runs, kept with the book: numbers that say where they come from.

A chapter's longer profile, or a script in ``benchmarks/``, writes them; the chapter then shows
them on machines that cannot repeat the run.
"""

import datetime
import json
import platform
import subprocess
from collections.abc import Callable, Hashable
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent.parent


def folder() -> Path:
    """``book/results`` of a checkout, or its copy inside an installed package.

    Example:
        >>> folder().name in ("results", "stored_results")
        True
    """
    checkout = PACKAGE.parent / "book" / "results"
    return checkout if checkout.is_dir() else PACKAGE / "stored_results"  # pyproject.toml copies it


def find(name: str) -> Path:
    """The file ``name`` among the results.

    Raises:
        FileNotFoundError: with the names there are.

    Example:
        >>> find("trilema.json")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        FileNotFoundError: there is no result 'trilema.json': known are ...
    """
    path = folder() / name
    if not path.is_file():
        known = ", ".join(sorted(each.name for each in folder().glob("*.*"))) or "none"
        raise FileNotFoundError(f"there is no result {name!r}: known are {known}.")
    return path


def load(name: str) -> dict:
    """What :func:`store` wrote under ``name``, its provenance included.

    Raises:
        FileNotFoundError: with the names there are.

    Example:
        >>> sorted(load("trilemma"))
        ['provenance', 'rows']
    """
    return json.loads(find(f"{name}.json").read_text())


def store(name: str, command: str, values: dict) -> Path:
    """Write ``values`` to ``name.json`` with the machine, the code and the ``command`` behind them.

    Numbers are written as they are: round them where they are shown.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from unittest.mock import patch
        >>> with TemporaryDirectory() as there, patch("ddgan_lite.files.results.folder") as folder:
        ...     folder.return_value = Path(there)  # and not among the results of the book
        ...     file = store("answer", "python answer.py", {"answer": 42})
        ...     file.name, load("answer")["answer"], load("answer")["provenance"]["command"]
        ('answer.json', 42, 'python answer.py')
    """
    path = folder() / f"{name}.json"
    provenance = {"command": command, **machine()}
    path.write_text(json.dumps({"provenance": provenance, **values}, indent=1) + "\n")
    return path


def add_rows(name: str, command: str, rows: list[dict], key: Callable[[dict], Hashable]) -> Path:
    """:func:`store` ``rows`` behind those already there, in place of those with the same ``key``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from unittest.mock import patch
        >>> with TemporaryDirectory() as there, patch("ddgan_lite.files.results.folder") as folder:
        ...     folder.return_value = Path(there)  # and not among the results of the book
        ...     for seed, hq3 in ((0, 0.8), (1, 0.9), (0, 0.7)):
        ...         row = {"seed": seed, "hq3": hq3}
        ...         _ = add_rows("runs", "python runs.py", [row], lambda row: row["seed"])
        ...     [(row["seed"], row["hq3"]) for row in load("runs")["rows"]]
        [(1, 0.9), (0, 0.7)]
    """
    there = (folder() / f"{name}.json").exists()
    new = {key(row) for row in rows}
    kept = [row for row in load(name)["rows"] if key(row) not in new] if there else []
    return store(name, command, {"rows": [*kept, *rows]})


def machine(device: torch.device | str = "cpu") -> dict[str, str]:
    """Where and with what a result is being computed, and on which day.

    Example:
        >>> list(machine())
        ['hardware', 'torch', 'ddgan_lite', 'commit', 'date']
    """
    device = torch.device(device)
    cpu = f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"
    return {
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "torch": torch.__version__,
        "ddgan_lite": version("ddgan-lite"),
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
    }


def _commit() -> str:
    """The commit of the checkout that runs, "unknown" outside one.

    "-dirty" if anything differs but prose and results, in book/ and lab/: those change no result.
    """
    git = ["git", "-C", str(PACKAGE.parent)]
    paths = [":/", ":(exclude,top)book", ":(exclude,top)lab"]
    asked = ["describe", "--always"], ["diff", "HEAD", "--stat", *paths]
    try:
        commit, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
            for words in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + ("-dirty" if changes else "")
