"""Every page at three widths: no code, output or formula is wider than its box; on a phone what is
wider scrolls, and a shadow says so."""

import io

import pytest
import visits
from PIL import Image

# Boxes that hide a part of what they hold, each with whether it scrolls and whether shadows that
# stay at its edges (and covers that move with what it holds) show that there is more. A formula in
# a line, as captions have them, hides a copy for screen readers and nothing else.
OVERFLOWING = """() => {
  document.querySelectorAll(".bd-article details").forEach((each) => { each.open = true; });
  const boxes = ".bd-article :is(pre, mjx-container[display=true], div.math, .cell_output *)";
  return [...document.querySelectorAll(boxes)].filter((box) =>
    box.clientWidth && box.scrollWidth > box.clientWidth + 1
      && getComputedStyle(box).display !== "inline" && !box.closest("mjx-container > *")
      && !box.matches("span.math, mjx-container:not([display=true])")
  ).map((box) => {
    const style = getComputedStyle(box);
    const moves = new Set(style.backgroundAttachment.split(", "));
    return {
      what: `${box.tagName.toLowerCase()} of ${box.scrollWidth} px in ${box.clientWidth}: `
        + box.textContent.trim().slice(0, 60),
      scrolls: ["auto", "scroll"].includes(style.overflowX),
      told: moves.has("local") && moves.has("scroll")
        && style.backgroundImage.includes("linear-gradient"),
    };
  });
}"""


def overflowing(page, width: int) -> list[dict]:
    page.set_viewport_size({"width": width, "height": 900})
    return page.evaluate(OVERFLOWING)


@pytest.mark.parametrize("width", [1280, 1440])
def test_nothing_is_wider_than_its_box_at_a_desk(visit, width):
    found = overflowing(visit.page, width)
    visit.page.set_viewport_size({"width": 1280, "height": 900})
    assert not found, "\n".join(each["what"] for each in found)


def test_what_is_wider_than_a_phone_scrolls_and_says_so(visit):
    found = overflowing(visit.page, visits.PHONE)
    visit.page.set_viewport_size({"width": 1280, "height": 900})
    cut = [each["what"] for each in found if not (each["scrolls"] and each["told"])]
    assert not cut, "\n".join(cut)


def darkness(box) -> tuple[int, int]:
    """How much darker than the paper the left and the right edge of a box are, near its foot."""
    picture = Image.open(io.BytesIO(box.screenshot())).convert("L")
    y, paper = picture.height - 8, picture.getpixel((picture.width // 2, picture.height - 8))
    return paper - picture.getpixel((6, y)), paper - picture.getpixel((picture.width - 6, y))


def test_the_shadow_is_where_more_is_hidden(open_page):
    page = open_page("book/how-to-use.html", width=visits.PHONE)
    box = page.locator(".bd-article div.highlight pre").first
    box.evaluate("(box) => { box.textContent = 'x'.repeat(200); }")
    left, right = darkness(box)
    assert right > 30 and abs(left) < 5
    box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
    left, right = darkness(box)
    assert left > 30 and abs(right) < 5
    box.evaluate("(box) => { box.textContent = 'x'; }")
    assert max(map(abs, darkness(box))) < 5


def test_a_box_that_cuts_is_noticed(open_page):
    page = open_page("book/how-to-use.html", width=visits.PHONE)
    before = len(page.evaluate(OVERFLOWING))
    page.evaluate(
        """() => document.querySelector(".bd-article").insertAdjacentHTML("beforeend",
        `<pre style="overflow: hidden; background: none">${"x".repeat(300)}</pre>`)"""
    )
    last = page.evaluate(OVERFLOWING)[-1]
    assert len(page.evaluate(OVERFLOWING)) == before + 1
    assert not last["scrolls"] and not last["told"]
