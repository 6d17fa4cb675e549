"""axe on every page, light and dark: nothing but what the site's generators bring along."""

from typing import NamedTuple

import pytest
import visits


class Excused(NamedTuple):
    """One finding that is left alone: a rule, the elements, a page that has one, and why."""

    rule: str
    selector: str
    page: str
    reason: str


BASELINE = [
    Excused(
        "label-content-name-mismatch",
        "button.search-button-field",
        "book/intro.html",
        "the theme names the button Search; the keys it also shows are a hint, not a name",
    ),
    Excused(
        "region",
        "p.logo__title",
        "book/intro.html",
        "the theme puts the book's name above the navigation, outside every landmark",
    ),
    Excused(
        "definition-list",
        "dt.sig dl",
        "book/api/method.html",
        "Sphinx writes the arguments of a long signature, one a line, as dd without dt",
    ),
    Excused(
        "list",
        "article > ul",
        "_modules/index.html",
        "Sphinx's index of listings puts the modules of a package in a ul right inside a ul",
    ),
]


def excused(visit, finding: dict) -> bool:
    """Whether the element of ``finding`` is one that the baseline names for its rule."""
    matches = "([target, selector]) => document.querySelector(target).matches(selector)"
    return any(
        finding["rule"] == entry.rule
        and visit.page.evaluate(matches, [finding["target"], entry.selector])
        for entry in BASELINE
    )


@pytest.fixture(scope="session", autouse=True)
def _axe_is_there():
    assert visits.AXE.exists(), f"no axe-core at {visits.AXE}: `make site-test` installs it"


@pytest.mark.parametrize("theme", visits.THEMES)
def test_nothing_beyond_the_baseline(visit, theme):
    found = [finding for finding in visit.violations[theme] if not excused(visit, finding)]
    assert not found, "\n" + "\n".join(
        "{rule}: {target}\n  {html}\n  {why}".format(**finding) for finding in found
    )


def test_the_baseline_holds_nothing_that_is_gone(visit):
    light = visit.violations["light"]
    for entry in BASELINE:
        if entry.page == visit.name:
            alike = [finding for finding in light if finding["rule"] == entry.rule]
            assert any(excused(visit, finding) for finding in alike), (
                f"{entry.rule} on {entry.selector} is mended: strike it from the baseline"
            )
