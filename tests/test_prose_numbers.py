"""tools/prose_numbers.py: which numbers in prose it reports, and where it is silent."""

import json

import nbformat
import prose_numbers
import pytest

CODE = 'assert share > 0.95\nrow = results.load("run")'


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """The numbers that are reported of a chapter with this text, a cell, its output, a result."""
    monkeypatch.setattr(prose_numbers, "ROOT", tmp_path)
    for cached in (prose_numbers.chapter, prose_numbers.results, prose_numbers.of_the_book):
        cached.cache_clear()
    for folder in ("notebooks", "book/results", "ddgan_lite/training"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ddgan_lite/training/presets.py").write_text("steps = 351_000\n")
    result = {"seconds": 517.07, "log": [{"loss": 0.123 + k} for k in range(50)]}
    (tmp_path / "book/results/run.json").write_text(json.dumps(result))
    cell = nbformat.v4.new_code_cell(CODE)
    cell.outputs = [nbformat.v4.new_output("stream", text="HQ3 0.8734, left 12.3 %, 48,432,515\n")]
    table = {"text/markdown": "| T = 4 | 0.6172 |", "text/plain": "<IPython.Markdown object>"}
    cell.outputs.append(nbformat.v4.new_output("display_data", table))
    book = nbformat.v4.new_notebook(cells=[cell])
    nbformat.write(book, tmp_path / "notebooks/77_page.ipynb")

    def numbers(text: str, name: str = "notebooks/77_page.md") -> list[str]:
        (tmp_path / name).write_text(text)
        return [line.split(": ")[1] for line in prose_numbers.problems(tmp_path / name)]

    yield numbers
    for cached in (prose_numbers.chapter, prose_numbers.results, prose_numbers.of_the_book):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("HQ3 was 0.91 here.", ["0.91"]),
        ("The table has 0.617 and not 0.618.", ["0.618"]),
        ("The FID is about 73 here.", ["73"]),
        ("Of the samples 61 % are near a mode.", ["61"]),
        ("It took 1,234 seconds.", ["1,234"]),
        ("Five seeds ended between 0.16 and 0.22.", ["0.16", "0.22"]),
        ("There are 6,742 of them.", ["6,742"]),
        ("A loss of 0.123 in the log.", ["0.123"]),  # a log holds everything
        ("- Published: FID 3.75.\n- Ours: FID 4.75.", ["4.75"]),
        ("| ours | FID |\n|---|---|\n| DDGAN | 4.75 |", ["4.75"]),
        ("```{code-cell}\n---\nmystnb:\n  image:\n    alt: It falls to 0.61.\n---\n```", ["0.61"]),
    ],
)
def test_a_number_from_nowhere_is_reported(reported, text, numbers):
    assert reported(text) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "HQ3 was 0.87, that is 87 %; 87.3 % to be exact, so 13 % are off.",
        "12.3 % are left, and more than 95 % are near a mode.",
        "It has 48,432,515 weights, 48.4 million.",
        "It took 517 seconds.",
        "*Published*: FID 3.75.",
        "| published | FID |\n|---|---|\n| DDGAN | 4.75 |",
        "The weight is `0.77`, or $0.77$, and 1000 / 3 ≈ 4.75.",
        "In chapter 08, exercise 06.1 and [here](https://a.b/1.25) of 2021, arXiv:2112.07804.",
        "Images of 8 \u00d7 8 pixels, three of them, with Python 3.11.",
        "# 0.91 in a heading\n\n## References\n\n- Volume 9.99.",
        "```bash\nrun --rate 0.37\n```",
        "The paper makes 351,000 updates of 1,000 steps.",
        "At $t = 2$ a share of 0.28 of the signal is left, beside noise of 0.96.",
        "Within three standard deviations lie 98.9 %, outside 1.1 %.",
    ],
)
def test_what_is_computed_or_no_result_is_not(reported, text):
    assert reported(text) == []


def test_a_page_without_a_kernel_may_name_a_chapter_or_a_result(reported):
    for text in ("An HQ3 of 0.87 in chapter 77.", "It took 517 s (`book/results/run.json`)."):
        assert reported(text, "book/page.md") == []
    assert reported("An HQ3 of 0.61. It took 517 s.", "book/page.md") == ["0.61", "517"]


def test_a_report_says_where_and_in_which_sentence(reported):
    reported("One.\n\nTwo lines, and\nHQ3 was 0.91 here. Three.")
    (line,) = prose_numbers.problems(prose_numbers.ROOT / "notebooks/77_page.md")
    assert line == "notebooks/77_page.md:4: 0.91: Two lines, and HQ3 was 0.91 here."


def test_what_is_allowed_is_still_there():
    for (name, number), reason in prose_numbers.ALLOWED.items():
        (path,) = [path for path in prose_numbers.pages() if path.name == name]
        assert number in path.read_text() and reason
