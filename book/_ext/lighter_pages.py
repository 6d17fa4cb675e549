"""A Sphinx extension: pages without the icons and the formula setter that they do not use.

The theme draws its icons twice: with web fonts, and with a script of 1.5 MB that puts the same
icons in their place as SVG. The script is emptied (its file stays, because every page names it),
and the fonts, 270 kB, keep the 30 icons that pages and style sheets use.

Sphinx gives MathJax, 270 kB as sent, to pages with a formula *or with such a page below them in the
table of contents*. Below the first page lies the whole book; it has no formula itself.
"""

import re
from pathlib import Path

from fontTools import subset
from sphinx.application import Sphinx

# .fa-bars:before{content:"\f0c9"}, several names before one brace.
NAMED = re.compile(r'((?:\.fa-[\w-]+:{1,2}before,?)+)\{content:"\\([0-9a-f]+)"\}')


def used_icons(site: Path) -> set[int]:
    """The code points of the icons that the pages, scripts and style sheets of a site use."""
    static = site / "_static"
    styles = "".join(path.read_text(errors="ignore") for path in sorted(static.rglob("*.css")))
    scripts = [path for path in static.rglob("*.js") if "vendor" not in path.parts]
    text = "".join(path.read_text(errors="ignore") for path in [*site.rglob("*.html"), *scripts])
    names = set(re.findall(r"\bfa-[a-z0-9-]+", text))
    points = {
        int(code, 16)
        for selectors, code in NAMED.findall(styles)
        if names & set(re.findall(r"fa-[\w-]+", selectors))
    }
    others = NAMED.sub("", styles)  # rules of the theme that write an icon without its name
    points |= {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", others)}
    return points | {ord(letter) for letter in others if 0xE000 <= ord(letter) <= 0xF8FF}


def lighten(site: Path) -> None:
    """Empty the script and cut the fonts of the built ``site``."""
    script = site / "_static/scripts/fontawesome.js"
    if not script.is_file():
        return  # another builder, or another theme
    script.write_text("")
    points = used_icons(site)
    options = subset.Options(flavor="woff2", ignore_missing_unicodes=True, layout_features=[])
    for path in (site / "_static/vendor/fontawesome/webfonts").glob("*.woff2"):
        font, cutter = subset.load_font(path, options), subset.Subsetter(options)
        cutter.populate(unicodes=points)
        cutter.subset(font)
        subset.save_font(font, path, options)


def spare(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """A page without a formula of its own does without MathJax and its settings.

    On a page with a widget loader.js fetches MathJax, when the widget is done.
    """
    if not app.env.get_domain("math").data["has_equations"].get(page):
        dropped = "mathjax"
    elif '<div class="live" id=' in context.get("body", ""):
        dropped = "vendor/mathjax"
    else:
        return
    context["script_files"] = [
        script
        for script in context["script_files"]
        if dropped not in f"{script.filename}{script.attributes.get('body')}".lower()
    ]


def finish(app: Sphinx, exception: Exception | None) -> None:
    if exception is None:
        lighten(Path(app.outdir))


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", spare, priority=900)  # behind those that add scripts
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
