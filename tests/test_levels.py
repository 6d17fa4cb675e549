"""The search for noise levels: the density it carries, and the rows it stored."""

import levels
import pytest
import torch

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.chain.mixtures import best_gaussian_sample
from ddgan_lite.evaluation.metrics import mixture_scores
from ddgan_lite.files import results

ROWS = results.load("bench_levels")["rows"]


def test_carried_is_what_samples_come_to():
    data, chosen = levels.spikes(2), [0.02, 0.1, 0.5, 3.0]
    rng = torch.Generator().manual_seed(0)
    chain = Diffusion(4, noise_levels=chosen)
    drawn = mixture_scores(best_gaussian_sample(data, chain, 20_000, rng=rng), data)
    carried = levels.scores(levels.held(data, chosen))
    assert carried["hq3"] == pytest.approx(drawn["hq3"], abs=0.01)
    assert carried["kl"] == pytest.approx(drawn["kl"], abs=0.01)


def test_a_finer_grid_changes_nothing():
    coarse, fine = (levels.held(levels.spikes(1), [0.1, 0.3, 1.0, 8.0], n) for n in (4, 12))
    assert (coarse - fine).abs().max() < 1e-5
    assert fine.flip(0) == pytest.approx(fine, abs=1e-12)


def test_of_the_data_themselves_nothing_is_lost():
    perfect = levels.scores(torch.full((5,), levels.TRUE / 5, dtype=torch.float64))
    assert perfect["kl"] == pytest.approx(0, abs=1e-12)
    assert perfect["both"] == pytest.approx(0, abs=1e-12)


def test_places_unfold_to_rising_levels():
    for steps in (2, 4, 8):
        for start in levels.starts(2, steps, 5, seed=0):
            found = levels.unfold(start, 0.005)
            assert len(found) == steps and found == sorted(found)
            Diffusion(steps, noise_levels=found)


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row["scales"] < 3],
    ids=lambda row: f"{row['aim']}-{row['scales']}-{row['steps']}",
)
def test_stored_levels_reach_what_is_stored(row):
    again = levels.scores(levels.held(levels.spikes(row["scales"]), row["levels"]))
    assert again["hq3"] == pytest.approx(row["hq3"], abs=1e-4)
    assert again["kl"] == pytest.approx(row["kl"], abs=1e-4)


def test_every_question_of_the_chapter_is_answered():
    asked = {("both", scales, steps) for scales in (1, 2, 3) for steps in (2, 4, 6, 8)}
    assert asked | {("weights", 3, 4)} <= {(r["aim"], r["scales"], r["steps"]) for r in ROWS}
