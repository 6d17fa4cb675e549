"""A Sphinx extension: what a page says of itself where its link is shared."""

import re
from html import escape, unescape

from docutils import nodes
from sphinx.application import Sphinx

PREVIEW = "_static/pictures/preview.jpg"  # of tools/build_pictures.py
LONGEST = 200  # letters of a description


def description(doctree: nodes.document) -> str:
    """The first paragraph that holds no formula, cut behind a sentence, or else behind a word."""
    paragraphs = (p for p in doctree.findall(nodes.paragraph) if not any(p.findall(nodes.math)))
    texts = (" ".join(paragraph.astext().split()) for paragraph in paragraphs)
    text = next((text for text in texts if len(text) > 60), "")
    if len(text) <= LONGEST:
        return text
    whole = text[:LONGEST].rpartition(". ")[0]
    return f"{whole}." if len(whole) > 60 else text[:LONGEST].rpartition(" ")[0] + " ..."


def tags(app: Sphinx, page: str, title: str, words: str) -> str:
    """The meta elements of one page; addresses are absolute, as the protocol asks."""
    place = app.config.html_baseurl.rstrip("/")
    open_graph = {
        "og:type": "article",
        "og:site_name": app.config.html_title or app.config.project,
        "og:title": title,
        "og:description": words,
        "og:url": f"{place}/{page}.html",
        "og:image": f"{place}/{PREVIEW}",
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:image:alt": "Digits in five rows, from noise at the top to clear strokes below.",
    }
    named = {"description": words, "twitter:card": "summary_large_image"}
    lines = [f'<meta property="{k}" content="{escape(v)}">' for k, v in open_graph.items()]
    lines += [f'<meta name="{k}" content="{escape(v)}">' for k, v in named.items()]
    return "\n".join(lines)


def add(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    if doctree is not None:
        title = unescape(re.sub("<[^>]+>", "", context.get("title", ""))) or app.config.project
        context["metatags"] = context.get("metatags", "") + tags(
            app, page, title, description(doctree)
        )


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
