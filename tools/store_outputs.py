"""Put the outputs of the executed notebooks into notebooks/*.ipynb, and nothing else.

    python tools/store_outputs.py [NN ...]

The notebooks are executed as for the book (tools/build_book.py), so what is stored is what the
site shows. Only outputs and execution counts are copied: no timing, no papermill metadata.
Pictures are stored with 64 colours, which no reader misses and the repository feels.
"""

import base64
import io
import sys

import nbformat
from build_book import EXECUTED, ROOT, notes, run
from PIL import Image


def smaller(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The output with its PNG, if it has one, reduced to a palette."""
    if "image/png" in output.get("data", {}):
        picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
        file = io.BytesIO()
        # Colours of a few dots count as much as those of the ground: not the most frequent ones.
        picture = picture.convert("RGB").quantize(64, Image.Quantize.MAXCOVERAGE, dither=0)
        picture.save(file, "PNG", optimize=True)
        output.data["image/png"] = base64.b64encode(file.getvalue()).decode()
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
                cell.outputs = [smaller(output) for output in new.outputs]
                cell.execution_count = new.execution_count
        nbformat.write(book, path)
        print(f"{done.name}: {'unchanged' if done.seconds is None else f'{done.seconds:.0f} s'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
