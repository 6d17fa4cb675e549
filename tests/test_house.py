"""The house: one lock, one address, notebooks in pairs, a README that runs, tools that notice."""

import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import build_book
import check_site
import jupytext
import nbformat
import pairs
import pytest
import set_address
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from ddgan_lite.training.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [
    requirement
    for line in sum(EXTRAS.values(), start=PROJECT["dependencies"].copy())
    if (requirement := Requirement(line)).name != PROJECT["name"]  # an extra may name others
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


# -- what is installed ---------------------------------------------------------------------------


def lock() -> dict[str, Version]:
    """constraints.txt as {name: version}; refuses anything but one exact pin per package."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, version = re.fullmatch(r"([\w.-]+)==([\w.!+]+)", line).groups()
        assert canonicalize_name(name) not in pins, f"{name} is pinned twice"
        pins[canonicalize_name(name)] = Version(version)
    return pins


def test_the_lock_satisfies_every_range():
    pins = lock()
    assert len(pins) > 100
    for requirement in REQUIREMENTS:
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}, but locked at {version}"


def test_torch_and_numpy_have_lower_bounds_only():
    # Colab has its own; an upper bound or a pin would make pip replace them.
    for name in ("torch", "torchvision", "numpy"):
        (requirement,) = (r for r in REQUIREMENTS if r.name == name)
        assert [clause.operator for clause in requirement.specifier] == [">="]


def test_version_2_of_jupyter_book_is_kept_out():
    (requirement,) = (r for r in REQUIREMENTS if r.name == "jupyter-book")
    assert requirement.specifier.contains("1.0.4.post1")
    assert not requirement.specifier.contains("2.0.0")


def test_environment_yml_asks_for_what_pyproject_asks_for():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, rest = environment["dependencies"]
    python = Requirement(python)
    assert python.name == "python" and pip == "pip"
    assert set(SpecifierSet(PROJECT["requires-python"])) <= set(python.specifier)
    # Everything else through this project's own extras, all of them, at the lock's versions.
    assert rest == {"pip": ["-c constraints.txt", f"-e .[{','.join(sorted(EXTRAS))}]"]}


def test_the_citation_has_the_version_and_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


# -- the commands --------------------------------------------------------------------------------


def test_the_workflows_and_ci_run_the_two_commands():
    runs = {}
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        runs[path.stem] = " ".join(s.get("run", "") for job in jobs for s in job["steps"])
    assert "make test" in runs["tests"] and "make lint" in runs["tests"]
    assert "make book" in runs["book"]
    assert "papermill" in runs["colab"] and "constraints" not in runs["colab"]
    ci = ROOT / ".ci/run"
    assert os.access(ci, os.X_OK)
    targets = re.search(r"for target in (.+);", ci.read_text())[1].split()
    assert {"install", "lint", "other-python", "book", "test"} <= set(targets)
    assert "export STRICT=1" in ci.read_text()


# -- the public address --------------------------------------------------------------------------


def copy_places(target: Path) -> dict[str, bytes]:
    """Copy pyproject.toml and every file that may hold the address; their bytes by name."""
    for path in [ROOT / "pyproject.toml", *set_address.places()]:
        (target / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / path.relative_to(ROOT))
    return contents(target)


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def move(folder: Path, repository: str, book: str) -> None:
    """Set another address in pyproject.toml, as a person would."""
    path = folder / "pyproject.toml"
    for name, url in (("Repository", f"https://github.com/{repository}"), ("Book", book)):
        text, count = re.subn(rf"(?m)^{name} = .*$", f'{name} = "{url}"', path.read_text())
        assert count == 1
        path.write_text(text)


def test_every_file_has_the_one_address():
    assert set_address.problems() == []


def test_no_other_file_spells_the_address():
    known = {ROOT / "pyproject.toml", *set_address.places()}
    spelled = re.compile("{}{}|{}".format(set_address.HOST, *map(re.escape, set_address.wanted())))
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if (not name.startswith(".") or name in (".ci", ".github"))
            and not name.endswith(".egg-info")
            and name not in ("_build", "__pycache__", "vendor", "runs", "data")
        ]
        for path in (Path(folder) / name for name in names):
            if path not in known:
                assert not spelled.search(path.read_bytes().decode(errors="replace")), path


@pytest.mark.parametrize(
    ("repository", "book"),
    [
        ("some-body/another.name", "https://learn.example.org/ddgan"),
        # A name that begins like the old one must not be taken for it.
        tuple(address + "-2" for address in set_address.wanted()),
    ],
)
def test_a_new_address_reaches_every_place_and_comes_back(tmp_path, repository, book):
    before = copy_places(tmp_path)
    old_repository, old_book = set_address.wanted()
    move(tmp_path, repository, book)
    assert set_address.problems(tmp_path)  # the change is noticed before it is carried out
    assert set_address.main(["--check"], tmp_path) == 1
    assert set_address.main([], tmp_path) == 0
    assert set_address.main(["--check"], tmp_path) == 0
    assert set_address.rewrite(tmp_path) == []  # twice is once

    changed = {name for name, data in contents(tmp_path).items() if data != before[name]}
    holders = {
        path.relative_to(ROOT).as_posix()
        for path in set_address.places()
        if re.search(rf"{set_address.HOST}{old_repository}\b|{old_book}\b", path.read_text())
    }
    assert changed == holders | {"pyproject.toml"}
    assert {"README.md", "CITATION.cff", "CONTRIBUTING.md", "_config.yml"} <= holders
    readme = (tmp_path / "README.md").read_text()
    for prefix in ("https://github.com/", "https://colab.research.google.com/github/"):
        assert f"{prefix}{repository}/" in readme
        assert f"{prefix}{old_repository}/" not in readme
    assert f"({book})" in readme and f"({old_book})" not in readme

    move(tmp_path, old_repository, old_book)
    assert set_address.main([], tmp_path) == 0
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "line",
    [
        "https://github.com/a-fork/ddgan-lite/issues",
        "git+https://github.com/a-fork/ddgan-lite.git",
        "https://colab.research.google.com/github/a-fork/ddgan-lite/blob/main/x.ipynb",
        "https://a-fork.github.io/ddgan-lite/",
    ],
)
def test_a_stray_address_is_named(tmp_path, line):
    copy_places(tmp_path)
    with (tmp_path / "CONTRIBUTING.md").open("a") as file:
        file.write(f"\nSee {line}.\n")
    (problem,) = set_address.problems(tmp_path)
    assert problem.startswith("CONTRIBUTING.md says") and "a-fork" in problem


def test_what_is_opened_or_installed_is_the_released_version(tmp_path):
    before = copy_places(tmp_path)
    project = (tmp_path / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(
        project.replace(f'version = "{PROJECT["version"]}"', 'version = "9.8.7"')
    )
    assert any("another version than v9.8.7" in line for line in set_address.problems(tmp_path))
    assert set_address.main([], tmp_path) == 0
    ours = set_address.wanted()[0]
    for path in tmp_path.glob("notebooks/*.md"):
        assert f"/github/{ours}/blob/colab-v9.8.7/{path.stem}.ipynb" in path.read_text()
    assert f"git+https://github.com/{ours}@v9.8.7" in (tmp_path / "README.md").read_text()
    (tmp_path / "pyproject.toml").write_text(project)
    assert set_address.main([], tmp_path) == 0
    assert contents(tmp_path) == before


def test_addresses_of_other_projects_are_left_alone(tmp_path):
    before = copy_places(tmp_path)
    ours = set_address.wanted()[0]
    line = f"https://github.com/pytorch/pytorch https://github.com/{ours}-weights\n"
    (tmp_path / "CONTRIBUTING.md").write_text(line)
    move(tmp_path, "x/y", "https://x.github.io/y")
    assert set_address.main([], tmp_path) == 0
    assert (tmp_path / "CONTRIBUTING.md").read_text() == line
    assert contents(tmp_path)["README.md"] != before["README.md"]


def test_an_address_that_cannot_be_written_gets_a_sentence(tmp_path):
    copy_places(tmp_path)
    move(tmp_path, "only-a-name", "https://x.github.io/y")
    with pytest.raises(SystemExit, match="OWNER/NAME"):
        set_address.main([], tmp_path)


# -- the site ------------------------------------------------------------------------------------


def test_marks_for_tools_are_not_on_the_page(tmp_path, monkeypatch):
    source = "def double(x):  # fmt: skip\n    ### BEGIN SOLUTION\n    return 2 * x\n"
    source += "    ### END SOLUTION"
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    for name in ("EXECUTED", "STAGING"):
        monkeypatch.setattr(build_book, name, tmp_path / name)
        (tmp_path / name).mkdir()
    nbformat.write(executed, tmp_path / "EXECUTED/00.ipynb")
    build_book.stage([tmp_path / "00.ipynb"])
    (shown,) = nbformat.read(tmp_path / "STAGING/notebooks/00.ipynb", 4).cells
    assert shown.source == "def double(x):\n    return 2 * x\n"


# -- notebooks in pairs --------------------------------------------------------------------------


def small_notebook() -> nbformat.NotebookNode:
    cells = [
        nbformat.v4.new_markdown_cell("# A title\n\nOne sentence."),
        nbformat.v4.new_code_cell("x = 1\nx"),
    ]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})


@pytest.fixture
def pair(tmp_path) -> Path:
    """A folder with one pair that agrees."""
    for name, fmt in (("00_small.ipynb", "ipynb"), ("00_small.md", "md:myst")):
        jupytext.write(small_notebook(), tmp_path / name, fmt=fmt)
    return tmp_path


def test_every_pair_agrees():
    assert pairs.problems() == []


def test_new_outputs_do_not_part_a_pair(pair):
    (path,) = pair.glob("*.ipynb")
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="something else")]
            cell.execution_count = 99
    nbformat.write(book, path)
    assert pairs.problems(pair) == []


@pytest.mark.parametrize("kind", ["code", "markdown"])
def test_a_pair_that_drifted_is_found(pair, kind):
    (path,) = pair.glob("*.ipynb")
    book = nbformat.read(path, as_version=4)
    cell = next(cell for cell in reversed(book.cells) if cell.cell_type == kind)
    cell.source += "\nchanged = 1"
    nbformat.write(book, path)
    (problem,) = pairs.problems(pair)
    assert problem.startswith(f"{path.stem}: .md and .ipynb differ")


def test_half_a_pair_is_found(pair):
    (path,) = pair.glob("*.md")
    path.unlink()
    (problem,) = pairs.problems(pair)
    assert problem.startswith(f"{path.stem} lacks")


def test_every_notebook_is_in_the_contents_and_the_readme():
    contents = (ROOT / "_toc.yml").read_text()
    readme = (ROOT / "README.md").read_text()
    for path in NOTEBOOKS:
        assert f"notebooks/{path.name}\n" in contents, f"{path.name} is not in _toc.yml"
        assert f"(notebooks/{path.name})" in readme, f"{path.name} is not in README.md"


# -- the README ----------------------------------------------------------------------------------


def test_the_snippet_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    lines = [line for line in snippet.splitlines() if line.strip()]
    assert len(lines) <= 20
    short = {"steps=7_000": "steps=2", "% 1000": "% 1", "sample(10_000)": "sample(100)"}
    for long, quick in short.items():
        assert snippet.count(long) == 1
        snippet = snippet.replace(long, quick)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["samples"].shape == (100, 2)
    assert "hq3" in capsys.readouterr().out
    assert names["DDGAN"].load("gaussians.safetensors").sample(3).shape == (3, 2)


def test_links_within_the_project_lead_somewhere():
    text = "".join((ROOT / name).read_text() for name in ("README.md", "LICENSE-TEXT.md"))
    text += (ROOT / "CONTRIBUTING.md").read_text()
    branch = re.escape(set_address.wanted()[0]) + r"/blob/main/([^)\s]+)"
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(branch, text)
    assert len(targets) >= 9
    assert [target for target in targets if not (ROOT / target).exists()] == []


# -- the check of the built site -----------------------------------------------------------------

GOOD = {
    "index.html": '<a href="sub/page.html#part">there</a><a href="#here">here</a>'
    '<p id="here"></p><img src="_static/a%20picture.png"><script src="_static/x.js"></script>'
    '<a href="https://example.org/">away</a><link rel="canonical" href="https://example.org/">',
    "sub/page.html": '<h2 id="part">Part</h2><a href="../index.html">back</a><a href="..">up</a>',
    "_static/x.js": "",
    "_static/a picture.png": "",
}


def site_problems(folder: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return check_site.problems(folder)


def test_a_good_site_passes(tmp_path):
    assert site_problems(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('<a href="nowhere.html">x</a>', "nowhere.html, which does not exist"),
        ('<a href="sub/page.html#parts">x</a>', "no such anchor"),
        ('<a href="#elsewhere">x</a>', "no such anchor"),
        ('<img src="missing.png">', "missing.png, which does not exist"),
        ('<script src="https://cdn.example.org/x.js"></script>', "from another host"),
        ('<script src="//cdn.example.org/x.js"></script>', "from another host"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "from another host"),
        ('<img src="http://example.org/badge.svg">', "from another host"),
    ],
)
def test_a_planted_fault_is_named(tmp_path, fault, words):
    (problem,) = site_problems(tmp_path, GOOD | {"index.html": GOOD["index.html"] + fault})
    assert problem.startswith("index.html ") and words in problem


def test_an_empty_site_is_a_fault(tmp_path):
    assert len(check_site.problems(tmp_path)) == 1


# -- when a notebook is executed again -----------------------------------------------------------


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A small project for tools/build_book.py, with one notebook."""
    for room in ("method", "networks"):
        (tmp_path / "ddgan_lite" / room).mkdir(parents=True)
    (tmp_path / "ddgan_lite/method/model.py").write_text("a = 1\n")
    (tmp_path / "ddgan_lite/networks/toy.py").write_text("b = 1\n")
    (tmp_path / "constraints.txt").write_text("numpy==2.0\n")
    nbformat.write(small_notebook(), tmp_path / "00_small.ipynb")
    monkeypatch.setattr(build_book, "ROOT", tmp_path)
    return tmp_path


def edit_notebook(tree: Path, change) -> None:
    book = nbformat.read(tree / "00_small.ipynb", as_version=4)
    change(book)
    nbformat.write(book, tree / "00_small.ipynb")


def key(tree: Path, profile: str = "quick") -> str:
    return build_book.key_of(tree / "00_small.ipynb", profile)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "ddgan_lite/method/model.py").write_text("a = 2\n"),
        lambda tree: (tree / "ddgan_lite/networks/toy.py").write_text("b = 2\n"),
        lambda tree: (tree / "ddgan_lite/new.py").write_text(""),
        lambda tree: (tree / "ddgan_lite/method/model.py").rename(tree / "ddgan_lite/other.py"),
        lambda tree: (tree / "constraints.txt").write_text("numpy==2.1\n"),
        lambda tree: edit_notebook(tree, lambda book: book.cells[1].update(source="x = 2")),
        lambda tree: edit_notebook(tree, lambda book: book.cells[0].update(source="# Other")),
    ],
    ids=["library", "subpackage", "new file", "renamed file", "lock", "code", "prose"],
)
def test_what_a_notebook_depends_on_makes_it_run_again(tree, change):
    before = key(tree)
    change(tree)
    assert key(tree) != before


def test_another_profile_makes_it_run_again(tree):
    assert key(tree, "full") != key(tree, "quick")


def test_new_outputs_do_not_make_it_run_again(tree):
    before = key(tree)

    def run(book):
        book.cells[1].outputs = [nbformat.v4.new_output("stream", text="1")]
        book.cells[1].execution_count = 7

    edit_notebook(tree, run)
    assert "stream" in json.dumps(nbformat.read(tree / "00_small.ipynb", as_version=4))
    assert key(tree) == before


# The page of differences, column of this library: how a row of its table reads in a preset.
ROWS = {
    "steps $T$": lambda p: p.config.num_steps,
    "batch": lambda p: p.settings.batch_size,
    "updates": lambda p: p.settings.steps,
    "learning rate, generator": lambda p: p.settings.lr_generator,
    "learning rate, discriminator": lambda p: p.settings.lr_discriminator,
    "R1 weight": lambda p: p.settings.r1,
    "R1 interval": lambda p: p.settings.r1_interval,
    "decay of the average": lambda p: p.settings.ema_decay,
    "size of the latent": lambda p: p.config.latent_dim,
    "size of the style vector": lambda p: p.config.style_dim,
    "layers of the mapping network after the first": lambda p: p.config.mapping_depth,
}


def test_the_page_of_differences_prints_the_preset_as_it_is():
    page = (ROOT / "book" / "paper-code-us.md").read_text()
    table = page.split("preset `cifar10` |")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    printed = {name: float(ours.replace(",", "")) for name, *_, ours in cells if name in ROWS}
    assert printed == {name: value(PRESETS["cifar10"]) for name, value in ROWS.items()}
