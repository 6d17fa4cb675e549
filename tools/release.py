"""Put what belongs to a release into _build/release: archives, the PDF, their checksums.

    python tools/release.py

The parts are made by `make student`, `make pdf` and `make slides` before. Archives of the same
files are the same bytes: names are sorted and times fixed.
"""

import hashlib
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = """\
Denoising Diffusion GANs, version {version}: the notebooks

Each notebook is a chapter of the book, with its outputs. You need Python 3.11 or newer, no GPU.
In a new environment:

    pip install jupyterlab "ddgan-lite @ git+{repository}@v{version}"
    jupyter lab

Every notebook runs from top to bottom in half a minute to three minutes on two CPU cores. One cell
near its top holds its parameters. To take every package at the version with which the outputs here
were made, clone {repository} and run `make book` there.

The same chapters as pages: {book}
Code: MIT. Text and figures: CC BY 4.0.
"""


def files_in(folder: Path) -> dict[str, bytes]:
    """The files below a folder, hidden ones left out: {path inside the folder: contents}."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    kept = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    return {path.as_posix(): (folder / path).read_bytes() for path in kept}


def archive(target: Path, files: dict[str, bytes]) -> None:
    """Write a zip whose bytes depend on the files alone; all lie in one folder named like it."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{target.stem}/{name}", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix, also when written elsewhere
            file.writestr(entry, files[name])


def missing(root: Path) -> list[str]:
    """One sentence for every part that is not there."""
    build, chapters = root / "_build", {path.name for path in root.glob("notebooks/[0-9]*.ipynb")}
    found = []
    if not chapters:
        found.append(f"There are no notebooks in {root / 'notebooks'}.")
    if not chapters <= {path.name for path in build.glob("student/*.ipynb")}:
        found.append("The students' notebooks are not complete: run `make student` first.")
    if not (build / "book.pdf").is_file():
        found.append("The printed book is not there: run `make pdf` first.")
    if not any(build.glob("slides/*.html")):
        found.append("The slides are not there: run `make slides` first.")
    return found


def release(root: Path = ROOT) -> list[Path]:
    """Write a fresh _build/release; its files."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    version, urls = project["version"], project["urls"]
    build, out = root / "_build", root / "_build" / "release"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    notebooks = {path.name: path.read_bytes() for path in root.glob("notebooks/[0-9]*.ipynb")}
    readme = README.format(version=version, repository=urls["Repository"], book=urls["Book"])
    archive(out / f"notebooks-{version}.zip", {**notebooks, "README.txt": readme.encode()})
    archive(out / f"student-notebooks-{version}.zip", files_in(build / "student"))
    archive(out / f"slides-{version}.zip", files_in(build / "slides"))
    shutil.copyfile(build / "book.pdf", out / f"book-{version}.pdf")
    files = sorted(out.iterdir())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(sums))
    return [*files, out / "SHA256SUMS"]


def main(root: Path = ROOT) -> int:
    sentences = missing(root)
    if not sentences:
        for path in release(root):
            sentences.append(f"{path.stat().st_size / 1e6:7.2f} MB  {path.relative_to(root)}")
        print("\n".join(sentences))
        return 0
    print("\n".join(sentences), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
