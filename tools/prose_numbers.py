"""Numbers in prose that look like results of ours and stand nowhere in what the page computes.

    python tools/prose_numbers.py [page ...]

A page may print what one of its cells computes or asserts, what a file of book/results says that
the page names, what a chapter named in the same paragraph computes, what follows from a preset and
its chain, and what is labelled *published*. This looks, in the Markdown and the alternative texts
of the chapters and in book/*.md, for percentages, decimals, times, factors and large counts, and
prints those that it finds in none of these places, rounded as the prose rounds. A small whole
number it cannot judge: somewhere on a page there is always a 7.
"""

import json
import math
import re
import sys
from functools import cache
from pathlib import Path

import nbformat
from safetensors import safe_open

from ddgan_lite.chain.diffusion import Diffusion, chain_of
from ddgan_lite.training.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 20  # a list longer than this is a log, in which any number could be found

# Right where they stand: (page, number): why.
ALLOWED = {
    ("06_mode_coverage.md", "0.019"): "(1000 - 1) / (2 * 26,000), a section before",
    ("08_training_on_images.md", "173,000"): "48 hours in seconds",
    ("paper-code-us.md", "234,000"): "1,200 epochs of 195 updates",
    ("live-plane.md", "87"): "exact at the centre, computed in tests/test_export.py",
    ("live-plane.md", "3"): "the same",
    ("live-denoising.md", "1.6"): "exact, and on the page as soon as the slider is there",
    ("live-denoising.md", "0.03"): "exact, asserted in tests/test_live_chain.py, as its neighbours",
    ("live-training.md", "2,500"): "TRAINED_IN_THE_PAGE of tools/build_live.py, held by a test",
    ("how-to-use.md", "90"): "the plan of a lecture",
    ("intro.md", "90"): "the plan of a lecture",
    ("teaching.md", "45"): "the plan of a lecture",
    ("intro.md", "13"): "million weights, counted in chapter 07",
}
NEAR = 1 - math.exp(-9 / 2)  # of a Gaussian in the plane, within three standard deviations
SIZES = {1000, 1198, 1797, 10_000, 50_000, 60_000}  # of the digits, MNIST and CIFAR-10

UNIT = (
    r"\s?%| per cent| (?:CPU )?(?:seconds|minutes|hours)\b| s\b| min\b| times\b|-fold\b"
    r"|(?<!,\d{3}) points?\b| nats?\b| standard errors?\b| million\b"
)
NUMBER = re.compile(
    r"(?<![\w.,/\u2013-])"  # not inside a word, a date, a version or another number
    r"(?P<number>\d{1,3}(?:,\d{3})+|\d+\.\d+|\d+)"
    rf"(?P<unit>{UNIT})?(?![\w]|[.,/]\d|-\d)"
)
SCORE = re.compile(r"\b(?:FID|FD|KL|KID|HQ3|IS|recall|precision|variance|spread)\b[^.;:\d]{0,18}$")
RANGE = re.compile(
    r"(?:\b(?:between|from)\s(?P<low>[\d.,]+)\s(?:and|to)\s|[\d.]+\s(?:to|\u2013)\s)$"
)
CHAIN = re.compile(r"\\bar\\alpha|\\beta|\bnoise\b|\bposterior\b|c\^")  # speaks of noise levels
# What holds no result: code, formulas, addresses, tags, references.
SILENT = re.compile(
    r"```.*?```|``.*?``|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|https?://\S+|<[^>]*>"
    r"|\{\w+\}`[^`]*`|\{cite:?\w*\}|arXiv:\S+|\[\d{4}\.\d{5}\]|doi:\S+"
    r"|\b(?:[Ee]xercises?|[Cc]hapters?|[Ss]ections?|[Tt]ables?|[Ff]igures?|[Aa]ppendix|[Ii]ssue"
    r"|Python|torch|version|CC BY|MIT|Lemma|step)\s[\d.]+(?:(?:,| and| to)\s[\d.]+)*"
    r"|\b\d\d\.\d\b|\b(?:19|20)\d\d\b|\u00d7\s?\d+|\d+\s?\u00d7(?:\s?\d+)?|^[ ]*\d+\.(?=\s)",
    re.S | re.M,
)


def blank(match: re.Match) -> str:
    """Spaces in place of what is silenced, so that lines and columns stay."""
    return re.sub(r"[^\n]", " ", match[0])


# -- the numbers of a page -----------------------------------------------------------------------


class Values:
    """Numbers as they stand, and shares: what a percentage is a hundred times of."""

    def __init__(self, numbers=(), shares=()):
        self.numbers, self.shares = set(numbers), set(shares)

    def __or__(self, other: "Values") -> "Values":
        return Values(self.numbers | other.numbers, self.shares | other.shares)

    def agree(self, number: str, unit: str) -> bool:
        """Whether one of the values is rounded to this number, or lies as near as its zeros say."""
        digits = number.replace(",", "")
        near, wanted = 0.5 * 10.0 ** -len(digits.partition(".")[2]), float(digits)
        if unit == "million":
            near, wanted = 1e6 * near, 1e6 * wanted
        if unit == "%":  # of a share, or of what is missing to the whole
            shares = self.shares | self.numbers
            values = {100 * x for x in shares} | {100 - 100 * x for x in shares}
        else:
            values = self.numbers
            if digits.isdigit() and len(digits) > 2:  # 380 may stand for 383
                near *= 10 ** (len(digits) - len(digits.rstrip("0")))
        return any(abs(value - wanted) <= 1.001 * near for value in values)


def numbers_in(text: str) -> Values:
    """All numbers of a text, 48_432_515, 1,798 and 2.5e-4 included."""
    found = re.findall(r"\d[\d_,]*(?:\.\d+)?(?:e[-+]?\d+)?|\.\d+", text)
    numbers = {float(re.sub("[,_]|\\.$", "", x)) for x in found}
    return Values(numbers, {x / 100 for x in numbers} if "%" in text else ())


def leaves(value) -> Values:
    """The numbers of a JSON value, without those of its logs."""
    if isinstance(value, list) and len(value) > LONGEST:
        return Values()
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return union(map(leaves, parts))
    if isinstance(value, str):
        return numbers_in(value)
    return Values({abs(float(value))} if isinstance(value, int | float) else ())


def union(parts) -> Values:
    """All of them together."""
    whole = Values()
    for part in parts:
        whole = whole | part
    return whole


@cache
def of_the_book() -> Values:
    """What the presets say, the sizes of the data sets, and what is near a mode."""
    presets = numbers_in((ROOT / "ddgan_lite/training/presets.py").read_text())
    return presets | Values(SIZES, {NEAR})


@cache
def of_the_chains() -> Values:
    """What follows from the noise levels of the paper and of the presets."""
    found = Values()
    for chain in [Diffusion(4), *(chain_of(preset.config) for preset in PRESETS.values())]:
        kept, added, variance = chain.alpha_bar, 1 - chain.alpha_bar, chain.posterior_variance
        tables = [kept, kept.sqrt(), added.sqrt(), chain.beta, variance, variance.sqrt()]
        tables += [chain.posterior_coef_x0, chain.posterior_coef_xt]
        found |= Values(x for table in tables for x in table[1:].tolist())
    return found


@cache
def results(name: str) -> Values:
    """The numbers of book/results/NAME, whatever its kind."""
    found = Values()
    for path in (ROOT / "book/results").glob(f"{name}.*"):
        if path.suffix == ".json":
            found |= leaves(json.loads(path.read_text()))
        elif path.suffix == ".md":
            found |= numbers_in(path.read_text())
        elif path.suffix == ".safetensors":
            with safe_open(path, "numpy") as file:
                found |= numbers_in(json.dumps(file.metadata()))
    return found


def loaded(text: str) -> Values:
    """The numbers of all files of book/results that a text names."""
    names = re.findall(r"results/([\w-]+)\.\w", text)
    names += re.findall(r"results\.(?:load|find)\(\"([\w-]+)", text)
    return union(map(results, names))


@cache
def chapter(number: str) -> Values:
    """What a chapter computes, shows, asserts or loads."""
    found = Values()
    for path in (ROOT / "notebooks").glob(f"{number}_*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code":
                continue
            found |= numbers_in(cell.source) | loaded(cell.source)
            for output in cell.outputs:
                data = output.get("data", {})
                shown = [output.get("text", ""), data.get("text/plain", "")]
                shown.append(data.get("text/markdown", ""))  # a table
                shown += [re.sub("<[^>]*>", " ", data.get("text/html", ""))]
                found |= union(map(numbers_in, shown))
    return found


# -- the prose of a page -------------------------------------------------------------------------


def prose(text: str, *, chapter_page: bool) -> str:
    """A page with everything blanked that is neither prose nor alternative text."""
    text = re.sub(r"\A---\n.*?\n---\n", blank, text, flags=re.S)
    text = re.sub(r"^## References\n.*?(?=^## |\Z)", blank, text, flags=re.S | re.M)

    def fence(match: re.Match) -> str:
        alt = re.search(r"^(?: +|:)alt: (.*?)\n(?=\S|:| +classes:|---|```)", match[0], re.S | re.M)
        if alt is None:
            return blank(match)
        start, end = alt.span(1)
        return (
            blank(re.match(".*", match[0][:start], re.S))
            + alt[1]
            + blank(re.match(".*", match[0][end:], re.S))
        )

    text = re.sub(r"^(`{3,})(?!\{prf).*?^\1$", fence, text, flags=re.S | re.M)
    text = re.sub(r"^#+ .*$", blank, text, flags=re.M)
    return text if chapter_page else re.sub(r"^:(?!alt).*$", blank, text, flags=re.M)


def paragraphs(text: str) -> list[tuple[int, str, str]]:
    """Paragraphs, items of lists and rows of tables: (line, text, the text that may label it)."""
    found, line, lead = [], 1, ""
    for part in re.split(r"(\n[ \t]*\n)", text):
        if re.match(r"\s*\|", part):  # a row is labelled by its table's head and what is before
            label = lead + "".join(part.strip("\n").splitlines(keepends=True)[:1])
            rows = part.splitlines(keepends=True)
            found += [(line + k, row, label + row) for k, row in enumerate(rows)]
        elif part.strip():
            place = line
            for item in re.split(r"(?m)^(?=[ ]*(?:[-*]|\d+\.) )", part):
                found.append((place, item, item))
                place += item.count("\n")
            lead = part
        line += part.count("\n")
    return found


def candidates(paragraph: str) -> list[tuple[int, str, str]]:
    """What looks like a result of ours: (place in the paragraph, number, unit)."""
    text, found = SILENT.sub(blank, paragraph), []
    for match in NUMBER.finditer(text):
        number, unit, before = match["number"], match["unit"] or "", text[: match.start()]
        if re.search(r"[=≈]\s*$", before) or re.match(r"0\d", number):
            continue  # arithmetic that stands there; the number of a chapter
        telling = unit or "." in number or "," in number
        if telling or SCORE.search(before) or RANGE.search(before):
            unit = "%" if re.search("%|cent|point", unit) else unit.strip()
            found.append((match.start("number"), number, unit))
    return found


def problems(path: Path) -> list[str]:
    """Each number of a page that nothing on it computes: file, line, number, sentence."""
    name, text = path.name, path.read_text()
    is_chapter = bool(re.match(r"\d\d_", name))
    page = of_the_book() | (chapter(name[:2]) if is_chapter else loaded(text))
    if not is_chapter:  # code on a page without a kernel
        page |= union(map(numbers_in, re.findall(r"^```.*?^```", text, re.S | re.M)))
    found, lines = [], text.splitlines()
    for start, paragraph, label in paragraphs(prose(text, chapter_page=is_chapter)):
        if re.search("published", label, re.I):
            continue
        label += "\n" + "".join(re.findall(r"^#+ .*$", "\n".join(lines[:start]), re.M)[-1:])
        named = re.findall(r"[Cc]hapters? (\d\d)|(?<=and )(\d\d)\b|notebooks/(\d\d)_", label)
        named += re.findall(r"^#+ ()()(\d\d) ", label, re.M)  # of the teaching guide
        values = page | loaded(label) | union(chapter("".join(number)) for number in named)
        if CHAIN.search(label):
            values |= of_the_chains()
        for place, number, unit in candidates(paragraph):
            if (name, number) in ALLOWED or values.agree(number, unit):
                continue
            line = start + paragraph[:place].count("\n")
            sentence = re.split(r"(?<=[.?!:])\s+(?=[A-Z*(])", paragraph[:place])[-1]
            sentence += re.split(r"(?<=[.?!])\s", paragraph[place:], maxsplit=1)[0]
            sentence = " ".join(sentence.split())
            found.append(f"{path.relative_to(ROOT)}:{line}: {number}: {sentence}")
    return found


def pages() -> list[Path]:
    """Every page that has prose."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.md")) + sorted((ROOT / "book").glob("*.md"))


def main(arguments: list[str]) -> int:
    wanted = [path for path in pages() if not arguments or path.name.startswith(tuple(arguments))]
    found = [problem for path in wanted for problem in problems(path)]
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
