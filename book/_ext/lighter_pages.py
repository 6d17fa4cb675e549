"""Pages without what they do not use.

The theme draws its icons twice: with web fonts, and with a script of 1.5 MB that replaces them by
the same icons as SVG. The script is emptied; its file stays, because every page names it.
"""

from pathlib import Path

from sphinx.application import Sphinx


def _empty_script(app: Sphinx, exception: Exception | None) -> None:
    script = Path(app.outdir) / "_static" / "scripts" / "fontawesome.js"
    if exception is None and script.is_file():
        script.write_text("")


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", _empty_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
