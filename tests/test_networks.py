"""The small networks: shapes, what each input does, and what a bad configuration is told."""

import dataclasses

import pytest
import torch
from torch import nn

from ddgan_lite.diffusion import Diffusion
from ddgan_lite.model import DDGAN
from ddgan_lite.networks import CONFIGS, ConvConfig, MLPConfig, PyramidConfig
from ddgan_lite.networks.toy import OneHot, mlp

CASES = [
    MLPConfig(),
    MLPConfig(latent_dim=0),
    MLPConfig(num_steps=1),
    MLPConfig(shape=(3, 8, 8), num_steps=2, latent_dim=5, width=16, depth=2),
    ConvConfig(),
    ConvConfig(shape=(1, 6, 6), num_steps=1, latent_dim=0, width=3, hidden=7),
    ConvConfig(shape=(1, 12, 12), num_steps=2, latent_dim=5, width=2, hidden=7, levels=2),
    PyramidConfig(),
    PyramidConfig(shape=(3, 12, 12), num_steps=2, latent_dim=0, width=8, levels=1, hidden=7),
]


@pytest.mark.parametrize("config", CASES)
def test_networks_map_samples_to_samples_and_to_logits(config):
    x = torch.randn(6, *config.shape)
    t = torch.randint(1, config.num_steps + 1, (6,))
    assert config.build_generator()(x, t, torch.randn(6, config.latent_dim)).shape == x.shape
    assert config.build_discriminator()(x, x, t).shape == (6,)


def test_the_default_networks_have_the_size_of_the_tuned_recipe():
    def count(network):
        return sum(p.numel() for p in network.parameters())

    hidden = 2 * (48 * 48 + 48)
    assert count(MLPConfig().build_generator()) == (2 + 8 + 4) * 48 + 48 + hidden + 48 * 2 + 2
    assert count(MLPConfig().build_discriminator()) == (2 + 2 + 4) * 48 + 48 + hidden + 48 + 1


def test_depth_counts_linear_layers_and_the_last_is_bare():
    layers = list(mlp(3, 2, width=5, depth=4, slope=0.3))
    assert [type(layer) for layer in layers] == [nn.Linear, nn.LeakyReLU] * 3 + [nn.Linear]
    assert {layer.negative_slope for layer in layers[1::2]} == {0.3}
    assert layers[0].in_features == 3
    assert layers[-1].out_features == 2


def test_the_first_step_is_the_first_row():
    assert torch.equal(OneHot(3)(torch.tensor([1, 3, 2])), torch.eye(3)[[0, 2, 1]])


@pytest.mark.parametrize("config", [MLPConfig(), ConvConfig(), PyramidConfig()])
def test_every_input_matters(config):
    generator, discriminator = config.build_generator(), config.build_discriminator()
    x, other, z = (
        torch.randn(1, *size) for size in (config.shape, config.shape, [config.latent_dim])
    )
    first, second = torch.tensor([1]), torch.tensor([2])
    out = generator(x, first, z)
    for changed in (generator(other, first, z), generator(x, second, z), generator(x, first, -z)):
        assert not torch.equal(out, changed)
    logit = discriminator(x, other, first)
    for changed in (
        discriminator(other, x, first),
        discriminator(x, x, first),
        discriminator(x, other, second),
    ):
        assert not torch.equal(logit, changed)


@pytest.mark.parametrize("config", [MLPConfig(), ConvConfig(), PyramidConfig()])
def test_samples_of_a_batch_do_not_mix(config):
    x, z = torch.randn(5, *config.shape), torch.randn(5, config.latent_dim)
    t = torch.tensor([1, 2, 3, 4, 1])
    generator = config.build_generator()
    alone = torch.cat([generator(x[i : i + 1], t[i : i + 1], z[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(generator(x, t, z), alone)


@pytest.mark.parametrize("config", [ConvConfig(), PyramidConfig()])
def test_a_convolutional_generator_reaches_black_and_white_and_little_more(config):
    generator = config.build_generator()
    with torch.no_grad():
        generator.out.weight.mul_(100)
    x, z = torch.randn(64, *config.shape), torch.randn(64, config.latent_dim)
    drawn = generator(x, torch.ones(64, dtype=torch.long), z)
    assert 1 < drawn.abs().max() <= 1.05


def test_a_pyramid_names_its_noise_schedule():
    papers = DDGAN(PyramidConfig(width=8, beta_min=0.1, beta_max=20.0)).diffusion
    assert papers.alpha_bar.equal(Diffusion(4).alpha_bar)
    beta = DDGAN(PyramidConfig(width=8)).diffusion.beta[1:]
    torch.testing.assert_close(beta, beta[:1].expand(4))  # the same at every step
    with pytest.raises(ValueError, match=r"beta_max, got 9\.0 and 8\.0"):
        DDGAN(PyramidConfig(width=8, beta_min=9.0, beta_max=8.0))


@pytest.mark.parametrize(
    ("kind", "name"), [(MLPConfig, "mlp"), (ConvConfig, "conv"), (PyramidConfig, "pyramid")]
)
def test_a_configuration_survives_json_lists(kind, name):
    config = kind(shape=[3, 8, 8])
    assert config.shape == (3, 8, 8)
    assert config == kind(**dataclasses.asdict(config))
    assert CONFIGS[name] is kind


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        (MLPConfig, {"shape": ()}, r"shape must hold positive sizes, got \(\)"),
        (MLPConfig, {"shape": (3, 0)}, r"shape must hold positive sizes, got \(3, 0\)"),
        (MLPConfig, {"num_steps": 0}, "num_steps must be at least 1, got 0"),
        (MLPConfig, {"latent_dim": -1}, "latent_dim must be at least 0, got -1"),
        (MLPConfig, {"width": 0}, "width must be at least 1, got 0"),
        (MLPConfig, {"depth": 1}, "depth must be at least 2, got 1"),
        (
            ConvConfig,
            {"shape": (2,)},
            r"shape must be \(channels, size, size\), size a multiple",
        ),
        (ConvConfig, {"shape": (3, 8, 6)}, r"a multiple of 2, got \(3, 8, 6\)"),
        (ConvConfig, {"shape": (3, 7, 7)}, r"a multiple of 2, got \(3, 7, 7\)"),
        (ConvConfig, {"shape": (0, 8, 8)}, r"a multiple of 2, got \(0, 8, 8\)"),
        (ConvConfig, {"shape": (1, 6, 6), "levels": 2}, r"a multiple of 4, got \(1, 6, 6\)"),
        (ConvConfig, {"levels": 0}, "levels must be at least 1, got 0"),
        (ConvConfig, {"latent_dim": -1}, "latent_dim must be at least 0, got -1"),
        (ConvConfig, {"hidden": 0}, "hidden must be at least 1, got 0"),
        (PyramidConfig, {"shape": (1, 28, 28)}, r"a multiple of 8, got \(1, 28, 28\)"),
        (PyramidConfig, {"width": 12}, "width must be a multiple of 8, got 12"),
        (PyramidConfig, {"style": 0}, "style must be at least 1, got 0"),
    ],
)
def test_a_bad_configuration_is_refused(kind, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**arguments)
