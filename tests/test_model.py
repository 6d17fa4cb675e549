"""DDGAN: its sampling loop, its use of latents and weights, and its files."""

import pytest
import tiny
import torch

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.chain.randomness import Numbered
from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.files import checkpoints
from ddgan_lite.files.cards import card
from ddgan_lite.files.checkpoints import CheckpointError
from ddgan_lite.method.ema import EMA
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import MLPConfig
from ddgan_lite.training import resume
from ddgan_lite.training.trainer import Trainer, TrainSettings, train

SMALL = MLPConfig(num_steps=3, latent_dim=4, width=16, depth=2)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def model_with_average(config=SMALL):
    """A model whose averaged weights differ from its raw ones."""
    model = DDGAN(config)
    other = config.build_generator()
    model.averaged = EMA(other, 0.5)
    model.averaged.update(other)
    return model


# -- sampling --------------------------------------------------------------------------------


@pytest.mark.parametrize("num_steps", [1, 3])
def test_sample_steps_yields_the_whole_trajectory(num_steps):
    model = DDGAN(MLPConfig(shape=(3, 2, 2), num_steps=num_steps, width=8, depth=2))
    steps = list(model.sample_steps(5, rng=seeded()))
    assert len(steps) == num_steps + 1
    assert all(x.shape == (5, 3, 2, 2) for x in steps)
    assert torch.equal(steps[-1], model.sample(5, rng=seeded()))
    assert not any(x.requires_grad for x in steps)


def test_sampling_is_guess_then_posterior_from_x_T_down():
    model, rng = DDGAN(SMALL), seeded()
    x = torch.randn(5, 2, generator=rng)
    with torch.no_grad():
        for t in (3, 2, 1):
            z = torch.randn(5, 4, generator=rng)
            x_0 = model.generator(x, torch.full((5,), t), z)
            x = model.diffusion.posterior_sample(x_0, x, t, rng)
    torch.testing.assert_close(model.sample(5, rng=seeded()), x)


def test_one_step_is_the_generator_itself():
    model = DDGAN(MLPConfig(num_steps=1, width=16, depth=2))
    x_T, x_0 = model.sample_steps(5, rng=seeded())
    rng = seeded()
    torch.randn(5, 2, generator=rng)
    z = torch.randn(5, 8, generator=rng)
    assert torch.equal(x_0, model.generator(x_T, torch.ones(5, dtype=torch.long), z))


def test_samples_repeat_with_their_generator_and_only_with_it():
    model = DDGAN(SMALL)
    assert torch.equal(model.sample(5, rng=seeded()), model.sample(5, rng=seeded()))
    assert not torch.equal(model.sample(5, rng=seeded()), model.sample(5, rng=seeded(2)))
    assert not torch.equal(model.sample(5), model.sample(5))


NUMBERED = {"points": tiny.MLP, "images": tiny.UNET}


@pytest.mark.parametrize("config", NUMBERED.values(), ids=NUMBERED)
def test_a_sample_with_a_number_follows_from_the_seed_and_that_alone(config):
    model = tiny.model(config)
    whole = model.sample(7, seed=3)
    assert len(whole.unique(dim=0)) == 7
    for n, first, batch_size in ((7, 0, 2), (3, 0, None), (4, 3, 3), (1, 6, 1)):
        some = model.sample(n, seed=3, first=first, batch_size=batch_size)
        assert torch.allclose(some, whole[first : first + n], atol=1e-5)
    *_, last = model.sample_steps(2, rng=Numbered(3, [6, 1]))
    assert torch.allclose(last, whole[[6, 1]], atol=1e-5)
    assert not torch.isclose(model.sample(7, seed=4), whole).any(0).all()
    assert torch.equal(model.sample(7, seed=3), whole)


def test_a_numbered_sample_is_drawn_like_any_other():
    model = tiny.model(tiny.MLP)
    x, y = model.sample(4_000, seed=0), model.sample(4_000, rng=torch.Generator().manual_seed(0))
    assert (x.mean(0) - y.mean(0)).abs().max() < 0.1 * y.std()
    assert (x.std(0) / y.std(0) - 1).abs().max() < 0.1


def test_the_stream_of_a_generator_is_torchs_own():
    # The stored outputs of the chapters hang on it.
    model, (a, b) = tiny.model(tiny.MLP), (torch.Generator().manual_seed(5) for _ in range(2))
    x = torch.randn(6, 2, generator=a)
    for t in (3, 2, 1):
        z = torch.randn(6, 4, generator=a)
        x_0 = model.generator(x, torch.full((6,), t), z)
        mean, std = model.diffusion._posterior(x_0, x, t)
        x = mean + std * torch.randn(6, 2, generator=a)
    assert torch.equal(model.sample(6, rng=b), x)


def test_a_start_can_be_given():
    model, x_T = DDGAN(SMALL), torch.randn(4, 2)
    first, *rest = model.sample_steps(4, x_T=x_T, rng=seeded())
    assert torch.equal(first, x_T)
    *_, other = model.sample_steps(4, x_T=-x_T, rng=seeded())
    assert not torch.equal(rest[-1], other)


def test_denoising_from_a_noise_level_is_the_end_of_sampling():
    model = model_with_average()
    rng = seeded()
    walk = model.sample_steps(4, rng=rng)
    first, x_2 = next(walk), next(walk)
    state = rng.get_state()
    rest = [x_2, *walk]
    rng.set_state(state)
    again = list(model.denoise_steps(x_2, 2, rng=rng))
    assert len(again) == 3
    assert all(torch.equal(x, y) for x, y in zip(again, rest, strict=True))
    assert not torch.equal(list(model.denoise_steps(x_2, 2, weights="raw"))[-1], again[-1])
    assert first.shape == again[-1].shape


@pytest.mark.parametrize("t", [0, 4, 1.5])
def test_a_noise_level_that_does_not_exist_is_refused(t):
    with pytest.raises(ValueError, match="t must"):
        list(DDGAN(SMALL).denoise_steps(torch.zeros(2, 2), t))


def test_latents_make_one_step_many_valued():
    x_t, t = torch.zeros(50, 2), torch.full((50,), 3)
    with_latent, without = DDGAN(SMALL), DDGAN(MLPConfig(num_steps=3, latent_dim=0))
    assert with_latent.predict(x_t, t).std(0).min() > 1e-3
    assert without.draw_latent(7).shape == (7, 0)
    assert without.predict(x_t, t).std(0).max() < 1e-6
    assert without.sample(6, rng=seeded()).shape == (6, 2)


def test_latents_are_standard_normal(rng):
    z = DDGAN(SMALL).draw_latent(20_000, rng)
    assert z.shape == (20_000, 4)
    assert z.mean(0).abs().max() < 4 / 20_000**0.5
    assert (z.std(0) - 1).abs().max() < 0.02


def test_predict_uses_the_latent_it_is_given():
    model, x_t, t, z = DDGAN(SMALL), torch.randn(3, 2), torch.tensor([1, 2, 3]), torch.randn(3, 4)
    assert torch.equal(model.predict(x_t, t, z), model.generator(x_t, t, z))


def test_sampling_uses_the_average_unless_told_otherwise():
    model = model_with_average()
    averaged, raw = (model.sample(5, weights=w, rng=seeded()) for w in ("averaged", "raw"))
    assert torch.equal(model.sample(5, rng=seeded()), averaged)
    assert not torch.equal(averaged, raw)
    model.averaged = None
    assert torch.equal(model.sample(5, rng=seeded()), raw)


# -- what training asks ----------------------------------------------------------------------


def test_a_fake_shares_the_condition_of_the_real_pair():
    model, x_0 = DDGAN(SMALL), torch.randn(6, 2)
    real, (x_t, t) = model.real_pair(x_0, seeded())
    assert real.shape == x_t.shape == x_0.shape
    fake = model.fake_like(real, (x_t, t), seeded(5))
    rng = seeded(5)
    x_0_guess = model.generator(x_t, t, torch.randn(6, 4, generator=rng))
    torch.testing.assert_close(fake, model.diffusion.posterior_sample(x_0_guess, x_t, t, rng))
    assert fake.requires_grad


@pytest.mark.parametrize("weights", [None, (2, 1, 1), (0, 0, 5)])
def test_step_weights_are_the_frequencies_of_t(weights, rng):
    _, (_, t) = DDGAN(SMALL, step_weights=weights).real_pair(torch.zeros(40_000, 2), rng)
    expected = torch.tensor(weights or (1, 1, 1), dtype=torch.float64)
    expected = expected / expected.sum()
    shares = torch.bincount(t, minlength=4)[1:] / 40_000
    assert ((shares - expected).abs() <= 4 * (expected * (1 - expected) / 40_000).sqrt()).all()


@pytest.mark.parametrize(
    "weights",
    [(1, 1), (1, 1, 1, 1), (1, -1, 1), (0, 0, 0), (1, float("nan"), 1), (1, float("inf"), 1), ()],
)
def test_bad_step_weights_are_refused(weights):
    with pytest.raises(ValueError, match="step_weights must hold one non-negative number for each"):
        DDGAN(SMALL, step_weights=weights)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: m.sample(0), "n must be at least 1, got 0"),
        (lambda m: m.sample(2, weights="ema"), 'weights must be "averaged" or "raw", got \'ema\''),
        (lambda m: m.sample(2, seed=-1), "seed must be at least 0, got -1"),
        (lambda m: m.sample(2, seed=1, rng=torch.Generator()), "give either rng or seed"),
        (
            lambda m: list(m.sample_steps(2, x_T=torch.zeros(3, 2))),
            r"x_T must have shape \(2, 2\), got \(3, 2\)",
        ),
        (
            lambda m: m.predict(torch.zeros(4, 3), torch.ones(4, dtype=torch.long)),
            r"works on samples of shape \(2,\), got \(3,\)",
        ),
    ],
)
def test_a_bad_request_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(DDGAN(SMALL))


# -- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SMALL, MLPConfig(shape=(3, 2, 2), latent_dim=0)])
def test_a_model_survives_its_file(config, tmp_path):
    model = model_with_average(config)
    loaded = DDGAN.load(model.save(tmp_path / "model.safetensors"))
    assert loaded.config == config
    assert torch.equal(loaded.sample(5, rng=seeded()), model.sample(5, rng=seeded()))


def test_a_file_explains_itself(tmp_path):
    path = DDGAN(SMALL).save(tmp_path / "model.safetensors", data="gaussian_grid", seed=3)
    _, header = checkpoints.read(path)
    assert header["kind"] == "mlp"
    assert header["provenance"] == {"data": "gaussian_grid", "seed": 3}
    assert MLPConfig(**header["config"]) == SMALL


def test_a_loaded_model_is_for_sampling_only(tmp_path):
    loaded = DDGAN.load(DDGAN(SMALL).save(tmp_path / "model.safetensors"))
    assert loaded.discriminator is None
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(ValueError, match="no discriminator: it was loaded for sampling only"):
        next(train(loaded, None, TrainSettings(steps=1)))


def test_a_chain_that_the_file_would_lose_is_not_saved(tmp_path):
    class NothingBack(Diffusion):
        pass

    for chain in (Diffusion(3, beta_min=8.0, beta_max=8.0), NothingBack(3)):
        model = DDGAN(SMALL)
        model.diffusion = chain
        with pytest.raises(ValueError, match=r"runs on .*, its configuration names Diffusion\(3, "):
            model.save(tmp_path / "model.safetensors")
        trainer = Trainer(model, gaussian_grid(), TrainSettings(steps=1, batch_size=8))
        with pytest.raises(ValueError, match="runs on"):
            resume.save(trainer, tmp_path / "run.safetensors")
        assert not list(tmp_path.iterdir())


def test_a_generator_that_the_file_would_lose_is_not_saved(tmp_path):
    model = DDGAN(SMALL)
    model.generator.net[1] = torch.nn.SiLU()  # without a weight of its own
    with pytest.raises(ValueError, match="the generator is not the one that the configuration"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("trained", [True, False])
def test_a_model_kept_for_training_comes_back_whole(trained, tmp_path):
    model = DDGAN(SMALL, step_weights=(3, 2, 1))
    settings = TrainSettings(steps=3, batch_size=8)
    list(train(model, gaussian_grid(), settings)) if trained else None
    path = model.save(tmp_path / "kept.safetensors", keep="training", seed=3)
    loaded = DDGAN.load(path, keep="training")
    for name in ("generator", "discriminator"):
        theirs = getattr(model, name).state_dict()
        for key, weight in getattr(loaded, name).state_dict().items():
            assert torch.equal(weight, theirs[key])
    assert torch.equal(loaded.step_weights, model.step_weights)
    both = (loaded, DDGAN.load(path))  # the same file is good for sampling
    for again in both:
        assert torch.equal(again.sample(5, rng=seeded()), model.sample(5, rng=seeded()))
    assert both[1].discriminator is None
    losses = [list(train(each, gaussian_grid(), settings)) for each in (loaded, model)]
    assert losses[0] == losses[1]  # both go on from the same place
    assert "| kept for training | " in card(path) and "| seed | 3 |" in card(path)

    other = DDGAN(SMALL)
    resume.begin_with(other, path)
    again = DDGAN.load(path, keep="training")
    for theirs, ours in zip(again.parameters(), other.parameters(), strict=True):
        assert torch.equal(theirs, ours)


def test_training_begins_with_the_average_of_a_file_for_sampling(tmp_path):
    """The discriminator stays as it was built, so it must have a head start."""
    path, other = DDGAN(SMALL).save(tmp_path / "model.safetensors"), DDGAN(SMALL)
    before = [weight.clone() for weight in other.discriminator.parameters()]
    with pytest.raises(CheckpointError, match="or head_start"):
        resume.begin_with(other, path)
    resume.begin_with(other, path, head_start=1)
    both = zip(DDGAN.load(path).parameters(), other.generator.parameters(), strict=True)
    assert all(torch.equal(theirs, ours) for theirs, ours in both)
    assert all(map(torch.equal, before, other.discriminator.parameters()))


def test_a_training_checkpoint_comes_back_for_training(tmp_path):
    model = DDGAN(SMALL, step_weights=(3, 2, 1))
    trainer = Trainer(model, gaussian_grid(), TrainSettings(steps=3, batch_size=8))
    next(iter(trainer))
    loaded = DDGAN.load(resume.save(trainer, tmp_path / "run.safetensors"), keep="training")
    assert torch.equal(loaded.step_weights, model.step_weights)
    for theirs, ours in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(theirs, ours)


def test_what_cannot_be_kept_or_loaded_for_training_is_refused(tmp_path):
    path = DDGAN(SMALL).save(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="without its discriminator: to go on training take"):
        DDGAN.load(path, keep="training")
    with pytest.raises(ValueError, match="has no discriminator that could be kept for training"):
        DDGAN.load(path).save(path, keep="training")
    for act in (DDGAN(SMALL).save, DDGAN.load):
        with pytest.raises(ValueError, match='keep must be "sampling" or "training", got \'all\''):
            act(path, keep="all")


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100, None])
def test_samples_come_in_batches_of_bounded_size(batch_size, monkeypatch):
    model, sizes = DDGAN(MLPConfig()), []
    original = model.sample_steps

    def recorded(n, **options):
        sizes.append(n)
        return original(n, **options)

    monkeypatch.setattr(model, "sample_steps", recorded)
    samples = model.sample(7, batch_size=batch_size, rng=torch.Generator().manual_seed(0))
    assert samples.shape == (7, 2)
    assert sum(sizes) == 7
    assert max(sizes) <= (batch_size or 7)
    assert len({tuple(row) for row in samples.tolist()}) == 7  # no batch repeats another


def test_large_images_are_drawn_a_few_at_a_time(monkeypatch):
    class Stub(DDGAN):
        def sample_steps(self, n, **_):
            sizes.append(n)
            yield torch.zeros(n, 1)

    sizes: list[int] = []
    model = Stub(MLPConfig(shape=(3, 256, 256), width=1, depth=2))
    model.sample(5)
    assert sizes == [2, 2, 1]
