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
NOTHING_TO_SEE = re.compile(r"(?s)^.*?(?=<svg)|<metadata>.*?</metadata>|<!--.*?-->")
COORDINATES = re.compile(r' (?:d|x|y)="[^"]+"|translate\([^)]+\)')
NUMBER = re.compile(r"-?\d+\.\d+")
EMBEDDED = re.compile(r'(?<="data:image/png;base64,)\s*[^"]+')


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


def fewer_colours(png: str, shrink: int = 1) -> str:
    """A PNG, in base64, of 64 colours, which no reader misses, and ``shrink`` times smaller."""
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.convert("RGBA").getextrema()[3] == (255, 255):
        # Colours of a few dots count as much as those of the ground: not the most frequent ones.
        picture = picture.convert("RGB").reduce(shrink)
        picture = picture.quantize(64, Image.Quantize.MAXCOVERAGE, dither=0)
    else:
        picture = picture.convert("RGBA").reduce(shrink)
        picture = picture.quantize(64, Image.Quantize.FASTOCTREE, dither=0)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def lighter(svg: str) -> str:
    """The same figure to the eye: coordinates to a hundredth of a point, pictures of 64 colours."""

    def rounded(found: re.Match) -> str:
        return NUMBER.sub(lambda number: f"{round(float(number[0]), 2):g}", found[0])

    svg = COORDINATES.sub(rounded, NOTHING_TO_SEE.sub("", svg))
    return EMBEDDED.sub(lambda found: fewer_colours(found[0]), svg)
