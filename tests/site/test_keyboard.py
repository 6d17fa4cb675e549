"""The book without a mouse: the tab order, the theme switch, the search."""

import pytest

FIRST_PAGE = "book/intro.html"
# Where the focus is, as "name of the control" or the words of a link, and whether it shows.
FOCUS = """() => {
  const e = document.activeElement;
  const style = getComputedStyle(e);
  return {
    tag: e.tagName, text: (e.getAttribute("aria-label") || e.textContent).trim(),
    inside: ["nav", "dialog", "main", "header"].filter((name) => e.closest(name)),
    sidebar: !!e.closest(".bd-sidebar-primary nav"),
    marked: style.outlineStyle !== "none" || style.boxShadow !== "none",
  };
}"""


def tab_to(page, wanted, limit=80):
    """Press Tab until ``wanted(focus)``; the stops on the way, the one found last."""
    stops = []
    for _ in range(limit):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUS))
        if wanted(stops[-1]):
            return stops
    pytest.fail("not reached by Tab: " + ", ".join(stop["text"][:30] for stop in stops))


def test_tab_reaches_search_navigation_and_theme(open_page):
    page = open_page(FIRST_PAGE)
    stops = tab_to(page, lambda focus: focus["text"] == "Color mode")
    assert stops[0]["text"] == "Skip to main content"
    assert any(stop["text"] == "Search" for stop in stops)
    chapters = [stop for stop in stops if stop["sidebar"] and stop["tag"] == "A"]
    assert len(chapters) >= 11, [stop["text"] for stop in chapters]
    unmarked = [stop["text"] for stop in stops if not stop["marked"]]
    assert not unmarked, f"the focus does not show on {unmarked}"


def test_skip_link_leads_past_the_navigation(open_page):
    page = open_page(FIRST_PAGE)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert "main" in page.evaluate(FOCUS)["inside"]


def test_theme_switch(open_page):
    page = open_page(FIRST_PAGE)
    tab_to(page, lambda focus: focus["text"] == "Color mode")
    seen = []
    for _ in range(3):
        page.keyboard.press("Enter")
        seen.append(page.evaluate("() => document.documentElement.dataset.mode"))
        # The theme takes the focus off a pressed button; the tab order goes on from there.
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
    assert sorted(seen) == ["auto", "dark", "light"]


def test_search_by_keyboard(open_page):
    page = open_page(FIRST_PAGE)
    tab_to(page, lambda focus: focus["text"] == "Search")
    page.keyboard.press("Enter")
    page.locator("dialog[open] input[type=search]").wait_for()
    assert page.evaluate(FOCUS)["tag"] == "INPUT"
    page.keyboard.type("posterior")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=posterior*")
    page.locator("#search-results ul.search li a").first.wait_for()
    assert page.locator("#search-results ul.search li").count() >= 5
