"""The pictures of the first page and beside the weights, and what pages say of themselves."""

import re
import sys
from pathlib import Path

import build_pictures
import numpy as np
import pytest
import torch
from docutils.core import publish_doctree
from PIL import Image

from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks.conv import ConvConfig

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = {path.stem[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))}
INTRO = (ROOT / "book/intro.md").read_text()


@pytest.fixture(autouse=True)
def _extensions(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book/_ext")
    yield
    for name in ("shared_pages", "accessible_pages"):
        sys.modules.pop(name, None)


def test_every_chapter_has_a_card_with_a_picture():
    cards = re.findall(
        r"^:img-top: _static/pictures/(\d\d)\.webp\n(?::class-img-top: photo\n)?"
        r":img-alt: .{20,}\n:link: \.\./notebooks/(\w+)\n",
        INTRO,
        re.M,
    )
    assert cards == [(number, path.stem) for number, path in CHAPTERS.items()]
    assert set(build_pictures.CARDS) == set(CHAPTERS)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_thumbnail_is_a_small_part_of_a_stored_figure(chapter):
    picture = build_pictures.thumbnail(CHAPTERS[chapter], *build_pictures.CARDS[chapter])
    assert picture.width <= 400 and picture.height <= 240
    assert 1.2 < picture.width / picture.height < 2.4  # a card shows little of other shapes
    assert np.asarray(picture).std() > 5, "blank"


def test_a_figure_that_is_gone_is_named():
    with pytest.raises(SystemExit, match=r"03_.*0 figures say 'Nine elephants'"):
        build_pictures.thumbnail(CHAPTERS["03"], "Nine elephants", (0, 0, 1, 1))


def test_the_last_guess_is_the_sample_and_the_first_row_is_noise():
    torch.manual_seed(0)
    model = DDGAN(ConvConfig())
    rows = build_pictures.guesses(model, 6, seed=3)
    noise, *_, sample = model.sample_steps(6, rng=torch.Generator().manual_seed(3))
    assert rows.shape == (5, *sample.shape)
    assert torch.equal(rows[0], noise) and torch.allclose(rows[-1], sample, atol=1e-6)


def test_a_mosaic_keeps_every_pixel_in_its_place():
    images = torch.linspace(-1, 1, 3 * 4).reshape(3, 1, 2, 2)
    made = np.asarray(build_pictures.mosaic(images, columns=2, scale=3, gap=1))
    assert made.shape == (5 * 3, 5 * 3, 4)
    assert made[0, 0].tolist() == [0, 0, 0, 255]
    assert made[3 * 3, 3 * 1, 0] == round(255 * 9 / 11)  # the third image, its second pixel
    assert made[-1, -1, 3] == 0  # there is no fourth


def test_pictures_are_kept_without_loss(tmp_path):
    picture = build_pictures.mosaic(torch.rand(4, 1, 8, 8) * 2 - 1, columns=2)
    build_pictures.save(picture, tmp_path / "one.webp")
    kept = Image.open(tmp_path / "one.webp").convert("RGBA")
    opaque = np.asarray(picture)[..., 3] == 255
    assert np.array_equal(np.asarray(kept)[opaque], np.asarray(picture)[opaque])


def test_a_page_is_described_by_its_first_sentence_without_a_formula():
    import shared_pages

    formula = "Where :math:`x` is written in the way that mathematics has, for quite a long while."
    long = "Words " * 60
    page = publish_doctree(f"Title\n=====\n\nShort.\n\n{formula}\n\n{long}\n")
    words = shared_pages.description(page)
    assert words.startswith("Words Words") and words.endswith("Words ...") and len(words) <= 204
    sentences = publish_doctree("A sentence of as many words as it takes to describe a page. " * 5)
    assert shared_pages.description(sentences) == " ".join(
        ["A sentence of as many words as it takes to describe a page."] * 3
    )
    assert shared_pages.description(publish_doctree("Short.")) == ""


def test_a_number_keeps_its_per_cent_sign_except_in_code():
    import accessible_pages

    said = '<p title="7 % 2">About 80 % of <code>9 % 4</code> and <pre>5 % 3</pre></p>'
    assert accessible_pages.joined(said) == said.replace("80 %", "80\N{NO-BREAK SPACE}%")
