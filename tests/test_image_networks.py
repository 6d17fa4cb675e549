"""The image networks: every layer against its formula written out, then the networks as a whole."""

import dataclasses
import math

import pytest
import torch
from scipy.signal import convolve2d
from torch.utils._python_dispatch import TorchDispatchMode

from ddgan_lite.method.objectives import discriminator_loss, generator_loss, r1_penalty
from ddgan_lite.networks import CONFIGS, UNetConfig
from ddgan_lite.networks.layers import (
    AdaGN,
    Attention,
    Blur,
    MinibatchStd,
    PixelNorm,
    Resample,
    TimeEmbedding,
    conv,
    group_count,
    join,
    linear,
)

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
KERNEL = torch.outer(TAPS, TAPS)

# Every resolution and layout a small run may use.
CASES = [
    UNetConfig(shape=(3, 8, 8), multipliers=(1, 2), attention_size=4),
    UNetConfig(shape=(1, 16, 16), multipliers=(1, 2, 2)),
    UNetConfig(shape=(1, 28, 28), multipliers=(1, 2, 2), attention_size=14),
    UNetConfig(shape=(3, 32, 32), multipliers=(1, 2, 2, 2), blocks=2),
    UNetConfig(shape=(3, 64, 64), multipliers=(1, 1, 2, 2), discriminator="large"),
]
CASES = [
    dataclasses.replace(
        case,
        latent_dim=5,
        width=8,
        blocks=min(case.blocks, 1 + (case.shape[-1] == 32)),
        style_dim=8,
        mapping_depth=1,
        discriminator_width=2,
        discriminator_time_dim=8,
    )
    for case in CASES
]
TINY = CASES[0]


@pytest.fixture(params=CASES, ids=lambda config: f"{config.shape[-1]}px")
def config(request):
    return request.param


def perturbed(network, scale=0.3):
    """The network with every weight moved, so that no layer is silent."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


def inputs(config, n=4):
    """x_t, t and z for the generator."""
    t = torch.arange(n) % config.num_steps + 1
    return torch.randn(n, *config.shape), t, torch.randn(n, config.latent_dim)


def per_map(function, x):
    """Apply a function of one (H, W) array to every map of x (n, C, H, W)."""
    maps = [torch.from_numpy(function(one.numpy())) for one in x.flatten(0, 1)]
    return torch.stack(maps).reshape(*x.shape[:2], *maps[0].shape)


# -- resampling ------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 6), (7, 8), (32, 32)])
def test_halving_is_a_blur_and_every_other_pixel(height, width):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    expected = per_map(lambda a: convolve2d(a, KERNEL, mode="valid")[::2, ::2], padded)
    torch.testing.assert_close(Resample("down").double()(x), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 6), (7, 8), (32, 32)])
def test_doubling_is_a_blur_of_pixels_set_apart_by_zeros(height, width):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    apart = torch.zeros(2, 3, 2 * height, 2 * width, dtype=torch.float64)
    apart[..., ::2, ::2] = x
    padded = torch.nn.functional.pad(apart, (2, 1, 2, 1))
    expected = per_map(lambda a: convolve2d(a, 4 * KERNEL, mode="valid"), padded)
    torch.testing.assert_close(Resample("up").double()(x), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 6), (7, 8)])
def test_the_blur_at_stride_one_grows_the_map_by_a_pixel(height, width):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    expected = per_map(lambda a: convolve2d(a, KERNEL, mode="valid"), padded)
    assert expected.shape[-2:] == (height + 1, width + 1)
    torch.testing.assert_close(Blur().double()(x), expected)


@pytest.mark.parametrize("layer", [Resample("up"), Resample("down"), Blur()])
def test_on_a_cpu_no_filter_runs_in_half_precision(layer):
    class Seen(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.types = set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "convolution" in str(func):
                self.types |= {a.dtype for a in args if isinstance(a, torch.Tensor)}
            return func(*args, **(kwargs or {}))

    x = torch.randn(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    with Seen() as seen:
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.sum().backward()
    assert seen.types == {torch.float32}  # forward and backward
    assert y.dtype == x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(y, layer(x.float()).to(torch.bfloat16), rtol=0, atol=0)


# -- normalisation, attention and the rest ---------------------------------------------------


def test_groups_have_four_channels_up_to_128_and_there_are_at_most_32():
    assert [group_count(channels) for channels in (4, 8, 16, 96, 128)] == [1, 2, 4, 24, 32]
    assert [group_count(channels) for channels in (256, 384, 512)] == [32, 32, 32]


def test_any_number_of_channels_splits_into_equal_groups_of_at_least_four():
    for channels in range(4, 300):
        groups = group_count(channels)
        assert channels % groups == 0
        assert groups == 1 or channels // groups >= 4


@pytest.mark.parametrize(("width", "multipliers"), [(6, (1, 3)), (68, (1, 1)), (36, (2, 1))])
def test_unusual_widths_work(width, multipliers):
    # Their skip connections add up to numbers of channels that 32 or a quarter do not divide.
    config = dataclasses.replace(TINY, width=width, multipliers=multipliers)
    assert config.build_generator()(*inputs(config)).shape == (4, *config.shape)


@pytest.mark.parametrize("channels", [4, 8, 24, 256])
def test_adaptive_group_norm_is_normalise_scale_and_shift(channels):
    layer = perturbed(AdaGN(channels, 6)).double()
    x = 3 * torch.randn(2, channels, 5, 4, dtype=torch.float64) + 1
    w = torch.randn(2, 6, dtype=torch.float64)
    groups = min(channels // 4, 32)
    expected = torch.empty_like(x)
    per_group = channels // groups
    for sample in range(2):
        style = layer.style.weight @ w[sample] + layer.style.bias
        for channel in range(channels):
            first = channel // per_group * per_group
            group = x[sample, first : first + per_group]
            scaled = (x[sample, channel] - group.mean()) / (group.var(correction=0) + 1e-6).sqrt()
            expected[sample, channel] = style[channel] * scaled + style[channels + channel]
    torch.testing.assert_close(layer(x, w), expected)


def test_adaptive_group_norm_starts_near_plain_group_norm():
    x = torch.randn(2, 8, 4, 4)
    plain = torch.nn.functional.group_norm(x, 2, eps=1e-6)
    torch.testing.assert_close(AdaGN(8, 6)(x, torch.zeros(2, 6)), plain)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (3, 5)])
def test_attention_is_softmax_of_scores_times_values(height, width):
    layer = perturbed(Attention(8)).double()
    x = torch.randn(2, 8, height, width, dtype=torch.float64)
    h = torch.nn.functional.group_norm(x, 2, layer.norm.weight, layer.norm.bias, eps=1e-6)
    pixels = h.flatten(2).transpose(1, 2)  # (n, H W, C)

    def through(part, rows):
        return rows @ part.weight[:, :, 0, 0].T + part.bias

    q, k, v = (through(part, pixels) for part in (layer.query, layer.key, layer.value))
    mixed = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(8), dim=2) @ v
    branch = through(layer.out, mixed).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), (x + branch) / math.sqrt(2))


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_attention_never_writes_down_the_table_of_all_pairs():
    side, layer = 64, perturbed(Attention(8))
    x = torch.randn(1, 8, side, side)
    with torch.no_grad(), Largest() as sampling:
        layer(x)
    assert sampling.elements < 10 * x.numel()
    with Largest() as training:
        layer(x).sum().backward()
    assert training.elements < 10 * x.numel()
    rows = x[:, :, :16].flatten(2).transpose(1, 2)
    with Largest() as written_out:  # or nothing would have been noticed above
        torch.softmax(rows @ rows.transpose(1, 2), dim=2)
    assert written_out.elements == (16 * side) ** 2


@pytest.mark.parametrize("size", [2, 4, 10, 128])
def test_the_time_embedding_counts_from_zero(size):
    t = torch.tensor([1, 2, 3, 4])
    half = size // 2
    expected = torch.empty(4, size)
    for row in range(4):
        for i in range(half):
            angle = row * math.exp(-math.log(10_000) * i / max(half - 1, 1))
            expected[row, i] = math.sin(angle)
            expected[row, half + i] = math.cos(angle)
    torch.testing.assert_close(TimeEmbedding(size)(t), expected)


def test_pixel_norm_gives_every_row_mean_square_one():
    z = torch.randn(5, 7) * torch.tensor([1e-2, 0.1, 1, 10, 100])[:, None]
    out = PixelNorm()(z)
    torch.testing.assert_close(out.square().mean(1), torch.ones(5), rtol=1e-3, atol=0)
    torch.testing.assert_close(out, z / z.square().mean(1, keepdim=True).sqrt(), rtol=1e-3, atol=0)
    assert PixelNorm()(torch.zeros(1, 4)).abs().max() == 0


def test_a_join_is_the_sum_over_the_root_of_two():
    a, b = torch.randn(2, 3, 4)
    torch.testing.assert_close(join(a.clone(), b.clone()), (a + b) / math.sqrt(2))
    kept = a.clone(), b.clone()
    join(*kept)
    assert torch.equal(kept[0], a)
    assert torch.equal(kept[1], b)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 12])
def test_the_minibatch_channel_is_the_spread_of_each_group(n):
    x = torch.randn(n, 3, 4, 5)
    out = MinibatchStd()(x)
    assert torch.equal(out[:, :3], x)
    size = min(n, 4)
    stride = n // size
    for first in range(stride):
        members = range(first, n, stride)
        spread = torch.zeros(3, 4, 5)
        for one in members:
            spread += (x[one] - sum(x[other] for other in members) / size) ** 2 / size
        expected = (spread + 1e-8).sqrt().mean()
        for one in members:
            torch.testing.assert_close(out[one, 3], expected.expand(4, 5))


@pytest.mark.parametrize("n", [5, 6, 7, 10])
def test_a_batch_that_does_not_split_into_groups_is_refused(n):
    sentence = rf"the batch of each process must be 1, 2, 3 or a multiple of 4, got {n}\."
    with pytest.raises(ValueError, match=sentence):
        MinibatchStd()(torch.zeros(n, 2, 4, 4))
    with pytest.raises(ValueError, match=sentence):
        MinibatchStd.check(n)
    x = torch.zeros(n, *TINY.shape)
    with pytest.raises(ValueError, match=sentence):
        TINY.build_discriminator()(x, x, torch.ones(n, dtype=torch.int64))


def test_initial_weights_have_variance_one_over_the_average_fan():
    for layer, fan_in, fan_out in ((conv(64, 32), 9 * 64, 9 * 32), (linear(300, 200), 300, 200)):
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.99 * bound
        assert layer.weight.var().item() == pytest.approx(bound**2 / 3, rel=0.05)
        assert layer.bias.abs().max() == 0
    quiet = conv(64, 64, 1, scale=0.1).weight
    assert quiet.var().item() == pytest.approx(0.1 / 64, rel=0.1)
    assert conv(4, 4, scale=0).weight.abs().max() == 0


# -- the networks at the start ---------------------------------------------------------------


def test_the_generator_starts_at_grey(config):
    out = config.build_generator()(*inputs(config))
    assert torch.equal(out, torch.zeros(4, *config.shape))


def test_the_small_discriminator_starts_undecided():
    x, t, _ = inputs(TINY, 8)
    discriminator = TINY.build_discriminator()
    real = torch.randn_like(x).requires_grad_()
    d_real, d_fake = discriminator(real, x, t), discriminator(torch.randn_like(x), x, t)
    assert torch.equal(d_real, torch.zeros(8))
    assert torch.equal(d_fake, torch.zeros(8))
    losses = discriminator_loss(d_real, d_fake) | generator_loss(d_fake)
    for loss in losses.values():
        assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    assert r1_penalty(d_real, real).item() == 0


def test_the_large_discriminator_starts_with_an_opinion():
    large = CASES[-1]
    x, t, _ = inputs(large)
    logits = large.build_discriminator()(torch.randn_like(x), x, t)
    assert logits.isfinite().all()
    assert (logits != 0).all()


# -- the networks as a whole -----------------------------------------------------------------


def test_every_weight_gets_a_gradient(config):
    x, t, z = inputs(config)
    generator = perturbed(config.build_generator(), 0.1)
    discriminator = perturbed(config.build_discriminator(), 0.1)
    out = generator(x, t, z)
    assert out.shape == x.shape
    assert out.abs().max() <= 1
    logits = discriminator(out, x, t)
    assert logits.shape == (4,)
    generator_loss(logits)["g_adversarial"].backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            # A constant added to all keys cancels in the softmax.
            assert parameter.grad.abs().max() > 0 or name.endswith("key.bias"), name


def test_every_input_of_the_generator_matters(config):
    x, t, z = inputs(config)
    generator = perturbed(config.build_generator(), 0.1)
    with torch.no_grad():
        out = generator(x, t, z)
        for changed in (
            generator(torch.randn_like(x), t, z),
            generator(x, t % config.num_steps + 1, z),
            generator(x, t, torch.randn_like(z)),
        ):
            assert ((out - changed).flatten(1).abs().amax(1) > 1e-4).all()


def test_every_input_of_the_discriminator_matters(config):
    x, t, _ = inputs(config)
    other = torch.randn_like(x)
    discriminator = perturbed(config.build_discriminator(), 0.1)
    with torch.no_grad():
        logits = discriminator(x, other, t)
        for changed in (
            discriminator(other, x, t),
            discriminator(x, x, t),
            discriminator(other, other, t),
            discriminator(x, other, t % config.num_steps + 1),
        ):
            assert ((logits - changed).abs() > 1e-6).all()


def test_only_the_direction_of_the_latent_matters():
    x, t, z = inputs(TINY)
    generator = perturbed(TINY.build_generator(), 0.1)
    torch.testing.assert_close(generator(x, t, 5 * z), generator(x, t, z))


def test_samples_of_a_batch_do_not_mix_in_the_generator(config):
    x, t, z = inputs(config)
    generator = perturbed(config.build_generator(), 0.1)
    with torch.no_grad():
        alone = [generator(x[i : i + 1], t[i : i + 1], z[i : i + 1]) for i in range(4)]
        torch.testing.assert_close(generator(x, t, z), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_image_over_and_over_is_told_from_a_varied_one():
    x, _, _ = inputs(TINY)
    t = torch.ones(4, dtype=torch.int64)
    discriminator = perturbed(TINY.build_discriminator(), 0.1)
    same = x[:1].expand(4, -1, -1, -1)
    alone, repeated = discriminator(x[:1], x[:1], t[:1]), discriminator(same, same, t)
    torch.testing.assert_close(repeated, alone.expand(4))
    assert (discriminator(x, x, t)[0] - alone).abs() > 1e-5


# -- gradients -------------------------------------------------------------------------------


def assert_slope(function, point, gradient, step, **tolerance):
    """The gradient along random directions, against the function on both sides of the point."""
    for _ in range(3):
        way = torch.randn_like(point)
        rise = function(point + step * way) - function(point - step * way)
        torch.testing.assert_close(rise / (2 * step), (gradient * way).sum(), **tolerance)


def test_gradients_of_the_generator_by_finite_differences():
    generator = perturbed(TINY.build_generator(), 0.1).double()
    x, t, z = inputs(TINY)
    x, z = x.double().requires_grad_(), z.double().requires_grad_()
    probe = torch.randn_like(x)

    def value(x, z):
        return (probe * generator(x, t, z)).sum()

    to_x, to_z = torch.autograd.grad(value(x, z), (x, z))
    with torch.no_grad():
        assert_slope(lambda x: value(x, z), x, to_x, 1e-5, rtol=1e-6, atol=1e-7)
        assert_slope(lambda z: value(x, z), z, to_z, 1e-5, rtol=1e-6, atol=1e-7)


@pytest.fixture
def discriminator_and_input():
    """In float64, on one sample: the spread within a group has a test of its own below."""
    x_prev, x_t = torch.randn(2, 1, *TINY.shape, dtype=torch.float64)
    return perturbed(TINY.build_discriminator()).double(), x_prev.requires_grad_(), x_t


@pytest.mark.parametrize("t", [1, 3])
def test_gradients_of_the_discriminator_by_finite_differences(discriminator_and_input, t):
    discriminator, real, x_t = discriminator_and_input
    steps = torch.tensor([t])
    (gradient,) = torch.autograd.grad(discriminator(real, x_t, steps).sum(), real)
    with torch.no_grad():
        assert_slope(
            lambda x: discriminator(x, x_t, steps).sum(), real, gradient, 1e-6, rtol=1e-6, atol=1e-7
        )


@pytest.mark.parametrize("name", ["stem.weight", "blocks.1.conv_in.weight", "tail.weight"])
def test_r1_can_be_trained_through_the_discriminator(discriminator_and_input, name):
    # A gradient of a gradient: every layer has to be differentiable twice.
    discriminator, real, x_t = discriminator_and_input
    weight = discriminator.get_parameter(name)

    def penalty(value):
        inputs = real, x_t, torch.tensor([2])
        return r1_penalty(torch.func.functional_call(discriminator, {name: value}, inputs), real)

    (gradient,) = torch.autograd.grad(penalty(weight), weight)
    assert_slope(penalty, weight.detach(), gradient, 1e-6, rtol=1e-5, atol=1e-7)


def test_the_minibatch_channel_can_be_differentiated_twice():
    x = torch.randn(4, 3, 2, 2).requires_grad_()
    probe = torch.randn_like(x)

    def value(x):
        return MinibatchStd()(x)[:, 3].sum()

    def along_probe(x):
        (gradient,) = torch.autograd.grad(value(x), x, create_graph=True)
        return (gradient * probe).sum()

    (once,) = torch.autograd.grad(value(x), x)
    assert_slope(value, x.detach(), once, 1e-2, rtol=1e-2, atol=1e-2)
    (twice,) = torch.autograd.grad(along_probe(x), x)
    shifted = [x.detach() + step for step in (1e-2 * probe, -1e-2 * probe)]
    rise = [torch.autograd.grad(value(y.requires_grad_()), y)[0] for y in shifted]
    torch.testing.assert_close((rise[0] - rise[1]) / 2e-2, twice, rtol=1e-2, atol=1e-2)


def test_a_group_of_equal_samples_has_finite_gradients():
    x = torch.randn(1, 3, 2, 2).repeat(4, 1, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(MinibatchStd()(x)[:, 3].sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert gradient.isfinite().all()
    assert second.isfinite().all()


# -- configurations --------------------------------------------------------------------------


def test_a_configuration_survives_json_lists():
    config = UNetConfig(shape=[3, 32, 32], multipliers=[1, 2, 2, 2])
    assert config == UNetConfig()
    assert config == UNetConfig(**dataclasses.asdict(config))
    assert hash(config) == hash(UNetConfig())
    assert CONFIGS["unet"] is UNetConfig


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"shape": (32, 32)}, r"shape must be of type tuple\[int, int, int\], got \(32, 32\)"),
        ({"shape": (3, 32, 16)}, r"shape must be \(channels, size, size\), got \(3, 32, 16\)"),
        ({"shape": (0, 32, 32)}, r"shape must be \(channels, size, size\), got \(0, 32, 32\)"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"latent_dim": 0}, "latent_dim must be at least 1, got 0"),
        ({"blocks": 0}, "blocks must be at least 1, got 0"),
        ({"style_dim": 0}, "style_dim must be at least 1, got 0"),
        ({"discriminator_width": 0}, "discriminator_width must be at least 1, got 0"),
        ({"width": 2}, "width must be even and at least 4, got 2"),
        ({"width": 33}, "width must be even and at least 4, got 33"),
        ({"discriminator_time_dim": 3}, "discriminator_time_dim must be even and at least 4"),
        ({"mapping_depth": -1}, "mapping_depth must be at least 0, got -1"),
        ({"multipliers": ()}, r"multipliers must be positive numbers, got \(\)"),
        ({"multipliers": (1, 0)}, r"multipliers must be positive numbers, got \(1, 0\)"),
        ({"discriminator": "huge"}, "discriminator must be one of small, large, got 'huge'"),
        ({"shape": (3, 36, 36)}, "images of 36 pixels do not fit: 4 levels need a multiple of 8"),
        ({"shape": (3, 4, 4), "multipliers": (1,)}, "small discriminator at least 8 pixels"),
        ({"discriminator": "large"}, "the large discriminator at least 64 pixels"),
    ],
)
def test_a_bad_configuration_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        UNetConfig(**arguments)
