"""The pages of the built site, and what one visit to a page in the browser brings to light."""

import gzip
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("SITE", ROOT / "_build/html")).resolve()
NODE = ROOT / "_build/node/node_modules"
SCREENSHOTS = ROOT / "_build/screenshots"
CHROMIUM = Path(os.environ.get("CHROME_PATH", "/usr/bin/chromium"))

THEMES = ("light", "dark")
PHONE = 390  # width in pixels
AXE = NODE / "axe-core/axe.min.js"
# What a web server compresses on its way out; fonts and pictures are compressed already.
TEXT = {".css", ".html", ".js", ".json", ".svg"}
# Everything but the site's own files: none of it may be asked for, and none of it is delivered.
ELSEWHERE = re.compile(r"^(?!file:|data:|blob:)")


def all_pages() -> list[str]:
    """Every page of the site, as a path from its top; the theme's templates are no pages."""
    found = [path.relative_to(SITE).as_posix() for path in sorted(SITE.rglob("*.html"))]
    return [name for name in found if not name.startswith("_static/") and name != "index.html"]


def visited_pages() -> list[str]:
    """The pages the browser is sent to.

    The listings of the library's source are made from one template: their index and one of
    middling length stand for the rest.
    """
    pages = all_pages()
    listings = [name for name in pages if name.startswith("_modules/ddgan_lite")]
    listings.sort(key=lambda name: (SITE / name).stat().st_size)
    chosen = listings[len(listings) // 2 :][:1]
    return [name for name in pages if name not in listings or name in chosen]


@dataclass
class Weight:
    """Bytes of the files a page loaded: as they lie on disk, and as a web server sends them."""

    files: dict[str, tuple[int, int]]

    @property
    def raw(self) -> int:
        return sum(raw for raw, _ in self.files.values())

    @property
    def sent(self) -> int:
        return sum(sent for _, sent in self.files.values())

    def heaviest(self, count: int = 5) -> str:
        ranked = sorted(self.files.items(), key=lambda item: -item[1][1])[:count]
        return "\n".join(f"  {sent:>9,} of {raw:>9,}  {name}" for name, (raw, sent) in ranked)


def weigh(addresses: set[str]) -> Weight:
    """Weigh the files behind ``addresses``; text counts in gzip's level 6, as servers send it."""
    files = {}
    for address in addresses:
        path = Path(unquote(urlsplit(address).path))
        if urlsplit(address).scheme == "file" and path.is_file():
            data = path.read_bytes()
            sent = len(gzip.compress(data, 6)) if path.suffix in TEXT else len(data)
            files[os.path.relpath(path, SITE)] = (len(data), sent)
    return Weight(files)


# On a page with a widget MathJax comes when the widget is done.
FORMULAS_SET = """async () => {
  await window.ddganLive?.formulas;
  await window.MathJax?.startup?.promise;
}"""


def open_in(
    browser: Browser,
    name: str,
    theme: str = "light",
    width: int = 1280,
    javascript: bool = True,
    site: Path = SITE,
) -> Page:
    """Open page ``name`` of ``site`` in a context of its own, and wait until it is drawn.

    The page gains three lists that grow while it is open: ``errors`` (what the console and
    uncaught exceptions said), ``requests`` (addresses it asked for) and ``requests_blocked``
    (those among them that lie outside the site's folder, none of which was answered).
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=theme,
        java_script_enabled=javascript,
    )
    context.set_default_timeout(60_000)  # milliseconds: a busy machine is no fault of the page
    page = context.new_page()
    page.errors, page.requests, page.requests_blocked = [], [], []

    def block(route):
        page.requests_blocked.append(route.request.url)
        route.abort()

    def heard(message):
        if message.type == "error":
            page.errors.append(f"console: {message.text} ({message.location.get('url', '')})")

    context.route(ELSEWHERE, block)
    page.on("websocket", lambda socket: page.requests_blocked.append(socket.url))
    page.on("console", heard)
    page.on("pageerror", lambda error: page.errors.append(f"exception: {error}"))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto((site / name).as_uri())
    if javascript:
        page.evaluate(FORMULAS_SET)
    return page


def set_theme(page: Page, theme: str) -> None:
    """Switch the system's preference, and wait until the theme of the book has followed."""
    page.emulate_media(color_scheme=theme)
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)


# Elements that stick out of a page on its right, those inside a scrolling box not counted.
TOO_WIDE = """() => {
  const root = document.scrollingElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  const boxed = (e) => e && e !== document.body && e !== root
    && (getComputedStyle(e).overflowX !== "visible" || boxed(e.parentElement));
  const out = [...document.body.querySelectorAll("*")].filter(
    (e) => e.getBoundingClientRect().right > root.clientWidth + 1 && !boxed(e.parentElement));
  return [`the page is ${root.scrollWidth} px wide`, ...out.slice(0, 5).map((e) =>
    `${e.tagName.toLowerCase()}.${e.className} to ${Math.round(e.getBoundingClientRect().right)}`)];
}"""

# The logo is decoration: the name of the book stands beside it, in the same link.
BARE_IMAGES = """() => [...document.images].filter((image) => {
  const decorative = ["presentation", "none"].includes(image.getAttribute("role"))
    || image.closest("[aria-hidden=true], a.logo");
  return decorative ? false : !image.alt.trim();
}).map((image) => image.outerHTML.slice(0, 200))"""

# The theme repeats title and contents for printing, unseen on the screen.
HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
  .filter((heading) => !heading.closest("#jb-print-docs-body"))
  .map((heading) => [Number(heading.tagName[1]), heading.textContent.trim()])"""

RUN_AXE = """async (rules) => {
  // Without `preload: false` axe fetches the style sheets, which file:// does not allow.
  const options = { resultTypes: ["violations"], preload: false };
  if (rules) options.runOnly = { type: "rule", values: rules };
  const { violations } = await axe.run(document, options);
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => ({
    rule: id,
    target: node.target.flat().join(" "),
    html: node.html.slice(0, 200),
    why: [...node.any, ...node.all, ...node.none].map((check) => check.message).join("; "),
  })));
}"""


class Visit:
    """One page, loaded once in ``browser``; what several tests ask of it is kept."""

    def __init__(self, browser: Browser, name: str):
        self.name = name
        self.page = open_in(browser, name)
        # Half-way from one colour to the other, every contrast looks bad.
        self.page.add_style_tag(content="*, ::before, ::after { transition: none !important; }")
        # Pictures that wait for the reader to come near are loaded too, and count.
        self.page.evaluate("() => scrollTo(0, document.documentElement.scrollHeight)")
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate("() => scrollTo(0, 0)")
        icons = "links => links.map((link) => link.href)"
        icons = self.page.eval_on_selector_all("link[rel~=icon]", icons)
        self.weight = weigh({address.split("#")[0] for address in self.page.requests + icons})

    @cached_property
    def violations(self) -> dict[str, list[dict]]:
        """axe's findings under each theme, one entry for every element.

        All the rules run in the light; in the dark, only those about colour can tell otherwise.
        """
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = {}
        for theme, rules in (("light", None), ("dark", ["color-contrast", "link-in-text-block"])):
            set_theme(self.page, theme)
            found[theme] = self.page.evaluate(RUN_AXE, rules)
        return found

    @cached_property
    def too_wide(self) -> dict[str, list[str]]:
        """On a phone, under each theme: what makes the page scroll sideways."""
        self.page.set_viewport_size({"width": PHONE, "height": 844})
        found = {}
        for theme in THEMES:
            set_theme(self.page, theme)
            found[theme] = self.page.evaluate(TOO_WIDE)
        self.page.set_viewport_size({"width": 1280, "height": 900})
        return found

    def photograph(self) -> list[Path]:
        """Pictures of the page, its first 12,000 pixels: light, dark, and light on a phone."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        stem = self.name.removesuffix(".html").replace("/", "-")
        taken = []
        for kind, theme, width in (
            ("light", "light", 1280),
            ("dark", "dark", 1280),
            ("phone", "light", PHONE),
        ):
            self.page.set_viewport_size({"width": width, "height": 900})
            set_theme(self.page, theme)
            taken.append(SCREENSHOTS / f"{stem}-{kind}.jpg")
            height = self.page.evaluate("() => document.documentElement.scrollHeight")
            part = {"x": 0, "y": 0, "width": width, "height": min(height, 12_000)}
            self.page.screenshot(path=taken[-1], full_page=True, clip=part, quality=80)
        self.page.set_viewport_size({"width": 1280, "height": 900})
        return taken
