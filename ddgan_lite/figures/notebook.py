"""What a notebook was given from outside."""

import ast
from collections.abc import Sequence
from itertools import pairwise

from ddgan_lite.data.named import hint


def check_parameters(cells: Sequence[str] | None = None) -> None:
    r"""Refuse a parameter that the notebook does not know, where papermill would only warn.

    papermill writes the values that it was given into a cell of their own, directly behind the
    one with the defaults; a misspelt name there would change nothing, without a word.

    Args:
        cells: the code that was executed so far; left out, this kernel's.

    Raises:
        ValueError: naming those that are not known, and those that are.

    Example:
        >>> check_parameters(["", "seed = 0", "# Parameters\nseed = 3"])
        >>> check_parameters(["", "seed = 0", "# Parameters\nsede = 3"])
        Traceback (most recent call last):
            ...
        ValueError: unknown parameter sede: this notebook knows seed. Did you mean seed?
    """
    if cells is None:
        from IPython import get_ipython

        shell = get_ipython()
        cells = shell.user_ns["In"] if shell else []
    for defaults, given in pairwise(cells):
        known = _assigned(defaults) if given.startswith("# Parameters\n") else []
        unknown = [name for name in _assigned(given) if name not in known] if known else []
        if unknown:
            raise ValueError(
                f"unknown parameter {', '.join(unknown)}: this notebook knows {', '.join(known)}."
                f"{hint(unknown[0], known)}"
            )


def _assigned(source: str) -> list[str]:
    """The names to which the lines of a cell assign a value."""
    return [
        target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
