"""Slices: what the claims of a notebook come from, and what only shows."""

import ast

import pytest
import slices

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
        "def limit():\n    return bound\nbound = 3",  # read when the function is called
    ],
)
def test_what_may_move_a_claim_is_kept(line):
    before, after = "scores = {}", "score = scores.get('a', 0) + limit()"
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
    loop = "for x in data:\n    total += x\n    ax.plot(x{})\nassert total < 1"
    assert kept(loop.format("")) == kept(loop.format(", color='red'"))
    assert "total += x" in kept(loop.format(""))[0]
