"""The small networks: shapes, what each input does, and what a bad configuration is told."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import CONFIGS, ConvConfig, MLPConfig, PyramidConfig, UNetConfig
from ddgan_lite.networks.toy import mlp, preconditioning

CASES = [
    MLPConfig(),
    MLPConfig(latent_dim=0),
    MLPConfig(num_steps=1),
    MLPConfig(shape=(3, 8, 8), num_steps=2, latent_dim=5, width=16, depth=2),
    ConvConfig(),
    ConvConfig(shape=(1, 6, 6), num_steps=1, latent_dim=0, width=3, hidden=7),
    ConvConfig(shape=(1, 12, 12), num_steps=2, latent_dim=5, width=2, hidden=7, levels=2),
    MLPConfig(shape=(5,), num_steps=2, frequencies=(1.0, 3.0), data_std=0.5),
    PyramidConfig(),
    PyramidConfig(shape=(3, 12, 12), num_steps=2, latent_dim=0, width=8, levels=1, hidden=7),
    PyramidConfig(shape=(1, 16, 16), width=8, blocks=2, data_std=0.5),
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


@pytest.mark.parametrize(
    "config", [MLPConfig(), ConvConfig(), PyramidConfig(), PyramidConfig(blocks=1)]
)
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


@pytest.mark.parametrize(
    ("config", "most"),
    [(ConvConfig(), 1.05), (PyramidConfig(), 1), (PyramidConfig(data_std=0.5), 1)],
)
def test_a_convolutional_generator_reaches_black_and_white_and_little_more(config, most):
    generator = config.build_generator()
    with torch.no_grad():
        generator.out.weight.mul_(100)
    x, z = torch.randn(64, *config.shape), torch.randn(64, config.latent_dim)
    drawn = generator(x, torch.ones(64, dtype=torch.long), z)
    assert drawn.min() <= -1 and drawn.max() >= 1 and drawn.abs().max() <= most


def test_a_pyramid_squashes_a_correction_of_the_linear_guess(rng):
    """With no more than that, what it says of x_t is its own share of x_t, squashed."""
    generator = PyramidConfig(width=8, data_std=0.5, noise_levels=(1, 2, 3, 4)).build_generator()
    with torch.no_grad():
        generator.out.weight.zero_(), generator.out.bias.zero_()
    x, t = torch.randn(4, 1, 32, 32, generator=rng), torch.arange(1, 5)
    share = (1 / (1 + t.double() ** 2))[:, None, None, None]
    slope = 0.25 * share.sqrt() / (0.25 * share + 1 - share)
    expected = (1.05 * (slope * x).tanh()).clamp(-1, 1).float()
    torch.testing.assert_close(generator(x, t, torch.zeros(4, 32)), expected)


def test_a_discriminator_of_marginals_is_not_shown_x_t(rng):
    x_prev, *others = torch.randn(3, 5, 1, 32, 32, generator=rng)
    t = torch.full((5,), 2)
    for marginal in (True, False):
        judge = PyramidConfig(width=8, marginal=marginal).build_discriminator()
        one, two = (judge(x_prev, x_t, t) for x_t in others)
        assert torch.equal(one, two) == marginal
        assert not torch.equal(judge(x_prev, x_prev, t), judge(others[0], x_prev, t))


def test_a_discriminator_that_names_the_class_adds_a_log_probability(rng):
    """Over all labels what it adds to the verdict makes one; a hidden label adds nothing."""
    config = PyramidConfig(width=8, classes=4, classifier_steps=4)
    judge, x = config.build_discriminator(), torch.randn(5, 1, 32, 32, generator=rng)
    t = torch.tensor([1, 2, 3, 4, 1])
    verdict = judge(x, x, t)
    added = [judge(x, x, t, torch.full((5,), y)) - verdict for y in range(5)]
    torch.testing.assert_close(sum(each.exp() for each in added[:4]), torch.ones(5))
    assert torch.equal(added[4], torch.zeros(5))
    with pytest.raises(ValueError, match="classifier_steps needs classes"):
        PyramidConfig(classifier_steps=4)


def test_a_discriminator_names_the_class_at_its_steps_and_is_told_it_at_the_others(rng):
    config = PyramidConfig(width=8, classes=4, classifier_steps=2)
    judge, x = config.build_discriminator(), torch.randn(4, 1, 32, 32, generator=rng)
    t = torch.tensor([1, 2, 3, 4])
    one, other = (judge.parts(x, x, t, torch.full((4,), y)) for y in (0, 1))
    assert ((one[0] == other[0]) == (t <= 2)).all()  # the verdict
    assert ((one[1] == 0) == (t > 2)).all()  # the log-probability


SMALL_UNET = UNetConfig(shape=(1, 8, 8), width=8, multipliers=(1,), attention_size=0)
EVERY_KIND = [MLPConfig(), ConvConfig(width=8), PyramidConfig(width=8), SMALL_UNET]


def test_a_pyramid_loses_the_same_share_at_every_step():
    beta = DDGAN(PyramidConfig(width=8)).diffusion.beta[1:]
    torch.testing.assert_close(beta, beta[:1].expand(4))


@pytest.mark.parametrize("config", EVERY_KIND, ids=lambda config: type(config).__name__)
def test_every_configuration_names_its_chain(config):
    by_rates = dataclasses.replace(config, beta_min=0.2, beta_max=10.0)
    assert DDGAN(by_rates).diffusion == Diffusion(4, beta_min=0.2, beta_max=10.0)
    by_levels = dataclasses.replace(config, noise_levels=[0.5, 1, 3, 9])  # as JSON brings them
    assert DDGAN(by_levels).diffusion == Diffusion(4, noise_levels=(0.5, 1, 3, 9))
    with pytest.raises(ValueError, match=r"beta_max, got 9\.0 and 8\.0"):
        dataclasses.replace(config, beta_min=9.0, beta_max=8.0)
    with pytest.raises(ValueError, match="one positive number for each of the 2 steps"):
        dataclasses.replace(by_levels, num_steps=2)
    with pytest.raises(ValueError, match="noise_levels are given, so beta_max cannot be: not both"):
        dataclasses.replace(by_levels, beta_max=10.0)


@pytest.mark.parametrize("config", EVERY_KIND, ids=lambda config: type(config).__name__)
def test_a_model_finds_its_chain_in_its_file(config, tmp_path):
    model = DDGAN(dataclasses.replace(config, noise_levels=(0.5, 1.0, 3.0, 9.0)))
    loaded = DDGAN.load(model.save(tmp_path / "model.safetensors"))
    assert loaded.config == model.config and loaded.diffusion == model.diffusion
    assert loaded.diffusion.alpha_bar.equal(model.diffusion.alpha_bar)


# -- waves and correction --------------------------------------------------------------------


def test_the_correction_starts_from_the_best_linear_guess(rng):
    """Least squares over many (x_0, x_t) finds its slope and its error."""
    data_std, alpha_bar = 1.7, torch.tensor([0.9, 0.3, 0.01], dtype=torch.float64)
    skip, out, scale = preconditioning(alpha_bar, data_std)
    x_0 = data_std * torch.randn(400_000, 1, generator=rng, dtype=torch.float64)
    noise = torch.randn(x_0.shape, generator=rng, dtype=torch.float64)
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
    slope = (x_0 * x_t).mean(0) / x_t.square().mean(0)
    torch.testing.assert_close(skip, slope, rtol=0.02, atol=0.005)
    torch.testing.assert_close(out, (x_0 - skip * x_t).std(0), rtol=0.01, atol=0)
    torch.testing.assert_close((scale * x_t).std(0), torch.ones(3).double(), rtol=0.01, atol=0)


def test_without_a_data_std_the_network_is_the_guess():
    for table, value in zip(preconditioning(torch.rand(5), None), (0, 1, 1), strict=True):
        assert (table == value).all()


def test_a_corrected_generator_is_the_formula(rng):
    config = MLPConfig(shape=(3,), data_std=1.3, frequencies=(1.0, 2.5), noise_levels=(1, 2, 3, 4))
    generator = config.build_generator()
    x, z = torch.randn(4, 3, generator=rng), torch.randn(4, 8, generator=rng)
    t = torch.arange(1, 5)
    share = torch.tensor([1 / (1 + level**2) for level in config.noise_levels]).unsqueeze(1)
    variance = 1.3**2 * share + 1 - share
    seen = x / variance.sqrt()
    waves = [seen, seen.sin(), (2.5 * seen).sin(), seen.cos(), (2.5 * seen).cos()]
    answer = generator.net(torch.cat([*waves, z, torch.eye(4)], 1))
    expected = 1.3**2 * share.sqrt() / variance * x
    expected = expected + 1.3 * ((1 - share) / variance).sqrt() * answer
    torch.testing.assert_close(generator(x, t, z), expected)


def test_a_plain_network_is_what_it_was():
    """Files from before waves and correction existed load as they were, bit for bit."""
    config = MLPConfig()
    generator, x, z = config.build_generator(), torch.randn(6, 2), torch.randn(6, 8)
    t = torch.tensor([1, 2, 3, 4, 1, 2])
    plain = generator.net(torch.cat([x, z, torch.eye(4)[t - 1]], 1))
    assert torch.equal(generator(x, t, z), plain)
    assert generator.state_dict().keys() == {f"net.{k}.{p}" for k in (0, 2, 4, 6)
                                             for p in ("weight", "bias")}  # fmt: skip


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
        (MLPConfig, {"frequencies": (1, 0)}, r"frequencies must be positive numbers, got \(1, 0\)"),
        (MLPConfig, {"frequencies": (math.nan,)}, r"frequencies must be of type tuple\[float"),
        (MLPConfig, {"data_std": 0.0}, "data_std must be a positive number, got 0"),
        (MLPConfig, {"data_std": math.inf}, "data_std must be of type float or None, got inf"),
        (ConvConfig, {"shape": (2,)}, r"shape must be of type tuple\[int, int, int\], got \(2,\)"),
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


@pytest.mark.parametrize("config", EVERY_KIND, ids=lambda config: type(config).__name__)
def test_every_field_has_a_type_and_a_bound(config):
    """One sentence, at once, whatever a file says; what passes can be described in shapes."""
    odd = [
        None,
        True,
        -1,
        2**31,
        2**64,
        -(10**30),
        1e308,
        math.nan,
        "x" * 999,
        [],
        ["a"],
        [2**64] * 3,
    ]
    for field in dataclasses.fields(config):
        refused = 0
        for value in odd:
            try:
                changed = dataclasses.replace(config, **{field.name: value})
                with torch.device("meta"):
                    changed.build_generator(), changed.build_discriminator()
            except ValueError as error:
                refused += 1
                assert str(error).isprintable() and len(str(error)) < 300
        assert refused >= 9, field.name


def test_sizes_within_bounds_are_bounded_together():
    with pytest.raises(ValueError, match=r"attention over 512 x 512 pixels is too much, 128 x 128"):
        UNetConfig(shape=(3, 1024, 1024), multipliers=(1, 2))
    with pytest.raises(
        ValueError, match="shape may hold sides of up to 1024 and 16,777,216 numbers"
    ):
        MLPConfig(shape=(1024, 1024, 1024))
    with pytest.raises(ValueError, match="too small for the numbers of a computer"):
        MLPConfig(num_steps=2, noise_levels=(1e-200, 1.0))
