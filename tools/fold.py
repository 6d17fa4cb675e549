"""What the pages of the site fold, each under its own words; in the notebooks it stays open."""

import ast

from nbformat import NotebookNode

SETUP, CLAIMS, DRAWING, SOLUTION = (
    "Setup",
    "The claims, asserted",
    "The drawing, in code",
    "Solution",
)
LONG = 6  # lines: a shorter drawing hides nothing


def words(cell: NotebookNode) -> str:
    """What a code cell is folded under, from what it consists of; "" leaves it open."""
    tags = cell.metadata.get("tags", [])
    if "solution" in tags:
        return SOLUTION
    try:
        body = ast.parse(cell.source).body
    except SyntaxError:  # a magic
        body = []
    if not body or "check" in tags:
        return ""
    if 2 * sum(isinstance(each, ast.Assert) for each in body) >= len(body):
        return CLAIMS
    shown = any("image/png" in output.get("data", {}) for output in cell.outputs)
    draws = ast.unparse(body[0]).partition(" = ")[2].startswith("plt.")
    return DRAWING if shown and draws and len(cell.source.splitlines()) > LONG else ""


def is_setup(source: str) -> bool:
    """Whether a cell belongs to what every chapter opens with: imports, parameters, their check."""
    return source.startswith(("import ", "from ", "profile = ", "if profile not in"))


def fold(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells of a page: the setup is one cell, and what is folded says what it is."""
    page: list[NotebookNode] = []
    opening = True
    for cell in cells:
        prompt = ""
        if "remove-cell" in cell.metadata.get("tags", []):
            continue  # of no use without a kernel
        if cell.cell_type == "code":
            opening = opening and is_setup(cell.source)
            if opening and page[-1].cell_type == "code" and is_setup(page[-1].source):
                page[-1].source += f"\n\n{cell.source}"
                continue
            prompt = SETUP if opening else words(cell)
        if prompt:
            tags = {*cell.metadata.get("tags", [])} - {"parameters"}
            cell.metadata["tags"] = sorted(tags if "hide-cell" in tags else {*tags, "hide-input"})
            shown = cell.metadata.setdefault("mystnb", {})
            shown["code_prompt_show"] = shown["code_prompt_hide"] = prompt
        page.append(cell)
    return page
