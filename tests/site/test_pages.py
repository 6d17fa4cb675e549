"""Every page: no error, nothing from elsewhere, no sideways scrolling, described pictures."""

from itertools import pairwise

import pytest
import visits

# What the theme's own scripts say on the console, by the words of the message. Nothing, so far.
THEMES_OWN_ERRORS = ()

FIRST_PAGE = "book/intro.html"
FIRST_PAGE_SENT = 800_000  # bytes, text gzipped
ANY_PAGE_RAW = 3_000_000  # bytes, as the files lie on disk


def test_loads_without_an_error(visit):
    errors = [e for e in visit.page.errors if not any(own in e for own in THEMES_OWN_ERRORS)]
    assert not errors, "\n".join(errors)


def test_asks_nothing_of_another_host(visit):
    assert not visit.page.requests_blocked


def test_does_not_scroll_sideways_on_a_phone(visit):
    assert visit.too_wide == {theme: [] for theme in visits.THEMES}


def test_pictures_are_described(visit):
    assert not visit.page.evaluate(visits.BARE_IMAGES)


def test_headings_descend_one_level_at_a_time(visit):
    headings = visit.page.evaluate(visits.HEADINGS)
    levels = [level for level, _ in headings]
    assert levels[:1] == [1] and levels.count(1) == 1, headings
    for (above, _), (below, text) in pairwise(headings):
        assert below <= above + 1, f"{text!r} is an h{below} under an h{above}"


def test_weight(visit):
    weight = visit.weight
    told = f"{weight.sent:,} bytes sent, {weight.raw:,} on disk; the heaviest files:\n"
    told += weight.heaviest()
    if visit.name == FIRST_PAGE:
        assert weight.sent <= FIRST_PAGE_SENT, told
    assert weight.raw <= ANY_PAGE_RAW, told


def test_mathjax_comes_where_there_is_a_formula_and_nowhere_else(visit):
    formulas = visit.page.locator("main .math, main mjx-container").count()
    loaded = any("mathjax" in name for name in visit.weight.files)
    assert loaded == (formulas > 0), f"{formulas} formulas"


def test_screenshots(visit):
    for picture in visit.photograph():
        assert picture.stat().st_size > 5_000, f"{picture} is blank"


def test_front_door_leads_to_the_first_page(open_page, site):
    page = open_page("index.html", javascript=False)
    page.wait_for_url((site / FIRST_PAGE).as_uri())
    assert page.locator("article h1").count() == 1


@pytest.mark.parametrize(
    "anchor",
    [
        "ddgan_lite.chain.diffusion.Diffusion",
        "ddgan-lite-method-model",
        "module-ddgan_lite.data.toys",
    ],
)
def test_an_old_link_into_the_library_still_finds_its_place(open_page, site, anchor):
    page = open_page(FIRST_PAGE)
    page.goto(f"{(site / 'book/api.html').as_uri()}#{anchor}")
    page.wait_for_url(f"**/book/api/*.html#{anchor}")
    assert page.locator(f'[id="{anchor}"]').count() == 1


def test_a_shared_link_shows_what_it_leads_to(open_page, site):
    page = open_page(FIRST_PAGE)
    said = dict(
        page.evaluate("""() => [...document.querySelectorAll("head > meta[content]")]
        .map((meta) => [meta.getAttribute("property") ?? meta.name, meta.content])""")
    )
    assert said["description"].startswith("Images from noise in four steps")
    assert said["og:description"] == said["description"] and said["og:title"]
    assert said["twitter:card"] == "summary_large_image"
    place, _, path = said["og:image"].partition("/_static/")
    assert said["og:url"] == f"{place}/{FIRST_PAGE}" and place.startswith("https://")
    assert 20_000 < (site / "_static" / path).stat().st_size < 300_000


def test_reads_without_javascript(open_page):
    page = open_page(FIRST_PAGE, javascript=False)
    assert page.locator("article h1").is_visible()
    assert page.locator("article p").first.is_visible()


def test_a_bad_page_is_noticed(browser, tmp_path):
    """The checks above can fail: a page that does everything wrong."""
    (tmp_path / "bad.html").write_text(
        """<!doctype html><html lang="en"><title>Bad</title><body>
        <h1>One</h1><h3>Three</h3><p style="color: #999">grey</p>
        <img src="https://host.invalid/a.png"><img src="missing.png" alt=" ">
        <div style="width: 1000px">wide</div>
        <script>console.error("said"); setTimeout(() => { throw Error("thrown") })</script>"""
    )
    page = visits.open_in(browser, "bad.html", width=visits.PHONE, site=tmp_path)
    page.wait_for_function("() => document.readyState === 'complete'")
    assert page.requests_blocked == ["https://host.invalid/a.png"]
    heard = "\n".join(page.errors)
    assert "said" in heard and "thrown" in heard and "missing.png" in heard
    assert any("div. to 1008" in line for line in page.evaluate(visits.TOO_WIDE))
    assert len(page.evaluate(visits.BARE_IMAGES)) == 2
    assert [level for level, _ in page.evaluate(visits.HEADINGS)] == [1, 3]
    page.evaluate(visits.AXE.read_text(encoding="utf-8"))
    rules = {finding["rule"] for finding in page.evaluate(visits.RUN_AXE)}
    assert {"color-contrast", "image-alt", "heading-order"} <= rules
    page.context.close()
