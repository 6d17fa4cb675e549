"""Figures as the notebooks store them, and tables as they show them."""

import base64
import io
import re

import execute
import figures
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import store_outputs
import torch
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from ddgan_lite.figures import plots
from ddgan_lite.figures.tables import HEADINGS, table


@pytest.fixture
def drawn():
    """A figure with letters of 8 points and more, a crowd of points and an image, as SVG."""
    with plt.rc_context():
        plots.use_style()
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(plots.WIDTH, 2.5))
        plots.points(left, torch.randn(5000, 2))
        middle.semilogy([1, 10, 100], [1, 2, 3])
        plots.images(right, torch.linspace(-1, 1, 3 * 64).view(1, 3, 8, 8))
        file = io.StringIO()
        figure.savefig(file, format="svg", dpi=200, metadata={"Date": None})
        plt.close(figure)
    return file.getvalue()


def embedded(svg):
    found = re.findall(r'"data:image/png;base64,([^"]+)"', svg)
    return [Image.open(io.BytesIO(base64.b64decode(png))) for png in found]


def test_a_figure_fills_the_column_with_letters_that_can_be_read(drawn):
    page = figures.measured(drawn)
    assert page["letters"] == pytest.approx(8 * figures.PIXELS_A_POINT, abs=0.05)
    assert 0.98 * figures.COLUMN < page["width"] <= figures.COLUMN
    twice = figures.measured(drawn.replace('viewBox="0 0 511.2', 'viewBox="0 0 1022.4'))
    assert twice["width"] == pytest.approx(2 * page["width"], abs=0.2)  # shrunk to the column
    assert twice["letters"] == pytest.approx(8 * figures.COLUMN / 1022.4, abs=0.05)


def test_a_crowd_of_points_is_pixels_and_an_image_keeps_its_own(drawn):
    points, image = embedded(drawn)
    assert points.width > 200  # 200 dots an inch
    assert image.size == (8, 8)


def test_pages_have_the_pixels_of_a_drawing_in_fewer_colours(drawn):
    page = figures.lighter(drawn)
    assert len(page) < 0.75 * len(drawn) and figures.measured(page) == figures.measured(drawn)
    for before, after in zip(embedded(drawn), embedded(page), strict=True):
        ours, theirs = (np.asarray(each.convert("RGBA"), float) for each in (before, after))
        inked = ours[..., 3] > 0
        assert np.abs(ours - theirs)[inked].mean() < 4  # of 255
        assert np.array_equal(inked, theirs[..., 3] > 0)
    assert len(figures.lighter(page)) <= len(page)


def test_the_kernel_is_asked_for_both(tmp_path):
    """Two cells, so that the second finds the format that the first one's import set up."""
    draw = "plt.plot([1, 2])\nplt.show()"
    cells = [f"import matplotlib.pyplot as plt\n{draw}", draw]
    book = new_notebook(cells=[new_code_cell(source) for source in cells])
    for cell in book.cells:
        cell.metadata["tags"] = []
    nbformat.write(book, tmp_path / "a.ipynb")
    execute.execute(tmp_path / "a.ipynb", tmp_path / "b.ipynb", first_line=figures.VECTORS)
    first, second = (cell.outputs[0] for cell in nbformat.read(tmp_path / "b.ipynb", 4).cells)
    assert first.data["image/svg+xml"] == second.data["image/svg+xml"]
    kept = store_outputs.stored(first)
    assert set(kept.data) == {"image/png", "text/plain"}
    assert kept.metadata["page"] == {"width": 614.4, "letters": 13.3}
    assert Image.open(io.BytesIO(base64.b64decode(kept.data["image/png"]))).width == 640


def test_a_table_is_html_in_a_notebook_and_text_in_a_terminal():
    made = table({"a & b": {"kl": 0.12345, "modes": 1000}, "c": {"note": "2 to 3"}}, 2, "Scores")
    text = str(made).splitlines()
    assert text[0] == "Scores" and text[1].split() == ["KL", "(nats)", "modes", "note"]
    assert text[2].split("  ", 1)[0] == "a & b" and text[2].split()[-2:] == ["0.12", "1,000"]
    assert len({len(line) for line in text[1:]}) == 1  # the columns stand below each other
    html = made._repr_html_()
    assert "<caption>Scores</caption>" in html and '<th scope="row">a &amp; b</th>' in html
    assert "<td>0.12</td><td>1,000</td><td></td>" in html
    assert "<td></td><td></td><td>2 to 3</td>" in html


def test_digits_may_differ_by_column():
    made = table({"x": {"hq3": 0.5, "seconds": 0.00012}}, {"seconds": 4})
    assert made.rows == (("x", "0.500", "0.0001"),)
    assert made.headings == (HEADINGS["hq3"], "seconds")


def test_a_column_of_large_numbers_has_fewer_digits():
    scores = {"fd": [0.0, 29.551, 1903.153, 22.3], "kl": [0.0251, 1.2, 0.02, 0.003]}
    rows = {str(k): {name: column[k] for name, column in scores.items()} for k in range(4)}
    assert [row[1] for row in table(rows).rows] == ["0.0", "29.6", "1,903.2", "22.3"]
    assert [row[2] for row in table(rows).rows] == ["0.025", "1.200", "0.020", "0.003"]
    assert table({"x": {"seconds": 517.07}}).rows == (("x", "517"),)
