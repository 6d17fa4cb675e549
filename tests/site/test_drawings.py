"""Figures of the chapters, as pages show them: letters that can be read, numbers, and the dark."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import figures
import pytest

FIGURES = """() => [...document.querySelectorAll(".cell_output figure")].map((figure) => {
  const image = figure.querySelector("img");
  return {
    source: image.src,
    photo: image.classList.contains("photo"),
    width: image.clientWidth,
    number: figure.querySelector("figcaption .caption-number")?.textContent.trim() ?? "",
  };
})"""
TICK = re.compile(r'id="[xy]tick_')


@pytest.fixture
def drawn(visit):
    """The figures of a chapter, each with its SVG; a stopped chapter shows PNGs, without one."""
    if not visit.name.startswith("notebooks/"):
        pytest.skip("no chapter")
    visit.page.evaluate("() => document.querySelectorAll('details').forEach((d) => d.open = true)")
    found = visit.page.evaluate(FIGURES)
    for each in found:
        path = Path(unquote(urlsplit(each["source"]).path))
        each["svg"] = path.read_text("utf-8") if path.suffix == ".svg" else ""
    return found


def test_every_figure_is_a_drawing_with_letters_of_ten_pixels(drawn):
    assert drawn
    for each in drawn:
        page = figures.measured(each["svg"])
        assert page["letters"] * min(1, each["width"] / page["width"]) >= 10, each["source"]


def test_figures_are_numbered_in_order_by_chapter(drawn, visit):
    chapter = int(re.search(r"notebooks/(\d\d)", visit.name)[1])
    wanted = [f"Figure {chapter}.{place}" for place in range(1, len(drawn) + 1)]
    assert [each["number"] for each in drawn] == wanted


def test_what_stays_as_it_is_in_the_dark_is_pixels_alone(drawn):
    """Axes beside photographs would stay dark on white: they are a figure of their own."""
    for each in drawn:
        if each["photo"]:
            assert "<image" in each["svg"] and not TICK.search(each["svg"]), each["source"]
