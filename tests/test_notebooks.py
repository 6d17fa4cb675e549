"""What every notebook keeps, and that chapter 00 is the library's method in 100 lines."""

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import execute
import figures
import nbformat
import pytest
import torch

from ddgan_lite import check_parameters
from ddgan_lite.chain.diffusion import Diffusion, cosine_levels
from ddgan_lite.method import objectives
from ddgan_lite.training.presets import PRESETS

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))
HUNDRED = FOLDER / "00_ddgan_in_100_lines.ipynb"


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def code_lines(source):
    """Lines that are neither blank, nor comment, nor docstring."""
    if source.lstrip().startswith("import importlib"):  # the set-up cell for hosted notebooks
        return []
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    numbered = enumerate(source.splitlines(), start=1)
    return [
        line
        for number, line in numbered
        if number not in docstrings and line.strip() and not line.strip().startswith("#")
    ]


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
class TestContract:
    def test_opens_with_what_the_reader_will_do_and_need(self, path):
        first = nbformat.read(path, as_version=4).cells[0].source
        assert first.startswith(f"# {path.name[:2]} · ")
        for promise in ("**You will**", "**You need**", "**Time**"):
            assert promise in first, f"{path.name} does not say {promise}"

    def test_carries_a_badge_that_opens_its_student_copy_of_the_release_in_colab(self, path):
        first = nbformat.read(path, as_version=4).cells[0].source
        badge = r"\[!\[Open in Colab\]\(\.\./book/_static/colab\.svg\)\]\((\S+)\)"
        (address,) = re.findall(badge, first)
        project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
        assert address.startswith("https://colab.research.google.com/github/")
        assert address.endswith(f"/blob/colab-v{project['version']}/{path.name}")
        assert (FOLDER.parent / "book/_static/colab.svg").is_file()

    def test_has_one_parameters_cell_with_a_profile(self, path):
        tagged = [c for c in code_cells(path) if "parameters" in c.metadata.get("tags", [])]
        assert len(tagged) == 1
        assert 'profile = "quick"' in tagged[0].source

    def test_has_exercises_and_a_summary(self, path):
        prose = "\n".join(
            c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown"
        )
        for heading in ("## What we saw", "## Exercises", "## References"):
            assert heading in prose

    def test_cells_are_short_and_show_their_output(self, path):
        for cell in code_cells(path):
            assert len(cell.source.splitlines()) <= 35
            assert not cell.source.rstrip().endswith(";")

    def test_claims_are_asserted(self, path):
        assert sum("assert " in cell.source for cell in code_cells(path)) >= 1

    def test_every_figure_is_described_and_stands_alone_in_its_output(self, path):
        """What else a cell displayed would stand inside the figure, above the same caption."""
        for cell in code_cells(path):
            if figures.pictures(cell):
                about = f"a figure of {path.name}: {cell.source[:60]}"
                caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
                assert len(figures.alt_text(cell)) > 40, about
                assert len(caption) > 40, about
                assert sum("data" in output for output in cell.outputs) == 1, about

    def test_letters_of_figures_are_large_enough_in_the_column_of_a_page(self, path):
        """As tools/store_outputs.py measured them in the SVG of the page."""
        for cell in code_cells(path):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    page = output.metadata["page"]
                    assert page["width"] <= figures.COLUMN and page["letters"] >= 10, (
                        f"{page}: {cell.source[:60]}"
                    )

    def test_outputs_are_stored_from_one_clean_run(self, path):
        counts = [cell.execution_count for cell in code_cells(path)]
        assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"

    def test_no_trace_is_left_of_the_machine_that_ran_it(self, path):
        for cell in nbformat.read(path, 4).cells:
            assert not {"papermill", "execution"} & set(cell.metadata)
        assert set(nbformat.read(path, 4).metadata) <= {"jupytext", "kernelspec", "language_info"}
        assert str(FOLDER.parent) not in path.read_text(), "an absolute path"

    def test_is_small(self, path):
        assert path.stat().st_size <= 300_000


def names_of_chapter_00():
    """Run the definitions of chapter 00, not its training."""
    space = {}
    for cell in code_cells(HUNDRED):
        if "train_ddpm(mlp" in cell.source:
            break
        exec(cell.source, space)
    return space


def test_chapter_00_is_at_most_100_lines():
    """Exercises, their solutions and checks, are not the method, nor is what no page shows."""
    cells, exercise = code_cells(HUNDRED), {"solution", "check"}
    cells = [cell for cell in cells if "remove-cell" not in cell.metadata.get("tags", [])]
    method = [cell for cell in cells if not exercise & set(cell.metadata.get("tags", []))]
    assert method == cells[: len(method)]  # nothing of the method hides among the exercises
    assert sum(len(code_lines(cell.source)) for cell in method) <= 100


def test_chapter_00_does_not_import_the_library():
    assert not any("ddgan_lite" in cell.source for cell in code_cells(HUNDRED))


@pytest.mark.parametrize("num_steps", [1, 2, 4, 8])
def test_chapter_00_has_the_librarys_cosine_levels(num_steps):
    alpha_bar, beta = names_of_chapter_00()["chain"](num_steps)
    diffusion = Diffusion(num_steps, noise_levels=cosine_levels(num_steps))
    torch.testing.assert_close(alpha_bar.double(), diffusion.alpha_bar, rtol=2e-5, atol=1e-7)
    torch.testing.assert_close(beta.double(), diffusion.beta, rtol=2e-5, atol=1e-6)


def test_chapter_00_has_the_librarys_generator():
    """Of standard deviation 1, for which the library's correction is the chapter's."""
    space, networks = names_of_chapter_00(), PRESETS["gaussians"].config
    generator = replace(networks, data_std=1.0).build_generator()
    x, z, t = torch.randn(4, 2), torch.randn(4, 8), torch.arange(1, 5)
    ours = space["guess"](generator.net, x, t.unsqueeze(1), z)
    torch.testing.assert_close(ours, generator(x, t, z), rtol=1e-4, atol=1e-5)


def test_chapter_00_has_the_librarys_posterior_and_pairs():
    space = names_of_chapter_00()
    t = torch.tensor([1, 2, 3, 4])
    x_0, x_t = torch.randn(4, 2), torch.randn(4, 2)
    diffusion = Diffusion(4, noise_levels=cosine_levels(4))
    torch.manual_seed(0)
    theirs = diffusion.posterior_sample(x_0, x_t, t)
    torch.manual_seed(0)
    ours = space["posterior_sample"](x_0, x_t, t.unsqueeze(1))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)

    torch.manual_seed(0)
    theirs = diffusion.q_sample_pair(x_0, t)
    torch.manual_seed(0)
    ours = space["true_pair"](x_0, t.unsqueeze(1))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_chapter_00_has_the_librarys_losses():
    space = names_of_chapter_00()
    real, fake = torch.randn(16), torch.randn(16)
    theirs = objectives.discriminator_loss(real, fake)
    assert torch.equal(space["discriminator_loss"](real, fake), theirs["d_real"] + theirs["d_fake"])
    theirs = objectives.generator_loss(fake)["g_adversarial"]
    assert torch.equal(space["generator_loss"](fake), theirs)
    x = torch.randn(16, 2, requires_grad=True)
    logits = x.pow(3).sum(1)
    assert torch.equal(space["r1"](logits, x), objectives.r1_penalty(logits, x))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_a_wrong_profile_gets_a_sentence(path):
    check = next(cell for cell in code_cells(path) if "profile must be" in cell.source)
    with pytest.raises(ValueError, match=r"got 'fast'\."):
        exec(check.source, {"profile": "fast"})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_an_unknown_parameter_is_refused_with_the_list_of_those_known(path, monkeypatch):
    cells = [cell.source for cell in code_cells(path)]
    tagged = next(
        i for i, c in enumerate(code_cells(path)) if "parameters" in c.metadata.get("tags", [])
    )
    known = sorted(execute.parameters_of(path))
    shell = SimpleNamespace(user_ns={})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    for name in (*known, "seed_"):
        # What IPython holds when the cell behind papermill's is running.
        cells_run = ["", *cells[: tagged + 1], f"# Parameters\n{name} = 1\n", cells[tagged + 1]]
        shell.user_ns = space = {"In": cells_run, "profile": "quick"}
        space["check_parameters"] = check_parameters
        source = cells[tagged + 1].partition("check_parameters()")
        if name in known:
            exec("".join(source[:2]), space)
            continue
        with pytest.raises(ValueError, match=r"unknown parameter .*seed_.*: this") as error:
            exec("".join(source), space)
        assert all(each in str(error.value) for each in known)


@pytest.mark.parametrize(
    ("chapter", "name", "value", "sentence"),
    [
        ("04", "profile", "full", ""),
        ("04", "profile", "fast", 'profile must be "quick" or "full", got \'fast\'.'),
        ("04", "profil", "full", "unknown parameter profil: this notebook knows profile, seed."),
        ("00", "steps", "5", "unknown parameter in 'steps = 5': this notebook knows profile, seed"),
    ],
)
def test_papermill_sets_what_a_chapter_knows(chapter, name, value, sentence, tmp_path):
    """The opening cells, by the papermill that readers use."""
    book = nbformat.read(next(FOLDER.glob(f"{chapter}*.ipynb")), as_version=4)
    check = next(i for i, cell in enumerate(book.cells) if "profile must be" in cell.source)
    book.cells = book.cells[: check + 1]
    nbformat.write(book, tmp_path / "start.ipynb")
    command = [sys.executable, "-m", "papermill", "start.ipynb", "out.ipynb", "--no-progress-bar"]
    done = subprocess.run(
        [*command, "-k", "python3", "-p", name, value],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == (not sentence), done.stderr
    if sentence:
        assert sentence in done.stderr
    else:
        assert 'profile = \\"full\\"' in (tmp_path / "out.ipynb").read_text()


@pytest.mark.parametrize(("altered", "returncode"), [(False, 0), (True, 1)])
def test_nbval_notices_an_output_altered_by_hand(altered, returncode, tmp_path):
    """The first cells of chapter 03, whose printed result is deterministic."""
    book = nbformat.read(next(FOLDER.glob("03*.ipynb")), as_version=4)
    last = next(i for i, cell in enumerate(book.cells) if "brute_force" in cell.source)
    book.cells = book.cells[: last + 1]
    (printed,) = book.cells[last].outputs
    assert printed.text.endswith("below 1e-8\n")
    if altered:
        printed.text = printed.text.replace("1e-8", "1e-9")
    nbformat.write(book, tmp_path / "03_start.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == returncode, done.stdout
