"""Put the outputs of the executed notebooks into notebooks/*.ipynb, and nothing else.

    python tools/store_outputs.py [NN ...]

The notebooks are executed as for the book (tools/build_book.py), so what is stored is what the
site shows. Only outputs and execution counts are copied: no timing, no papermill metadata.
Pictures are stored with half the pixels and 64 colours, which no reader misses and the repository
feels.
"""

import sys

import nbformat
from build_book import EXECUTED, ROOT, notes, run
from figures import fewer_colours, measured


def stored(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The output with its figure, if it has one, as a PNG of half its size; what the page's SVG
    measures stays with it."""
    if "image/png" in output.get("data", {}):
        output.data["image/png"] = fewer_colours(output.data["image/png"], shrink=2)
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
