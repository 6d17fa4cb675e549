"""A Sphinx extension: what readers and screen readers trip over in the pages Sphinx writes."""

import re

from sphinx.application import Sphinx

# Each of these is a finding of axe; the browser suite fails without them.
MENDS = {
    # A role that ARIA 1.3 withdrew, on the entries of the bibliography's list.
    'role="doc-biblioentry"': 'role="listitem"',
    # Folded cells are named by the words they show.
    ' aria-label="Toggle hidden content"': "",
}

# Code and scripts, and tags with their attributes.
KEPT = re.compile(r"(<pre.*?</pre>|<code.*?</code>|<script.*?</script>|<[^>]+>)", re.DOTALL)


def joined(body: str) -> str:
    """The text of a page with no line break between a number and its per cent sign."""
    parts = KEPT.split(body)
    parts[::2] = [re.sub(r"(\d) %", "\\1\N{NO-BREAK SPACE}%", part) for part in parts[::2]]
    return "".join(parts)


def mend(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    if "body" not in context:
        return  # a page without text, such as the search
    for wrong, right in MENDS.items():
        context["body"] = context["body"].replace(wrong, right)
    context["body"] = joined(context["body"])


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
