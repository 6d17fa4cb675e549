"""What is handed out: students' notebooks without the solutions, the printed book, the archives."""

import ast
import base64
import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import nbformat
import print_book
import pytest
import release
import student
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))

BOOK = "https://book.example.org"
DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)

# -- students' notebooks, on a small one ---------------------------------------------------------

TITLE = """# A chapter

[![Open in Colab](../book/_static/colab.svg)](https://colab.example.org/00.ipynb)

<details><summary>An aside</summary>

It stays.

</details>

See [chapter 05](05_ablations.ipynb), [a proof](../book/derivations.md#one-step), [the
web](https://example.org/x.md) and [below](#exercises)."""
SOLUTION = '''def double(x):  # fmt: skip
    """Twice x."""
    ### BEGIN SOLUTION
    twice = x + x
    return twice
    ### END SOLUTION'''
PLOT = """%matplotlib inline
### BEGIN SOLUTION
points = [double(x) for x in range(3)]
### END SOLUTION
plt.plot(points)"""
WHY = """<details><summary>Why</summary>

Because it is **twice**.

</details>

### Exercise 00.2: A plot (challenge)

Define `points`. Your plot should look like the one below."""
QUESTIONS = """### Questions

1. Why?

<details><summary>Answer</summary>

Because.

</details>

2. And how?

<details><summary>Answer</summary>

1. Thus.

</details>

## References"""


def small_notebook() -> nbformat.NotebookNode:
    """A chapter that keeps the convention of exercises."""
    image = {"mystnb": {"image": {"alt": "Points on\na line [0, 4]."}}}
    printed = [new_output("stream", text="passed\n")]
    drawn = [new_output("display_data", data={"image/png": DOT, "text/plain": "<Figure>"})]
    book = new_notebook(
        cells=[
            new_markdown_cell(TITLE),
            new_code_cell("print('passed')", outputs=printed, execution_count=1),
            new_markdown_cell("## Exercises\n\n### Exercise 00.1: Double (warm-up)\n\nWrite it."),
            new_code_cell(
                SOLUTION,
                outputs=printed,
                execution_count=2,
                metadata={"tags": ["hide-cell", "solution"]},
            ),
            new_code_cell(
                "assert double(2) == 4",
                outputs=printed,
                execution_count=3,
                metadata={"tags": ["check"]},
            ),
            new_markdown_cell(WHY),
            new_code_cell(
                PLOT,
                outputs=drawn,
                execution_count=4,
                metadata={"tags": ["hide-input", "solution"], **image},
            ),
            new_code_cell("assert points", metadata={"tags": ["check"]}, execution_count=5),
            new_markdown_cell(QUESTIONS),
        ]
    )
    book.metadata["jupytext"] = {"formats": "ipynb,md:myst"}
    return book


def test_a_student_gets_blanks_plots_and_checks_but_no_answers():
    book = small_notebook()
    before = nbformat.writes(book)
    made = student.student_version(book, BOOK)
    assert nbformat.writes(book) == before, "the chapter itself must stay as it is"
    assert nbformat.writes(student.student_version(book, BOOK)) == nbformat.writes(made)
    nbformat.validate(made)
    assert len({cell.id for cell in made.cells}) == len(made.cells) == len(book.cells) + 1
    assert "jupytext" not in made.metadata

    title, ran, _, double, check, text, plot, points, _, questions = made.cells
    assert title.source == (
        "# A chapter\n\n"
        "This chapter [with its solutions](https://colab.example.org/solutions/00.ipynb), "
        f"and as [a page of the book]({BOOK}/notebooks/00.html).\n\n"
        "<details><summary>An aside</summary>\n\nIt stays.\n\n</details>\n\n"
        f"See [chapter 05]({BOOK}/notebooks/05_ablations.html), "
        f"[a proof]({BOOK}/book/derivations.html#one-step), [the\n"
        "web](https://example.org/x.md) and [below](#exercises)."
    )
    assert ran.outputs and ran.execution_count == 1
    assert double.source == 'def double(x):\n    """Twice x."""\n    ...  # your code here'
    assert double.metadata.tags == points.metadata.tags == ["solution"]
    assert check.source == "assert double(2) == 4"
    for cell in (double, check, points):
        assert cell.outputs == [] and cell.execution_count is None
    assert text.source.startswith("### Exercise 00.2") and text.source.endswith("`points`.")
    assert plot.source == (
        "Your plot should look like this:\n\n![Points on a line \\[0, 4\\].](attachment:plot-1.png)"
    )
    assert plot.attachments == {"plot-1.png": {"image/png": DOT}}
    assert points.source == "%matplotlib inline\n...  # your code here\nplt.plot(points)"
    assert questions.source == (
        "### Questions\n\n1. Why?\n\n   *Your answer:*\n\n2. And how?\n\n   *Your answer:*\n\n"
        "## References"
    )


def changed(old: str, new: str, drop: int | None = None) -> nbformat.NotebookNode:
    """The small notebook with one text replaced, or with one cell left out."""
    book = small_notebook()
    if drop is not None:
        del book.cells[drop]
        return book
    assert sum(old in cell.source for cell in book.cells) >= 1
    for cell in book.cells:
        cell.source = cell.source.replace(old, new)
    return book


@pytest.mark.parametrize(
    ("book", "sentence"),
    [
        (changed("    ### BEGIN SOLUTION\n    twice", "    twice"), "exactly one region"),
        (changed("    ### END SOLUTION", ""), "exactly one region"),
        (changed("return twice\n    ### END", "return twice ### END"), "exactly one region"),
        (changed(SOLUTION, SOLUTION + "\n" + SOLUTION), "exactly one region"),
        (changed(SOLUTION, "def double(x):\n    return x + x"), "exactly one region"),
        (
            changed('    """Twice x."""\n    ### BEGIN', "### BEGIN"),
            "not valid Python: expected an indent",
        ),
        (changed("plt.plot(points)", "else:\n    pass"), "not valid Python"),
        (changed("", "", drop=4), "check cell directly after"),
        (changed("", "", drop=7), "check cell directly after"),
        (changed("print('passed')", "### BEGIN SOLUTION"), "without the tag solution"),
        (changed("</details>\n\n### Exercise", "### Exercise"), "not closed"),
        (changed("2. And how?", "And how?"), "1 questions and 2 answers"),
        (changed("../book/derivations.md", "../ddgan_lite/method/model.py"), "lead nowhere"),
        (changed("[below](#exercises)", "![](drawing.png)"), "lead nowhere"),
    ],
)
def test_a_chapter_that_breaks_the_convention_gets_a_sentence(book, sentence):
    with pytest.raises(ValueError, match="the cell that begins .*" + re.escape(sentence)):
        student.student_version(book, BOOK)


def test_a_failure_names_its_file_and_does_not_stop_the_others(tmp_path):
    nbformat.write(small_notebook(), tmp_path / "00_good.ipynb")
    nbformat.write(changed("    ### END SOLUTION", ""), tmp_path / "01_bad.ipynb")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "09_of_yesterday.ipynb").touch()
    (problem,) = student.write_all(sorted(tmp_path.glob("*.ipynb")), tmp_path / "out")
    assert problem.startswith("01_bad.ipynb, the cell that begins 'def double(x):'")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"00_good.ipynb", "README.txt"}


# -- students' notebooks, the real ones ----------------------------------------------------------


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("student")
    assert student.write_all(NOTEBOOKS, out) == []
    return out


def cells(path: Path, tag: str) -> list[nbformat.NotebookNode]:
    book = nbformat.read(path, as_version=4)
    return [cell for cell in book.cells if tag in cell.metadata.get("tags", [])]


def lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.strip()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
class TestHandedOut:
    def test_every_exercise_has_its_blank_and_its_check(self, path, handed_out):
        made = nbformat.read(handed_out / path.name, as_version=4)
        nbformat.validate(made)
        prose = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
        exercises = re.findall(rf"^### Exercise {path.stem[:2]}\.\d: .+ \(.+\)$", prose, re.M)
        blanks, checks = (cells(handed_out / path.name, tag) for tag in ("solution", "check"))
        assert 3 <= len(exercises) == len(blanks) == len(checks)
        assert {"warm-up", "challenge"} == {title[:-1].rsplit("(")[-1] for title in exercises}
        assert all(cell.source.count(student.BLANK) == 1 for cell in blanks)
        assert prose.count("*Your answer:*") >= 3

    def test_no_line_of_a_solution_is_left(self, path, handed_out):
        original = nbformat.read(path, as_version=4)
        regions = [student.REGION.search(c.source)[2] for c in cells(path, "solution")]
        outside = [student.REGION.sub("", cell.source) for cell in original.cells]
        secret = set().union(*map(lines, regions)) - lines("\n".join(outside))
        assert secret
        made = nbformat.read(handed_out / path.name, as_version=4)
        assert not secret & lines("\n".join(cell.source for cell in made.cells))
        assert "SOLUTION" not in (handed_out / path.name).read_text()
        exercises = "\n".join(c.source for c in made.cells).split("## Exercises\n")[1]
        assert "<details" not in exercises

    def test_every_plot_asked_for_is_shown(self, path, handed_out):
        asked = "Your plot should look like the one below."
        count = sum(c.source.count(asked) for c in nbformat.read(path, as_version=4).cells)
        made = nbformat.read(handed_out / path.name, as_version=4)
        plots = [c for c in made.cells if c.source.startswith("Your plot should look like this:")]
        assert len(plots) == count >= 1
        for cell in plots:
            assert re.search(r"!\[.{40,}\]\(attachment:plot-1\.png\)", cell.source)
            assert base64.b64decode(cell.attachments["plot-1.png"]["image/png"])[:4] == b"\x89PNG"

    def test_only_exercises_lose_their_outputs_and_all_is_python(self, path, handed_out):
        made = nbformat.read(handed_out / path.name, as_version=4)
        kept = {c.id: c for c in nbformat.read(path, as_version=4).cells}
        for cell in (cell for cell in made.cells if cell.cell_type == "code"):
            ast.parse(TransformerManager().transform_cell(cell.source))
            if {"solution", "check"} & set(cell.metadata.get("tags", [])):
                assert cell.outputs == [] and cell.execution_count is None
                assert not any(tag.startswith("hide") for tag in cell.metadata.tags)
            else:
                chapters = kept[cell.id]
                chapters.source = chapters.source.replace("  # fmt: skip", "")
                assert cell == chapters

    def test_no_link_leads_into_a_repository_that_is_not_there(self, path, handed_out):
        made = nbformat.read(handed_out / path.name, as_version=4)
        prose = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
        targets = re.findall(r"\]\(([^)\s]+)\)", prose)
        assert all(re.match("https?:|attachment:|#", target) for target in targets)
        assert "colab.svg" not in prose

    def test_the_chapter_with_its_solutions_is_one_link_away_and_back(self, path, handed_out):
        opened = re.search(r"\((https://colab\S+/blob/colab-v\S+/)(\S+)\)", path.read_text())
        folder, name = opened.groups()
        assert name == path.name
        solved = handed_out / "solved"
        student.write_solutions([path], solved)
        head = nbformat.read(handed_out / name, as_version=4).cells[0].source
        assert f"[with its solutions]({folder}solutions/{name})" in head
        original, made = (nbformat.read(each, as_version=4) for each in (path, solved / name))
        nbformat.validate(made)
        assert f"[without its solutions]({folder}{name})" in made.cells[0].source
        code = [[c for c in book.cells if c.cell_type == "code"] for book in (original, made)]
        assert code[0] == code[1]  # outputs too
        prose = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
        targets = re.findall(r"\]\(([^)\s]+)\)", prose)
        assert targets and all(re.match("https?:|attachment:|#", target) for target in targets)


# Chapter 03 trains nothing. EVERY_BLANK=1 takes all chapters, in about 20 minutes.
RUN = [path for path in NOTEBOOKS if "EVERY_BLANK" in os.environ or path.stem[:2] == "03"]


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem[:2])
def test_every_check_fails_on_its_blank(path, handed_out):
    """A chapter run as a student finds it."""
    book = nbformat.read(handed_out / path.name, as_version=4)
    where = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = NotebookClient(
        book, timeout=900, kernel_name="python3", resources=where, allow_errors=True
    )
    client.execute()
    for cell in (cell for cell in book.cells if cell.cell_type == "code"):
        failed = [output.ename for output in cell.outputs if output.output_type == "error"]
        labels = cell.metadata.get("tags", [])
        assert failed or "check" not in labels, f"passes on the blank: {cell.source}"
        # A blank itself may fail too, where it goes on to draw what is not there yet.
        assert not failed or {"check", "solution"} & set(labels), f"{failed}: {cell.source}"


# -- the printed book ----------------------------------------------------------------------------

PAGE = """<html><body><article class="bd-article"><section id="{id}"><h1>{title}<a
class="headerlink" href="#">#</a></h1><div class="math">\\[x_0^{{2}}\\]</div>{body}</section>
</article></body></html>"""
CHAPTER = """<section id="one"><h2>One</h2><p><a href="../book/intro.html#welcome">back</a>
<a href="../genindex.html">index</a><a href="https://example.org/">web</a></p>
<details class="hide"><summary>Show</summary><pre>folded = 1</pre></details>
<div class="live"><img src="../_images/dot.png" alt="a dot"><button>Go</button></div></section>
<section id="exercises"><h2>Exercises</h2><section id="exercise-01-1"><h3>Exercise 01.1</h3>
<div class="cell tag_solution"><details class="hide"><summary>Show</summary><pre>x = 42</pre>
</details><div class="cell_output"><img src="../_images/dot.png" alt="plot"></div></div></section>
<section id="questions"><h3>Questions</h3><ol><li><p>Why?</p></li></ol>
<details><summary>Answer</summary><p>Because.</p></details></section></section>"""


@pytest.fixture
def site(tmp_path) -> Path:
    """A site of two pages, with the book's own MathJax."""
    site = tmp_path / "html"
    for folder in ("book", "notebooks", "_images", "_static"):
        (site / folder).mkdir(parents=True)
    shutil.copytree(ROOT / "book/_static/vendor/mathjax", site / "_static/vendor/mathjax")
    (site / "_static/pygments.css").write_text("")
    (site / "_images/dot.png").write_bytes(base64.b64decode(DOT))
    intro = PAGE.format(id="welcome", title="Small book", body="")
    (site / "book/intro.html").write_text(intro)
    chapter = PAGE.format(id="welcome", title="Chapter", body=CHAPTER)
    (site / "notebooks/01_chapter.html").write_text(chapter)
    (tmp_path / "_toc.yml").write_text(
        "root: book/intro\nparts:\n- caption: Chapters\n  chapters:\n"
        "  - file: notebooks/01_chapter.ipynb\n"
    )
    return site


def test_pages_become_one_document(site):
    soup = print_book.document(site, site.parent / "_toc.yml")
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    inside = [a["href"][1:] for a in soup.find_all("a", href=re.compile("^#"))]
    assert set(inside) <= set(ids) and "intro--welcome" in inside
    assert soup.find("a", href="https://example.org/") and "index" in soup.get_text()
    assert not soup.find(class_="headerlink") and not soup.find("button")
    assert all(Path(image["src"].removeprefix("file://")).is_file() for image in soup("img"))
    nav = soup.nav.get_text(" ", strip=True)
    assert nav == "Contents Small book Chapters 01 Chapter One Exercises Solutions"


def test_solutions_stand_at_the_end_of_the_chapter(site):
    soup = print_book.document(site, site.parent / "_toc.yml")
    article = soup.find(id="01_chapter")
    solutions = article.find(id="01_chapter--solutions").extract()
    found = solutions.get_text(" ", strip=True)
    assert "Exercise 01.1 x = 42" in found and "Questions Answer 1 Because." in found
    rest = article.get_text(" ", strip=True)
    assert "x = 42" not in rest and "Because" not in rest
    assert "folded = 1" in rest, "what is folded elsewhere is printed in its place"
    assert article.find("img", alt="plot"), "the figure asked for stays with its exercise"
    assert article.find("a", href="#01_chapter--exercise-01-1--solution", class_="page-of")


@pytest.mark.skipif(
    not (any(map(shutil.which, print_book.CHROMIUM)) and shutil.which("pdfinfo")),
    reason="needs Chromium and poppler-utils",
)
def test_the_small_book_is_printed_with_formulas_and_page_numbers(site, monkeypatch, capsys):
    monkeypatch.setattr(print_book, "ROOT", site.parent)
    shutil.copy(ROOT / "pyproject.toml", site.parent)
    (site.parent / "tools").mkdir()
    shutil.copy(ROOT / "tools/print_book.html", site.parent / "tools")
    out = site.parent / "small.pdf"
    assert print_book.main([str(site), "--out", str(out)]) == 0
    text = subprocess.run(["pdftotext", "-layout", out, "-"], capture_output=True, text=True).stdout
    front, contents, intro, chapter = (" ".join(page.split()) for page in text.split("\f")[:4])
    assert "Small book" in front and "Small book 3" in contents and "01 Chapter 4" in contents
    assert intro.endswith(" 3") and chapter.startswith("Chapter") and chapter.endswith(" 4")
    assert "solution on page 4" in chapter and "\\[" not in text


@pytest.mark.parametrize("there", ["nothing", "no chapter", "no browser"])
def test_what_printing_lacks_gets_a_sentence(there, site, monkeypatch):
    if there == "no browser":
        monkeypatch.setattr(print_book.shutil, "which", lambda name: None)
        with pytest.raises(SystemExit, match=r"chromium is not installed.*`apt install"):
            print_book.main([str(site), "--out", str(site / "x.pdf")])
        return
    monkeypatch.setattr(print_book, "tool", lambda *names, package: "true")
    where = site if there == "no chapter" else site / "nowhere"
    with pytest.raises(SystemExit, match="run `make book` first"):
        print_book.main([str(where), "--out", str(site / "x.pdf")])


# -- the archives of a release -------------------------------------------------------------------

PROJECT = """[project]
version = "1.2.3"
[project.urls]
Repository = "https://github.com/some-body/ddgan-lite"
Book = "https://book.example.org"
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A project of which everything is built."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    for name in ("notebooks/01_b.ipynb", "notebooks/00_a.ipynb", "notebooks/00_a.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("student/00_a.ipynb", "student/01_b.ipynb", "student/README.txt", "book.pdf"):
        (tmp_path / "_build" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "_build" / name).write_text(name)
    (tmp_path / "_build/slides/vendor").mkdir(parents=True)
    for name in ("index.html", "vendor/deck.js", ".hidden"):
        (tmp_path / "_build/slides" / name).write_text(name)
    return tmp_path


def test_a_release_holds_its_parts_and_their_checksums(project, capsys):
    assert release.main(project) == 0
    out = project / "_build/release"
    names = {path.name for path in out.iterdir()}
    archives = {"notebooks-1.2.3.zip", "student-notebooks-1.2.3.zip", "slides-1.2.3.zip"}
    assert names == archives | {"book-1.2.3.pdf", "SHA256SUMS"}
    held = {name: sorted(zipfile.ZipFile(out / name).namelist()) for name in archives}
    books = ["00_a.ipynb", "01_b.ipynb", "README.txt"]
    assert held["notebooks-1.2.3.zip"] == [f"notebooks-1.2.3/{n}" for n in books]
    assert held["student-notebooks-1.2.3.zip"] == [f"student-notebooks-1.2.3/{n}" for n in books]
    deck = ["index.html", "vendor/deck.js"]
    assert held["slides-1.2.3.zip"] == [f"slides-1.2.3/{name}" for name in deck]
    with zipfile.ZipFile(out / "notebooks-1.2.3.zip") as file:
        readme = file.read("notebooks-1.2.3/README.txt").decode()
        assert file.read("notebooks-1.2.3/01_b.ipynb") == b"notebooks/01_b.ipynb"
    assert "git+https://github.com/some-body/ddgan-lite@v1.2.3" in readme
    assert (out / "book-1.2.3.pdf").read_text() == "book.pdf"
    sums = dict(line.split()[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == names - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def test_the_same_files_give_the_same_bytes(project, tmp_path_factory):
    first = {path.name: path.read_bytes() for path in release.release(project)}
    (project / "_build/release/slides-0.0.1.zip").touch()  # of an earlier version
    copy = tmp_path_factory.mktemp("copy") / "project"
    copy.mkdir()
    for path in sorted(project.rglob("*"), reverse=True):  # made in another order, later
        if path.is_file() and "release" not in path.parts:
            (copy / path.relative_to(project)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(project)).write_bytes(path.read_bytes())
            (copy / path.relative_to(project)).chmod(0o600)
    assert {path.name: path.read_bytes() for path in release.release(copy)} == first
    assert {path.name: path.read_bytes() for path in release.release(project)} == first
    assert {path.name for path in (project / "_build/release").iterdir()} == set(first)
    (copy / "_build/slides/index.html").write_text("another")
    last = {path.name: path.read_bytes() for path in release.release(copy)}
    differ = {name for name in first if first[name] != last[name]}
    assert differ == {"slides-1.2.3.zip", "SHA256SUMS"}


@pytest.mark.parametrize(
    ("part", "target"),
    [
        ("_build/student/01_b.ipynb", "make student"),
        ("_build/book.pdf", "make pdf"),
        ("_build/slides/index.html", "make slides"),
    ],
)
def test_a_missing_part_names_the_target_that_makes_it(project, part, target, capsys):
    (project / part).unlink()
    assert release.main(project) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert f"run `{target}` first" in sentence
    assert not (project / "_build/release").exists()
