"""A Sphinx extension: docstrings may say (n, *shape) and |x|^2 without escaping anything.

Sphinx reads docstrings as reStructuredText, in which a lone asterisk opens emphasis and a bar a
substitution. Here both are taken literally, except in *emphasis*, **strong** and ``literals``.
"""

import re

KEEP = r"``.+?``|`[^`]+`|\*\*\w.*?\*\*|(?<![\w*])\*\w(?:[^*\n]*\w)?\*(?![\w*])"
MARKUP = re.compile(rf"({KEEP})|[*|]")


def escape(line: str) -> str:
    """Put a backslash before every asterisk and bar that is not markup."""
    return MARKUP.sub(lambda match: match[1] or "\\" + match[0], line)


def process(app, what, name, obj, options, lines):
    code = (">>>", "...")
    lines[:] = [line if line.lstrip().startswith(code) else escape(line) for line in lines]


def setup(app):
    # After napoleon (priority 500), which escapes the names of arguments itself, would be late:
    # it must see the text first.
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
