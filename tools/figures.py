"""The figures of a notebook: drawn as SVG for the pages, kept as small PNGs in the repository.

A reader's kernel draws PNGs, as everywhere, and so does nbval. Where the tools execute a chapter
for the book, :data:`VECTORS` asks for both: pages show the SVG; GitHub, student copies, slides and
thumbnails show the PNG.
"""

import base64
import io
import re

import nbformat
from PIL import Image

COLUMN = 688  # pixels: how wide the text of a page is
PIXELS_A_POINT = 96 / 72
# The first line of a kernel: the same bytes at every run, crowds of points at 200 dots an inch.
VECTORS = (
    "import matplotlib; from IPython import get_ipython; "
    "matplotlib.rcParams['svg.hashsalt'] = 'ddgan_lite'; "
    "get_ipython().config.InlineBackend.update({'figure_formats': {'png', 'svg'}, "
    "'print_figure_kwargs': {'bbox_inches': None, 'dpi': 200, 'metadata': {'Date': None}}})"
)
# A text is a group of glyphs of 100 units; a part of it that is raised is scaled once more.
TEXT = re.compile(r'<g[^>]* transform="translate\([^)]*\)[^"]* scale\(([\d.]+) -')

PIXELS = re.compile(r"(data:image/png;base64,\s*)([A-Za-z0-9+/=\s]+)")  # crowds of points, photos


def lighter(svg: str) -> str:
    """The drawing with its pixels in 256 colours: less than half of the bytes."""

    def packed(found: re.Match) -> str:
        picture, file = Image.open(io.BytesIO(base64.b64decode(found[2]))), io.BytesIO()
        picture.quantize(256, Image.Quantize.FASTOCTREE, dither=0).save(file, "PNG", optimize=True)
        return found[1] + min(found[2], base64.b64encode(file.getvalue()).decode(), key=len)

    return PIXELS.sub(packed, svg)


def alt_text(cell: nbformat.NotebookNode) -> str:
    """What the figure of a cell shows, in words and on one line; empty where there is none."""
    return " ".join(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").split())


def pictures(cell: nbformat.NotebookNode) -> list[str]:
    """The stored PNGs of a code cell, in base64."""
    outputs = [output.get("data", {}) for output in cell.outputs]
    return [data["image/png"] for data in outputs if "image/png" in data]


def measured(svg: str) -> dict[str, float]:
    """The width of a figure on a page and the size of its smallest letters, in pixels.

    Raised parts, such as exponents, do not count as letters.
    """
    width = PIXELS_A_POINT * float(re.search(r'viewBox="\S+ \S+ (\S+) ', svg)[1])
    letters = [100 * float(scale) * PIXELS_A_POINT for scale in TEXT.findall(svg)]
    smallest = min(letters, default=COLUMN) * min(1, COLUMN / width)
    return {"width": round(width, 1), "letters": round(smallest, 1)}
