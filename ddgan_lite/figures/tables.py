"""Tables of scores: HTML in a notebook, aligned text in a terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from statistics import median

# How a table heads the scores that functions return by short names.
HEADINGS = {
    "hq3": "HQ3", "kl": "KL (nats)", "modes20": "modes at 20 %", "modes50": "modes at 50 %",
    "sd_ratio_median": "width of a mode", "sw2": "Wasserstein", "fd": "Fréchet distance",
    "training_seconds": "training (s)", "training_steps": "updates", "cpu_seconds": "CPU seconds",
    "fid": "FID", "kid": "KID", "is": "IS", "in_place": "in place",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """What :func:`table` made: headings, and rows of words, each beginning with its label.

    Example:
        >>> Table("", ("modes",), (("GAN", "9"), ("DDGAN", "25")))
               modes
        GAN        9
        DDGAN     25
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        lines = [("", *self.headings), *self.rows]
        first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join([k.ljust(first), *map(str.rjust, v, others)]) for k, *v in lines]
        return "\n".join([self.title] * bool(self.title) + text)

    def _repr_html_(self) -> str:
        title = f"<caption>{escape(self.title)}</caption>\n" if self.title else ""
        head = "".join(f'<th scope="col">{escape(each)}</th>' for each in self.headings)
        html = f'<table class="scores">\n{title}<thead><tr><td></td>{head}</tr></thead>\n<tbody>\n'
        for label, *cells in self.rows:
            values = "".join(f"<td>{escape(each)}</td>" for each in cells)
            html += f'<tr><th scope="row">{escape(label)}</th>{values}</tr>\n'
        return html + "</tbody>\n</table>"


def _words(column: list, places: int | None) -> list[str]:
    """Its cells; left out, ``places`` are three where numbers are below 1, none from 100 on."""
    if places is None:
        middle = median([abs(x) for x in column if isinstance(x, float) and x] or [0])
        places = sum(middle < limit for limit in (1, 10, 100))

    def word(value: object) -> str:
        form = "," if isinstance(value, int) else f",.{places}f"
        return value if isinstance(value, str) else format(value, form)

    return list(map(word, column))


def table(rows: Mapping, digits: int | Mapping[str, int] | None = None, title: str = "") -> Table:
    """Values by row and column, to be shown as a cell's last line, by ``display`` or ``print``.

    Args:
        rows: by the names of rows, then of columns; a short name of a score is spelled out.
            Whole numbers and words stay as they are; what a row lacks stays empty.
        digits: behind the point, for all columns or by column; left out, fewer for larger numbers.
        title: a line above it.

    Example:
        >>> table({"GAN": {"hq3": 0.9712, "modes": 9}, "DDGAN": {"hq3": 0.985, "modes": 25}})
                 HQ3  modes
        GAN    0.971      9
        DDGAN  0.985     25
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    given = digits if isinstance(digits, Mapping) else dict.fromkeys(names, digits)
    columns = [_words([row.get(n, "") for row in rows.values()], given.get(n)) for n in names]
    headings = tuple(HEADINGS.get(name, str(name)) for name in names)
    return Table(title, headings, tuple(zip(map(str, rows), *columns, strict=True)))
