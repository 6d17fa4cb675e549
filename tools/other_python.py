"""Install the lock on a second Python, and run the library's fast tests there.

    python tools/other_python.py /usr/bin/python3

Readers start from the Python of their system, which may lack what a newer one of the same name
has. uv links the packages from its cache: the second environment takes seconds and no space.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAST = ("accelerator", "checkpoints", "diffusion", "ema", "imports", "mixtures", "model")
FAST += ("networks", "objectives", "presets")


def version(python: str) -> tuple[int, ...]:
    """(3, 11, 2), say; () if there is no such Python."""
    ask = [python, "-c", "import sys; print(*sys.version_info[:3])"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(map(int, done.stdout.split()))


def install(python: str, where: Path, root: Path = ROOT) -> None:
    """An environment of that Python at the lock's versions; what is there already is kept."""
    stamp = where / "ready"
    texts = [(root / name).read_text() for name in ("pyproject.toml", "constraints.txt")]
    made_from = "\n".join([str(version(python)), *texts])
    if stamp.exists() and stamp.read_text() == made_from:
        return
    uv = Path(sys.executable).with_name("uv")
    packages = ("-c", "constraints.txt", "-e", ".[book,test]")
    for command in (
        ("venv", "-q", "--clear", "--python", python, where),
        ("pip", "install", "-q", "--python", where, *packages),
    ):
        subprocess.run([uv, *command], cwd=root, check=True)
    stamp.write_text(made_from)


def main(python: str, root: Path = ROOT) -> int:
    found, here = version(python), sys.version_info[:3]
    name, ours = (".".join(map(str, numbers)) for numbers in (found, here))
    if found < (3, 11) or found == here:
        what = name or "not there"
        print(f"No second Python of 3.11 or newer: {python} is {what}, .venv has {ours}.")
        return 0
    where = root / "_build/other-python"
    print(f"On Python {name}, {python}:", flush=True)
    try:
        install(python, where, root)
    except subprocess.CalledProcessError:
        print(f"constraints.txt could not be installed on Python {name}, see above.")
        return 1
    tests = [f"tests/test_{each}.py" for each in FAST]
    return subprocess.run([where / "bin/python", "-m", "pytest", "-q", *tests], cwd=root).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
