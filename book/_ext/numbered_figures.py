"""A Sphinx extension: figures are numbered by chapter, and the text names their numbers.

A notebook says "the figure above" or "the figure below", which reads the same in Colab and on
GitHub, where no numbers are; on the page it becomes a link, "figure 4.3".
"""

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

CHAPTER = re.compile(r"notebooks/(\d\d)_")
# The second is what exercises say: "Your plot should look like the one below."
POINTER = re.compile(r"\b(?:([Tt])he figure|(?<=look like )the one) (above|below)\b")


def give_names(app: Sphinx, doctree: nodes.document) -> None:
    """An address for every figure of a chapter; without one Sphinx does not number it."""
    if CHAPTER.match(app.env.docname):
        for place, figure in enumerate(doctree.findall(nodes.figure), start=1):
            figure["ids"] = [f"figure-{place}"]


def number(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Chapter and place instead of Sphinx's own numbers, which run through the whole book."""
    for page, numbers in env.toc_fignumbers.items():
        if chapter := CHAPTER.match(page):
            for name in numbers.get("figure", {}):
                place = int(name.removeprefix("figure-"))
                numbers["figure"][name] = (int(chapter[1]), place)
    return []


def pieces(text: str, chapter: int, above: int, last: int) -> Iterator[tuple[str, int]]:
    """Cut ``text``, with ``above`` figures before it, into words and the figure they point to or 0.

    A pointer to a figure that is not there stays as it is.
    """
    end = 0
    for match in POINTER.finditer(text):
        place = above + (match[2] == "below")
        if 1 <= place <= last:
            yield text[end : match.start()], 0
            yield f"{'F' if match[1] == 'T' else 'f'}igure {chapter}.{place}", place
            end = match.end()
    yield text[end:], 0


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if not (chapter := CHAPTER.match(docname)):
        return
    last, above = len(list(doctree.findall(nodes.figure))), 0
    for node in list(doctree.findall()):
        if isinstance(node, nodes.figure):
            above += 1
        elif isinstance(node, nodes.Text) and POINTER.search(node):
            made = [
                nodes.reference("", words, refuri=f"#figure-{place}", internal=True)
                if place
                else nodes.Text(words)
                for words, place in pieces(str(node), int(chapter[1]), above, last)
                if words
            ]
            node.parent.replace(node, made)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", give_names)
    app.connect("env-get-updated", number, priority=900)  # behind Sphinx's own
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
