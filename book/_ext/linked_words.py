"""A Sphinx extension: "chapter 04" is a link, and so is a page's first mention of a glossary term.

In the sources both are plain words, which read the same in Colab and on GitHub.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

CHAPTERS = re.compile(r"\bchapters?\s\d\d\b(?:(?:,|,?\s(?:and|or|to))\s\d\d\b)*", re.IGNORECASE)
ONE = re.compile(r"chapter\s\d\d|\d\d", re.IGNORECASE)
# Terms that are also everyday words, and mostly mean those.
EVERYDAY = {
    *("band", "bridge", "channel", "conditional", "coupling", "floor", "judge", "kernel", "memory"),
    *("mode", "process", "profile", "protocol", "published", "recall", "precision", "schedule"),
    *("score", "seed", "skill", "solver", "spread", "stride", "style", "twin", "batch", "latent"),
}
CLOSED = (
    *(nodes.reference, nodes.title, nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw),
    *(nodes.term, addnodes.desc, nodes.rubric),
)
WITHOUT_TERMS = ("book/glossary", "book/api", "book/references", "book/intro")


def pattern(terms: dict[str, str]) -> re.Pattern | None:
    """Finds the ``terms``, the longest first: FID as it is written, "U-Net" and "flow matching"
    with a small or a large first letter, and all of them in the plural."""
    words = [term for term in sorted(terms, key=len, reverse=True) if term not in EVERYDAY]
    written = [
        re.escape(terms[word])
        if terms[word][1:] != terms[word][1:].lower()
        else f"(?i:{re.escape(word[0])}){re.escape(word[1:])}"
        for word in words
    ]
    return re.compile(rf"(?<![\w-])({'|'.join(written)})s?(?![\w-])") if words else None


def parts(text: str, chapters: dict[str, str], terms: dict[str, str], find, seen: set[str]):
    """Cut ``text`` into (words, address or None, class): chapters by number, terms not yet seen."""
    found = [(m.start() + o.start(), o[0], chapters.get(o[0][-2:]), "chapter")
             for m in CHAPTERS.finditer(text) for o in ONE.finditer(m[0])]  # fmt: skip
    for match in find.finditer(text) if find else ():
        term = match[1].lower()
        if term not in seen:
            seen.add(term)
            found.append((match.start(), match[0], terms[term], "term"))
    end = 0
    for start, words, address, kind in sorted(found, key=lambda each: each[0]):
        if start >= end and address:
            yield text[end:start], None, ""
            yield words, address, kind
            end = start + len(words)
    yield text[end:], None, ""


def cited(node: nodes.Node) -> bool:
    """Whether a node is the list of references of a chapter: titles of papers stay as they are."""
    return isinstance(node, nodes.section) and "references" in node["ids"]


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    def address(target: str) -> str:
        return app.builder.get_relative_uri(docname, target)

    documents = [name for name in app.env.found_docs if re.match(r"notebooks/\d\d_", name)]
    chapters = {name[10:12]: address(name) for name in documents if name != docname}
    known = [
        (name, target)
        for (kind, name), target in app.env.get_domain("std").objects.items()
        if kind == "term" and docname not in WITHOUT_TERMS
    ]
    find = pattern({name.lower(): name for name, _ in known})
    terms = {name.lower(): f"{address(page)}#{label}" for name, (page, label) in known}
    seen: set[str] = set()
    for node in list(doctree.findall(nodes.Text)):
        above, inside = node.parent, node.parent
        while inside is not None and not (isinstance(inside, CLOSED) or cited(inside)):
            inside = inside.parent
        if inside is not None:
            continue
        cut = list(parts(str(node), chapters, terms, find, seen))
        if len(cut) > 1:
            made = [
                nodes.reference("", words, refuri=uri, internal=True, classes=[kind])
                if uri
                else nodes.Text(words)
                for words, uri, kind in cut
                if words
            ]
            above.replace(node, made)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
