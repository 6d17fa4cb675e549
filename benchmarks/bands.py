"""A claim with another band: its margins from the numbers that were measured, without a run.

Hours of runs are not worth less because `hq3 > 0.8` becomes `hq3 > 0.75`: hq3 is on record. This
works for comparisons of one expression with written numbers, `a < 1` and `0 < a < 1`, and for `all`
or `any` over the first kind. ``robust.py`` runs a chapter again for anything else.
"""

import ast
from itertools import pairwise

import claims

LARGER = {"<", "<=", ">", ">="}


def parsed(claim: str) -> tuple[ast.expr, ast.Compare | None]:
    """The test of a claim, and the comparison whose numbers may be changed, if there is one."""
    test = ast.parse(claim, mode="eval").body  # the ordinal behind a claim is a comment
    match test:
        case ast.Compare():
            return test, test
        case ast.Call(
            ast.Name("all" | "any"), [ast.GeneratorExp(ast.Compare(ops=[_]) as inner)], []
        ):
            return test, inner
    return test, None


def operands(comparison: ast.Compare) -> list[tuple[ast.expr, bool]]:
    """Its operands, and whether each is a number as written."""
    nodes = (comparison.left, *comparison.comparators)
    return [(node, not claims.holds(node, claims.VARIABLE)) for node in nodes]


def skeleton(claim: str) -> str:
    """The claim without the written numbers of its comparison."""
    test, comparison = parsed(claim)
    if comparison is not None:
        blank = ast.Name("_", ast.Load())
        comparison.left, *comparison.comparators = (
            blank if fixed else node for node, fixed in operands(comparison)
        )
    return ast.unparse(test)


def number(node: ast.expr) -> float:
    """The value of a written number, such as `24 / 25`."""
    return eval(compile(ast.Expression(node), "band", "eval"), {"__builtins__": {}})


def moved(old: str, new: str, row: dict) -> dict | None:
    """``row`` of ``old``, one run's margin and numbers, as it is for ``new``; None: not known.

    Args:
        old, new: claims with the same :func:`skeleton`.
    """
    (test, before), (_, after) = parsed(old), parsed(new)
    if row.get("margin") is None or ast.unparse(test) == ast.unparse(parsed(new)[0]):
        return row
    signs = [claims.OPERATORS[type(op)][0] for op in after.ops]
    fixed = [is_number for _, is_number in operands(after)]
    inside = test is not before  # of all or any: the tightest stays the tightest for < and > alone
    if fixed.count(False) != 1 or len(fixed) > 3 or (inside and signs[0] not in LARGER):
        return None
    if "left" not in row:
        return row if inside else None  # all() of nothing holds
    place = fixed.index(False)
    # Of 0 < a < 1 the tighter half is on record: (0, a) or (a, 1).
    first = place == 1 and (len(fixed) == 2 or same(row["left"], number(operands(before)[0][0])))
    value = row["right"] if first else row["left"]
    numbers = [value if not done else number(node) for node, done in operands(after)]
    sources = [("", done) for done in fixed]
    links = zip(pairwise(numbers), signs, pairwise(sources), strict=True)
    tightest = claims.least(claims.compare(a, sign, b, text) for (a, b), sign, text in links)
    return {"margin": tightest.margin, **dict(zip(claims.PARTS, tightest.comparison, strict=True))}


def same(a: float, b: float) -> bool:
    """Equal to the four digits that are kept."""
    return f"{a:.4g}" == f"{b:.4g}"
