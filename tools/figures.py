"""The figures of a notebook: what student.py and build_slides.py take out of its cells."""

import nbformat


def alt_text(cell: nbformat.NotebookNode) -> str:
    """What the figure of a cell shows, in words and on one line; empty where there is none."""
    return " ".join(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").split())


def pictures(cell: nbformat.NotebookNode) -> list[str]:
    """The stored PNGs of a code cell, in base64."""
    outputs = [output.get("data", {}) for output in cell.outputs]
    return [data["image/png"] for data in outputs if "image/png" in data]
