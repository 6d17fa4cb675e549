"""Write the project's public address, set in pyproject.toml, wherever it is spelled out.

    python tools/set_address.py [--check]

What a reader opens in Colab or installs from the repository is the released version: those
addresses carry its tag, v1.2.3, or colab-v1.2.3, under which a release puts notebooks for Colab.
CITATION.cff says which address stands in the files now (repository-code, url). It is rewritten
last, so that an interrupted run can be repeated.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("_config.yml", "*.md", "book/**/*.md", "notebooks/*.md", "notebooks/*.ipynb")
PLACES += (".github/workflows/*.yml", "CITATION.cff")
# What stands before owner/name, and what may not stand behind it or behind the book's address.
HOST = r"(github\.com[/:]|githubusercontent\.com/|colab\.research\.google\.com/github/)"
END = r"(?![\w-])"


def wanted(root: Path = ROOT) -> tuple[str, str]:
    """The address to write: (owner/name, address of the book)."""
    urls = tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]
    repository = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)/?", urls["Repository"])
    book = re.fullmatch(r"(https?://\S+?)/?", urls["Book"])
    if not (repository and book):
        sys.exit(
            "pyproject.toml, [project.urls]: Repository must be https://github.com/OWNER/NAME "
            "and Book an https:// address."
        )
    return repository[1], book[1]


def tag(root: Path = ROOT) -> str:
    """The git tag of the version in pyproject.toml."""
    return "v" + tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]


def written(root: Path = ROOT) -> tuple[str, str]:
    """The address that the files hold now, in the same form."""
    text = (root / "CITATION.cff").read_text()
    repository = re.search(r"^repository-code: https://github\.com/(\S+)$", text, re.M)
    return repository[1], re.search(r"^url: (\S+)$", text, re.M)[1]


def places(root: Path = ROOT) -> list[Path]:
    """The files in which the address may be spelled out, CITATION.cff last."""
    return [path for pattern in PLACES for path in sorted(root.glob(pattern))]


def tagged(text: str, repository: str, tag: str) -> str:
    """``text`` with the tag in every address that Colab opens or pip installs."""
    name = re.escape(repository)
    text = re.sub(
        rf"(colab\.research\.google\.com/github/{name}/blob/(?:colab-)?)[^/\s]+",
        rf"\g<1>{tag}",
        text,
    )
    return re.sub(rf"(git\+https://github\.com/{name}{END})(@[\w.]*\w)?", rf"\g<1>@{tag}", text)


def rewrite(root: Path = ROOT) -> list[Path]:
    """Put the wanted address in place of the written one; the files that changed."""
    changed = []
    (old_repository, old_book), (repository, book) = written(root), wanted(root)
    for path in places(root):
        before = path.read_bytes().decode()
        after = re.sub(HOST + re.escape(old_repository) + END, rf"\g<1>{repository}", before)
        after = re.sub(re.escape(old_book) + END, book, after)
        after = tagged(after, repository, tag(root))
        if after != before:
            path.write_bytes(after.encode())
            changed.append(path)
    return changed


def problems(root: Path = ROOT) -> list[str]:
    """One sentence for every address in the files that has the project's name, but is not its."""
    (repository, book), (old_repository, old_book) = wanted(root), written(root)
    names = {repository.split("/")[1], old_repository.split("/")[1], "ddgan-lite"}
    name = f"(?:{'|'.join(re.escape(name) for name in sorted(names))}){END}"
    pages = re.compile(rf"https?://[\w-]+\.github\.io/{name}|{re.escape(old_book)}{END}")
    found = []
    for path in places(root):
        text = path.read_bytes().decode()
        used = {match[2] for match in re.finditer(rf"{HOST}([\w.-]+/{name})", text)}
        used |= set(pages.findall(text))
        for address in sorted(used - {repository, book}):
            found.append(f"{path.relative_to(root)} says {address}: run `make address`.")
        if text != tagged(text, repository, tag(root)):
            found.append(
                f"{path.relative_to(root)} opens or installs another version than {tag(root)}: run "
                "`make address`."
            )
    return found


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    if not parser.parse_args(arguments).check:
        for path in rewrite(root):
            print(f"rewrote {path.relative_to(root)}")
    lines = problems(root)
    print("\n".join(lines) or f"every file says {' and '.join(wanted(root))}")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
