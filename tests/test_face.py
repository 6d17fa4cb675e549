"""The public face: every name is there, is what it is at home, costs nothing until asked for."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import ddgan_lite
from ddgan_lite.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
NAMES = [(home, name) for home, names in ddgan_lite.HOMES.items() for name in names.split()]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize(("home", "name"), NAMES)
def test_a_name_is_what_it_is_at_home(home, name):
    at_home = import_module(f"ddgan_lite.{home}")
    if not hasattr(at_home, name):
        at_home = import_module(f"ddgan_lite.{home}.{name}")
        assert getattr(ddgan_lite, name) is at_home
    else:
        assert getattr(ddgan_lite, name) is getattr(at_home, name)


def test_what_a_newcomer_types_first_works():
    line = "from ddgan_lite import DDGAN, preset, train"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_package_alone_imports_nothing_heavy():
    code = (
        "import sys, ddgan_lite; print(*sorted({'torch', 'numpy', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_names_are_listed_once_and_in_order():
    assert len(NAMES) == len(ddgan_lite.__all__) == len({name for _, name in NAMES})
    assert {*ddgan_lite.__all__, "__version__"} <= set(dir(ddgan_lite))
    assert list(ddgan_lite.HOMES) == sorted(ddgan_lite.HOMES)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(ddgan_lite.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = [(node.module, alias.name, alias.asname) for node in block.body for alias in node.names]
    assert sorted(seen) == sorted((f"ddgan_lite.{home}", name, name) for home, name in NAMES)


def test_the_page_of_the_library_lists_the_same_names():
    page = (ROOT / "book" / "api.md").read_text()
    section = page.split("## The public face")[1].split("\n## ")[0]
    listed = {
        (room, name)
        for room, names in re.findall(r"^- `(\w+)`: (.*)$", section, re.M)
        for name in re.findall(r"`(\w+)`", names)
    }
    assert listed == {(home.split(".")[0], name) for home, name in NAMES}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ddgan_lite' has no attribute 'DDPN'"):
        _ = ddgan_lite.DDPN
    with pytest.raises(ImportError, match="cannot import name 'DDPN'"):
        exec("from ddgan_lite import DDPN")


def test_the_version_is_the_project_s(capsys):
    assert ddgan_lite.__version__ == VERSION
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"ddgan_lite {VERSION}\n"


def test_the_command_is_installed_and_calls_itself_by_its_name():
    command = Path(sys.executable).with_name("ddgan-lite")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: ddgan-lite [-h] [--version] command ...")
