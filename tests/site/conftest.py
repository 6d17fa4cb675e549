"""The built site in a browser: `make site-test`.

The folder of the site is $SITE, or else _build/html. Pages are opened from file://, and every
request for anything else is refused.
"""

import pytest

try:
    import visits
    from playwright.sync_api import sync_playwright
except ImportError as missing:
    raise pytest.UsageError(f"{missing}: `make site-test` installs what these tests need") from None

if not visits.SITE.is_dir():
    raise pytest.UsageError(f"there is no site at {visits.SITE}: `make book` builds it")


@pytest.fixture(scope="session")
def site():
    """The folder of the built site."""
    return visits.SITE


@pytest.fixture(scope="session")
def browser():
    """One browser for all the tests."""
    if not visits.CHROMIUM.exists():
        pytest.fail(f"no Chromium at {visits.CHROMIUM}: install it, or name it in $CHROME_PATH")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=visits.CHROMIUM, args=["--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture
def open_page(browser, site):
    """open_page(name, theme="light", width=1280, javascript=True): a page of its own, drawn.

    ``page.errors``, ``page.requests`` and ``page.requests_blocked`` tell what happened on it.
    A test that ends with a refused request fails.
    """
    pages = []

    def open_page(name, theme="light", width=1280, javascript=True):
        pages.append(visits.open_in(browser, name, theme, width, javascript, site))
        return pages[-1]

    yield open_page
    blocked = [address for page in pages for address in page.requests_blocked]
    for page in pages:
        page.context.close()
    assert not blocked, f"the page asked another host: {blocked}"


@pytest.fixture(scope="session", params=visits.visited_pages())
def visit(request, browser):
    """One visit to each page in turn; pytest runs all that is asked of a page before the next."""
    visit = visits.Visit(browser, request.param)
    yield visit
    visit.page.context.close()
