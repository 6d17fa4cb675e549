"""A claim with another band: its margins from the numbers that were measured, without a run.

Hours of runs are not worth less because `hq3 > 0.8` becomes `hq3 > 0.75`: hq3 is on record. This
works for comparisons of one expression with written numbers, `a < 1` and `0 < a < 1`, and for `all`
or `any` over them (over the second kind if both ends move by the same); for comparisons of two
expressions; and for written numbers that an expression is multiplied by or that are added to it,
`a < 0.7 * b - 0.1`. ``robust.py`` runs a chapter again for anything else.
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
            ast.Name("all" | "any"), [ast.GeneratorExp(ast.Compare(ops=[_] | [_, _]) as inner)], []
        ):
            return test, inner
    return test, None


def operands(comparison: ast.Compare) -> list[tuple[ast.expr, bool]]:
    """Its operands, and whether each is a number as written."""
    nodes = (comparison.left, *comparison.comparators)
    return [(node, not claims.holds(node, claims.VARIABLE)) for node in nodes]


def affine(node: ast.expr) -> tuple[float, float, ast.expr]:
    """``scale``, ``shift``, ``inner``: the operand is scale * inner + shift, by written numbers."""
    if isinstance(node, ast.BinOp):
        written = [not claims.holds(side, claims.VARIABLE) for side in (node.left, node.right)]
        if any(written):
            c = number(node.left if written[0] else node.right)
            scale, shift, inner = affine(node.right if written[0] else node.left)
            match node.op, written[0]:
                case ast.Add(), _:
                    return scale, shift + c, inner
                case ast.Sub(), False:
                    return scale, shift - c, inner
                case ast.Sub(), True:
                    return -scale, c - shift, inner
                case ast.Mult(), _:
                    return c * scale, c * shift, inner
                case ast.Div(), False:
                    return scale / c, shift / c, inner
    return 1.0, 0.0, node


def skeleton(claim: str) -> str:
    """The claim without the written numbers of its comparison."""
    test, comparison = parsed(claim)
    if comparison is not None:
        blank = ast.Name("_", ast.Load())
        comparison.left, *comparison.comparators = (
            blank if fixed else affine(node)[2] for node, fixed in operands(comparison)
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
    fixed = [is_number for _, is_number in operands(after)]
    variable = fixed.count(False)
    inside = test is not before  # of all or any: the tightest stays the tightest for < and > alone
    if len(fixed) > 3 or (variable > 1 and (inside or len(fixed) > 2)):
        return None
    sign = claims.OPERATORS[type(after.ops[0])][0]
    if inside and (sign not in LARGER or not same_place(before, after)):
        return None
    if inside and len(fixed) == 3 and not wider_alike(before, after):
        return None
    if "left" not in row:
        return row if inside else None  # all() of nothing holds
    if len(fixed) == 2:
        recorded = [row["left"], row["right"]]
    else:  # of 0 < a < 1 the tighter half is on record: (0, a) or (a, 1)
        first = same(row["left"], number(operands(before)[0][0]))
        recorded = [None, row["right"] if first else row["left"], None]
    numbers = [
        number(now) if done else restated(value, then, now)
        for value, (then, _), (now, done) in zip(
            recorded, operands(before), operands(after), strict=True
        )
    ]
    return None if None in numbers else row_of(after, numbers)


def row_of(comparison: ast.Compare, numbers: list[float]) -> dict:
    """The row of a comparison whose operands have these values: that of its tightest pair."""
    signs = [claims.OPERATORS[type(op)][0] for op in comparison.ops]
    sources = [("", fixed) for _, fixed in operands(comparison)]
    links = zip(pairwise(numbers), signs, pairwise(sources), strict=True)
    tightest = claims.least(claims.compare(a, sign, b, text) for (a, b), sign, text in links)
    return {"margin": tightest.margin, **dict(zip(claims.PARTS, tightest.comparison, strict=True))}


def values(rows: dict[str, dict]) -> dict[str, float | None]:
    """What one run's claims tell of their expressions: expression -> value, None if they disagree.

    Args:
        rows: claim -> the run's margin and numbers.
    """
    found: dict[str, float | None] = {}
    for claim, row in rows.items():
        test, comparison = parsed(claim)
        if test is not comparison or not isinstance(row.get("left"), (int, float)):
            continue
        nodes = [node for node, _ in operands(comparison)]
        candidates = []  # of a < b < c only the tightest pair is on record
        for pair in pairwise(nodes):
            sides = list(zip(pair, (row["left"], row["right"]), strict=True))
            written = [(n, v) for n, v in sides if not claims.holds(n, claims.VARIABLE)]
            if all(same(number(n), v) for n, v in written):
                candidates.append((sides, written))
        best = sorted(candidates, key=lambda each: len(each[1]))[-2:]
        if best and (len(best) == 1 or best[0][1] or best[1][1]):  # its written numbers identify it
            sides, written = best[-1]
            for node, value in sides:
                scale, shift, inner = affine(node)
                if (node, value) not in written and scale:
                    text, exact = ast.unparse(inner), (value - shift) / scale
                    before = found.setdefault(text, exact)
                    if before is None or not same(before, exact):
                        found[text] = None  # and it stays so
    return found


def judged(claim: str, known: dict[str, float | None]) -> dict | None:
    """The row of an unmeasured claim, of expressions that others tell of; None: not known.

    Args:
        known: of one run, by :func:`values`.
    """
    test, comparison = parsed(claim)
    if test is not comparison or comparison is None:
        return None
    numbers = []
    for node, fixed in operands(comparison):
        scale, shift, inner = affine(node)
        value = number(node) if fixed else known.get(ast.unparse(inner))
        if value is None:
            return None
        numbers.append(value if fixed else scale * value + shift)
    return row_of(comparison, numbers)


def restated(value: float | None, then: ast.expr, now: ast.expr) -> float | None:
    """The value of ``now``, where ``then`` had ``value`` and both are affine in one expression."""
    (scale, shift, _), (new_scale, new_shift, _) = affine(then), affine(now)
    if value is None or scale == 0:
        return None
    if (scale, shift) == (new_scale, new_shift):
        return value
    return (value - shift) / scale * new_scale + new_shift


def same_place(before: ast.Compare, after: ast.Compare) -> bool:
    """Whether the expressions themselves are as they were, so that only a bound has moved."""
    pairs = zip(operands(before), operands(after), strict=True)
    return all(done or ast.unparse(a) == ast.unparse(b) for (a, _), (b, done) in pairs)


def wider_alike(before: ast.Compare, after: ast.Compare) -> bool:
    """Whether both ends of 0 < a < 1 moved apart, or together, by the same."""
    ends = [(c.left, c.comparators[-1]) for c in (before, after)]
    if any(claims.holds(end, claims.VARIABLE) for pair in ends for end in pair):
        return False
    (low, high), (new_low, new_high) = (map(number, pair) for pair in ends)
    return same(low - new_low, new_high - high)


def same(a: float, b: float) -> bool:
    """Equal to the four digits that are kept."""
    return f"{a:.4g}" == f"{b:.4g}"
