"""Make the students' notebooks: the chapters with the solutions taken out.

    python tools/student.py

Writes _build/student/NN_*.ipynb and a README.txt. Where a chapter has a solution the student finds
a blank, the plot that belongs there, and the check that the chapter itself passes; answers are
gone, links lead to the book on the web. There is no second source: the chapters' own
notebooks hold the marks (### BEGIN SOLUTION, ### END SOLUTION, the tags solution and check).

Beside them, in _build/solutions, lie the chapters as they are, their links made absolute. A release
puts both under the tag that the badges name (.github/workflows/release.yml); Colab opens them.
"""

import ast
import copy
import re
import shutil
import sys
import tomllib
from pathlib import Path

import nbformat
from figures import alt_text, pictures
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "_build" / "student"
SOLUTIONS = ROOT / "_build" / "solutions"
REGION = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION[ \t]*\n(.*?)^[ \t]*### END SOLUTION[ \t]*$", re.M | re.S
)
MARK = re.compile(r"### (BEGIN|END) SOLUTION")
FORMATTER = r"  # fmt: skip$"
BLANK = "...  # your code here"
DETAILS = re.compile(r"^[ \t]*<details>.*?^[ \t]*</details>[ \t]*$", re.M | re.S)
# The badge of a chapter, with the address of its student copy: a folder, a file.
BADGE = re.compile(r"^\[!\[[^\]]*\]\([^)]*colab\.svg\)\]\((\S*/)([^/)]*)\)", re.M)
PROMISE = " Your plot should look like the one below."  # the cell with the plot says so itself
QUESTIONS = re.compile(r"^### Questions$.*?(?=^#{1,3} |\Z)", re.M | re.S)
README = """\
Denoising Diffusion GANs, version {version}: the notebooks for students

Each notebook is a chapter of the book, with its outputs. From "Exercises" on, a line

    {blank}

stands where you write, and the cell after it checks what you wrote: it fails until you have.
Where a plot is asked for, you find the plot that it should become. Run a chapter from its top
first; the exercises use what it defines.

You need Python 3.11 or newer. In a new environment:

    pip install jupyterlab "ddgan-lite @ git+{repository}@v{version}"
    jupyter lab

The whole book, with the solutions folded away, is at {book}
"""


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def first_line(cell: nbformat.NotebookNode) -> str:
    return next((line for line in cell.source.splitlines() if line.strip()), "")


def blanked(source: str) -> str:
    """The code with its solution replaced by a blank. Raises ValueError if that cannot be done."""
    marks = MARK.findall(source)
    if marks != ["BEGIN", "END"] or not REGION.search(source):
        raise ValueError(
            "a solution needs exactly one region from ### BEGIN SOLUTION to ### END SOLUTION, "
            f"each on a line of its own; found {marks or 'none'}"
        )
    source = REGION.sub(lambda match: match[1] + BLANK, source)
    try:
        ast.parse(TransformerManager().transform_cell(source))  # magics become function calls
    except SyntaxError as error:
        raise ValueError(
            f"without its solution the cell is not valid Python: {error.msg}, line {error.lineno}"
        ) from error
    return source


def expected_plot(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A cell of text with the pictures that the solution drew."""
    alt = re.sub(r"([\[\]])", r"\\\1", alt_text(cell))
    text, attached = "Your plot should look like this:", {}
    for number, picture in enumerate(pictures(cell), start=1):
        text += f"\n\n![{alt}](attachment:plot-{number}.png)"
        attached[f"plot-{number}.png"] = {"image/png": picture}
    made = nbformat.v4.new_markdown_cell(text, attachments=attached)
    made.id = f"{cell.id[:50]}-expected"  # the same at every run, unlike a random id
    return made


def without_answers(text: str) -> str:
    """Text of the Exercises section without what is folded away. Raises ValueError."""

    def ask(match: re.Match) -> str:
        questions = len(re.findall(r"^\d+\. ", DETAILS.sub("", match[0]), re.M))
        section, answers = DETAILS.subn("   *Your answer:*", match[0])
        if questions != answers or not questions:
            raise ValueError(f"under Questions stand {questions} questions and {answers} answers")
        return section

    text = DETAILS.sub("", QUESTIONS.sub(ask, text)).replace(PROMISE, "")
    if "details>" in text:
        raise ValueError("a <details> block is not closed, or does not begin its line")
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def absolute_links(text: str, book: str) -> str:
    """Text with its links into the repository pointed at the book's pages. Raises ValueError."""

    def page(match: re.Match) -> str:
        path, fragment = match[1], match[2] or ""
        if "/" not in path.removeprefix("./"):
            path = f"../notebooks/{path.removeprefix('./')}"
        found = re.fullmatch(r"\.\./((?:book|notebooks)/[\w.-]+)\.(?:md|ipynb|html)", path)
        if not found:
            raise ValueError(f"the link {match[1]} would lead nowhere outside the repository")
        return f"]({book}/{found[1]}.html{fragment})"

    return re.sub(r"\]\((?!https?:|mailto:|attachment:|#)([^)#\s]+)(#[^)\s]*)?\)", page, text)


def other_forms(text: str, book: str, with_solutions: bool) -> str:
    """Text with a line in place of its badge: where the other copy and the page are."""

    def line(match: re.Match) -> str:
        folder, name = match.groups()
        other = (
            f"without its solutions]({folder}"
            if with_solutions
            else (f"with its solutions]({folder}solutions/")
        )
        page = f"{book}/notebooks/{name.removesuffix('.ipynb')}.html"
        return f"This chapter [{other}{name}), and as [a page of the book]({page})."

    return BADGE.sub(line, text)


def solved_version(book: nbformat.NotebookNode, public: str) -> nbformat.NotebookNode:
    """A chapter with its solutions, to be opened outside the repository: its links are absolute."""
    book = copy.deepcopy(book)
    book.metadata.pop("jupytext", None)
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = absolute_links(other_forms(cell.source, public, True), public)
    return book


def student_version(book: nbformat.NotebookNode, public: str) -> nbformat.NotebookNode:
    """A chapter for students; ``public`` is the address of the book.

    Raises ValueError, naming the cell, if the chapter does not keep the convention of exercises.
    """
    book = copy.deepcopy(book)
    book.metadata.pop("jupytext", None)  # there is no Markdown half beside it
    cells, in_exercises = [], False
    for cell, following in zip(book.cells, [*book.cells[1:], None], strict=True):
        try:
            if cell.cell_type == "markdown":
                text = absolute_links(other_forms(cell.source, public, False), public)
                head, heading, rest = "", "", text
                if not in_exercises:
                    head, heading, rest = text.partition("## Exercises\n")
                in_exercises = in_exercises or bool(heading)
                if in_exercises:
                    rest = without_answers(rest)
                    text = f"{head}{heading}\n{rest}" if heading else rest
                cell.source = text.rstrip("\n")
                if cell.source:
                    cells.append(cell)
                continue
            cell.source = re.sub(FORMATTER, "", cell.source, flags=re.MULTILINE)
            if cell.cell_type == "code" and "solution" in tags(cell):
                if following is None or "check" not in tags(following):
                    raise ValueError("a solution needs a check cell directly after it")
                cell.source = blanked(cell.source)
                if pictures(cell):
                    cells.append(expected_plot(cell))
                cell.metadata.tags = [t for t in tags(cell) if not t.startswith("hide-")]
            elif MARK.search(cell.source):
                raise ValueError("a marked solution stands in a cell without the tag solution")
            if {"solution", "check"} & set(tags(cell)):
                cell.outputs, cell.execution_count = [], None
            cells.append(cell)
        except ValueError as error:
            raise ValueError(f"the cell that begins {first_line(cell)!r}: {error}.") from error
    book.cells = cells
    nbformat.validate(book)
    return book


def write_solutions(notebooks: list[Path], out: Path) -> None:
    """Write the chapters with their solutions into a fresh folder."""
    public = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Book"]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for path in notebooks:
        nbformat.write(solved_version(nbformat.read(path, as_version=4), public), out / path.name)


def write_all(notebooks: list[Path], out: Path) -> list[str]:
    """Write the students' notebooks into a fresh folder; one sentence for every failure."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    address = project["urls"]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    problems = []
    for path in notebooks:
        try:
            book = student_version(nbformat.read(path, as_version=4), address["Book"])
        except ValueError as error:
            problems.append(f"{path.name}, {error}")
        else:
            nbformat.write(book, out / path.name)
    readme = README.format(
        version=project["version"],
        blank=BLANK,
        repository=address["Repository"],
        book=address["Book"],
    )
    (out / "README.txt").write_text(readme)
    return problems


def main() -> int:
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    problems = write_all(notebooks, OUT)
    if not problems:
        write_solutions(notebooks, SOLUTIONS)
    print("\n".join(problems) or f"{len(notebooks)} notebooks in {OUT}, solved in {SOLUTIONS}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
