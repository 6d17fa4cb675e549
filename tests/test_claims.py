"""Claims: margins by hand, truth as Python decides it, values in the sentence."""

import ast
import math

import claims
import numpy as np
import pytest
import torch

NAMES = {
    "a": 1,
    "b": 3.5,
    "neg": -2.0,
    "nan": math.nan,
    "none": None,
    "xs": [1, 2, 4],
    "empty": [],
    "row": {"hq3": 0.734, "modes50": 24},
    "tensor": torch.tensor([0.25]),
    "pair": torch.tensor([1.0, 2.0]),
    "scalar": np.float32(0.5),
    "array": np.array(2),
    "yes": True,
}


class Missed(Exception):
    pass


def miss(claim, words):
    raise Missed(words)


def run(tmp_path, monkeypatch, *cells, missed=miss, **names) -> dict:
    """Execute the cells as a kernel of the tools would; the claims as read back from the file."""
    rewrite, space = claims.Rewrite(), dict(NAMES, **names)
    ledger = claims.Ledger(tmp_path / "claims", missed)
    monkeypatch.setattr("builtins." + claims.HELPER, ledger, raising=False)
    for cell in cells:
        exec(compile(rewrite.visit(ast.parse(cell)), "cell", "exec"), space)
    return claims.read(tmp_path / "claims")


@pytest.fixture
def measure(tmp_path, monkeypatch):
    return lambda *cells, **names: run(tmp_path, monkeypatch, *cells, **names)


@pytest.mark.parametrize(
    ("test", "margin"),
    [
        ("a < b", 2.5),
        ("a <= 1", 0),
        ("b > a", 2.5),
        ("b >= 4", -0.5),
        ("a < 1", -claims.HAIR),  # equal, so it fails, by a hair
        ("0 < a < b < 10", 1),
        ("0 < a < 0.5 < b", -0.5),  # the third comparison is not made
        ("a == 1", 0),
        ("a == b", -2.5),
        ("a != b", 2.5),
        ("a != 1", -claims.HAIR),
        ("(a < b and b < 4) or none", 0.5),
        ("a > b or b > 2.5", 1),
        ("a > b or b > 10", -2.5),  # the least wrong
        ("a < b or none.no", 2.5),
        ("not a > b", 2.5),
        ("not a < b", -2.5),
        ("not (a < 2 and b < 4)", -0.5),
        ("all(x < 5 for x in xs)", 1),
        ("all(x > 1 for x in xs)", -claims.HAIR),
        ("all(0 < x < b + 1 for x in xs if x != 2)", 0.5),
        ("all([x < 5 for x in xs])", 1),
        ("all(x < 5 for x in empty)", math.inf),
        ("any(x > 3 for x in xs)", 1),
        ("any(x > 10 for x in xs)", -6),
        ("any(x > 10 for x in empty)", -math.inf),
        ("all(all(x < y + 4 for x in xs) for y in xs)", 1),
        ("not any(x > 10 for x in xs)", 6),
        ("tensor < 1", 0.75),
        ("scalar > tensor", 0.25),
        ("array == 2", 0),
        ("abs(tensor - scalar) < 0.5", 0.25),
        ("nan < 1", -math.inf),
        ("not nan < 1", math.inf),
        ("yes", math.inf),
        ("none", -math.inf),
        ("yes == True", math.inf),
        ("none is None", math.inf),
        ("2 in xs", math.inf),
        ("xs == [1, 2]", -math.inf),
        ("'x' < 'y'", math.inf),
        ("pair.shape == (2,)", math.inf),
        ("torch.equal(pair, pair)", math.inf),
        ("(y := a) < 3", math.inf),  # a walrus stays where it is; only its truth counts
        ("math.inf == math.inf", 0),
    ],
)
def test_margins_by_hand(measure, test, margin):
    def note(claim, words):
        assert words

    found = measure(f"assert {test}", missed=note, torch=torch, math=math)
    assert [each["margin"] for each in found.values()] == [pytest.approx(margin, abs=0)]
    # ... and the claim holds exactly where the assert does.
    truth = bool(eval(test, dict(NAMES, torch=torch, math=math)))
    assert (margin >= 0) == truth


OPERANDS = (
    "t(1) < t(2)",
    "t(2) < t(1)",
    "t(0)",
    "t(3)",
    "t(0) < t(1) < t(2)",
    "t(1) > t(1) > t(0)",
)
TESTS = [
    *OPERANDS,
    *(f"{a} {word} {b}" for a in OPERANDS for b in OPERANDS for word in ("and", "or")),
    *(f"not ({a}) or ({b} and {a})" for a in OPERANDS for b in OPERANDS),
    *(f"{kind}(t(x) {sign} t(2) for x in (1, 2, 3))" for kind in ("all", "any") for sign in "<>"),
    "all([t(x) < t(2) for x in (1, 2, 3)])",
    "t(1) < t(2) > t(0) == t(0) != t(1) <= t(1)",
    "not all(t(x) for x in (1, 0, 2)) and not any(t(x) == t(9) for x in (1, 2))",
    "t(1) if t(0) else t(5)",
]


@pytest.mark.parametrize("test", TESTS)
def test_truth_and_the_order_of_evaluation_are_pythons(measure, test):
    """t writes down what it is asked for: each operand once, in order, none that Python skips."""
    traces = []
    for execute in ("plain", "measured"):
        asked = []

        def t(value, asked=asked):
            asked.append(value)
            return value

        source = f"assert {test}"
        try:
            exec(source, {"t": t}) if execute == "plain" else measure(source, t=t)
            asked.append("held")
        except (AssertionError, Missed):
            asked.append("failed")
        traces.append(asked)
    assert traces[0] == traces[1]


def test_an_ambiguous_truth_is_refused_as_ever(measure):
    with pytest.raises(RuntimeError, match="ambiguous"):
        measure("assert pair < 3")


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("row['hq3'] > 0.8", "`row['hq3']` is 0.734, the book expects above 0.8."),
        ("0.8 <= row['hq3']", "`row['hq3']` is 0.734, the book expects at least 0.8."),
        ("b < 2 * a", "`b` is 3.5, the book expects below `2 * a`, which is 2."),
        ("0.5 < b < 24 / 8", "`b` is 3.5, the book expects below 3."),
        ("a < b and row['modes50'] == 25", "`row['modes50']` is 24, the book expects 25."),
        ("not a < b", "`not a < b` does not hold here."),
        ("xs == [1]", "`xs == [1]` does not hold here."),
        ("all(x < b for x in xs)", "`x` is 4, the book expects below `b`, which is 3.5."),
        ("none, 'why not?'", "`none` does not hold here: why not?"),
        (
            "a > b, f'{a} is small'",
            "`a` is 1, the book expects above `b`, which is 3.5: 1 is small",
        ),
    ],
)
def test_a_miss_is_one_sentence_with_the_values(measure, test, words):
    with pytest.raises(Missed) as error:
        measure(f"assert {test}")
    assert str(error.value) == words


def test_the_record_has_the_tightest_comparison(measure):
    (found,) = measure("assert 0 < row['hq3'] < 1").values()
    assert found == {
        "cell": 0,
        "margin": pytest.approx(0.266),
        "left": 0.734,
        "op": "<",
        "right": 1,
    }


def test_and_makes_two_claims_and_the_same_words_elsewhere_another(measure):
    found = measure("assert a < b and b < 4", "assert a < b\nassert a < b", b=3)
    margins = {"a < b": 2, "b < 4": 1, "a < b  # 2": 2, "a < b  # 3": 2}
    assert {claim: each["margin"] for claim, each in found.items()} == margins


def test_loops_and_functions_keep_the_smallest_margin(measure):
    cell = """
def check(x):
    def inner(y):
        assert y < 10, "y"
    for y in (x, 2 * x, 0):
        inner(y)

class Checker:
    limit = 2
    assert limit < 3  # in a class's body: left as it is

    def __call__(self, x):
        assert x > self.limit

for x in (1, 4, 3):
    check(x)
    Checker()(x + 2)
"""
    found = measure(cell)
    assert {claim: each["margin"] for claim, each in found.items()} == {
        "y < 10": 2,
        "x > self.limit": 1,
    }


def test_a_missed_claim_may_let_the_cell_go_on(measure):
    said, space = [], []
    note = lambda claim, words: said.append(claim)  # noqa: E731
    found = measure(
        "assert a > b and none.no\nspace.append(1)\nassert b > 100", missed=note, space=space
    )
    assert said == list(found) == ["a > b", "b > 100"] and space == [1]


def test_an_assert_that_may_fail_on_purpose_is_no_claim(measure):
    assert measure("try:\n    assert a > b\nexcept AssertionError:\n    pass") == {}


def test_the_box_shows_code_and_nothing_else_as_markup():
    words = "`x < y` is <b>, the book expects `a & b`"
    box = claims.box(words)
    assert "<code>x &lt; y</code> is &lt;b&gt;, the book expects <code>a &amp; b</code>" in box
    assert 'class="admonition warning"' in box
