"""Build the lecture: book/slides/slides.md as a reveal.js deck that needs no network.

    python tools/build_slides.py [_build/slides]

reveal.js (6.0.2) and MathJax lie in book/_static/vendor, the colours in book/_static/slides.css.
A line `---` ends a slide, and what follows a paragraph that begins with `Note:` is for the speaker.
Figures and numbers of ours are named, never copied, so that the deck cannot disagree with the book:

    ![caption](<notebooks/03_multimodal_denoising.ipynb#Six panels>)  the figure with these words
                                                                    in its alt text
    ![caption](<...#Six panels> "inset(0 0 50% 0)")                 its upper half: what is left
                                                                    is larger (object-view-box)
    {{ablations.rows.full model.hq3.mean:.1%}}                      book/results/ablations.json,
                                                                    the mean of a list of numbers
    {{trilemma.rows[family=GAN].hq3.max:.2f}}                       of the records with that value
"""

import argparse
import base64
import json
import re
import shutil
import statistics
import sys
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import unquote

import nbformat
from figures import alt_text, pictures
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "book/slides/slides.md"
STATIC = ROOT / "book/_static"
EXECUTED = ROOT / "_build/executed"
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="stylesheet" href="vendor/reveal/reset.css">
<link rel="stylesheet" href="vendor/reveal/reveal.css">
<link rel="stylesheet" href="slides.css">
</head>
<body>
<div class="reveal"><div class="slides">
$slides
</div></div>
<script src="vendor/reveal/reveal.js"></script>
<script src="vendor/reveal/plugin/notes.js"></script>
<script>
// Formulas first: the pages of ?print-pdf are measured when the deck starts.
const start = () => Reveal.initialize({
  width: 1280, height: 720, margin: 0, center: false, transition: "none",
  hash: true, hashOneBasedIndex: true,
  slideNumber: "c/t", controlsLayout: "edges", pdfMaxPagesPerSlide: 1, plugins: [RevealNotes],
});
window.MathJax = {
  tex: {packages: {"[-]": ["autoload", "require"]}},  // they fetch files that are not kept here
  chtml: {matchFontHeight: false, scale: 1.1},  // slides that are hidden cannot be measured
  options: {enableMenu: false},
  startup: {pageReady: () => MathJax.startup.defaultPageReady().then(start)},
};
</script>
<script src="vendor/mathjax/tex-mml-chtml.js"></script>
</body>
</html>
""")


class SlideError(Exception):
    """Something named in slides.md is not there; the message is for its author."""


# -- numbers -------------------------------------------------------------------------------------


def look_up(value, step: str):
    """One step into a result: [field=value] filters records, a word is a key or a statistic."""
    if step.startswith("["):
        field, _, wanted = step[1:-1].partition("=")
        found = [row for row in value if str(row.get(field)) == wanted]
        if not found:
            raise KeyError(step)
        return found
    if isinstance(value, list):
        statistic = {"mean": statistics.mean, "min": min, "max": max}.get(step)
        return statistic(value) if statistic else [row[step] for row in value]
    return value[step]


def number(name: str) -> str:
    """The number that ``file.key[field=value].key:format`` names, as it is to be printed."""
    place, _, form = name.rpartition(":")
    file, *steps = re.findall(r"\[[^\]]*\]|[^.\[\]]+", place or name) or [""]
    path = ROOT / f"book/results/{file}.json"
    if not path.is_file():
        raise SlideError(f"{{{{{name}}}}}: there is no book/results/{file}.json.")
    value = json.loads(path.read_text())
    for step in steps:
        try:
            value = look_up(value, step)
        except (KeyError, TypeError, AttributeError, statistics.StatisticsError):
            raise SlideError(f"{{{{{name}}}}}: {path.name} has no {step!r} there.") from None
    if not isinstance(value, int | float):
        raise SlideError(f"{{{{{name}}}}} names no single number: add .mean, .min or .max.")
    return f"{value:{form if place else ''}}".replace("%", "\N{NO-BREAK SPACE}%")


# -- figures -------------------------------------------------------------------------------------


@cache
def cells(notebook: Path) -> list:
    """The cells of a notebook, as stored, or as `make book` executed them if it did so since."""
    stored = nbformat.read(notebook, as_version=4).cells
    executed = EXECUTED / notebook.name
    if not executed.with_suffix(".key").exists():  # written when all its cells have passed
        return stored
    found = nbformat.read(executed, as_version=4).cells
    found = [cell for cell in found if "injected-parameters" not in cell.metadata.get("tags", [])]
    same = [cell.source for cell in found] == [cell.source for cell in stored]
    return found if same else stored


def figure(place: str) -> tuple[str, str, bytes]:
    """The name, the alt text and the PNG of the figure that ``notebook#words of its alt`` names."""
    path, _, words = place.partition("#")
    if not (ROOT / path).is_file():
        raise SlideError(f"![](<{place}>): there is no {path}.")
    found = []
    for index, cell in enumerate(cells(ROOT / path)):
        alt = alt_text(cell)
        if alt and words.lower() in alt.lower():
            found.append((f"{Path(path).stem}-{index}.png", alt, pictures(cell)))
    if len(found) != 1:
        raise SlideError(f"![](<{place}>): the words are in the alt texts of {len(found)} figures.")
    name, alt, stored = found[0]
    if len(stored) != 1:
        raise SlideError(f"![](<{place}>): that cell has {len(stored)} pictures; run it again.")
    return name, alt, base64.b64decode(stored[0])


# -- slides --------------------------------------------------------------------------------------


def formula(content: str, options: dict) -> str:
    """TeX in the delimiters that MathJax looks for."""
    return (r"\[{}\]" if options["display_mode"] else r"\({}\)").format(escape(content))


def split(tokens: list[Token]) -> list[tuple[list[Token], list[Token]]]:
    """The tokens of each slide: what is shown, and what the speaker sees."""
    slides = [([], [])]
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        shown, notes = slides[-1]
        if token.type == "hr":
            slides.append(([], []))
        elif notes or (following and following.content.startswith("Note:")):
            notes.append(token)
        else:
            shown.append(token)
    return slides


def build(target: Path, source: Path = SOURCE) -> int:
    """Write the deck into the folder ``target``; the number of slides. Raises SlideError."""
    (target / "figures").mkdir(parents=True, exist_ok=True)

    def image(renderer, tokens, index, options, env):
        name, alt, png = figure(unquote(tokens[index].attrs["src"]))
        (target / "figures" / name).write_bytes(png)
        caption = renderer.renderInline(tokens[index].children or [], options, env)
        caption = caption and f"<figcaption>{caption}</figcaption>"
        part = tokens[index].attrs.get("title")
        part = f' style="object-view-box: {escape(part)}"' if part else ""
        return f'<img src="figures/{name}" alt="{escape(alt)}"{part}>{caption}'

    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    markdown.use(dollarmath_plugin, renderer=formula)
    markdown.add_render_rule("image", image)
    text = re.sub(r"\{\{(.*?)\}\}", lambda name: number(name[1]), source.read_text("utf-8"))
    tokens = markdown.parse(text)
    for first, inline, last in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if [child.type for child in inline.children or ()] == ["image"]:
            first.tag = last.tag = "figure"  # a paragraph of a picture alone
    slides = []
    for parts in split(tokens):
        shown, notes = (markdown.renderer.render(part, markdown.options, {}) for part in parts)
        notes = notes.replace("<p>Note:", "<p>", 1)
        slides.append(f'<div class="frame">\n{shown}</div>\n<aside class="notes">{notes}</aside>')
    title = next(tokens[k + 1].content for k, token in enumerate(tokens) if token.tag == "h1")
    sections = "\n".join(f"<section>{slide}</section>\n" for slide in slides)
    page = PAGE.substitute(title=escape(title), slides=sections)
    (target / "index.html").write_text(page, encoding="utf-8")
    for name in ("vendor/reveal", "vendor/mathjax"):
        shutil.copytree(STATIC / name, target / name, dirs_exist_ok=True)
    shutil.copy(STATIC / "slides.css", target)
    return len(slides)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "_build/slides")
    folder = parser.parse_args().folder
    try:
        print(f"{build(folder)} slides. Open {folder.resolve() / 'index.html'}")
    except SlideError as error:
        sys.exit(f"slides.md: {error}")
