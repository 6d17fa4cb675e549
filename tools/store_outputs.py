"""Put the outputs of the executed notebooks into notebooks/*.ipynb, and nothing else.

    python tools/store_outputs.py [NN ...]

The notebooks are executed as for the book (tools/build_book.py), so what is stored is what the
site shows. Only outputs and execution counts are copied: no timing, no papermill metadata.
Pages show figures as SVG (tools/figures.py); here they are stored as PNGs of 100 dots an inch and
32 colours, small ones of 128.
"""

import base64
import io
import sys

import nbformat
from build_book import EXECUTED, ROOT, notes, run
from figures import measured
from PIL import Image


def smaller(png: str) -> str:
    """A PNG, in base64, of half the width and height, reduced to a palette."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").reduce(2)
    file = io.BytesIO()
    colours = 32 if picture.width * picture.height > 100_000 else 128  # photographs are small
    # Colours of a few dots count as much as those of the ground: not the most frequent ones.
    picture = picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=0)
    picture.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def stored(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The output with its figure, if it has one, as a small PNG; what the page's SVG measures
    stays with it."""
    if "image/png" in output.get("data", {}):
        output.data["image/png"] = smaller(output.data["image/png"])
        output.metadata = {"page": measured(output.data.pop("image/svg+xml"))}
    return output


def main(wanted: list[str]) -> int:
    EXECUTED.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        if wanted and not path.name.startswith(tuple(wanted)):
            continue
        done = run(path, "quick")
        if not done.passed:
            print(f"{done.name} keeps its stored outputs:", *notes(done), sep="\n    ")
            return 1
        book, executed = nbformat.read(path, 4), nbformat.read(EXECUTED / path.name, 4)
        for cell, new in zip(book.cells, executed.cells, strict=True):
            if cell.cell_type == "code":
                cell.outputs = [stored(output) for output in new.outputs]
                cell.execution_count = new.execution_count
        nbformat.write(book, path)
        print(f"{done.name}: {'unchanged' if done.seconds is None else f'{done.seconds:.0f} s'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
