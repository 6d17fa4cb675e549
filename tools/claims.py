"""Every assert of a notebook is a claim; this measures by how much each one holds.

Where the tools execute a notebook (``execute.py``), :func:`install` makes the kernel rewrite each
``assert test, message``: the test is decided as Python decides it, operand for operand, and on the
way gets a *margin*, the robustness of signal temporal logic. Of ``a < b`` that is b - a, in the
unit of a and b; a chain, ``and`` and ``all`` have the smallest of their parts, ``or`` and ``any``
the largest, ``not`` the negative; ``a == b`` on numbers has -|a - b|; whatever compares no numbers
has +inf if it holds and -inf if not. A claim holds if and only if its margin is at least 0.

``assert a and b`` makes two claims, a and b: their margins may have different units. Readers,
Colab and nbval execute the notebooks as they are and meet plain asserts.
"""

import ast
import builtins
import html
import json
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

HELPER = "__claims__"  # among the builtins of the kernel: no name of the notebook is touched
PARTS = ("left", "op", "right")  # of a comparison, as recorded
HAIR = 1e-12  # what a strict comparison of two equal numbers fails by
OPERATORS = {
    ast.Lt: ("<", operator.lt, "below "),
    ast.LtE: ("<=", operator.le, "at most "),
    ast.Gt: (">", operator.gt, "above "),
    ast.GtE: (">=", operator.ge, "at least "),
    ast.Eq: ("==", operator.eq, ""),
    ast.NotEq: ("!=", operator.ne, "anything but "),
    ast.Is: ("is", operator.is_, ""),
    ast.IsNot: ("is not", operator.is_not, ""),
    ast.In: ("in", lambda a, b: a in b, ""),
    ast.NotIn: ("not in", lambda a, b: a not in b, ""),
}
DECIDE = {sign: decide for sign, decide, _ in OPERATORS.values()}
EXPECTS = {sign: words for sign, _, words in OPERATORS.values()}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
GAPS = {
    "<": lambda a, b: b - a,
    "<=": lambda a, b: b - a,
    ">": lambda a, b: a - b,
    ">=": lambda a, b: a - b,
    "==": lambda a, b: -abs(a - b),
    "!=": lambda a, b: abs(a - b),
}
VARIABLE = (ast.Name, ast.Call, ast.Attribute)  # what a number as written does not hold
# A test that holds one of these cannot move into a lambda: it is judged by its truth alone.
UNMOVABLE = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


@dataclass(frozen=True)
class Value:
    """What a test came to: its margin, its words if it fails, the comparison that was tightest."""

    margin: float
    words: str
    comparison: tuple[float, str, float] | None = None

    def __bool__(self) -> bool:
        return self.margin >= 0


def signed(truth: bool, margin: float) -> float:
    """``margin`` with the sign that ``truth`` asks for: rounding or a NaN may give another."""
    if math.isnan(margin):
        return 0.0 if truth else -math.inf
    return max(margin, 0.0) if truth else min(margin, -HAIR)


def number(value) -> float | None:
    """A number, or the only one of a tensor or an array; None for all else, a bool included."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    size = getattr(value, "numel", None) or (lambda: getattr(value, "size", 0))
    if hasattr(value, "item") and not isinstance(value, bool) and size() == 1:
        return number(value.item())
    return None


def shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def plainly(truth: bool, source: str) -> Value:
    """A test without numbers."""
    return Value(math.inf if truth else -math.inf, f"`{source}` does not hold here")


def compare(left, sign: str, right, sources) -> Value:
    """One comparison. ``sources``: the text of each side, and whether it is a number as written."""
    truth = bool(DECIDE[sign](left, right))
    a, b = number(left), number(right)
    (source, fixed), (other, other_fixed) = sources
    if a is None or b is None or sign not in GAPS:
        return plainly(truth, f"{source} {sign} {other}")
    margin = signed(truth, float(GAPS[sign](a, b)))
    comparison = (a, sign, b)
    if fixed and not other_fixed:  # 0.5 < x: the sentence is about x
        a, b, source, other, sign, other_fixed = b, a, other, source, MIRRORED[sign], True
    bound = shown(b) if other_fixed else f"`{other}`, which is {shown(b)}"
    words = f"`{source}` is {shown(a)}, the book expects {EXPECTS[sign]}{bound}"
    return Value(margin, words, comparison)


def least(values: Iterable[Value]) -> Value:
    """Of parts that must all hold; as in Python, none is asked for after one that does not."""
    worst = Value(math.inf, "")
    for value in values:
        worst = min(worst, value, key=lambda each: each.margin)
        if not value:
            return value
    return worst


def most(values: Iterable[Value], source: str) -> Value:
    """Of parts of which one must hold; none is asked for after one that does."""
    best = plainly(False, source)
    for value in values:
        best = value if value.margin > best.margin or not best.comparison else best
        if value:
            return value
    return best


class Ledger:
    """What the rewritten asserts call. It keeps each claim's smallest margin, a line in a file.

    ``missed`` is called with each claim that does not hold, and a sentence that says so with the
    values. Unless it raises, the cell goes on: what stands behind the claim may still be right.
    """

    def __init__(self, path: Path | str, missed: Callable[[str, str], None], cell=lambda: 0):
        self.path, self.missed, self.cell = Path(path), missed, cell
        self.margins: dict[str, float] = {}
        self.path.write_text("")

    def chain(self, signs, sources, *operands: Callable) -> Value:
        def links():
            left = operands[0]()
            for i, sign in enumerate(signs):
                right = operands[i + 1]()
                yield compare(left, sign, right, sources[i : i + 2])
                left = right

        return least(links())

    def both(self, *parts: Callable) -> Value:
        return least(part() for part in parts)

    def either(self, source: str, *parts: Callable) -> Value:
        return most((part() for part in parts), source)

    def opposite(self, source: str, value: Value) -> Value:
        words = f"`{source}` does not hold here"
        return Value(signed(not value, -value.margin), words, value.comparison)

    def every(self, source: str, values: Iterable[Value]) -> Value:
        return least(values)

    def some(self, source: str, values: Iterable[Value]) -> Value:
        return most(values, source)

    def plain(self, source: str, value) -> Value:
        return plainly(bool(value), source)

    def check(self, claim: str, value: Value, message: Callable | None = None) -> bool:
        """Note the claim; whether it holds."""
        if claim not in self.margins or value.margin < self.margins[claim]:
            self.margins[claim] = value.margin
            line = {"cell": self.cell(), "claim": claim, "margin": value.margin}
            line |= dict(zip(PARTS, value.comparison or (), strict=False))
            line |= {} if value else {"words": value.words}
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        if not value:
            self.missed(claim, value.words + (f": {message()}" if message else "."))
        return bool(value)


class Rewrite(ast.NodeTransformer):
    """Turn the asserts of one notebook, cell after cell, into calls of a :class:`Ledger`."""

    def __init__(self):
        self.seen = Counter()
        self.claims: list[str] = []  # in the order of the notebook

    def visit_ClassDef(self, node):
        # Names of a class's body cannot be seen from a lambda: only its methods are rewritten.
        functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        node.body = [
            self.visit(each) if isinstance(each, functions) else each for each in node.body
        ]
        return node

    def visit_Try(self, node):
        return node if node.handlers else self.generic_visit(node)  # it may be meant to fail

    def visit_Assert(self, node):
        if node.msg and holds(node.msg, UNMOVABLE):
            return node
        whole = isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And)
        parts = node.test.values if whole and not holds(node.test, UNMOVABLE) else [node.test]
        checks = [self.check(part, node.msg) for part in parts]
        test = ast.BoolOp(ast.And(), checks) if len(checks) > 1 else checks[0]
        # An `if`, because a notebook would print the value of an expression in a cell's last line.
        rewritten = ast.If(test, [ast.Pass()], [])
        return ast.fix_missing_locations(ast.copy_location(rewritten, node))

    def check(self, test: ast.expr, message: ast.expr | None) -> ast.Call:
        claim = ast.unparse(test)
        self.seen[claim] += 1
        if self.seen[claim] > 1:  # the same words elsewhere are another claim
            claim += f"  # {self.seen[claim]}"
        self.claims.append(claim)
        extra = [thunk(message)] if message else []
        return call("check", ast.Constant(claim), measured(test), *extra)


def holds(node: ast.AST, kinds: tuple) -> bool:
    return any(isinstance(each, kinds) for each in ast.walk(node))


def call(name: str, *arguments: ast.expr) -> ast.Call:
    helper = ast.Name(HELPER, ast.Load())
    return ast.Call(ast.Attribute(helper, name, ast.Load()), list(arguments), [])


def thunk(node: ast.expr) -> ast.Lambda:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), node)


def measured(node: ast.expr) -> ast.expr:
    """An expression that evaluates the test ``node`` to a :class:`Value`."""
    source = ast.Constant(ast.unparse(node))
    if holds(node, UNMOVABLE):
        return call("plain", source, node)
    match node:
        case ast.BoolOp(ast.And(), parts):
            return call("both", *(thunk(measured(part)) for part in parts))
        case ast.BoolOp(ast.Or(), parts):
            return call("either", source, *(thunk(measured(part)) for part in parts))
        case ast.UnaryOp(ast.Not(), part):
            return call("opposite", source, measured(part))
        case ast.Compare(left, ops, rights):
            signs = ast.Constant(tuple(OPERATORS[type(op)][0] for op in ops))
            sources = tuple((ast.unparse(x), not holds(x, VARIABLE)) for x in (left, *rights))
            return call("chain", signs, ast.Constant(sources), *map(thunk, (left, *rights)))
        case ast.Call(ast.Name("all" | "any" as name), [ast.GeneratorExp() | ast.ListComp()], []):
            if not any(part.is_async for part in node.args[0].generators):
                node.args[0].elt = measured(node.args[0].elt)
                return call({"all": "every", "any": "some"}[name], source, node.args[0])
    return call("plain", source, node)


def box(words: str) -> str:
    """The words of a missed claim as HTML: the theme's warning, in light and dark."""
    text = re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(words, quote=False))
    title = '<p class="admonition-title">On this machine</p>'
    return f'<div class="admonition warning">{title}<p>{text}</p></div>'


def install(path: Path | str) -> None:
    """In a kernel, before the first cell: measure every claim from here on, into ``path``.

    A claim that is missed gets a box in the outputs of its cell, once, and the cell goes on.
    """
    from IPython import get_ipython
    from IPython.display import display

    said = set()

    def show(claim: str, words: str) -> None:
        if claim not in said:
            said.add(claim)
            data = {"text/html": box(words), "text/plain": f"On this machine: {words}"}
            display(data, raw=True, metadata={"claim": "missed"})

    shell = get_ipython()
    setattr(builtins, HELPER, Ledger(path, show, lambda: shell.execution_count))
    shell.ast_transformers.append(Rewrite())


def read(path: Path | str) -> dict[str, dict]:
    """The claims in a file of :class:`Ledger`: for each its line with the smallest margin."""
    lines = map(json.loads, Path(path).read_text().splitlines())
    return {line.pop("claim"): line for line in lines}
