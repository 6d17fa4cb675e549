"""The pages one looks things up in: recipes that run, terms and symbols that are all there."""

import re
import shlex
import shutil
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from ddgan_lite.__main__ import main, parser
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import CONFIGS, UNetConfig
from ddgan_lite.training.presets import parse, preset
from ddgan_lite.training.runs import run

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = {path.stem[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9]*.md"))}
PAGES = {path.stem: path for path in sorted((ROOT / "book").glob("*.md"))}

# -- how do I ... --------------------------------------------------------------------------------

RECIPES = PAGES["how-do-i"].read_text()
SECTIONS = dict(re.findall(r"^## (How do I [^\n]*\?)\n(.*?)(?=^## |\Z)", RECIPES, re.M | re.S))
ONLINE = "# needs a network"
EXTRA = {"# needs the extra diffusers": "diffusers", "# needs the extra onnx": "onnxruntime"}
UNTRIED = (  # that begin with this
    "train on shards, or on a set that no disk holds",
    "evaluate a model",
    "share a model on the Hugging Face hub",
)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands(text: str) -> list[list[str]]:
    """The words behind ``-m ddgan_lite``, in the shell blocks and in the prose."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    shell = [block.replace("\\\n", "") for block in blocks(text, "bash")]  # as a shell joins lines
    lines = [line for block in shell for line in block.splitlines()]
    lines += re.findall(r"`([^`]+)`", prose)
    found = [line.partition("-m ddgan_lite ")[2] for line in lines]
    return [shlex.split(words, comments=True) for words in found if " " in words]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What the page supposes: photographs, a run on them, and a file in the published layout."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "my/photos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"my/photos/{number}.png")
    photos = str(folder / "my/photos")
    list(run(preset("cifar10", quick=True, data=photos, steps=2), folder / "runs/mine"))
    for toy in ("gaussians", "digits"):
        list(run(preset(toy, steps=2), folder / "runs" / toy))
    shutil.copy(results.find("stacked_digits.safetensors"), folder / "digits.safetensors")
    config = UNetConfig(width=8, multipliers=(1, 2), blocks=1, latent_dim=8, style_dim=8)
    for name in ("netG_1200.pth", "netG_550.pth"):
        torch.save(tiny.published(config.build_generator()), folder / name)
    DDGAN.load(folder / "runs/mine").save(folder / "cifar10.safetensors")
    return folder


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    """A copy of that world to work in; what a recipe adds to the library is taken back."""
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as for a script that lies here
    known = dict(CONFIGS)
    yield tmp_path
    CONFIGS.clear()
    CONFIGS.update(known)


def test_every_heading_is_a_question_with_an_answer():
    assert len(re.findall(r"^## ", RECIPES, re.M)) == len(SECTIONS) > 10
    for question, text in SECTIONS.items():
        assert re.search(r"^```(bash|python)$|^\| ", text, re.M), question


@pytest.mark.parametrize("question", SECTIONS)
def test_the_python_of_a_recipe_runs(question, here, capsys):
    names = {"__name__": "recipe"}
    for number, source in enumerate(blocks(SECTIONS[question], "python")):
        code = compile(source, f"{question} ({number})", "exec")
        needed = EXTRA.get(source.splitlines()[0])
        if needed and not find_spec(needed):
            pytest.skip(f"{needed} is not installed")
        if not source.startswith(ONLINE):
            exec(code, names)


def test_only_what_needs_a_network_is_left_out():
    found = [q for q, text in SECTIONS.items() for b in blocks(text, "python") if ONLINE in b]
    assert found == [f"How do I {it}?" for it in UNTRIED]
    assert len(blocks(RECIPES, "python")) >= 16


@pytest.mark.parametrize("words", commands(RECIPES), ids=" ".join)
def test_the_commands_of_a_recipe_are_understood(words):
    args = parser().parse_args(words)
    if args.command == "train":  # its keys and values too
        preset(args.preset, quick=args.quick, **parse(args.set))


def test_the_commands_that_cost_nothing_run(here, capsys):
    cheap = [
        words
        for words in commands(RECIPES)
        if words[0] in ("convert", "export-js") or words[:2] == ["sample", "cifar10.safetensors"]
    ]
    assert len(cheap) >= 5
    for words in cheap:
        assert main(words) == 0, words
        assert Path(words[words.index("--out") + 1] if "--out" in words else words[2]).is_file()


# -- the teaching guide --------------------------------------------------------------------------


def test_the_exercises_that_teaching_names_are_there():
    text = " ".join(PAGES["teaching"].read_text().split())
    named = re.findall(r"(\d\d)\.(\d+) \*([^*]+)\*", text)
    assert len({chapter for chapter, _, _ in named}) == len(CHAPTERS)
    for chapter, number, title in named:
        heading = rf"^### Exercise {chapter}\.{number}: {re.escape(title)} \("
        assert re.search(heading, CHAPTERS[chapter].read_text(), re.M), heading


# -- the glossary --------------------------------------------------------------------------------

_listing = re.search(r"^```\{glossary\}\n(.*?)^```$", PAGES["glossary"].read_text(), re.M | re.S)[1]
TERMS = dict(re.findall(r"^(\S.*)\n((?:  .+\n)+)", _listing, re.M))
# What a chapter calls a term where that is not the term itself.
ALSO = {
    "Adaptive discriminator augmentation": "StyleGAN2 with ADA",
    "ELBO": "bound on the likelihood",
    "EMA": "moving average",
    "Lazy regularisation": "lazy",
    "NFE": "evaluations",
    "Stochastic differential equation": "continuous process",
}


def plain(text: str) -> str:
    """Lower case without accents, hyphens or emphasis, on one line: for comparing words."""
    bare = unicodedata.normalize("NFKD", text.replace("\N{EN DASH}", "-"))
    bare = bare.encode("ascii", "ignore").decode()
    return " ".join(re.sub(r"[*`_-]+", " ", bare).lower().split())


def test_the_glossary_is_in_order_and_says_nothing_twice():
    listed = re.findall(r"^\S.*$", _listing, re.M)
    assert listed == list(TERMS), "a term without a definition, or one that stands there twice"
    assert sorted(TERMS, key=plain) == list(TERMS)
    assert len({plain(term) for term in TERMS}) == len(TERMS) > 100


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_explained_briefly_and_used_where_it_says(term):
    definition = " ".join(TERMS[term].split())
    text, place = re.fullmatch(r"(.*[.:]) \((chapter \d\d|\[.*\))\)", definition).groups()
    assert len(text) < 500 and len(re.findall(r"[.?] [A-Z]", text)) <= 4
    chapter, link = re.fullmatch(r"chapter (\d\d)|\[.*\]\((.*)\.md\)", place).groups()
    page = plain((CHAPTERS[chapter] if chapter else PAGES[link]).read_text())
    # The first four letters of each word, so that plurals and other endings do.
    missing = [w for w in plain(ALSO.get(term, term)).split() if not re.search(rf"\b{w[:4]}", page)]
    assert not missing, f"not in {place}"


# -- the notation --------------------------------------------------------------------------------

# Layout, and signs that school teaches. Everything else in a formula has to be in the notation.
TYPESETTING = {"left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "frac", "tfrac"}
TYPESETTING |= {"qquad", "quad", "dots", "cdot", "times", "sqrt", "sum", "prod", "int"}
TYPESETTING |= {"exp", "log", "cos", "approx", "ge", "le", "pm", "to", "infty"}
NAME = re.compile(r"\\(?:mathrm|operatorname)\s*\{?\s*([A-Za-z]+)\}?")  # \mathrm{KL}
ACCENT = re.compile(r"\\((?:bar|hat|tilde|mathbb|mathcal)\s*\{?\s*(?:\\[A-Za-z]+|[A-Za-z]))")
COMMAND, LETTER = re.compile(r"\\([A-Za-z]+)"), re.compile(r"([A-Za-z])")


def formulas(path: Path) -> str:
    """All formulas of a page, in its prose and in its ``math`` directives; none of its code."""
    text = re.sub(r"^---\n.*?\n---\n", "", path.read_text(), flags=re.S)
    text = re.sub(r"^```\{math\}\n(?::[^\n]*\n)*(.*?)^```$", r"$$\1$$", text, flags=re.M | re.S)
    text = re.sub(r"^```(?:\{code-cell\}[^\n]*|[a-z]+)\n.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"`[^`\n]+`", "", text)
    shown, rest = re.findall(r"\$\$(.+?)\$\$", text, re.S), re.sub(r"(?s)\$\$.+?\$\$", "", text)
    return " ".join(shown + re.findall(r"\$([^$]+)\$", rest))


def symbols(text: str) -> set[str]:
    """The letters, the commands and the names of a formula; an accent belongs to its letter."""
    text, found = re.sub(r"\\(?:begin|end|text)\s*\{[^}]*\}", " ", text), set()
    for kind in (NAME, ACCENT, COMMAND, LETTER):
        found |= {re.sub(r"[\s{\\]", "", name) for name in kind.findall(text)}
        text = kind.sub(" ", text)
    return found - TYPESETTING


NOTATION = symbols(formulas(PAGES["notation"]))


@pytest.mark.parametrize("page", [*CHAPTERS, *PAGES])
def test_every_symbol_of_a_page_is_in_the_notation(page):
    missing = symbols(formulas(CHAPTERS.get(page) or PAGES[page])) - NOTATION
    assert not missing


def test_a_symbol_of_one_chapter_is_used_there():
    table = PAGES["notation"].read_text().partition("## Symbols of single chapters")[2]
    rows = re.findall(r"^\| (\S.*?) \|.*\| (\S+) \|$", table.partition("\n## ")[0], re.M)[1:]
    assert len(rows) > 20
    for cell, where in rows:
        there = symbols(formulas(CHAPTERS.get(where) or PAGES[where]))
        assert symbols(" ".join(re.findall(r"\$([^$]+)\$", cell))) <= there, (cell, where)


def test_a_new_symbol_would_be_missed():
    assert symbols(r"\Xi = \hat q + \operatorname{tr}(b)") == {"Xi", "hatq", "tr", "b"}
    assert not {"Xi", "hatq"} & NOTATION
