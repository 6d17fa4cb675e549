"""Installing: what `make` does, on which Pythons, and the two tools that check it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import check_lock
import other_python
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
PROMISED = re.search(r"^PYTHONS := (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()


def script(path: Path, text: str) -> Path:
    """A program of the shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_every_python_of_the_makefile_is_tried_on_github_and_allowed_by_conda():
    assert PROMISED[0] == "3.11.0"  # the oldest of the oldest, not the newest
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert SpecifierSet(required) == SpecifierSet(">=3.11")
    tried = "".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml"))
    conda, *_ = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    for version in PROMISED:
        minor = ".".join(version.split(".")[:2])
        assert f'"{minor}"' in tried, f"no job runs on Python {minor}"
        assert Requirement(conda).specifier.contains(version)


# -- what `make` does, and what it says to a Python that lacks something --------------------------


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # Not the variables of the make that may be running this very test.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=cwd, env=clean, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with what `make` makes an environment of."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_plain_make_lists_every_target():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    printed = make().stdout
    assert {"book", "test", "notebooks", "pair", "serve", "bench", "address"} <= set(phony)
    assert all(f"make {name} " in printed for name in phony if name != "targets")


@pytest.mark.parametrize("answer", ["old", "missing"])
def test_an_unusable_python_gets_a_sentence(project, answer):
    python = project / "python"
    if answer == "old":
        script(python, "exit 1")
    done = make("book", f"PYTHON={python}", cwd=project)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (project / ".venv").exists()


def test_the_environment_is_made_once_and_again_when_the_lock_changes(project):
    calls = project / "calls"
    for name in ("python", "pip"):
        script(project / ".venv/bin" / name, f'echo "$@" >> {calls}')

    def install() -> str:
        calls.write_text("")
        done = make("install", f"PYTHON={sys.executable}", cwd=project)
        assert done.returncode == 0, done.stderr
        return calls.read_text()

    assert "install -c constraints.txt -e .[book,test]" in install()
    assert install() == ""
    future = (project / ".venv/ready").stat().st_mtime + 10
    os.utime(project / "pyproject.toml", (future, future))  # newer, but the same: a checkout
    assert install() == ""
    with (project / "constraints.txt").open("a") as file:
        file.write("another==1.0\n")
    os.utime(project / "constraints.txt", (future + 20, future + 20))
    assert "install -c constraints.txt" in install()


def test_a_python_without_venv_names_the_package_that_brings_it(project):
    # As Debian's without python3-venv.
    python = script(project / "python", 'case "$2" in *ensurepip*) exit 1;; esac')
    done = make("book", f"PYTHON={python}", cwd=project)
    assert done.returncode != 0
    (sentence, _) = done.stderr.splitlines()  # and make's own line
    assert "apt install python3-venv" in sentence and "repeat: make book" in sentence
    assert not (project / ".venv").exists()


def test_a_python_of_the_future_may_try_and_is_told_so(project):
    future = 'case "$2" in *"not in"*) exit 1;; esac\ntest "$2" != venv || cp -r made .venv'
    script(project / "made/bin/python", "exit 0")
    python = script(project / "python", future)
    done = make("book", f"PYTHON={python}", cwd=project)
    assert done.returncode == 0, done.stderr
    told, *_ = done.stdout.splitlines()
    assert told.startswith("Nobody has tried") and PROMISED[-1] in told


# -- the lock, asked by a resolver ---------------------------------------------------------------


@pytest.fixture
def uv(tmp_path, project, monkeypatch):
    """Puts a program of the shell in the place of uv, which would use the network."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.delenv("CI", raising=False)
    return lambda text: script(tmp_path / "bin/uv", text)


def test_a_lock_that_holds_everything_passes(uv, tmp_path, capsys):
    uv("cat constraints.txt; echo setuptools==84.2.1")
    assert check_lock.main(PROMISED, tmp_path) == 0
    assert "installs on Python 3.11.0, 3.12" in capsys.readouterr().out


def test_what_the_lock_lacks_on_one_python_is_named(uv, tmp_path, capsys):
    uv('cat constraints.txt; case "$*" in *3.12*aarch64*) echo New_Thing==1.0;; esac')
    assert check_lock.main(PROMISED, tmp_path) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "constraints.txt lacks new-thing==1.0 on Python 3.12, Linux, aarch64."


def test_a_python_on_which_the_lock_does_not_install_is_named(uv, tmp_path, capsys):
    uv('case "$*" in *3.11.0*) echo too new >&2; exit 1;; esac; cat constraints.txt')
    assert check_lock.main(PROMISED, tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all("on Python 3.11.0, Linux" in line for line in lines)
    assert all(line.endswith("too new") for line in lines)


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_without_network_the_lock_is_not_checked(uv, tmp_path, monkeypatch, capsys, ci, status):
    uv('echo "error: Failed to fetch: the index" >&2; exit 2')
    monkeypatch.setenv("CI", ci)
    assert check_lock.main(PROMISED, tmp_path) == status
    assert "not checked: no network" in capsys.readouterr().out


# -- a second Python -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (None, "is not there"),
        ("exit 3", "is not there"),
        ("echo 3 9 2", "is 3.9.2"),
        ("echo {} {} {}".format(*sys.version_info), "is {}.{}.{}".format(*sys.version_info)),
    ],
)
def test_without_a_second_python_a_line_says_so(tmp_path, capsys, answer, what):
    python = tmp_path / "python" if answer is None else script(tmp_path / "python", answer)
    assert other_python.main(str(python), tmp_path) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("No second Python") and what in line
    assert not (tmp_path / "_build").exists()


def test_the_second_environment_is_made_once_and_runs_the_fast_tests(uv, tmp_path, capsys):
    python = script(tmp_path / "python", "echo 3 11 99")
    there = "_build/other-python/bin/python"
    uv(f'echo "$*" >> calls\nmkdir -p {Path(there).parent}\ncp tests.sh {there}')
    script(tmp_path / "tests.sh", 'echo "$*" >> calls; exit 5')
    assert other_python.main(str(python), tmp_path) == 5  # what pytest says
    venv, install, tests = (tmp_path / "calls").read_text().splitlines()
    assert venv.startswith("venv") and str(python) in venv
    assert install.endswith("-c constraints.txt -e .[book,test]")
    assert tests.startswith("-m pytest") and "tests/test_accelerator.py" in tests
    other_python.main(str(python), tmp_path)
    assert len((tmp_path / "calls").read_text().splitlines()) == 4  # the tests alone
    with (tmp_path / "constraints.txt").open("a") as file:
        file.write("another==1.0\n")
    other_python.main(str(python), tmp_path)
    assert len((tmp_path / "calls").read_text().splitlines()) == 7
    uv("exit 1")
    python.write_text("#!/bin/sh\necho 3 12 0\n")
    assert other_python.main(str(python), tmp_path) == 1
    assert "could not be installed on Python 3.12.0" in capsys.readouterr().out


def test_the_fast_tests_exist():
    assert all((ROOT / f"tests/test_{name}.py").exists() for name in other_python.FAST)
