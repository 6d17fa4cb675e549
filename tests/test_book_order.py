"""The book is executed longest chapter first; its times are kept when it was executed whole."""

import json
from pathlib import Path

import build_book
import pytest

import book
from ddgan_lite.files import results

ROOT = Path(__file__).resolve().parent.parent


def names(paths) -> list[str]:
    return [path.stem for path in paths]


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "folder", lambda: tmp_path)
    monkeypatch.setattr(book, "TIMES", tmp_path / "times.json")
    monkeypatch.setattr(build_book, "RECORDED", tmp_path / "bench_book.json")
    return lambda **chapters: book.TIMES.write_text(json.dumps({"chapters": chapters}))


def test_the_longest_is_first_and_a_new_chapter_before_it(record):
    paths = [Path(f"{name}.ipynb") for name in "abc"]
    assert names(build_book.longest_first(paths)) == ["a", "b", "c"]  # nothing is known
    record(a=10.0, b=30.0)
    assert book.main() == 0
    assert names(build_book.longest_first(paths)) == ["c", "b", "a"]


def test_a_book_in_part_has_no_time(record, capsys):
    assert book.main() == 0  # none at all
    record(a=10.0, b=None)
    assert book.main() == 0
    assert not build_book.RECORDED.exists()
    assert capsys.readouterr().out.count("the record stays") == 2


def test_every_chapter_has_a_time():
    chapters = results.load("bench_book")["chapters"]
    assert set(chapters) == {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert min(chapters.values()) > 0
