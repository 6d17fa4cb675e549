"""Slices: what the claims of a notebook come from, and what only shows."""

import ast
from pathlib import Path

import pytest
import robust
import slices

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("[0-9]*.ipynb"))

CLAIM = "assert score < 1"


def kept(source: str) -> list[str]:
    return slices.slice_of(ast.parse(source).body)


@pytest.mark.parametrize(
    "line",
    [
        "score = 2",
        "score += 1",
        "scores['a'] = 2",  # of an object that the score is made of
        "scores.update(a=2)",
        "improve(scores)",
        "model.train()",
        "x = torch.randn(3)",  # moves the numbers drawn after it
        "plots.panels(model.sample(10))",
        "for score in (1, 2):\n    print(score)",
    ],
)
def test_what_may_move_a_claim_is_kept(line):
    before, after = "scores = {}", "score = scores.get('a', 0)"
    bare = kept("\n".join([before, after, CLAIM]))
    assert kept("\n".join([before, line, after, line, CLAIM])) != bare


@pytest.mark.parametrize(
    "line",
    [
        "print(score)",
        "plots.panels(scores, width=3)",
        "figure, axes = plt.subplots(1, 2)",
        "for ax, name in zip(axes, scores):\n    ax.set(title=name)",
        "rows = {name: value for name, value in scores.items()}",
        "assert score < 2",
    ],
)
def test_what_only_shows_is_not(line):
    before, after = "scores = {}", "score = scores.get('a', 0)"
    bare = kept("\n".join([before, after, CLAIM]))
    assert kept("\n".join([before, line, after, line, CLAIM])) == bare == [before, after]


def test_a_value_that_is_replaced_has_no_part_in_it():
    assert kept("score = 5\nscore = 0\n" + CLAIM) == ["score = 0"]
    assert kept("score = 5\nscore = score - 5\n" + CLAIM) == ["score = 5", "score = score - 5"]
    assert "score = 5" in kept("score = 5\nif lucky:\n    score = 0\n" + CLAIM)


def test_drawing_inside_a_loop_that_counts_is_left_out():
    loop = "figure, ax = plt.subplots()\nfor x in data:\n    total += x\n    ax.plot(x{})\n" + CLAIM
    loop = loop.replace("score", "total")
    assert kept(loop.format("")) == kept(loop.format(", color='red'"))
    assert "total += x" in kept(loop.format(""))[0]


def test_what_a_function_reads_when_it_is_called_is_kept():
    source = "bound = 2\ndef limit():\n    return bound\nbound = 3\nscore = limit()\n" + CLAIM
    assert kept(source).count("bound = 3") == 1


def test_a_claim_inside_a_loop_keeps_the_loop_and_may_move_its_band():
    loop = "rows = measured()\nfor row in rows:\n    plots.bar(row)\n    assert row['hq3'] < {}"
    assert kept(loop.format("0.8")) == kept(loop.format("0.7"))
    assert kept(loop.format("0.8"))[0] == "rows = measured()"
    assert kept(loop.format("0.8")) != kept(loop.format("0.8").replace("in rows", "in rows[1:]"))
    assert "low = worst()" in kept("low = worst()\n" + loop.format("low"))


def test_a_name_of_a_drawing_that_holds_data_too_is_kept():
    """`left` may be an axes in one cell and a number in another."""
    drawing = "figure, (left, right) = plt.subplots(1, 2)\nleft.plot(x)\n"
    assert kept(drawing + "assert x < 1") == []
    assert "left = measured(x)" in kept(drawing + "left = measured(x)\nassert left < 1")
    loop = "for ax, name in zip(axes, scores):\n    total = measured(name)\n    ax.plot(total)\n"
    assert kept("figure, axes = plt.subplots(2)\n" + loop + "assert total < 1")[-1].count("ax") == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_claim_of_a_chapter_reads_what_only_shows(path):
    statements, _ = robust.statements_of(path)
    claims = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Assert)]
    assert claims and not slices.drawn(statements) & set().union(*map(slices.reads, claims))
