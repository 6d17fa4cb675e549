"""The library's order: imports run downwards, files stay short, names are explained by example."""

import ast
import doctest
import graphlib
import importlib
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import ddgan_lite

ROOT = Path(ddgan_lite.__file__).parent
LONGEST = 250  # lines that are neither blank nor docstring
BOOK = Path(__file__).resolve().parent.parent / "book"

# Whose docstring holds a line that is shown and not executed, and why.
SKIPPED = {
    "ddgan_lite.evaluation.fidelity.evaluate": "CIFAR-10 and Inception's weights are downloads",
    "ddgan_lite.exchange.hub.push": "it needs an account",
}
# Whose examples need a package that not everybody has.
EXTRAS = {
    "ddgan_lite.exchange.onnx": "onnxscript",
    "ddgan_lite.exchange.sample_onnx": "onnxruntime",
    "ddgan_lite.exchange.pipeline": "diffusers",
}

# The library's plan: a room imports from itself and from those before it. The package itself, which
# passes on what the rooms hold, and the command line come last.
ROOMS = (
    "chain",
    "networks",
    "files",
    "data",
    "figures",
    "method",
    "training",
    "evaluation",
    "exchange",
    "baselines",
    "ddgan_lite",
    "__main__",
)
WHOLE = 6_240  # lines of the library, counted in the same way


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
SOURCES = {name: path.read_text() for name, path in FILES.items()}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def room(name):
    """Where a module lives: its folder's place in ROOMS."""
    part = [*name.split("."), name][1]
    assert part in ROOMS, f"{name} is in no room: put the file into one of {', '.join(ROOMS[:-2])}."
    return ROOMS.index(part)


def imports(name, tree, package):
    """The modules of ddgan_lite that a module names in imports, at its top or in a function."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in FILES else base)
    return {target for target in found if target.split(".")[0] == "ddgan_lite"} - {name}


def package_of(name):
    return name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]


GRAPH = {name: imports(name, tree, package_of(name)) for name, tree in TREES.items()}


def code_lines(source):
    """Lines that are neither blank nor part of a docstring."""
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(1 for number, line in lines if line.strip() and number not in docstrings)


@pytest.mark.parametrize("name", FILES)
def test_imports_run_downwards(name):
    for target in GRAPH[name]:
        assert target in FILES, f"{name} imports {target}, which does not exist."
        assert room(target) <= room(name), (
            f"{name} imports {target}, which is in the later room {ROOMS[room(target)]}."
        )


def test_no_module_imports_itself_in_a_circle():
    list(graphlib.TopologicalSorter(GRAPH).static_order())


@pytest.mark.parametrize("name", FILES)
def test_files_fit_one_sitting(name):
    length = code_lines(SOURCES[name])
    assert length <= LONGEST, f"{FILES[name].name} has {length} lines of code: split it."


def test_the_whole_fits_a_weekend():
    assert sum(map(code_lines, SOURCES.values())) <= WHOLE


def test_every_room_is_a_folder_that_says_what_lives_there():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == set(ROOMS[:-2])
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}
    for name in folders:
        words = ast.get_docstring(TREES[f"ddgan_lite.{name}"])
        assert len(words.split("\n\n")) == 2, f"{name}: a line and a paragraph, please."
    installed = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert {f"ddgan_lite.{name}" for name in folders} <= set(installed["packages"])


@pytest.mark.parametrize("name", FILES)
def test_public_names_are_explained(name):
    tree = TREES[name]
    if tree.body:
        assert ast.get_docstring(tree), f"{name} has no docstring."
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}.{node.name} has no docstring."


def on_the_api_page(page):
    """The public classes and functions that autodoc shows there: full name -> syntax tree."""
    shown = {}
    for name, members in re.findall(r"automodule:: (\S+)\n +:members:(.*)", page):
        chosen = {member.strip() for member in members.split(",")} - {""}
        for node in TREES[name].body:
            public = isinstance(node, PUBLIC) and not node.name.startswith("_")
            if public and node.name in (chosen or {node.name}):
                shown[f"{name}.{node.name}"] = node
    return shown


PUBLIC = ast.ClassDef | ast.FunctionDef
API_PAGES = {path.stem: path.read_text() for path in sorted((BOOK / "api").glob("*.md"))}
API = on_the_api_page("".join(API_PAGES.values()))


def examples(node, skipped=False):
    """The lines of code under "Example:" in a docstring: those executed, or those skipped."""
    section = (ast.get_docstring(node) or "").partition("\nExample:\n")[2]
    lines = doctest.DocTestParser().get_examples(section)
    return [line.source for line in lines if line.options.get(doctest.SKIP, False) == skipped]


def without_example(node):
    """A class or function, or the methods of the class, that no executed example shows.

    A method is shown by an example of its own or by its name in that of the class; ``forward``,
    which has no name where it is used, counts as shown.
    """
    found = [] if examples(node) else [node.name]
    used = set(re.findall(r"\w+", "".join(examples(node)))) | {"forward"}
    for method in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            hidden = ast.get_docstring(method) is None  # autodoc leaves it out
            if not hidden and method.name not in used and not examples(method):
                found.append(f"{node.name}.{method.name}")
    return found


@pytest.mark.parametrize("name", API)
def test_everything_on_the_api_page_has_an_example(name):
    assert without_example(API[name]) == [], "Give it a section Example: with a line of >>>."


def test_every_room_has_a_page_of_its_own_in_reading_order():
    links = re.findall(r"\]\(api/(\w+)\.md\)", (BOOK / "api.md").read_text())
    assert tuple(links) == ROOMS[:-2] and set(links) == set(API_PAGES)
    contents = (BOOK.parent / "_toc.yml").read_text()
    assert re.findall(r"file: book/api/(\w+)$", contents, re.M) == links
    for name, page in API_PAGES.items():
        modules = re.findall(r"automodule:: ddgan_lite\.(\w+)", page)
        assert modules and set(modules) == {name}


def test_every_module_is_on_a_page_of_the_api():
    shown = set(re.findall(r"automodule:: (\S+)", "".join(API_PAGES.values())))
    rooms = {name for name in FILES if name.count(".") == 2}
    commands = {name for name in rooms if name.endswith(".commands")}
    alone = {"ddgan_lite.exchange.sample_onnx"}  # a script that needs no library
    assert shown >= rooms - commands - alone and shown <= FILES.keys()


def test_the_api_pages_show_the_library():
    # Or the test above would hold of an empty page.
    assert len(API) >= 120
    assert SKIPPED.keys() <= API.keys()
    assert sum(len(examples(node)) for node in API.values()) >= 300


@pytest.mark.parametrize("name", FILES)
def test_examples_in_docstrings_work(name):
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    runner = doctest.DocTestRunner()
    tests = doctest.DocTestFinder().find(importlib.import_module(name))
    found = {test.name for test in tests if test.examples}
    expected = {key for key, node in API.items() if key.rpartition(".")[0] == name}
    assert expected <= found  # doctest passes over what it does not take for the module's own
    skipped = {t.name for t in tests if any(line.options.get(doctest.SKIP) for line in t.examples)}
    assert skipped == SKIPPED.keys() & {test.name for test in tests}
    for test in tests:
        runner.run(test)
    assert runner.failures == 0


UNSHOWN = '''
class A:
    """Adds.

    Example:
        >>> A().b(){option}
    """
    def b(self):
        """Explained."""
    def c(self):
        """Explained."""
    def d(self):
        pass
'''


def test_the_rules_notice_what_they_forbid():
    tree = ast.parse(
        "from ddgan_lite.method import model\ndef f():\n    import ddgan_lite.training.trainer"
    )
    found = imports("ddgan_lite.chain.diffusion", tree, "ddgan_lite")
    assert found == {"ddgan_lite.method.model", "ddgan_lite.training.trainer"}
    relative = ast.parse(
        "from .toy import mlp\nfrom .. import chain\nfrom ..files.cards import card"
    )
    found = imports("ddgan_lite.networks", relative, "ddgan_lite.networks")
    assert found == {"ddgan_lite.networks.toy", "ddgan_lite.chain", "ddgan_lite.files.cards"}
    assert code_lines('"""Doc\n\nmore."""\n\nx = 1\n# why\ndef f():\n    """Doc."""\n') == 3
    (silent,) = ast.parse(UNSHOWN.format(option="  # doctest: +SKIP")).body
    (shown,) = ast.parse(UNSHOWN.format(option="")).body
    assert without_example(silent) == ["A", "A.b", "A.c"]
    assert without_example(shown) == ["A.c"]
    with pytest.raises(AssertionError, match=r"ddgan_lite\.new is in no room: put the file into"):
        room("ddgan_lite.new")
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())
