"""What readers of the site get that a notebook does not have: folded cells, and links by words."""

import re
import sys
from pathlib import Path

import fold
import nbformat
import pytest
from PIL import Image
from sphinx.testing.util import SphinxTestApp

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
new = nbformat.v4
PICTURE = new.new_output("display_data", data={"image/png": ""})
LONG_DRAWING = "figure, ax = plt.subplots()\n" + "ax.plot([1], [2])\n" * 6


@pytest.mark.parametrize(
    ("source", "tags", "outputs", "words"),
    [
        ("assert a > 1\nassert b", [], [], fold.CLAIMS),
        ("x = 1\nassert x < 2", [], [], fold.CLAIMS),
        ("x = 1\ny = 2\nassert x < y", [], [], ""),
        ("assert mine == 3", ["check"], [], ""),  # belongs to the task above it
        ("mine = 3", ["hide-cell", "solution"], [], fold.SOLUTION),
        (LONG_DRAWING, [], [PICTURE], fold.DRAWING),
        (LONG_DRAWING, [], [], ""),  # it shows nothing
        ("x = 1\n" + LONG_DRAWING, [], [PICTURE], ""),  # it computes, too
        ("figure, ax = plt.subplots()\nax.plot(x)", [], [PICTURE], ""),
        ("%pip install x", [], [], ""),
    ],
)
def test_a_cell_is_folded_for_what_it_is(source, tags, outputs, words):
    cell = new.new_code_cell(source, metadata={"tags": tags}, outputs=outputs)
    assert fold.words(cell) == words


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_a_page_opens_with_its_text_and_one_folded_setup(path):
    cells = nbformat.read(path, 4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    shown = [cell.source for cell in code if "remove-cell" not in cell.metadata.get("tags", [])]
    page = fold.fold(cells)
    prompts = [cell.metadata.get("mystnb", {}).get("code_prompt_show") for cell in page]
    assert prompts[:2] == [None, fold.SETUP] and prompts.count(fold.SETUP) == 1
    assert page[1].source == "\n\n".join(shown[:3]) and "hide-input" in page[1].metadata.tags
    solutions = ["solution" in cell.metadata.get("tags", []) for cell in page]
    assert solutions == [prompt == fold.SOLUTION for prompt in prompts]


def test_an_answer_lies_inside_its_question():
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "markdown":
                assert not re.search(r"^<details><summary>Answer", cell.source, re.M), path.name


GLOSSARY = """\
Words
=====

.. glossary::

   GAN
      Two.

   Noise level
      The GAN of chapter 00.

   Mode
      A GAN of many.
"""
CITING = """\
A
=

No word.

References
----------

A GAN.
"""
LINKED = """\
Chapter 03
==========

Chapters 00, 01 and 03, then chapter
01's end; chapter 99 and 1999; ``chapter 01``; a mode. A GAN, GANs, a DDGAN, a gan.
Noise levels and noise level; `chapter 01 <https://host.invalid>`_.
"""
CONTENTS = "Top\n===\n\n.. toctree::\n   :glob:\n\n   notebooks/*\n   book/*\n"


def test_chapters_and_terms_become_links(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "book/_ext"), *sys.path])
    pages = {
        "conf.py": "extensions = ['linked_words']",
        "index.rst": CONTENTS,
        "book/glossary.rst": GLOSSARY,
        "notebooks/00_a.rst": CITING,
        "notebooks/01_b.rst": "B\n=\n\nNo word.\n",
        "notebooks/03_c.rst": LINKED,
    }
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    app = SphinxTestApp("html", srcdir=tmp_path, freshenv=True)
    app.build()
    app.cleanup()  # or the next one warns that everything is registered already
    assert not app.warning.getvalue()

    def links(name):
        text = Path(app.outdir, name).read_text().partition('class="body"')[2]
        found = re.findall(r'<a class="(chapter|term) [^>]*href="([^"]*)"[^>]*>([^<]*)<', text)
        return [(address, " ".join(words.split())) for _, address, words in found]

    assert links("notebooks/03_c.html") == [
        ("00_a.html", "00"),
        ("01_b.html", "01"),
        ("01_b.html", "chapter 01"),
        ("../book/glossary.html#term-GAN", "GAN"),
        ("../book/glossary.html#term-Noise-level", "Noise levels"),
    ]
    assert links("notebooks/00_a.html") == []  # titles of papers
    assert links("book/glossary.html") == [("../notebooks/00_a.html", "chapter 00")]


FIGURES = """\
A
=

The figure above is not there, the figure below is.

.. figure:: dot.png

   One.

The figure above. Yours should look like the one below.

.. figure:: dot.png

   Two.
"""


def test_figures_are_numbered_by_chapter_and_the_text_says_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "book/_ext"), *sys.path])
    settings = "extensions = ['numbered_figures']\nnumfig = True\n"
    pages = {
        "conf.py": settings + "numfig_format = {'figure': 'Figure %s'}\n",
        "index.rst": CONTENTS,
        "book/a.rst": "A\n=\n\nThe figure below.\n",
        "notebooks/04_a.rst": FIGURES,
        "notebooks/11_b.rst": FIGURES,
    }
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for folder in ("notebooks", "book"):
        Image.new("L", (1, 1)).save(tmp_path / folder / "dot.png")
    app = SphinxTestApp("html", srcdir=tmp_path, freshenv=True)
    app.build()
    app.cleanup()  # or the next one warns that everything is registered already
    assert not app.warning.getvalue()

    def words(name):
        text = Path(app.outdir, name).read_text().partition('class="body"')[2]
        return " ".join(re.sub("<[^>]*>", "", text.partition("</article")[0]).split())

    page = words("notebooks/11_b.html")
    assert "The figure above is not there, figure 11.1 is." in page
    assert "Figure 11.1 One." in page and "Figure 11.2 Two." in page
    assert "Figure 11.1. Yours should look like figure 11.2." in page
    html = Path(app.outdir, "notebooks/04_a.html").read_text()
    assert re.search(r'<a [^>]*href="#figure-1">Figure 4\.1</a>\.', html)
    assert 'id="figure-1"' in html
    assert "The figure below." in words("book/a.html")
