"""The slides: built from the book's own figures and results, for a room without a network."""

import json
import re
import statistics
from html import unescape
from pathlib import Path

import build_slides
import check_site
import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent

TOPICS = {  # what the lecture must not leave out: words of a heading
    "authors": "Denoising Diffusion GANs",
    "trilemma, published": "Three wishes: quality, coverage, speed",
    "trilemma, measured": "measured by us",
    "diffusion": "Diffusion in one slide",
    "Gaussian assumption": "every step is a Gaussian",
    "exact denoising distribution": "One bump, then many",
    "KL against step size": "How far from Gaussian",
    "best Gaussian steps": "best Gaussian steps that exist",
    "method": "implicit denoising model",
    "pairs": "What the discriminator sees",
    "posterior": "chain and posterior",
    "objective": "adversarial objective",
    "latent": r"What \(z\) does",
    "why a GAN": "easier game",
    "training": "25 Gaussians, four steps",
    "ablations, published": "Ablations, published",
    "ablations, ours": "Ablations, ours",
    "mode coverage": "Mode coverage",
    "networks": "The networks",
    "trade-off": "Quality against time",
    "limits": "Where it loses",
    "descendants": "What came after",
    "conclusions": "Conclusions",
    "discussion": "Questions for the class",
    "references": "References",
}


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    assert build_slides.build(folder) == text(folder).count("<section>")
    return folder


def text(deck: Path) -> str:
    return (deck / "index.html").read_text(encoding="utf-8")


def slides(deck: Path) -> list[tuple[str, str]]:
    """What is shown on each slide, and what its speaker sees."""
    pattern = (
        r'<section><div class="frame">(.*?)</div>\n<aside class="notes">(.*?)</aside></section>'
    )
    return re.findall(pattern, text(deck), re.S)


# -- the deck ------------------------------------------------------------------------------------


def test_every_slide_has_one_heading_and_notes_with_minutes(deck):
    minutes = []
    for shown, notes in slides(deck):
        assert len(re.findall(r"<h[12]>", shown)) == 1
        said = re.match(r"\s*<p>\s*(\d+) min\. \S", notes)
        assert said, f"no minutes in the notes of: {shown[:60]}"
        minutes.append((int(said[1]), "Leave out in a 45-minute talk." in notes))
        assert r"\(" not in notes  # the speaker's window sets no formulas
    assert 25 <= len(minutes) == text(deck).count("<section>") <= 35
    assert sum(number for number, _ in minutes) <= 60
    assert 40 <= sum(number for number, skipped in minutes if not skipped) <= 46


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_its_slide(deck, topic):
    headings = [re.search(r"<h[12]>(.*?)</h[12]>", shown)[1] for shown, _ in slides(deck)]
    assert sum(TOPICS[topic] in re.sub("<.*?>", "", heading) for heading in headings) == 1


def test_every_picture_says_what_it_shows(deck):
    images = re.findall(r"<img\b[^>]*>", text(deck))
    assert len(images) >= 15
    for image in images:
        assert len(re.search(r' alt="([^"]*)"', image)[1]) > 40, image
    assert '<html lang="en">' in text(deck)


def test_published_numbers_say_so(deck):
    sources = [shown for shown, _ in slides(deck) if "Xiao et al. 2022, Table" in shown]
    assert len(sources) >= 4
    assert all("published" in shown for shown in sources)


def test_nothing_is_loaded_from_another_host(deck):
    assert check_site.problems(deck) == []
    for style in deck.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", style.read_text()), style
    assert re.findall(r"https?://(?!arxiv\.org/abs/)\S*", text(deck)) == []  # links to papers only


def test_reveal_is_kept_here_with_its_licence():
    folder = ROOT / "book/_static/vendor/reveal"
    assert "Permission is hereby granted" in (folder / "LICENSE").read_text()
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 400_000


def test_text_is_dark_enough_to_read():
    style = (ROOT / "book/_static/slides.css").read_text()
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9A-F]{6});", style))
    used = set(re.findall(r"(?<![-\w])color: var\((--[\w-]+)\)", style))
    assert len(used) >= 3

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for paper in (colours["--paper"], "#F1F0EB"):  # of a page and of a box
        for name in used:
            ratio = (luminance(paper) + 0.05) / (luminance(colours[name]) + 0.05)
            assert ratio >= 4.5, f"{name} on {paper}: {ratio:.1f}"


# -- what is looked up ---------------------------------------------------------------------------


def test_numbers_are_those_of_the_results(deck):
    assert "{{" not in text(deck)
    stored = json.loads((ROOT / "book/results/ablations.json").read_text())["rows"]
    for row in ("full model", "no latent"):
        mean = statistics.mean(stored[row]["hq3"])
        assert build_slides.number(f"ablations.rows.{row}.hq3.mean:.1%") == f"{100 * mean:.1f}\xa0%"
    records = json.loads((ROOT / "book/results/trilemma.json").read_text())["rows"]
    scores = [r["kl"] for r in records if (r["data"], r["family"]) == ("gaussian_grid", "GAN")]
    name = "trilemma.rows[data=gaussian_grid][family=GAN].kl"
    assert build_slides.number(f"{name}.max:.6f") == f"{max(scores):.6f}"


def test_a_figure_is_the_picture_of_the_notebook(deck):
    stored = {
        name: [output["data"]["image/png"] for output in cell.outputs if "data" in output]
        for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")
        for index, cell in enumerate(build_slides.cells(path))
        if (deck / "figures" / (name := f"{path.stem}-{index}.png")).exists()
    }
    for name, pictures in stored.items():
        picture = (deck / "figures" / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert build_slides.base64.b64encode(picture).decode() == "".join(pictures).replace(
            "\n", ""
        )
    assert len(stored) == len(list((deck / "figures").iterdir()))
    assert len(set(re.findall(r'<img src="figures/([^"]+)"', text(deck)))) == len(stored)


def test_a_part_of_a_figure_is_shown_where_one_is_asked_for(tmp_path):
    source, figure = tmp_path / "slides.md", "notebooks/03_multimodal_denoising.ipynb#Six panels"
    source.write_text(f'# Two\n\n![a](<{figure}>)\n\n![b](<{figure}> "inset(0 0 50% 0)")\n')
    build_slides.build(tmp_path / "deck", source)
    whole, half = re.findall(r"<img[^>]*>", text(tmp_path / "deck"))
    assert half == whole.replace(">", ' style="object-view-box: inset(0 0 50% 0)">')


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("![](<notebooks/03_multimodal_denoising.ipynb#a purple cow>)", "of 0 figures"),
        ("![](<notebooks/03_multimodal_denoising.ipynb#panels>)", r"of [2-9] figures"),
        ("![](<notebooks/99_nothing.ipynb#panels>)", "there is no notebooks/99_nothing.ipynb"),
        ("{{ablations.rows.fool model.hq3.mean:.1%}}", "ablations.json has no 'fool model'"),
        ("{{trilemma.rows[family=KAN].hq3.mean}}", r"trilemma.json has no '\[family=KAN\]'"),
        ("{{nothing.rows:.2f}}", "there is no book/results/nothing.json"),
        ("{{ablations.rows.full model.hq3:.1%}}", "names no single number"),
    ],
)
def test_what_is_not_there_is_said(tmp_path, line, message):
    source = tmp_path / "slides.md"
    source.write_text(f"# A title\n\n{line}\n\nNote: 1 min. Nothing.\n")
    with pytest.raises(build_slides.SlideError, match=message) as error:
        build_slides.build(tmp_path / "deck", source)
    assert unescape(line).strip("!{}[]()<>")[:30] in str(error.value)  # which of the lines


def test_an_executed_notebook_is_used_while_it_is_that_of_the_present_cells(tmp_path, monkeypatch):
    v4 = nbformat.v4
    monkeypatch.setattr(build_slides, "EXECUTED", tmp_path / "executed")
    (tmp_path / "executed").mkdir()
    path, executed = tmp_path / "a.ipynb", tmp_path / "executed/a.ipynb"
    injected = v4.new_code_cell("x = 2", metadata={"tags": ["injected-parameters"]})
    drawn = v4.new_code_cell("plot(x)", outputs=[v4.new_output("stream", text="executed")])
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("plot(x)")]), path)
    nbformat.write(v4.new_notebook(cells=[injected, drawn]), executed)
    (cell,) = build_slides.cells(path)
    assert cell.outputs == []  # no stamp: it may have failed half-way

    build_slides.cells.cache_clear()
    executed.with_suffix(".key").write_text("a stamp")
    (cell,) = build_slides.cells(path)
    assert cell.outputs[0].text == "executed"

    build_slides.cells.cache_clear()
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("plot(x + 1)")]), path)
    (cell,) = build_slides.cells(path)
    assert cell.outputs == []
