"""A Sphinx extension: what assistive technology trips over in the pages that Sphinx writes."""

from sphinx.application import Sphinx

# Each of these is a finding of axe; the browser suite fails without them.
MENDS = {
    # A role that ARIA 1.3 withdrew, on the entries of the bibliography's list.
    'role="doc-biblioentry"': 'role="listitem"',
    # Folded cells are named by the words they show.
    ' aria-label="Toggle hidden content"': "",
}


def mend(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    if "body" not in context:
        return  # a page without text, such as the search
    for wrong, right in MENDS.items():
        context["body"] = context["body"].replace(wrong, right)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
