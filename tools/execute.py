"""Execute one notebook in a fresh kernel, measure its claims, and say how it went.

What ``build_book.py``, ``foreign.py`` and ``benchmarks/robust.py`` share. The notebook runs through
papermill in a process of its own. Its kernel starts with :func:`claims.install`: no cell is added,
and a claim that does not hold puts a box into the outputs and lets the chapter go on.
"""

import ast
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import claims
import nbformat

TOOLS = Path(__file__).resolve().parent
AVX2 = ("ATEN_CPU_CAPABILITY=avx2", "ONEDNN_MAX_CPU_ISA=AVX2")  # one alone changes nothing
AVX2 += ("MKL_ENABLE_INSTRUCTIONS=AVX2", "MKL_CBWR=AVX2")
TWO_THREADS = "import torch; torch.set_num_threads(2); torch.set_num_threads = lambda n: None"
# How a chapter may be run: variables of the environment, and a line before its first cell.
SETTINGS = {
    "native": ({}, ""),
    "avx2": (dict(each.split("=") for each in AVX2), ""),
    # Threads that sleep while they wait: beside other work, spinning ones took 70 times as long.
    "two threads": ({"OMP_WAIT_POLICY": "PASSIVE"}, TWO_THREADS),
}
MARKER = "papermill-error-cell-tag"  # of the cells that papermill adds around an error
DRIVER = "import json, papermill, sys; papermill.execute_notebook(**json.load(sys.stdin))"


@dataclass
class Outcome:
    """How one execution went. ``claims``: as :func:`claims.read` has them."""

    name: str
    seconds: float | None  # None: there was nothing to do
    claims: dict[str, dict] = field(default_factory=dict)
    crash: str = ""  # a sentence, if a cell raised what it should not or the kernel ended
    log: str = ""

    @property
    def missed(self) -> dict[str, dict]:
        return {claim: each for claim, each in self.claims.items() if each["margin"] < 0}

    @property
    def passed(self) -> bool:
        return not (self.crash or self.missed)


def parameters_of(notebook: Path) -> set[str]:
    """The names that the cell tagged ``parameters`` assigns."""
    cells = nbformat.read(notebook, as_version=4).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    nodes = [node for source in tagged for node in ast.walk(ast.parse(source))]
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def crash_of(executed: nbformat.NotebookNode, log: str) -> str:
    """One sentence about what stopped the execution; empty if nothing did."""
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    for cell in code:
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors and "raises-exception" not in cell.metadata.get("tags", []):
            if "CellTimeoutError" in log:
                return f"cell {cell.execution_count} took too long"
            first = f"{errors[0].ename}: {errors[0].evalue}".splitlines()[0]
            return f"cell {cell.execution_count} raised {first}"
    if code and code[-1].execution_count:
        return ""
    return (
        f"the kernel did not get to the end ({log.strip().splitlines()[-1] if log else 'killed'})"
    )


def execute(
    notebook: Path,
    target: Path,
    parameters: dict | None = None,
    environment: dict[str, str] | None = None,
    first_line: str = "",
    timeout: int | None = None,
) -> Outcome:
    """Run ``notebook`` into ``target``.

    Args:
        parameters: those that the notebook does not have are left out.
        environment: added to the variables that the kernel sees.
        first_line: of Python, before the first cell.
        timeout: in seconds, for one cell; without it papermill waits for ever.
    """
    known = parameters_of(notebook)
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "claims"
        start = f"import sys; sys.path.insert(0, {str(TOOLS)!r}); import claims; del sys.path[0]"
        lines = [f"{start}; claims.install({str(ledger)!r})", first_line or "pass"]
        job = {
            "input_path": str(notebook),
            "output_path": str(target),
            "parameters": {k: v for k, v in (parameters or {}).items() if k in known},
            "kernel_name": "python3",
            "cwd": str(notebook.parent),
            "progress_bar": False,
            "execution_timeout": timeout,
            # In a scope of their own: the notebook's names stay its own.
            "extra_arguments": [f"--IPKernelApp.exec_lines=exec({line!r}, {{}})" for line in lines],
        }
        begin = time.perf_counter()
        log = subprocess.run(
            [sys.executable, "-c", DRIVER],
            input=json.dumps(job),
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout
        outcome = Outcome(notebook.stem, time.perf_counter() - begin, log=log)
        if measured := ledger.exists():
            outcome.claims = claims.read(ledger)
    if not target.exists():
        outcome.crash = crash_of(nbformat.v4.new_notebook(), log)
        return outcome
    executed = nbformat.read(target, as_version=4)
    executed.cells = [
        cell for cell in executed.cells if MARKER not in cell.metadata.get("tags", [])
    ]
    nbformat.write(executed, target)
    outcome.crash = crash_of(executed, log)
    if not (measured or outcome.crash):
        outcome.crash = "the kernel did not measure the claims"
    return outcome
