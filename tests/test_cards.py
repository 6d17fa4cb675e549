"""Model cards: every shipped weight has a whole one; what a file does not say is not made up."""

import re

import pytest
import ship
import torch

from ddgan_lite.__main__ import main
from ddgan_lite.evaluation.judge import Judge
from ddgan_lite.files import cards, checkpoints, results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import ConvConfig, MLPConfig
from ddgan_lite.training.presets import PRESETS, preset
from ddgan_lite.training.runs import run

ABOUT = {
    "data": "points", "preset": "gaussians", "steps": 9000, "batch_size": 64, "seed": 3,
    "hardware": "an abacus", "seconds": 3725.0, "torch": "2.15", "ddgan_lite": "0.1",
    "commit": "abc", "date": "2026-11-23", "command": "python -m ddgan_lite train gaussians",
    "scores": {"hq3": 0.951234, "modes": 25}, "protocol": "10,000 samples",
}  # fmt: skip
SHIPPED = cards.shipped()


@pytest.fixture
def file(tmp_path):
    return DDGAN(MLPConfig()).save(tmp_path / "mine.safetensors", **ABOUT)


def test_a_card_says_what_the_header_says(file):
    text = cards.card(file)
    for line in (
        "# mine.safetensors",
        "| networks | mlp, samples of shape 2, T = 4; 5,522 weights, float32 |",
        "| training | 9,000 steps, a batch of 64 |",
        "| training time | 1 h 2 min |",
        "| code | ddgan_lite 0.1, commit abc; torch 2.15 |",
        "Scores: 10,000 samples",
        "| hq3 | 0.9512 |",
        "| modes | 25 |",
        "Made by `python -m ddgan_lite train gaussians`.",
    ):
        assert line in text.splitlines()
    assert "not recorded" not in text
    assert cards.missing(file) == []


@pytest.mark.parametrize("name", cards.REQUIRED)
def test_what_is_missing_is_named_and_not_made_up(name, tmp_path):
    about = {key: value for key, value in ABOUT.items() if key != name}
    file = DDGAN(MLPConfig()).save(tmp_path / "mine.safetensors", **about)
    assert cards.missing(file) == [name]
    assert "not recorded" in cards.card(file)


def test_what_else_the_maker_wrote_down_is_shown(tmp_path):
    file = DDGAN(MLPConfig()).save(tmp_path / "mine.safetensors", licence="CC BY 4.0")
    assert "| licence | CC BY 4.0 |" in cards.card(file)
    assert "Scores: not recorded." in cards.card(file)


@pytest.mark.parametrize("name", [*ABOUT, "scores_float32", "licence"])
def test_a_card_trusts_no_type(name, tmp_path):
    for odd in (
        None,
        True,
        -1.5,
        float("nan"),
        10**30,
        "a\n\x1b[31mb",
        [[1]],
        {"x": {"y": []}},
        [],
    ):
        file = DDGAN(MLPConfig()).save(tmp_path / "mine.safetensors", **(ABOUT | {name: odd}))
        text = cards.card(file)
        assert all(line.isprintable() for line in text.splitlines())
        assert len(text.splitlines()) < 40
        cards.missing(file)


def test_a_header_that_is_no_table_has_no_card(file):
    tensors, header = checkpoints.read(file)
    for odd in (None, 3, "text", [1]):
        checkpoints.write(file, tensors, header | {"config": odd, "kind": odd})
        assert "# mine.safetensors" in cards.card(file)
        checkpoints.write(file, tensors, header | {"provenance": odd})
        with pytest.raises(checkpoints.CheckpointError, match="has no card: its provenance is no"):
            cards.card(file)


def test_a_finished_run_records_all_but_its_scores(tmp_path):
    line = ["train", "gaussians", "--steps", "2", "--set", "batch_size=8", "--device", "cpu"]
    assert main([*line, "--out", str(tmp_path / "run")]) == 0
    assert cards.missing(tmp_path / "run") == ["scores", "protocol"]
    assert f"Made by `python -m ddgan_lite {' '.join(line)} --out" in cards.card(tmp_path / "run")


def test_a_run_that_is_not_finished_has_no_card(tmp_path):
    lines = run(preset("gaussians", steps=4, save_every=1, log_every=1, batch_size=8), tmp_path)
    next(lines), next(lines)
    with pytest.raises(checkpoints.CheckpointError, match="belongs to a run that is not finished"):
        cards.card(tmp_path)


def test_the_command_prints_the_card_and_answers_what_is_none(file, tmp_path, capsys):
    assert main(["card", str(file)]) == 0
    assert capsys.readouterr().out == cards.card(file) + "\n"
    assert main(["card", str(tmp_path / "absent")]) == 1
    assert capsys.readouterr().err.startswith("error: There is no checkpoint file at ")


# -- what comes with the book -------------------------------------------------------------------


def test_there_are_weights_to_look_at():
    assert {"gaussians", "stacked_digits", "digits", "mnist", "mnist_judge"} <= {
        p.stem for p in SHIPPED
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_weight_has_a_whole_card(path):
    assert cards.missing(path) == []
    assert "not recorded" not in cards.card(path)
    command = checkpoints.read(path)[1]["provenance"]["command"]
    assert re.match(r"(python|papermill) ", command)
    assert "dirty" not in cards.card(path)  # made by code that anyone can check out


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_model_is_the_one_its_preset_describes(path):
    if path.stem in PRESETS:
        known = checkpoints.read(path)[1]["provenance"]
        chosen = PRESETS[path.stem]
        assert DDGAN.load(path).config == chosen.config
        if "begun with" in known:  # from other weights, in as many steps as its command says
            assert re.search(rf" --start \S+ --set .*\bsteps={known['steps']} ", known["command"])
        else:
            assert known["steps"] == chosen.settings.steps
        assert known["batch_size"] == chosen.settings.batch_size
        assert known["seed"] == chosen.settings.seed


def test_the_page_of_the_weights_shows_the_cards_of_the_files():
    assert results.find("cards.md").read_text() == ship.page()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_page_shows_samples_and_says_scores_in_words(path):
    entry, scores = ship.entry(path), checkpoints.read(path)[1]["provenance"]["scores"]
    assert re.search(r"^\*\*[^*{]+\d[^*{]+\.\*\*$", entry, re.M)
    for name in scores:
        assert re.search(rf"^\| {name}: .{{10,}} \| [\d.]+(e-\d\d)? \|", entry, re.M), name
    assert (f"sample-{path.stem}.webp" in entry) == ("judge" not in path.stem)  # which draws none


def test_what_is_shipped_stays_small():
    sizes = {path.stem: path.stat().st_size for path in SHIPPED}
    assert sum(sizes.values()) <= 25e6
    assert max(sizes.values()) <= 12e6


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_half_precision_costs_no_score(path):
    known = checkpoints.read(path)[1]["provenance"]
    whole = known.get("scores_float32")
    if whole is None:
        return
    for name, value in known["scores"].items():
        assert abs(value - whole[name]) <= max(0.01, 0.02 * abs(whole[name])), name


# -- the judge ------------------------------------------------------------------------------------


def test_the_judge_of_the_book_reads_held_out_digits():
    known = checkpoints.read(results.find("mnist_judge.safetensors"))[1]["provenance"]
    assert known["scores"]["accuracy"] > 0.99
    judge = Judge.load()
    assert judge.covariance.diagonal().min() >= 0
    assert torch.allclose(judge.covariance, judge.covariance.T)


def test_the_shipped_model_scores_what_its_card_says():
    path = results.find("mnist.safetensors")
    card = checkpoints.read(path)[1]["provenance"]["scores"]
    asked = torch.arange(500) % 10
    samples = DDGAN.load(path).sample(500, labels=asked, rng=torch.Generator().manual_seed(0))
    found = Judge.load().scores(samples)
    assert abs(found["recognised"] - card["recognised"]) < 0.08  # four standard errors
    noise = 2 * torch.rand(500, 1, 32, 32, generator=torch.Generator().manual_seed(0)) - 1
    assert Judge.load().scores(noise)["fd"] > 10 * found["fd"]


def test_what_the_judge_cannot_score_is_refused():
    judge = Judge()
    with pytest.raises(ValueError, match="scores need more than 64 images, got 64"):
        judge.scores(torch.zeros(64, 1, 32, 32))
    with pytest.raises(ValueError, match="shape"):
        judge.look(torch.zeros(5, 3, 32, 32))
    with pytest.raises(ValueError, match="finite"):
        judge.look(torch.full((5, 1, 32, 32), torch.nan))


def test_a_file_that_is_no_judge_is_refused(tmp_path):
    path = DDGAN(ConvConfig()).save(tmp_path / "model.safetensors")
    with pytest.raises(checkpoints.CheckpointError, match="does not fit its own header"):
        Judge.load(path)
