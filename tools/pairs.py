"""Check that every notebook and its Markdown twin say the same.

python tools/pairs.py
"""

import sys
from pathlib import Path

import jupytext
from jupytext.compare import NotebookDifference, compare_notebooks

ROOT = Path(__file__).resolve().parent.parent


def problems(folder: Path = ROOT / "notebooks") -> list[str]:
    """One sentence for every pair that is incomplete or out of step."""
    files = [*folder.glob("[0-9]*.md"), *folder.glob("[0-9]*.ipynb")]
    stems = sorted({file.with_suffix("") for file in files})
    found = []
    for stem in stems:
        text, notebook = stem.with_suffix(".md"), stem.with_suffix(".ipynb")
        if not (text.exists() and notebook.exists()):
            found.append(f"{stem.name} lacks its .md or its .ipynb: run `make pair`.")
            continue
        try:
            compare_notebooks(jupytext.read(text), jupytext.read(notebook), fmt="md:myst")
        except NotebookDifference as difference:
            found.append(f"{stem.name}: .md and .ipynb differ, run `make pair`. {difference}")
    return found


if __name__ == "__main__":
    lines = problems()
    print("\n".join(lines) or "all pairs agree")
    sys.exit(bool(lines))
