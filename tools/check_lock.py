"""Ask a resolver (uv) whether constraints.txt installs on every Python that this project promises.

    python tools/check_lock.py 3.11.0 3.12 3.13 3.14

On Linux with wheels alone, on Intel or AMD and on Arm, and without a package that is not locked.
Without network nothing is checked, except under CI, where that is a failure.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
MACHINES = ("x86_64", "aarch64")
# What builds packages comes as new as it is: pip keeps it out of its freeze as well.
BUILDERS = {"setuptools", "wheel"}


class Unreachable(Exception):
    """The package index does not answer."""


def pins(text: str) -> set[str]:
    """The lines name==version of a list of packages, names in their canonical form."""
    found = re.findall(r"^([\w.-]+)==(\S+)", text, re.M)
    return {f"{canonicalize_name(name)}=={version}" for name, version in found}


def resolve(python: str, machine: str, root: Path = ROOT) -> str:
    """The packages that the project with all its extras would bring there.

    Raises:
        ValueError: if there is no way to install them; it says why.
        Unreachable: without network.
    """
    uv = Path(sys.executable).with_name("uv")
    options = "-q --all-extras -c constraints.txt --only-binary :all: --no-annotate --no-header"
    # The oldest Linux that PyTorch supports; and no Python is downloaded, a number is enough.
    there = f"--python-version {python} --python-platform {machine}-manylinux_2_28"
    there += " --no-python-downloads"
    command = [uv, "pip", "compile", "pyproject.toml", *options.split(), *there.split()]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if "Failed to fetch" in done.stderr:
        raise Unreachable
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


def problem(python: str, machine: str, root: Path = ROOT) -> str | None:
    """A paragraph if the lock does not install there, or does not hold everything."""
    where = f"on Python {python}, Linux, {machine}"
    try:
        wanted = pins(resolve(python, machine, root))
    except ValueError as error:
        return f"constraints.txt does not install {where}: {error}"
    new = wanted - pins((root / "constraints.txt").read_text())
    missing = sorted(pin for pin in new if pin.split("==")[0] not in BUILDERS)
    return f"constraints.txt lacks {', '.join(missing)} {where}." if missing else None


def main(pythons: list[str], root: Path = ROOT) -> int:
    try:
        with ThreadPoolExecutor(4) as pool:  # most of the time goes into waiting for the index
            cases = product(pythons, MACHINES)
            found = [each for each in pool.map(lambda case: problem(*case, root), cases) if each]
    except Unreachable:
        print("constraints.txt is not checked: no network to ask for the packages it names.")
        return int(bool(os.environ.get("CI")))
    print(*found or [f"constraints.txt installs on Python {', '.join(pythons)}."], sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
