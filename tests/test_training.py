"""The training loop: its gradients redone by hand, its promises, and that it learns."""

import dataclasses
import itertools
import math

import pytest
import tiny
import torch

from ddgan_lite.baselines.gan import GAN
from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.data.toys import StackedDigits, gaussian_grid
from ddgan_lite.evaluation.metrics import sliced_wasserstein
from ddgan_lite.method.model import DDGAN
from ddgan_lite.method.objectives import (
    discriminator_loss,
    generator_loss,
    r1_penalty,
    reconstruction_loss,
    relativistic_loss,
)
from ddgan_lite.networks import MLPConfig, PyramidConfig
from ddgan_lite.training import trainer as training
from ddgan_lite.training.trainer import Trainer, TrainSettings, train

TINY = MLPConfig(num_steps=3, latent_dim=4, width=16, depth=3)


class Fixed:
    """Data that are the same tensor every time."""

    def __init__(self, samples):
        self.samples = samples

    def sample(self, n, rng=None):
        return self.samples

    def sample_labelled(self, n, rng=None):
        return self.samples, None


def settings(steps=1, **changes):
    """Every value that a test relies on, so that tuning the defaults breaks none."""
    fixed = {"batch_size": 16, "r1": 0.2, "r1_interval": 1, "fresh_fake": False}
    return TrainSettings(steps=steps, **(fixed | changes))


def new_model(kind=DDGAN):
    torch.manual_seed(0)
    return kind(TINY)


def weights_of(model):
    return [p.clone() for p in (*model.generator.parameters(), *model.discriminator.parameters())]


def gradients(network):
    return [p.grad.clone() for p in network.parameters()]


# -- what a step does ------------------------------------------------------------------------


@pytest.mark.parametrize("fresh_fake", [False, True])
def test_the_first_step_has_the_gradients_of_the_formulas(fresh_fake):
    recipe = settings(r1=0.7, fresh_fake=fresh_fake)
    model, by_hand = new_model(), new_model()
    (losses,) = train(model, gaussian_grid(), recipe)

    rng = torch.Generator().manual_seed(recipe.seed)
    x_0 = gaussian_grid().sample(16, rng).float()
    real, (x_t, t) = by_hand.real_pair(x_0, rng)
    fake = by_hand.fake_like(real, (x_t, t), rng)
    real.requires_grad_()
    logits = by_hand.discriminator(real, x_t, t)
    terms = discriminator_loss(logits, by_hand.discriminator(fake.detach(), x_t, t))
    terms["r1"] = r1_penalty(logits, real)
    (terms["d_real"] + terms["d_fake"] + 0.7 / 2 * terms["r1"]).backward()
    for ours, expected in zip(
        gradients(model.discriminator), gradients(by_hand.discriminator), strict=True
    ):
        torch.testing.assert_close(ours, expected)

    # The generator answers to the discriminator that has already moved.
    by_hand.discriminator.load_state_dict(model.discriminator.state_dict())
    if fresh_fake:
        real, (x_t, t) = by_hand.real_pair(x_0, rng)
        fake = by_hand.fake_like(real, (x_t, t), rng)
    terms |= generator_loss(by_hand.discriminator(fake, x_t, t))
    terms["g_adversarial"].backward()
    for ours, expected in zip(
        gradients(model.generator), gradients(by_hand.generator), strict=True
    ):
        torch.testing.assert_close(ours, expected)
    assert losses == pytest.approx({name: term.item() for name, term in terms.items()}, rel=1e-5)


@pytest.mark.parametrize("fresh_fake", [False, True])
def test_the_first_relativistic_step_has_the_gradients_of_the_formulas(fresh_fake):
    recipe = settings(r1=0.7, r2=0.3, relativistic=True, fresh_fake=fresh_fake)
    model, by_hand = new_model(), new_model()
    (losses,) = train(model, gaussian_grid(), recipe)

    rng = torch.Generator().manual_seed(recipe.seed)
    x_0 = gaussian_grid().sample(16, rng).float()
    real, condition = by_hand.real_pair(x_0, rng)
    fake = by_hand.fake_like(real, condition, rng)
    real.requires_grad_()
    judged = fake.detach().requires_grad_()
    logits, fake_logits = (by_hand.discriminator(x, *condition) for x in (real, judged))
    terms = {
        "d_relativistic": relativistic_loss(logits, fake_logits),
        "r1": r1_penalty(logits, real),
        "r2": r1_penalty(fake_logits, judged),
    }
    (terms["d_relativistic"] + 0.35 * terms["r1"] + 0.15 * terms["r2"]).backward()
    for ours, expected in zip(
        gradients(model.discriminator), gradients(by_hand.discriminator), strict=True
    ):
        torch.testing.assert_close(ours, expected)

    by_hand.discriminator.load_state_dict(model.discriminator.state_dict())
    if fresh_fake:
        real, condition = by_hand.real_pair(x_0, rng)
        fake = by_hand.fake_like(real, condition, rng)
    logits, fake_logits = (by_hand.discriminator(x, *condition) for x in (real, fake))
    terms["g_relativistic"] = relativistic_loss(fake_logits, logits.detach())
    terms["g_relativistic"].backward()
    for ours, expected in zip(
        gradients(model.generator), gradients(by_hand.generator), strict=True
    ):
        torch.testing.assert_close(ours, expected)
    assert losses == pytest.approx({name: term.item() for name, term in terms.items()}, rel=1e-5)


@pytest.mark.parametrize("fresh_fake", [False, True])
def test_the_reconstruction_term_adds_its_gradient_and_nothing_else(fresh_fake):
    recipe = settings(reconstruction=3.0, fresh_fake=fresh_fake)
    model, without, by_hand = new_model(), new_model(), new_model()
    (losses,) = train(model, gaussian_grid(), recipe)
    (plain,) = train(without, gaussian_grid(), settings(fresh_fake=fresh_fake))
    assert losses == plain | {"g_reconstruction": losses["g_reconstruction"]}

    rng = torch.Generator().manual_seed(recipe.seed)
    x_0 = gaussian_grid().sample(16, rng).float()
    for _ in range(1 + fresh_fake):
        _, (x_t, t) = by_hand.real_pair(x_0, rng)
        guess = by_hand.predict(x_t, t, rng=rng)
        by_hand.diffusion.posterior_sample(guess, x_t, t, rng)
    alpha_bar = by_hand.diffusion.alpha_bar.float()[t]
    (term,) = reconstruction_loss(guess, x_0, alpha_bar).values()
    assert losses["g_reconstruction"] == pytest.approx(term.item(), rel=1e-6)
    (3 * term).backward()
    for ours, adversarial, extra in zip(
        gradients(model.generator), gradients(without.generator), gradients(by_hand.generator),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(ours, adversarial + extra)


def test_a_gan_has_nothing_to_reconstruct():
    with pytest.raises(ValueError, match="reconstruction needs a model that guesses x_0 from x_t"):
        next(train(new_model(GAN), gaussian_grid(), settings(reconstruction=1.0)))


@pytest.mark.parametrize("weights", [{"r1": 0.0}, {"r1": 0.0, "r2": 0.5}, {"r1": 0.5}])
def test_a_penalty_of_no_weight_is_not_computed(weights):
    (losses,) = train(new_model(), gaussian_grid(), settings(**weights))
    assert {"r1", "r2"} & set(losses) == {name for name, weight in weights.items() if weight > 0}


def test_a_step_moves_every_weight():
    model = new_model()
    before = weights_of(model)
    list(train(model, gaussian_grid(), settings(steps=3, batch_size=256)))
    assert all(not torch.equal(a, b) for a, b in zip(before, weights_of(model), strict=True))


@pytest.mark.parametrize(("fresh_fake", "expected"), [(True, [False, True]), (False, [True])])
def test_only_a_fake_that_trains_the_generator_carries_gradients(fresh_fake, expected, monkeypatch):
    model, carried = new_model(), []
    original = model.fake_like

    def recorded(*arguments):
        fake = original(*arguments)
        carried.append(fake.requires_grad)
        return fake

    monkeypatch.setattr(model, "fake_like", recorded)
    list(train(model, gaussian_grid(), settings(fresh_fake=fresh_fake)))
    assert carried == expected


def test_neither_update_leaves_a_gradient_in_the_other_network(monkeypatch):
    model, seen = new_model(), {}
    original = training.generator_loss

    def between_the_updates(logits):
        seen["generator"] = [p.grad for p in model.generator.parameters()]
        seen["discriminator"] = gradients(model.discriminator)
        return original(logits)

    monkeypatch.setattr(training, "generator_loss", between_the_updates)
    for fresh_fake in (True, False):
        model.zero_grad()
        list(train(model, gaussian_grid(), settings(fresh_fake=fresh_fake)))
        assert all(gradient is None for gradient in seen["generator"])
        for before, after in zip(
            seen["discriminator"], gradients(model.discriminator), strict=True
        ):
            assert torch.equal(before, after)


def test_the_optimisers_are_those_of_the_settings(monkeypatch):
    made, original = [], torch.optim.Adam

    def recorded(*arguments, **options):
        made.append(original(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(torch.optim, "Adam", recorded)
    model = new_model()
    recipe = settings(4, lr_generator=0.01, lr_discriminator=0.002, betas=(0.1, 0.8), lr_end=1e-4)
    rates = [[o.param_groups[0]["lr"] for o in made] for _ in train(model, gaussian_grid(), recipe)]
    for optimiser, network in zip(made, (model.generator, model.discriminator), strict=True):
        assert optimiser.param_groups[0]["betas"] == (0.1, 0.8)
        assert {id(p) for p in optimiser.param_groups[0]["params"]} == {
            id(p) for p in network.parameters()
        }
    # Half a cosine from the start to lr_end: after half the steps it is half way.
    assert rates[1] == pytest.approx([0.0101 / 2, 0.0021 / 2])
    assert rates[3] == pytest.approx([1e-4, 1e-4])


# -- speed that must not change what is learnt -----------------------------------------------


def small_unet():
    return tiny.model(tiny.UNET)


def image_settings(**changes):
    fixed = {"batch_size": 4, "fresh_fake": True, "r1": 0.5, "betas": (0.5, 0.9)}
    return settings(**(fixed | changes))


def test_r1_stays_in_float32_under_mixed_precision():
    model, types = small_unet(), []
    model.discriminator.stem.register_forward_hook(lambda *call: types.append(call[2].dtype))
    (losses,) = train(model, tiny.images(), image_settings(mixed_precision="bf16"))
    # Real, fake, real again for the penalty, and the generator's fake.
    assert types == [torch.bfloat16, torch.bfloat16, torch.float32, torch.bfloat16]
    (plain,) = train(small_unet(), tiny.images(), image_settings(mixed_precision="no"))
    assert losses["r1"] == pytest.approx(plain["r1"], rel=1e-5)
    assert losses["d_real"] == pytest.approx(plain["d_real"], rel=1e-2)


def test_r1_goes_around_the_compiled_networks(monkeypatch):
    model, compiled, eager = small_unet(), [], []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(module))
    forward = model.discriminator.forward
    calls = []

    def through_call(*inputs):  # what a compiled network would replace
        calls.append(inputs[0].requires_grad)
        return forward(*inputs)

    def directly(*inputs):
        eager.append(inputs[0].requires_grad)
        return forward(*inputs)

    model.discriminator.__dict__["forward"] = directly
    monkeypatch.setattr(
        type(model.discriminator), "__call__", lambda self, *inputs: through_call(*inputs)
    )
    list(train(model, tiny.images(), image_settings(compile=True)))
    assert compiled == [model.generator, model.discriminator]
    assert eager == [True]  # the penalty alone, and it alone differentiates its input
    assert calls == [False, False, True]  # real, fake, and the fake that trains the generator


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_layout_of_the_memory_changes_nothing(channels_last):
    model = small_unet()
    list(train(model, tiny.images(), image_settings(steps=2, channels_last=channels_last)))
    weight = model.generator.stem.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    if channels_last:
        plain = small_unet()
        list(train(plain, tiny.images(), image_settings(steps=2, channels_last=False)))
        torch.testing.assert_close(
            model.discriminator.logit.weight, plain.discriminator.logit.weight, atol=1e-5, rtol=1e-3
        )


# -- what the caller sees --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DDGAN, GAN])
@pytest.mark.parametrize("fresh_fake", [False, True])
def test_every_step_yields_named_finite_losses(kind, fresh_fake):
    history = list(train(new_model(kind), gaussian_grid(), settings(5, fresh_fake=fresh_fake)))
    assert len(history) == 5
    for losses in history:
        assert set(losses) == {"d_real", "d_fake", "r1", "g_adversarial"}
        assert all(isinstance(v, float) and math.isfinite(v) for v in losses.values())


@pytest.mark.parametrize(
    ("r1", "interval", "steps_with_r1"),
    [(0.05, 1, [0, 1, 2, 3, 4, 5, 6]), (0.05, 3, [0, 3, 6]), (0.0, 1, [])],
)
def test_r1_comes_at_its_interval(r1, interval, steps_with_r1):
    recipe = settings(7, r1=r1, r1_interval=interval)
    history = list(train(new_model(), gaussian_grid(), recipe))
    assert [step for step, losses in enumerate(history) if "r1" in losses] == steps_with_r1


@pytest.mark.parametrize("kind", [DDGAN, GAN])
def test_one_seed_gives_the_same_weights_bit_for_bit(kind):
    def run(seed):
        model = new_model(kind)
        list(train(model, gaussian_grid(), settings(6, seed=seed)))
        return torch.cat([w.flatten() for w in weights_of(model)])

    first = run(1)
    torch.rand(3)  # the global generator must have no say
    assert torch.equal(first, run(1))
    assert not torch.equal(first, run(2))


def test_nothing_happens_until_the_loop_is_driven_and_it_can_stop_anywhere():
    model = new_model()
    before = weights_of(model)
    steps = train(model, gaussian_grid(), settings(100))
    assert model.averaged is None
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(model), strict=True))
    for _ in range(3):
        next(steps)
    steps.close()
    assert model.averaged.updates == 3
    assert model.sample(4).shape == (4, 2)


def test_the_average_follows_the_generator():
    model = new_model()
    steps = train(model, gaussian_grid(), settings(2, ema_decay=0.75))
    next(steps)
    first = [p.clone() for p in model.generator.parameters()]
    next(steps)
    for average, a, b in zip(
        model.averaged.module.parameters(), first, model.generator.parameters(), strict=True
    ):
        torch.testing.assert_close(average, 0.75 * a + 0.25 * b)


def test_training_leaves_the_data_as_they_are():
    samples = torch.randn(16, 2)
    before = samples.clone()
    list(train(new_model(GAN), Fixed(samples), settings(2)))
    assert torch.equal(samples, before)
    assert not samples.requires_grad


def test_images_train_through_the_same_loop():
    model = DDGAN(MLPConfig(shape=(3, 8, 8), num_steps=2, latent_dim=3, width=16, depth=2))
    history = list(train(model, StackedDigits(), settings(2)))
    assert len(history) == 2
    assert model.sample(3).shape == (3, 3, 8, 8)


# -- what it learns --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DDGAN, GAN])
def test_a_short_run_gets_close_to_an_easy_distribution(kind):
    data = GaussianMixture(torch.tensor([[1.5, -1.0]]), 0.3)
    model = kind(MLPConfig(num_steps=2, latent_dim=4, width=32, depth=3))
    true = data.sample(2000, torch.Generator().manual_seed(7))

    def distance():
        return sliced_wasserstein(model.sample(2000, rng=torch.Generator().manual_seed(8)), true)

    before = distance()
    rates = {"lr_generator": 3e-3, "lr_discriminator": 3e-3, "betas": (0.0, 0.99)}
    for _ in train(model, data, settings(300, batch_size=128, ema_decay=0.98, **rates)):
        pass
    assert before > 0.8  # over five seeds: 1.17 to 1.44 before, 0.04 to 0.13 after
    assert distance() < 0.25


# -- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_are_not_finite_are_refused_before_any_update(value):
    model = new_model()
    before = weights_of(model)
    samples = torch.zeros(16, 2)
    samples[3, 1] = value
    with pytest.raises(ValueError, match="the training data hold values that are not finite"):
        next(train(model, Fixed(samples), settings()))
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(model), strict=True))


def test_a_diverging_run_stops_and_says_at_which_step():
    with pytest.raises(FloatingPointError, match=r"no longer finite at step \d+: .*Try a smaller"):
        list(train(new_model(), gaussian_grid(), settings(20, lr_discriminator=1e25)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"r1_interval": 0}, "r1_interval must be at least 1, got 0"),
        ({"lr_generator": 0.0}, "lr_generator must be positive, got 0.0"),
        ({"lr_discriminator": -1.0}, "lr_discriminator must be positive, got -1.0"),
        ({"lr_generator": math.nan}, "lr_generator must be positive, got nan"),
        ({"r1": -0.1}, "r1 must not be negative, got -0.1"),
        ({"r1": math.nan}, "r1 must not be negative, got nan"),
        ({"ema_decay": 1.0}, r"ema_decay must lie in \[0, 1\), got 1.0"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"accumulate": 2}, "accumulate needs fresh_fake=True"),
        ({"workers": -1}, "workers must not be negative, got -1"),
        ({"mixed_precision": "fp8"}, "mixed_precision must be one of no, bf16, fp16, got 'fp8'"),
    ],
)
def test_bad_settings_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        TrainSettings(**changes)


def test_r1_fades_by_the_same_factor_in_every_step():
    fading = TrainSettings(steps=10, r1=0.3, r1_end=0.003)
    strengths = [fading.r1_at(step) for step in range(11)]
    assert strengths[0] == 0.3 and strengths[-1] == pytest.approx(0.003)
    factors = {round(b / a, 9) for a, b in itertools.pairwise(strengths)}
    assert len(factors) == 1
    assert TrainSettings(r1=0.3).r1_at(5) == 0.3


def test_training_penalises_with_the_faded_strength():
    """The second update of a fading run is that of a run whose strength was the faded one."""
    fading = TrainSettings(steps=2, batch_size=8, r1=0.4, r1_end=0.1, r1_interval=1)
    by_hand = dataclasses.replace(fading, r1_end=None)
    weights = []
    for settings in (fading, by_hand):
        torch.manual_seed(0)
        trainer = Trainer(DDGAN(MLPConfig(width=8)), gaussian_grid(), settings)
        for _ in trainer:
            if settings is by_hand:
                trainer.settings = dataclasses.replace(settings, r1=fading.r1_at(trainer.step))
        weights.append(torch.cat([w.flatten() for w in trainer.model.discriminator.parameters()]))
    assert torch.equal(*weights)
    assert fading.r1_at(1) == pytest.approx(0.2)


@pytest.mark.parametrize("r1_end", [0.0, -0.1, 0.5, float("nan")])
def test_an_r1_that_does_not_fade_is_refused(r1_end):
    with pytest.raises(ValueError, match=r"r1_end must lie above 0, up to r1 = 0\.3, got"):
        TrainSettings(r1=0.3, r1_end=r1_end)


# -- a denoiser first ------------------------------------------------------------------------


def test_the_generator_first_learns_to_denoise_alone():
    settings = TrainSettings(steps=12, denoiser_steps=8, batch_size=64, lr_denoiser=1e-2)
    trainer = Trainer(tiny.model(tiny.MLP), gaussian_grid(), settings)
    before = tiny.networks(trainer)
    losses = list(trainer)
    assert [set(step) for step in losses[:8]] == [{"g_denoising"}] * 8
    assert all("g_denoising" not in step and "d_real" in step for step in losses[8:])
    again = Trainer(tiny.model(tiny.MLP), gaussian_grid(), settings)
    for _, _ in zip(range(8), again, strict=False):
        pass
    now = tiny.networks(again)
    moved = {name for name in before if not torch.equal(before[name], now[name])}
    assert any(name.startswith("generator") for name in moved)
    assert not any(name.startswith("discriminator") for name in moved)


def test_the_denoiser_finds_the_mean_of_the_clean_samples():
    """Of Gaussian data E[x_0 | x_t] is known, and linear in x_t."""

    class Gaussian:
        def sample(self, n, rng=None):
            return 2 * torch.randn(n, 2, generator=rng)

    torch.manual_seed(0)
    model = DDGAN(MLPConfig(latent_dim=0, width=64))
    settings = TrainSettings(
        steps=1_501, denoiser_steps=1_500, batch_size=256, lr_denoiser=1e-2, lr_generator=1e-5
    )
    for _ in zip(range(1_500), Trainer(model, Gaussian(), settings), strict=False):
        pass
    x, keep = torch.randn(2_000, 2), model.diffusion.alpha_bar.float()
    for t in (1, 2, 3):
        spread = (4 * keep[t] + 1 - keep[t]).sqrt()
        truth = 4 * keep[t].sqrt() / spread * x
        guess = model.predict(spread * x, torch.full((2_000,), t), None)
        assert (guess - truth).square().mean() < 0.05 * truth.square().mean() + 0.02


def test_the_discriminator_may_have_a_head_start():
    settings = TrainSettings(steps=9, denoiser_steps=3, head_start=4, batch_size=64)
    trainer, run = Trainer(tiny.model(tiny.MLP), gaussian_grid(), settings), []
    before = tiny.networks(trainer)
    for losses in trainer:
        now = tiny.networks(trainer)
        moved = {name for name in now if not torch.equal(now[name], before[name])}
        run.append((moved, set(losses) - {"r1"}))
        before = now
    both = {"generator", "averaged"}
    judged = {"d_real", "d_fake"}
    assert run[:3] == [(both, {"g_denoising"})] * 3
    assert run[3:7] == [({"discriminator"}, judged)] * 4
    assert run[7:] == [(both | {"discriminator"}, judged | {"g_adversarial"})] * 2
    ends = [optimiser.param_groups[0]["lr"] for optimiser in trainer.optimisers]
    assert ends == pytest.approx([settings.lr_end] * 2)


def test_a_discriminator_that_names_the_class_learns_it_beside_the_game():
    """From true samples, whose label says how bright they are; a hidden label teaches nothing."""
    config = PyramidConfig(
        shape=(1, 8, 8), levels=1, width=8, hidden=16, style=16, classes=2, classifier_steps=4
    )
    y = torch.arange(32) % 2
    x_0 = (y - 0.5)[:, None, None, None].expand(-1, 1, 8, 8).clone()
    few = {"batch_size": 32, "head_start": 120, "lr_discriminator": 3e-3, "relativistic": True}
    for drop, learned in ((0, True), (1 - 2**-30, False)):
        torch.manual_seed(0)
        trainer = Trainer(DDGAN(config), Fixed(x_0), settings(120, label_drop=drop, **few))
        losses = [trainer.advance(x_0, y)["d_classes"] for _ in range(120)]
        _, evidence = trainer.model.discriminator.parts(x_0, x_0, torch.ones(32).long(), y)
        if learned:  # of 12 seeds and two instruction sets none was below 0.96
            assert losses[0] == pytest.approx(math.log(2), abs=0.2)
            assert evidence.exp().min() > 0.9
        else:
            assert losses == [0] * 120


def test_the_rates_may_end_apart():
    settings = TrainSettings(steps=6, batch_size=8, lr_end=1e-5, lr_end_discriminator=3e-4)
    trainer = Trainer(tiny.model(tiny.MLP), gaussian_grid(), settings)
    list(trainer)
    ends = [optimiser.param_groups[0]["lr"] for optimiser in trainer.optimisers]
    assert ends == pytest.approx([1e-5, 3e-4])
    with pytest.raises(ValueError, match="lr_end_discriminator must not be negative, got -1"):
        TrainSettings(lr_end_discriminator=-1)


def test_a_denoiser_first_wants_a_chain_and_its_steps():
    with pytest.raises(ValueError, match="together at most the 5 steps, got 5 and 1"):
        TrainSettings(steps=5, denoiser_steps=5, head_start=1)
    with pytest.raises(ValueError, match="at least 0 and together at most the 5 steps, got 2 and"):
        TrainSettings(steps=5, denoiser_steps=2, head_start=-1)
    with pytest.raises(ValueError, match="denoiser_steps needs a model that guesses x_0 from x_t"):
        Trainer(GAN(MLPConfig()), gaussian_grid(), TrainSettings(denoiser_steps=1))


def test_a_run_of_denoising_alone_leaves_the_discriminator_as_it_was():
    settings = TrainSettings(steps=5, denoiser_steps=5, batch_size=8)
    trainer = Trainer(tiny.model(tiny.MLP), gaussian_grid(), settings)
    before = [weight.clone() for weight in trainer.model.discriminator.parameters()]
    losses = list(trainer)
    assert [set(line) for line in losses] == [{"g_denoising"}] * 5
    after = trainer.model.discriminator.parameters()
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_a_pair_that_shares_its_noise_differs_in_x_0_alone(monkeypatch):
    """And its fake has the law of every fake: the posterior around the guess."""
    settings = TrainSettings(batch_size=4_096, steps=1, relativistic=True, shared_noise=True)
    trainer = Trainer(DDGAN(MLPConfig()), gaussian_grid(), settings)
    model, x_0 = trainer.model, gaussian_grid().sample(4_096).float()
    chain, t = model.diffusion, torch.arange(4_096) % 4 + 1
    x_prev, x_t = chain.q_sample_pair(x_0, t)
    monkeypatch.setattr(model, "predict", lambda *_, **__: 3 + 0 * x_0)
    fake, guess = trainer._fake(x_prev, (x_t, t), x_0)
    for step in (1, 2, 3, 4):
        here = t == step
        mean, variance = chain.posterior(guess, x_t, t)
        noise = (fake - mean)[here]
        own = (x_prev - chain.posterior(x_0, x_t, t)[0])[here]
        assert torch.allclose(noise, own, atol=1e-5)  # the same noise
        sigma = variance[here].mean().sqrt()
        assert (noise.mean(0).abs() <= 4.5 * sigma / 32 + 1e-5).all()
        assert (noise.std(0) / sigma.clamp(min=1e-9) - 1).abs().max() < 0.12 or step == 1
