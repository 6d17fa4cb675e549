"""A book that fails softly: the site is built, and says where this machine differs from it."""

import shutil
from pathlib import Path

import build_book
import nbformat
import pytest
import set_address
import store_outputs

ROOT = Path(__file__).resolve().parent.parent

new = nbformat.v4
SPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
CONTENTS = "format: jb-book\nroot: book/intro\nchapters:\n"
MISS = "quality = 0.734\nassert quality > 0.8\nquality + 1"


def write(path: Path, *code: str, tags=(), output: str | None = None) -> None:
    cells = [new.new_markdown_cell(f"# Title of {path.stem}\n\nIts first paragraph.")]
    cells += [new.new_code_cell(source, metadata={"tags": [*tags]}) for source in code]
    if output:
        cells[-1].outputs = [new.new_output("stream", text=output)]
    nbformat.write(new.new_notebook(cells=cells, metadata={"kernelspec": SPEC}), path)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of three chapters: one misses a band, one crashes, one is as it should be."""
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=lambda *_: ["results", "slides"])
    for page in (tmp_path / "book").glob("*.md"):
        page.unlink()
    (tmp_path / "book/intro.md").write_text("# A book\n\nOf three chapters.\n")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    (tmp_path / "ddgan_lite").mkdir()
    (tmp_path / "notebooks").mkdir()
    write(tmp_path / "notebooks/00_miss.ipynb", MISS, tags=["hide-cell"])
    write(tmp_path / "notebooks/01_crash.ipynb", "nowhere", output="an older output")
    write(tmp_path / "notebooks/02_good.ipynb", "value = 1\nassert value < 2\nvalue")
    names = ("00_miss", "01_crash", "02_good")
    lines = "".join(f"  - file: notebooks/{name}.ipynb\n" for name in names)
    (tmp_path / "_toc.yml").write_text(CONTENTS + lines)
    monkeypatch.setattr(build_book, "ROOT", tmp_path)
    monkeypatch.setattr(build_book, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build_book, "live", lambda: 0)
    places = {"EXECUTED": "executed", "STAGING": "src", "FAILED": "failed", "TIMES": "times.json"}
    for name, place in places.items():
        monkeypatch.setattr(build_book, name, tmp_path / "_build" / place)
    monkeypatch.delenv("STRICT", raising=False)
    return tmp_path


def test_the_site_is_built_and_says_what_differs(book, capfd, monkeypatch):
    assert build_book.main([]) == 0
    printed = capfd.readouterr().out
    words = "`quality` is 0.734, the book expects above 0.8"
    assert f"MISSED: {words}" in printed
    assert "STOPPED: cell 1 raised NameError: name 'nowhere' is not defined" in printed
    assert "Traceback" not in printed and "papermill" not in printed
    last = printed.strip().splitlines()[-1]
    assert last.startswith("WARNING: on this machine 2 of 3 chapters")
    assert "00_miss, 01_crash" in last and "All pages can be read" in last
    assert last.endswith(f"github.com/{set_address.wanted()[0]}/issues")

    pages = {p.stem: p.read_text() for p in (book / "_build/html/notebooks").glob("*.html")}
    box = "<code>quality</code> is 0.734, the book expects above 0.8"
    assert box in pages["00_miss"] and "admonition warning" in pages["00_miss"]
    assert "1.734" in pages["00_miss"]  # the cell went on
    assert "tag_hide-cell" not in pages["00_miss"]  # nothing hides the box
    assert "an older output" in pages["01_crash"]
    title, box = pages["01_crash"].index("Title of 01"), pages["01_crash"].index("not be executed")
    assert title < box < pages["01_crash"].index("Its first paragraph")
    assert "NameError" in pages["01_crash"]
    assert "admonition warning" not in pages["02_good"]
    logs = {path.name: path.read_text() for path in (book / "_build/failed").glob("*.log")}
    assert sorted(logs) == ["00_miss.log", "01_crash.log"]
    assert words in logs["00_miss.log"] and "Traceback" in logs["01_crash.log"]

    # What failed is not kept as done, and STRICT makes it count.
    monkeypatch.setenv("STRICT", "1")
    monkeypatch.setattr(build_book, "build_site", lambda: 0)
    assert build_book.main([]) == 1
    again = capfd.readouterr().out
    assert again.count("unchanged") == 1 and f"MISSED: {words}" in again

    # Repaired, it passes, and the logs go.
    write(book / "notebooks/00_miss.ipynb", MISS.replace("0.8", "0.7"))
    write(book / "notebooks/01_crash.ipynb", "1")
    assert build_book.main([]) == 0
    assert "WARNING" not in capfd.readouterr().out
    assert not list((book / "_build/failed").iterdir())


def test_what_is_wrong_with_the_site_still_fails(book, monkeypatch):
    monkeypatch.setattr(build_book, "execute_all", lambda *_: [])
    monkeypatch.setattr(build_book, "stage", lambda *_: None)
    monkeypatch.setattr(build_book, "build_site", lambda: 3)
    assert build_book.main([]) == 3


def test_only_a_chapter_that_passes_has_its_outputs_stored(book, capsys, monkeypatch):
    monkeypatch.setattr(store_outputs, "ROOT", book)
    monkeypatch.setattr(store_outputs, "EXECUTED", build_book.EXECUTED)
    assert store_outputs.main(["02"]) == 0
    _, cell = nbformat.read(book / "notebooks/02_good.ipynb", as_version=4).cells
    assert cell.outputs[0].data["text/plain"] == "1" and cell.execution_count == 1
    before = (book / "notebooks/00_miss.ipynb").read_bytes()
    assert store_outputs.main(["00"]) == 1
    assert "MISSED: `quality` is 0.734" in capsys.readouterr().out
    assert (book / "notebooks/00_miss.ipynb").read_bytes() == before


def test_a_crash_cannot_break_the_box():
    text = build_book.announced("# A title\n\nProse.", "cell 2 raised X: ``` `y` <b>")
    assert text.startswith("# A title\n\n```{warning}\n") and text.endswith("Prose.")
    assert "`cell 2 raised X: ''' 'y' <b>`" in text
