"""Check a built site: no broken internal link, and nothing loaded from another host.

python tools/check_site.py [_build/html]
"""

import argparse
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a page loads something, as opposed to linking to it.
LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
# <link> relations that load nothing.
PASSIVE = {"canonical", "next", "prev", "search", "index", "author"}


class Page(HTMLParser):
    """The ids, the links and the loaded files of one page."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self.ids.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        passive = tag == "link" and set(values.get("rel", "").split()) & PASSIVE
        self.loads += [v for k, v in values.items() if (tag, k) in LOADS and v and not passive]


def problems(site: Path) -> list[str]:
    """One sentence for everything that is wrong with the site in folder ``site``."""
    # The theme leaves page templates in _static; they are no pages.
    files = [path for path in sorted(site.rglob("*.html")) if path.parent.name != "_static"]
    pages = {path.resolve(): Page(path) for path in files}
    if not pages:
        return [f"There is no page under {site}."]
    anchors = {path: page.ids for path, page in pages.items()}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for target in page.loads:
            if urlsplit(target).scheme in ("http", "https") or target.startswith("//"):
                found.append(f"{name} loads {target} from another host.")
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if place.is_dir():
                place = place / "index.html"
            if not place.exists():
                found.append(f"{name} points to {target}, which does not exist.")
            elif parts.fragment and unquote(parts.fragment) not in anchors.get(place, ()):
                found.append(f"{name} points to {target}, but there is no such anchor.")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=Path("_build/html"))
    lines = problems(parser.parse_args().site)
    print("\n".join(lines) or "no broken links, nothing loaded from another host")
    sys.exit(bool(lines))
