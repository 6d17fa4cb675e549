"""What of a notebook's code its claims come from: a slice, backwards from the asserts.

A statement belongs to it if it may change a name that a claim, or another statement of the slice,
reads. Calls may change all that they are given and the object they belong to, except those that
show and no more: of DRAWING, and of what these have made, figures and axes. What may draw random
numbers belongs to it too: it moves those that come after. When in doubt a statement stays: the
worst is that a chapter is measured again for nothing. What escapes is a change made under a second
name of the same object.
"""

import ast
import re
from collections.abc import Iterable, Iterator

DRAWING = {"plots", "plt", "display", "print", "Markdown"}  # roots of the calls that only show
# Methods and functions that leave their arguments as they were.
READING = {"items", "keys", "values", "get", "join", "format", "mean", "sum", "min", "max", "std"}
READING |= {"zip", "enumerate", "range", "len", "sorted", "list", "dict", "set", "float", "str"}
RANDOM = re.compile(r"\b(rng|seed|randn?|randint|randperm|sample|train|shuffle|run)\b|_sample\b")


def root(node: ast.AST) -> str | None:
    """x, of x.y[0].z(...)."""
    while not isinstance(node, ast.Name):
        node = getattr(node, "value", None) or getattr(node, "func", None)
        if node is None:
            return None
    return node.id


def bindings(statements: list[ast.stmt]) -> Iterator[tuple[ast.AST, ast.AST]]:
    """(target, where its values come from), of every assignment and every loop."""
    for node in (part for statement in statements for part in ast.walk(statement)):
        if isinstance(node, ast.Assign):
            yield from ((target, node.value) for target in node.targets)
        elif isinstance(node, ast.For | ast.comprehension):
            pairs = isinstance(node.iter, ast.Call) and root(node.iter.func) == "zip"
            if pairs and isinstance(node.target, ast.Tuple):
                yield from zip(node.target.elts, node.iter.args, strict=False)
            else:
                yield node.target, node.iter


def drawn(statements: list[ast.stmt]) -> set[str]:
    """DRAWING, and the names that are bound to nothing but what it has made."""
    found = set(DRAWING)
    bound = [(names([target], ast.Store), root(value)) for target, value in bindings(statements)]
    while True:
        made = set().union(*(targets for targets, source in bound if source in found))
        made -= set().union(*(targets for targets, source in bound if source not in found))
        if made <= found:
            return found
        found |= made


def shows(node: ast.AST, only: set[str]) -> bool:
    """Is it a call of a name in ``only``?"""
    return isinstance(node, ast.Call) and root(node) in only


def names(nodes: Iterable[ast.AST], context: type) -> set[str]:
    """Those in ``nodes`` that are read (ast.Load) or bound (ast.Store)."""
    parts = (part for node in nodes for part in ast.walk(node))
    return {p.id for p in parts if isinstance(p, ast.Name) and isinstance(p.ctx, context)}


def reads(node: ast.AST) -> set[str]:
    """Names that are read, but for those of its own: of loops, comprehensions and functions."""
    parts = list(ast.walk(node))
    loops = [part.target for part in parts if isinstance(part, ast.comprehension | ast.For)]
    functions = [part for part in parts if isinstance(part, ast.FunctionDef)]
    given = {part.arg for part in parts if isinstance(part, ast.arg)}
    return names([node], ast.Load) - names([*loops, *functions], ast.Store) - given


def changes(node: ast.AST, only: set[str]) -> set[str]:
    """Names that are bound, and those of objects that may be changed where they are."""
    inner = [part.target for part in ast.walk(node) if isinstance(part, ast.comprehension)]
    found = names([node], ast.Store) - names(inner, ast.Store)
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            found.add(part.name)
        elif isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store):
            found.add(root(part))
        elif isinstance(part, ast.Call) and not shows(part, only):
            if (getattr(part.func, "attr", None) or getattr(part.func, "id", None)) in READING:
                continue
            given = [part.func, *part.args, *(word.value for word in part.keywords)]
            found |= {root(each) for each in given}
    return found - {None}


class WithoutDrawing(ast.NodeTransformer):
    """Nor asserts; inside loops and functions, too, where `pass` takes their place."""

    def __init__(self, only: set[str]):
        self.only = only

    def visit_Assert(self, node):
        return ast.Pass()

    def visit_Expr(self, node):
        bare = shows(node.value, self.only) and not RANDOM.search(ast.unparse(node))
        return ast.Pass() if bare else node


def replaced(node: ast.stmt) -> set[str]:
    """Names whose earlier values are gone after it, whatever happens."""
    if not isinstance(node, ast.Assign):
        return set()
    parts = [part for target in node.targets for part in ast.walk(target)]
    simple = (ast.Name, ast.Tuple, ast.List, ast.expr_context)
    return names(parts, ast.Store) if all(isinstance(part, simple) for part in parts) else set()


def slice_of(statements: list[ast.stmt]) -> list[str]:
    """The source of those that the claims among them come from, in order; asserts left out."""
    only = drawn(statements)
    functions = [each for each in statements if isinstance(each, ast.FunctionDef | ast.ClassDef)]
    always = set().union(*map(reads, functions)) - only  # read when they are called
    needed: set[str] = set()
    kept = []
    for statement in reversed(statements):
        claims = [part for part in ast.walk(statement) if isinstance(part, ast.Assert)]
        read = set().union(*map(reads, claims))
        if statement in claims:
            needed |= read - only
            continue
        bare = WithoutDrawing(only).visit(statement)
        if claims or changes(bare, only) & (needed | always) or RANDOM.search(ast.unparse(bare)):
            needed = (needed - replaced(bare)) | ((read | reads(bare)) - only)
            kept.append(ast.unparse(bare))
    return kept[::-1]
