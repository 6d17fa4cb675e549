"""The variants of chapter 05: each changes what it says, and nothing else."""

from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import torch

from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.presets import PRESETS
from ddgan_lite.training.settings import TrainSettings
from ddgan_lite.training.trainer import Trainer

CHAPTER = Path(__file__).resolve().parent.parent / "notebooks" / "05_ablations.ipynb"


@pytest.fixture(scope="module")
def chapter():
    """The definitions of the chapter, without its experiments."""
    space = {}
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        if "live = {}" in cell.source:
            return space
        if cell.cell_type == "code" and "find_spec" not in cell.source:
            exec(cell.source, space)
    raise AssertionError("the chapter's live experiment was not found")


@pytest.fixture
def points():
    return torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


def build(chapter, name):
    make, changes = chapter["variants"][name]
    torch.manual_seed(0)
    return make(), changes


def test_the_rule_for_t_gives_the_preset_at_four_steps(chapter):
    assert tuple(chapter["step_weights"](4)) == PRESETS["gaussians"].step_weights
    assert chapter["ddgan"]().config == PRESETS["gaussians"].config
    for num_steps in (1, 2, 8):
        assert len(chapter["step_weights"](num_steps)) == num_steps


def test_every_variant_trains_and_samples_and_only_r1_off_goes_without_it(chapter):
    for name in chapter["variants"]:
        model, changes = build(chapter, name)
        settings = TrainSettings(steps=2, batch_size=16, **changes)
        first, _ = Trainer(model, chapter["data"], settings)
        assert ("r1" in first) == (name != "R1 off")
        samples = model.sample(10, rng=torch.Generator().manual_seed(0))
        assert samples.shape == (10, 2) and torch.isfinite(samples).all(), name


def test_noise_generation_inverts_the_noising(chapter, points):
    """With the true noise in place of the network's, the guess is the clean sample."""
    model, _ = build(chapter, "noise generation")
    model = model.double()
    x_0, noise = points.double(), torch.randn(64, 2).double()
    for t in range(1, 5):
        alpha_bar = model.diffusion.alpha_bar[t]
        x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
        model.generator.forward = lambda *inputs: noise
        guess = model.predict(x_t, torch.full((64,), t))
        assert torch.allclose(guess, x_0, rtol=1e-9, atol=1e-9)


def test_direct_denoising_takes_the_network_at_its_word(chapter, points):
    model, _ = build(chapter, "direct denoising")
    t, z = torch.full((64,), 3), torch.zeros(64, 8)
    fake = model.fake_like(points, (points, t), torch.Generator().manual_seed(1))
    drawn = model.draw_latent(64, torch.Generator().manual_seed(1))
    assert torch.equal(fake, model.generator(points, t, drawn))
    assert not torch.equal(fake, model.generator(points, t, z))
    # The real pairs are those of the full model.
    ours = model.diffusion.q_sample_pair(points, t, torch.Generator().manual_seed(2))
    full = chapter["ddgan"]().diffusion
    theirs = full.q_sample_pair(points, t, torch.Generator().manual_seed(2))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_with_one_step_direct_denoising_is_the_ordinary_model(chapter):
    samples = []
    for make, changes in (
        (chapter["direct_denoising"], {}),
        (chapter["ddgan"], {"data_std": None}),
    ):
        torch.manual_seed(0)
        samples.append(make(1, **changes).sample(32, rng=torch.Generator().manual_seed(3)))
    assert torch.equal(*samples)


@pytest.mark.parametrize("hidden", ["x_t", "t"])
def test_a_blind_discriminator_ignores_just_one_input(chapter, points, hidden):
    judge = chapter["blind"](hidden).discriminator
    inputs = {"x_prev": points, "x_t": points.flip(0), "t": torch.arange(64) % 4 + 1}
    others = {"x_prev": points + 1, "x_t": points + 2, "t": inputs["t"].flip(0)}
    for name, other in others.items():
        same = torch.equal(judge(**inputs), judge(**{**inputs, name: other}))
        assert same == (name == hidden)


def test_the_augmented_gan_noises_real_and_generated_samples_alike(chapter, points):
    model, _ = build(chapter, "one shot, noise as augmentation")
    n, mode = 20_000, torch.tensor([1.0, -2.0])
    model.generator.forward = lambda z: mode.expand(len(z), 2)  # it has collapsed
    real, (x_t, t) = model.real_pair(mode.expand(n, 2), torch.Generator().manual_seed(4))
    fake = model.fake_like(real, (x_t, t), torch.Generator().manual_seed(5))
    for step in range(1, 5):
        alpha_bar = model.chain.diffusion.alpha_bar[step - 1]
        for x in (real[t == step], fake[t == step]):
            assert torch.allclose(x.mean(0), (alpha_bar.sqrt() * mode).float(), atol=0.06)
            assert torch.allclose(x.var(0), (1 - alpha_bar).float().expand(2), atol=0.06)


def test_the_augmented_gan_samples_without_noise(chapter):
    model, _ = build(chapter, "one shot, noise as augmentation")
    z = torch.randn(16, 8, generator=torch.Generator().manual_seed(6))
    assert torch.equal(
        model.sample(16, rng=torch.Generator().manual_seed(6)), model.generator(z).detach()
    )


def test_every_variant_samples(chapter):
    for name in chapter["variants"]:
        model, _ = build(chapter, name)
        assert model.sample(3).shape == (3, 2)


def test_the_full_model_is_the_preset(chapter):
    model, changes = build(chapter, "full model")
    assert type(model) is DDGAN and changes == {}
    assert chapter["recipe"] == replace(PRESETS["gaussians"].settings, steps=3_000)
