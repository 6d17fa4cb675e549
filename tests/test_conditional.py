"""Labels: both networks see them, some are hidden in training, and sampling can stress them."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from ddgan_lite.__main__ import main
from ddgan_lite.data.images import Images, load_images, to_bytes
from ddgan_lite.data.named import load_data
from ddgan_lite.data.toys import Digits, StackedDigits, gaussian_grid
from ddgan_lite.evaluation.metrics import frechet_distance, read_digits
from ddgan_lite.evaluation.samples import Drawn, write_picture
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import ConvConfig, PyramidConfig
from ddgan_lite.training import resume
from ddgan_lite.training.presets import preset
from ddgan_lite.training.runs import losses_by_step, run
from ddgan_lite.training.settings import TrainSettings
from ddgan_lite.training.trainer import Trainer

CONFIGS = {
    "mlp": tiny.MLP,
    "conv": ConvConfig(num_steps=2, latent_dim=4, width=4, hidden=16),
    "pyramid": PyramidConfig(shape=(1, 16, 16), num_steps=2, width=8, hidden=8, style=8),
    "unet": tiny.UNET,
}
CONDITIONAL = {k: dataclasses.replace(config, classes=3) for k, config in CONFIGS.items()}
SETTINGS = TrainSettings(steps=4, batch_size=8)
every = pytest.mark.parametrize("kind", CONFIGS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Labelled:
    """Points of class k around (k, k); all three classes in every batch."""

    def sample_labelled(self, n, rng=None):
        y = torch.arange(n) % 3
        return y[:, None] + 0.1 * torch.randn(n, 2, generator=rng), y

    def sample(self, n, rng=None):
        return self.sample_labelled(n, rng)[0]


def inputs(config, n=4):
    x = torch.randn(n, *config.shape, generator=seeded())
    return x, torch.full((n,), 1), torch.randn(n, config.latent_dim, generator=seeded(1))


@every
def test_both_networks_see_the_label(kind):
    config = CONDITIONAL[kind]
    model = tiny.model(config)
    x, t, z = inputs(config)
    for look in (lambda y: model.generator(x, t, z, y), lambda y: model.discriminator(x, x, t, y)):
        seen = [look(torch.full((4,), label)) for label in range(4)]
        for one in range(4):
            for other in range(one):
                assert not torch.allclose(seen[one], seen[other], atol=1e-4)


@every
def test_no_label_is_the_label_after_the_last(kind):
    config = CONDITIONAL[kind]
    model = tiny.model(config)
    x, t, z = inputs(config)
    none = torch.full((4,), 3)
    assert torch.equal(model.generator(x, t, z), model.generator(x, t, z, none))
    assert torch.equal(model.discriminator(x, x, t), model.discriminator(x, x, t, none))


@every
def test_a_model_without_classes_has_the_weights_it_always_had(kind):
    free, labelled = DDGAN(CONFIGS[kind]), DDGAN(CONDITIONAL[kind])
    for name in ("generator", "discriminator"):
        ours, theirs = (getattr(m, name).state_dict() for m in (free, labelled))
        assert ours.keys() == theirs.keys()
        more = {key for key in ours if ours[key].shape != theirs[key].shape}
        assert more and all(theirs[key].shape[1] == ours[key].shape[1] + 3 for key in more)


def test_guidance_0_and_1_are_the_two_guesses():
    model = tiny.model(CONDITIONAL["mlp"])
    x, t, z = inputs(model.config)
    y = torch.tensor([0, 1, 2, 3])
    free, asked = model.predict(x, t, z), model.predict(x, t, z, y)
    assert torch.equal(model.predict(x, t, z, y, guidance=1), asked)
    assert torch.equal(model.predict(x, t, z, y, guidance=0), free)
    torch.testing.assert_close(model.predict(x, t, z, y, guidance=3), 3 * asked - 2 * free)
    assert torch.equal(asked[3], free[3])  # of no label


def test_sampling_follows_the_labels_in_every_batch():
    model = tiny.model(CONDITIONAL["mlp"])
    y = torch.tensor([0, 1, 2, 0, 1])

    def draw(**how):
        return model.sample(5, rng=seeded(), **how)

    assert torch.equal(draw(labels=y), draw(labels=[0, 1, 2, 0, 1]))
    assert torch.equal(draw(labels=y), draw(labels="in turn"))
    assert torch.equal(draw(labels=2), draw(labels=torch.tensor(2)))
    assert torch.equal(draw(), draw(labels=[3] * 5)) and torch.equal(
        draw(), draw(labels=1, guidance=0)
    )
    assert not torch.equal(draw(labels=1), draw(labels=2))
    parts = draw(labels=y, guidance=2.0, batch_size=2)
    rng = seeded()
    by_hand = [
        list(model.sample_steps(len(part), labels=part, guidance=2.0, rng=rng))[-1]
        for part in y.split(2)
    ]
    assert torch.equal(parts, torch.cat(by_hand))
    *_, end = model.denoise_steps(torch.zeros(2, 2), 2, labels=[0, 1], rng=seeded())
    assert end.shape == (2, 2)
    free = tiny.model(tiny.MLP)  # has no turns to take
    assert torch.equal(free.sample(2, seed=0, labels="in turn"), free.sample(2, seed=0))


@pytest.mark.parametrize(
    ("config", "how", "sentence"),
    [
        (tiny.MLP, {"labels": 0}, "this model was trained without labels"),
        (CONDITIONAL["mlp"], {"labels": -1}, r"labels must be one of 0\.\.2 or 2 of them, got -1"),
        (CONDITIONAL["mlp"], {"labels": 3}, r"labels must be one of 0\.\.2 or 2 of them, got 3"),
        (
            CONDITIONAL["mlp"],
            {"labels": [0, 4]},
            r"labels must be one of 0\.\.2 or 2 of them",
        ),
        (CONDITIONAL["mlp"], {"labels": [0, 1, 2]}, r"labels must be one of 0\.\.2"),
        (CONDITIONAL["mlp"], {"labels": 0.5}, r"labels must be one of 0\.\.2"),
        (
            CONDITIONAL["mlp"],
            {"labels": "at random"},
            r"labels must be one of 0\.\.2 .*'at random'",
        ),
        (CONDITIONAL["mlp"], {"guidance": 2.0}, "guidance is a finite number and needs labels"),
        (CONDITIONAL["mlp"], {"labels": 0, "guidance": float("nan")}, "guidance is a finite"),
    ],
)
def test_what_cannot_be_asked_for_is_answered_in_a_sentence(config, how, sentence):
    with pytest.raises(ValueError, match=sentence):
        DDGAN(config).sample(2, **how)


def test_the_condition_of_a_pair_carries_the_label():
    model, y = tiny.model(CONDITIONAL["mlp"]), torch.tensor([0, 1, 2])
    real, condition = model.real_pair(torch.zeros(3, 2), seeded(), y)
    assert len(condition) == 3 and torch.equal(condition[2], y)
    fake = model.fake_like(real, condition, seeded(1))
    rng = seeded(1)
    guess = model.predict(*condition[:2], None, y, rng=rng)
    assert torch.equal(fake, model.diffusion.posterior_sample(guess, *condition[:2], rng))
    free = model.real_pair(torch.zeros(3, 2), seeded())
    assert torch.equal(free[0], real) and len(free[1]) == 2


@every
@pytest.mark.parametrize("reconstruction", [0.0, 1.0])
def test_training_teaches_every_label_and_none(kind, reconstruction):
    config = CONDITIONAL[kind]
    rng = seeded()
    pixels = torch.randint(0, 256, (30, *config.shape), generator=rng, dtype=torch.uint8)
    if kind == "mlp":
        data = Labelled()
    else:
        data = Images(pixels, name="noise", flip=True)
        data.labels = torch.arange(30) % 3
    torch.manual_seed(0)
    changes = {"label_drop": 0.5, "reconstruction": reconstruction}
    trainer = Trainer(DDGAN(config), data, dataclasses.replace(SETTINGS, **changes))
    first = {
        name: weight.detach().clone()
        for network in (trainer.model.generator, trainer.model.discriminator)
        for name, weight in network.named_parameters(prefix=type(network).__name__)
        if weight.ndim == 2
    }
    list(trainer)
    moved = 0
    for network in (trainer.model.generator, trainer.model.discriminator):
        for name, weight in network.named_parameters(prefix=type(network).__name__):
            if weight.ndim == 2 and weight.shape[1] > 3:
                moved += (weight - first[name])[:, -3:].abs().sum(0).gt(0).all().item()
    assert moved >= 2


def test_the_share_of_hidden_labels_is_the_one_asked_for():
    settings = dataclasses.replace(SETTINGS, label_drop=0.25)
    trainer = Trainer(DDGAN(CONDITIONAL["mlp"]), Labelled(), settings)
    y = trainer._some(torch.ones(40_000, dtype=torch.long))
    assert set(y.tolist()) == {1, 3} and abs((y == 3).double().mean() - 0.25) < 0.01
    never = Trainer(trainer.model, Labelled(), dataclasses.replace(settings, label_drop=0.0))
    assert (never._some(torch.ones(1000, dtype=torch.long)) == 1).all()


def test_without_classes_the_random_stream_is_what_it_was():
    # One more draw, and every stored number of the book would change.
    states = []
    for drop in (0.0, 0.5):
        torch.manual_seed(0)
        settings = dataclasses.replace(SETTINGS, label_drop=drop)
        trainer = Trainer(DDGAN(tiny.MLP), gaussian_grid(), settings)
        list(trainer)
        states.append(trainer.rng.get_state())
    assert torch.equal(*states)


def test_accumulated_parts_keep_images_and_labels_together():
    seen = []

    class Watch(DDGAN):
        def real_pair(self, x_0, rng=None, y=None):
            seen.append((x_0, y))
            return super().real_pair(x_0, rng, y)

    settings = dataclasses.replace(SETTINGS, accumulate=2, fresh_fake=True, label_drop=0.0)
    next(iter(Trainer(Watch(CONDITIONAL["mlp"]), Labelled(), settings)))
    assert len(seen) == 4
    for x_0, y in seen:
        assert (x_0 - y[:, None]).abs().max() < 1


def test_data_and_networks_must_agree_about_labels():
    model = DDGAN(CONDITIONAL["mlp"])
    with pytest.raises(ValueError, match="these networks have 3 classes, these data no labels"):
        Trainer(model, gaussian_grid(), SETTINGS)
    noise = tiny.images()
    with pytest.raises(ValueError, match="these data no labels"):
        Trainer(DDGAN(CONDITIONAL["unet"]), noise, SETTINGS)
    noise.labels = torch.arange(len(noise))
    trainer = Trainer(DDGAN(CONDITIONAL["unet"]), noise, SETTINGS)
    with pytest.raises(ValueError, match=r"the data's labels must lie in 0\.\.2"):
        list(trainer)
    with pytest.raises(ValueError, match=r"label_drop must lie in \[0, 1\)"):
        TrainSettings(label_drop=1.0)


def test_batches_come_with_their_labels():
    noise = tiny.images()
    noise.labels = torch.arange(len(noise))
    plain, pairs = (noise.batches(8, seed=0, start=3, labelled=it) for it in (False, True))
    for _ in range(5):
        (images, labels), alone = next(pairs), next(plain)
        assert torch.equal(images, alone) and torch.equal(images, noise.images[labels])
    x, labels = noise.sample_labelled(5, seeded())
    assert torch.equal(x, noise.sample(5, seeded())) and labels.shape == (5,)
    assert next(tiny.images().batches(8, seed=0, labelled=True))[1] is None
    stacks, modes = StackedDigits().sample_labelled(5, seeded())
    assert stacks.shape == (5, 3, 8, 8) and modes.max() < 1000


def test_the_subfolders_of_a_folder_are_its_labels(tmp_path):
    for number, place in enumerate(["dog/a", "cat/deep/b", "dog/c"]):
        file = tmp_path / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 100 * number).save(file)
    images = load_images(tmp_path, size=8, channels=1)
    assert images.labels.tolist() == [0, 1, 1]  # in the order of paths: cat, dog, dog
    stored = load_images(tmp_path, size=8, channels=1, memory=0)
    assert next(stored.batches(3, seed=0, labelled=True))[1].sort().values.tolist() == [0, 1, 1]
    Image.new("L", (8, 8)).save(tmp_path / "alone.png")
    assert load_images(tmp_path, size=8, channels=1).labels is None


def test_the_digits_are_a_set_with_labels():
    digits, held_out = (load_images("digits", train=part) for part in (True, False))
    assert (len(digits), len(held_out)) == (1198, 599) and digits.shape == (1, 8, 8)
    assert digits.labels.unique().tolist() == list(range(10)) and not digits.flip
    with pytest.raises(ValueError, match="omit size and channels"):
        load_images("digits", size=16)
    assert load_data("digits", (1, 8, 8)).shape == (1, 8, 8)
    with pytest.raises(ValueError, match=r"set shape=\(1, 8, 8\) to match"):
        load_data("digits", (3, 8, 8))


SMALL = {"steps": 4, "batch_size": 8, "width": 16, "log_every": 2, "save_every": 2}


def test_files_runs_and_resumption_keep_the_classes(tmp_path):
    small = preset("digits", **SMALL)
    lines = list(run(small, tmp_path / "whole"))
    assert [line["step"] for line in lines] == [2, 4]
    stopped = run(small, tmp_path / "stopped", keep=5)
    next(stopped)
    next(stopped)
    stopped.close()
    (tmp_path / "stopped" / "checkpoints" / "step_00000004.safetensors").unlink(missing_ok=True)
    (tmp_path / "stopped" / "model.safetensors").unlink(missing_ok=True)
    list(run(small, tmp_path / "stopped"))
    models = [DDGAN.load(tmp_path / name / "model.safetensors") for name in ("whole", "stopped")]
    assert models[0].config.classes == 10
    drawn = [m.sample(4, labels=[1, 2, 3, 4], guidance=2.0, rng=seeded()) for m in models]
    assert torch.equal(*drawn)
    trainer = Trainer(
        preset("digits", **SMALL, classes=11).build(), load_images("digits"), SETTINGS
    )
    with pytest.raises(resume.OtherRunError, match="classes = 10, this run has 11"):
        resume.load(trainer, tmp_path / "whole" / "checkpoints" / "step_00000004.safetensors")


def test_the_logged_losses_are_those_under_the_labels():
    model, y = tiny.model(CONDITIONAL["mlp"]), torch.tensor([0, 1, 2])
    x_0 = torch.zeros(3, 2)
    assert losses_by_step(model, x_0, y) != losses_by_step(model, x_0)
    assert losses_by_step(model, x_0) == losses_by_step(model, x_0, torch.full((3,), 3))


def test_the_command_line_draws_what_it_is_asked_for(tmp_path, capsys):
    file = tiny.model(preset("digits", **SMALL).config).save(tmp_path / "m.safetensors")
    drawn = {}
    for label in (["--label", "3"], ["--label", "4"], []):
        out = tmp_path / f"{len(drawn)}.png"
        line = ["sample", str(file), "--n", "4", "--out", str(out), "--device", "cpu", *label]
        assert main(line) == 0
        drawn[" ".join(label)] = out.read_bytes()
    assert len(set(drawn.values())) == 3
    write_picture(DDGAN.load(file), tmp_path / "turns.png", 4, labels=[0, 1, 2, 3])
    assert drawn[""] == (tmp_path / "turns.png").read_bytes()  # all in turn
    folder = ["--n", "3", "--batch", "2", "--out", str(tmp_path / "many"), "--device", "cpu"]
    assert main(["sample", str(file), *folder, "--label", "3", "--guidance", "1.5"]) == 0
    assert len(list((tmp_path / "many").glob("*.png"))) == 3
    single = ["--n", "12", "--batch", "5", "--out", str(tmp_path / "turns"), "--device", "cpu"]
    assert main(["sample", str(file), *single]) == 0
    last = write_picture(DDGAN.load(file), tmp_path / "last.png", 12, labels="in turn", columns=12)
    row, third = (np.asarray(Image.open(path)) for path in (last, tmp_path / "turns/000011.png"))
    assert (row[2:10, 112:120, 0] == third).all()  # the third turn has come to 1
    free = tiny.model(CONFIGS["conv"]).save(tmp_path / "free.safetensors")
    for model, wrong, sentence in (
        (file, ["--label", "10"], "error: --label must be one of 0..9, got 10.\n"),
        (free, ["--guidance", "2"], "error: guidance is a finite number and needs labels"),
        (free, ["--label", "3"], "error: this model was trained without labels"),
    ):
        capsys.readouterr()
        assert main(["sample", str(model), "--out", str(tmp_path / "x.png"), *wrong]) == 1
        assert sentence in capsys.readouterr().err


def test_samples_that_are_scored_come_in_turn():
    model = tiny.model(CONDITIONAL["conv"])
    y = torch.arange(5) % 3
    drawn, own = Drawn(model, n=5), to_bytes(model.sample(5, seed=0, labels=y))
    parts = [drawn.load(torch.arange(*part)) for part in ((0, 2), (2, 5))]
    assert torch.equal(torch.cat(parts), own)


def test_old_headers_without_classes_load():
    header = json.loads(json.dumps(dataclasses.asdict(tiny.MLP)))
    del header["classes"]
    assert type(tiny.MLP)(**header) == tiny.MLP


# -- the model that comes with the book ----------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return DDGAN.load(results.find("digits.safetensors"))


def read(images, y):
    """The share of images, of every class, that the judge reads as asked."""
    return torch.stack([(read_digits(images[y == k]) == k).double().mean() for k in range(10)])


def test_every_digit_is_drawn_when_it_is_asked_for(shipped):
    y = torch.arange(10).repeat(50)
    assert read(shipped.sample(500, labels=y, rng=seeded()), y).min() >= 0.9


def test_what_the_live_page_says_of_sharing_and_of_no_label(shipped):
    rng = seeded()
    chain = list(shipped.sample_steps(60, labels=3, rng=rng))
    left = {}
    for t in (1, 2, 4):
        start = chain[4 - t].repeat_interleave(6, 0)
        *_, ends = shipped.denoise_steps(start, t, labels=3, rng=rng)
        left[t] = ends.reshape(60, 6, -1).var(1).sum(1).mean().item()
    assert left[1] < 0.1 * left[4] and 0.4 * left[4] < left[2] < 0.8 * left[4]
    free, true = shipped.sample(1000, rng=rng), Digits("train").images.flatten(1)
    asked = shipped.sample(1000, labels=torch.arange(10).repeat(100), rng=rng)
    far, near = (frechet_distance(x.flatten(1), true) for x in (free, asked))
    assert far > 2 * near
    assert (read_digits(free) == 8).double().mean() > 0.2


def test_what_the_recipe_says_of_guidance():
    rows = results.load("guidance")["rows"]
    for seed in range(3):
        for way in ("draw", "apart", "mean"):
            own = [row for row in rows if (row["seed"], row["way"]) == (seed, way)]
            mean = {
                (w, name): sum(row[name] for row in own if row["w"] == w) / 3
                for w in (1.0, 1.5, 2.0, 3.0)
                for name in ("fd", "recall")
            }
            assert all(mean[w, "fd"] > mean[1.0, "fd"] for w in (1.5, 2.0, 3.0))
            assert all(mean[w, "recall"] < mean[1.0, "recall"] for w in (1.5, 2.0, 3.0))
            assert min(row["worst"] for row in own if row["w"] == 1.0) >= 0.9
