"""Equality with the published code: stored numbers, parameter counts and checkpoint files.

``tests/data`` holds what the published code computed from random weights, under its own names.
"""

import collections
import json
import pickle
import re
from argparse import Namespace
from pathlib import Path

import pytest
import tiny
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.exchange.reference import load_reference_checkpoint
from ddgan_lite.files.checkpoints import CheckpointError
from ddgan_lite.method.model import DDGAN
from ddgan_lite.method.objectives import discriminator_loss, generator_loss, r1_penalty
from ddgan_lite.networks import UNetConfig
from ddgan_lite.networks.discriminator import ImageDiscriminator

DATA = Path(__file__).parent / "data"
HIGH = {"shape": (3, 256, 256), "width": 64, "multipliers": (1, 1, 2, 2, 4, 4), "mapping_depth": 3}


def close(ours, theirs):
    """Equal to 2e-5 of the largest value: float32 sums in another order."""
    error = (ours.detach() - theirs).abs().max() / theirs.abs().max()
    assert ours.shape == theirs.shape
    assert error < 2e-5, f"off by {error:.1e}"


def discriminator_names(discriminator):
    """The published name of every tensor of our discriminator: published -> ours."""
    parts = {
        "time.1": "t_embed.main.0",
        "time.3": "t_embed.main.2",
        "stem": "start_conv",
        "tail": "final_conv",
        "logit": "end_linear",
    }
    pieces = {"conv_in": "conv1.0", "conv_out": "conv2.0", "time": "dense_t1", "shortcut": "skip.0"}
    names = {}
    for ours in discriminator.state_dict():
        part, end = ours.rsplit(".", 1)
        if part.startswith("blocks."):
            _, index, piece = part.split(".")
            names[f"conv{int(index) + 1}.{pieces[piece]}.{end}"] = ours
        else:
            names[f"{parts[part]}.{end}"] = ours
    return names


Published = collections.namedtuple("Published", "options generator discriminator io config")


@pytest.fixture(scope="module", params=["cifar10_narrow", "highres_narrow"])
def published(request):
    """What one of the stored files holds, and our configuration of the same networks."""
    groups = {"G": {}, "D": {}, "io": {}}
    with safe_open(DATA / f"{request.param}.safetensors", "pt") as file:
        options = {name: json.loads(value) for name, value in file.metadata().items()}
        for name in file.keys():  # noqa: SIM118
            group, rest = name.split(".", 1)
            tensor = file.get_tensor(name)
            groups[group][rest] = tensor.float() if tensor.is_floating_point() else tensor
    config = UNetConfig(
        shape=(options["num_channels"], options["image_size"], options["image_size"]),
        num_steps=options["num_timesteps"],
        latent_dim=options["nz"],
        width=options["num_channels_dae"],
        multipliers=options["ch_mult"],
        blocks=options["num_res_blocks"],
        attention_size=options["attn_resolutions"][0],
        style_dim=options["z_emb_dim"],
        mapping_depth=options["n_mlp"],
        discriminator=options["discriminator"],
        discriminator_width=options["ngf"],
        discriminator_time_dim=options["t_emb_dim"],
    )
    return Published(options, groups["G"], groups["D"], groups["io"], config)


@pytest.fixture(scope="module")
def model(published, tmp_path_factory):
    """Our model with the stored weights in both networks."""
    path = tmp_path_factory.mktemp("published") / "netG_0.pth"
    torch.save({f"module.{name}": tensor for name, tensor in published.generator.items()}, path)
    loaded = load_reference_checkpoint(
        path, published.config.num_steps, image_size=published.config.shape[-1]
    )
    loaded.discriminator = published.config.build_discriminator()
    names = discriminator_names(loaded.discriminator)
    loaded.discriminator.load_state_dict({names[k]: v for k, v in published.discriminator.items()})
    return loaded


# -- numbers ---------------------------------------------------------------------------------


def test_the_generator_draws_the_same_images(published, model):
    io = published.io
    close(model.predict(io["x_tp1"], io["t"] + 1, io["z"]), io["generator_out"])


def test_the_chain_makes_the_same_steps(published, model, monkeypatch):
    io = published.io
    draws = iter([io["noise_q"], io["noise_step"], io["noise_posterior"]])
    monkeypatch.setattr(torch, "randn", lambda *_, **__: next(draws))
    x_prev, x_t = model.diffusion.q_sample_pair(io["x_0"], io["t"] + 1)
    close(x_prev, io["x_t"])
    close(x_t, io["x_tp1"])
    step = io["generator_out"], io["x_tp1"], io["t"] + 1
    close(model.diffusion.posterior(*step)[0], io["posterior_mean"])
    close(model.diffusion.posterior_sample(*step), io["x_prev_sample"])
    assert next(draws, None) is None


def test_the_discriminator_gives_the_same_logits_slopes_and_losses(published, model):
    io = published.io
    real = io["x_t"].clone().requires_grad_()
    d_real = model.discriminator(real, io["x_tp1"], io["t"] + 1)
    d_fake = model.discriminator(io["x_prev_sample"], io["x_tp1"], io["t"] + 1)
    close(d_real, io["d_real"])
    close(d_fake, io["d_fake"])

    (slope,) = torch.autograd.grad(d_real.sum(), real, retain_graph=True)
    close(slope.flatten(1).square().sum(1), io["r1_grad_sq_norm"])
    close(r1_penalty(d_real, real), io["r1_grad_sq_norm"].mean())

    losses = discriminator_loss(d_real, d_fake) | generator_loss(d_fake)
    close(losses["d_real"], io["loss_d_real"])
    close(losses["d_fake"], io["loss_d_fake"])
    close(losses["g_adversarial"], io["loss_g"])


def test_one_whole_denoising_step_gives_the_same_fakes_and_loss(published, model, monkeypatch):
    io = published.io
    draws = iter([io["z"], io["noise_posterior"]])
    monkeypatch.setattr(torch, "randn", lambda *_, **__: next(draws))
    condition = io["x_tp1"], io["t"] + 1
    fake = model.fake_like(io["x_t"], condition)
    close(fake, io["x_prev_sample"])
    logits = model.discriminator(fake, *condition)
    close(generator_loss(logits)["g_adversarial"], io["loss_g"])


def test_t_counts_from_one_in_this_library_and_from_zero_there(published, model):
    io = published.io
    early = model.predict(io["x_tp1"], io["t"], io["z"])
    assert ((early - io["generator_out"]).flatten(1).abs().amax(1) > 1e-3).all()


# -- parameter counts ------------------------------------------------------------------------


def count(build):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters())


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 48_432_515),
        ({"mapping_depth": 3}, 48_366_723),
        ({"latent_dim": 256, "style_dim": 512, "mapping_depth": 3}, 56_927_363),
        ({"width": 32}, 4_786_211),
        ({"width": 64}, 14_309_187),
        ({"width": 96}, 28_857_955),
        (HIGH, 39_726_979),
    ],
)
def test_generators_have_the_published_number_of_parameters(arguments, parameters):
    assert count(UNetConfig(**arguments).build_generator) == parameters


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 12_741_633),
        ({"discriminator_time_dim": 128}, 12_462_849),
        ({"discriminator_width": 32}, 3_376_897),
        ({"discriminator_width": 16}, 989_313),
        ({**HIGH, "discriminator": "large"}, 27_737_217),
    ],
)
def test_discriminators_have_the_published_number_of_parameters(arguments, parameters):
    assert count(UNetConfig(**arguments).build_discriminator) == parameters


# -- checkpoint files ------------------------------------------------------------------------


@pytest.fixture
def narrow_discriminator(monkeypatch):
    """The loader describes the published discriminator; building it takes longer than loading."""
    monkeypatch.setattr(
        UNetConfig,
        "build_discriminator",
        lambda self: ImageDiscriminator(3, 1, 4, [(1, False)], silent_start=True),
    )


def layout(level=1, multipliers=(1, 2, 2, 2), **changes):
    """A tiny generator of the given layout, attention at 16 pixels on the given level."""
    size = 16 << level
    return UNetConfig(
        **{
            "shape": (3, size, size),
            "multipliers": multipliers,
            "latent_dim": 3,
            "width": 4,
            "blocks": 1,
            "style_dim": 6,
            "mapping_depth": 1,
            "discriminator": "large" if size >= 128 else "small",
            **changes,
        }
    )


def perturbed(config):
    """A generator in which no weight is 0, so that no layer can hide."""
    generator = config.build_generator()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return generator


LAYOUTS = [
    layout(0, (1,)),
    layout(0, (3,), blocks=3),
    *[layout(level) for level in range(4)],
    *[layout(level, (1, 1, 2, 2, 4, 4)) for level in range(1, 6)],
    *[layout(blocks=blocks) for blocks in (2, 3)],
    layout(2, (1, 1, 2, 2, 4, 4), blocks=3),
    *[layout(mapping_depth=depth) for depth in (0, 2, 3, 4)],
    layout(1, (2, 1, 3)),
    layout(1, (1, 2), width=12, latent_dim=1, style_dim=1),
    layout(1, (1, 2), shape=(1, 32, 32)),
    layout(1, (1, 2), num_steps=2),
]


@pytest.mark.usefixtures("narrow_discriminator")
@pytest.mark.parametrize("config", LAYOUTS)
def test_the_architecture_and_the_weights_come_back(config, tmp_path):
    generator = perturbed(config)
    torch.save(tiny.published(generator), tmp_path / "netG_1200.pth")
    model = load_reference_checkpoint(tmp_path / "netG_1200.pth", config.num_steps)
    assert model.config == config
    wanted, loaded = generator.state_dict(), model.generator.state_dict()
    assert wanted.keys() == loaded.keys()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in wanted.items())


@pytest.mark.usefixtures("narrow_discriminator")
@pytest.mark.parametrize("size", [32, 64])
def test_without_attention_the_image_size_must_be_given(size, tmp_path):
    config = layout(multipliers=(1, 2, 2), shape=(3, size, size), attention_size=0)
    path = tmp_path / "netG_5.pth"
    torch.save(tiny.published(perturbed(config)), path)
    with pytest.raises(CheckpointError, match=r"no level has attention .* give image_size"):
        load_reference_checkpoint(path)
    assert load_reference_checkpoint(path, 4, image_size=size).config == config


@pytest.mark.usefixtures("narrow_discriminator")
def test_a_given_image_size_moves_the_attention(tmp_path):
    config = layout(2, shape=(3, 32, 32), attention_size=8)
    path = tmp_path / "netG_5.pth"
    torch.save(tiny.published(perturbed(config)), path)
    assert load_reference_checkpoint(path, 4, image_size=32).config == config
    assert load_reference_checkpoint(path, 4).config.shape == (3, 64, 64)


@pytest.mark.usefixtures("narrow_discriminator")
@pytest.mark.parametrize("config", [layout(), layout(2, (1, 1, 2, 2, 4, 4), num_steps=2)])
def test_a_loaded_generator_computes_the_same_and_is_ready_to_sample(config, tmp_path, rng):
    generator = perturbed(config)
    torch.save(tiny.published(generator, prefix=""), tmp_path / "netG.pth")
    model = load_reference_checkpoint(tmp_path / "netG.pth", config.num_steps)
    x, z = torch.randn(2, *config.shape), torch.randn(2, 3)
    t = torch.tensor([1, config.num_steps])
    with torch.no_grad():
        assert torch.equal(model.predict(x, t, z), generator(x, t, z))

    assert model.discriminator is None
    assert model.averaged is None
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    sample = model.sample(2, rng=rng)
    path = model.save(tmp_path / "model.safetensors", source="netG.pth")
    again = DDGAN.load(path).sample(2, rng=torch.Generator().manual_seed(0))
    assert torch.equal(sample, again)


@pytest.mark.usefixtures("narrow_discriminator")
def test_names_parameters_and_halves_may_be_dressed_differently(tmp_path):
    generator = perturbed(layout()).half().float()
    named = tiny.published(generator)
    for number, state in enumerate(
        [
            collections.OrderedDict(named),
            {name: torch.nn.Parameter(tensor) for name, tensor in named.items()},
            {name: tensor.half() for name, tensor in named.items()},
            {name: tensor.double() for name, tensor in named.items()},
            dict(reversed(named.items())),
        ]
    ):
        torch.save(state, tmp_path / f"{number}.pth")
        loaded = load_reference_checkpoint(tmp_path / f"{number}.pth", 4).generator.state_dict()
        for name, tensor in generator.state_dict().items():
            assert torch.equal(loaded[name], tensor)
            assert loaded[name].dtype == torch.float32
    torch.save(named, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_reference_checkpoint(tmp_path / "old.pth", 4).config == layout()


# -- files that are refused ------------------------------------------------------------------


def assert_refused(path, sentence, **arguments):
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_reference_checkpoint(path, **arguments)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")


@pytest.fixture(scope="module")
def good():
    """The published state dict of a tiny generator."""
    return tiny.published(perturbed(layout(multipliers=(1, 2))))


@pytest.fixture
def save(tmp_path):
    """Write an object as a torch file."""

    def write(state):
        torch.save(state, tmp_path / "netG_7.pth")
        return tmp_path / "netG_7.pth"

    return write


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no checkpoint file at "):
            load_reference_checkpoint(path)


def test_code_in_a_file_is_refused_and_not_executed(good, save, tmp_path):
    trap = tiny.Trap(tmp_path / "sprung")
    pickle.loads(pickle.dumps(trap)).close()  # the trap works
    assert trap.path.exists()
    trap.path.unlink()

    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(trap, protocol=2))
    assert_refused(plain, "is not a whole torch file of tensors alone")
    for state in (trap, {"weights": trap}, {**good, "module.trap": trap}):
        assert_refused(save(state), "is not a whole torch file of tensors alone")
        torch.save(state, plain, _use_new_zipfile_serialization=False)
        assert_refused(plain, "is not a whole torch file of tensors alone")
    assert not trap.path.exists()


def test_a_refusal_does_not_say_how_to_switch_the_protection_off(save):
    path = save({"options": Namespace(lr=1e-4)})
    with pytest.raises(CheckpointError) as caught:
        load_reference_checkpoint(path)
    error = caught.value
    while error is not None:
        assert "weights_only" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("data", [b"", b"\0", b"no torch file", b"PK\3\4" + bytes(99), bytes(999)])
def test_bytes_that_are_no_torch_file_are_refused(data, tmp_path):
    (tmp_path / "netG.pth").write_bytes(data)
    assert_refused(tmp_path / "netG.pth", "is not a whole torch file of tensors alone")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [10, 0.2, 0.6, 0.99, -1])
def test_a_truncated_file_is_refused(good, keep, zipped, tmp_path):
    path = tmp_path / "netG.pth"
    torch.save(good, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    assert_refused(path, "is not a whole torch file of tensors alone")


def test_a_safetensors_file_is_refused(good, tmp_path):
    save_file({name: tensor.contiguous() for name, tensor in good.items()}, tmp_path / "a.pth")
    assert_refused(tmp_path / "a.pth", r"is a safetensors file\. One of .* only the torch file")


def test_the_file_of_a_whole_run_is_refused(good, save):
    resume = {"epoch": 7, "generator": good, "optimizer": {"state": {}}}
    for state in (resume, {**resume, "options": Namespace(lr=1e-4)}):
        assert_refused(save(state), "is the authors' file for resuming a run .* netG_<epoch>.pth")


@pytest.mark.parametrize(
    "state",
    [
        torch.zeros(3),
        [torch.zeros(3)],
        "text",
        None,
        {0: torch.zeros(3)},
        {"all_modules.0.weight": [1.0, 2.0]},
        {"all_modules.0.weight": torch.zeros(3, dtype=torch.int64)},
        {"all_modules.0.weight": torch.zeros(3, dtype=torch.complex64)},
    ],
)
def test_anything_but_named_float_tensors_is_refused(state, save):
    assert_refused(save(state), "holds other things than named float tensors")


def test_a_discriminator_is_refused(save):
    discriminator = layout(discriminator_width=2).build_discriminator()
    ours = discriminator.state_dict()
    names = discriminator_names(discriminator)
    state = {f"module.{theirs}": ours[name] for theirs, name in names.items()}
    assert_refused(save(state), r"it holds another network: .* these with module\.")


def test_state_dicts_of_other_networks_are_refused(save):
    counted = torch.nn.BatchNorm2d(3).state_dict()  # as in a ResNet: one number of it is whole
    for state in ({}, layout().build_generator().state_dict(), counted):
        assert_refused(save(state), "it holds another network: the names of a published generator")


@pytest.mark.usefixtures("narrow_discriminator")
@pytest.mark.parametrize(
    "name",
    [
        "z_transform.1.weight",
        "z_transform.1.bias",
        "all_modules.2.bias",
        "all_modules.3.Conv_0.bias",
        "all_modules.4.Conv_2.weight",
        "all_modules.5.Conv2d_0.bias",
        "all_modules.7.NIN_0.b",
        "all_modules.7.NIN_3.W",
        "all_modules.17.weight",
    ],
)
def test_every_tensor_must_be_there_in_its_shape_and_finite(name, good, save):
    key = f"module.{name}"
    without = {other: tensor for other, tensor in good.items() if other != key}
    assert_refused(save(without), "it has no tensor |it has a surplus tensor | give image_size")
    for wrong in (good[key][:-1].clone(), good[key][None], torch.tensor(1.0)):
        assert_refused(save({**good, key: wrong}), r" is \(.*, not \(|surplus|must be")
    for value in (float("nan"), -float("inf"), 1e300):
        broken = good[key].double().clone()
        broken.view(-1)[-1] = value
        assert_refused(save({**good, key: broken}), f"{name} holds values that are not finite")


def test_a_wrong_shape_is_named_with_the_right_one(good, save):
    for name, wrong, right in (
        ("all_modules.7.NIN_0.W", r"\(8, 9\)", r"\(8, 8\)"),
        ("all_modules.3.Dense_0.weight", r"\(4, 15\)", r"\(4, 16\)"),
    ):
        sizes = [int(number) for number in re.findall(r"\d+", wrong)]
        state = {**good, f"module.{name}": torch.zeros(sizes)}
        assert_refused(save(state), rf"{re.escape(name)} is {wrong}, not {right}\.")


@pytest.mark.parametrize(
    "name",
    [
        "all_modules.99.weight",
        "all_modules.99.Conv_0.bias",
        "all_modules.99.NIN_0.b",
        "all_modules.99.Conv2d_0.bias",
        "all_modules.03.Conv_0.bias",
        "z_transform.11.bias",
        "optimizer",
    ],
)
def test_surplus_tensors_are_refused(name, good, save):
    state = {**good, f"module.{name}": torch.zeros(4)}
    assert_refused(save(state), "it has (no|a surplus) tensor ")


def test_attention_on_two_levels_is_refused(save):
    state = tiny.published(perturbed(layout(multipliers=(1, 2, 2))))
    moved = {  # the attention of level 1 once more, behind the block of level 2
        name.replace("all_modules.7.", "all_modules.10."): tensor
        for name, tensor in state.items()
        if "all_modules.7." in name
    }
    assert_refused(save({**state, **moved}), "it has a surplus tensor all_modules")


def test_tensors_larger_than_the_file_are_refused(good, save):
    key = "module.all_modules.2.bias"
    huge = torch.zeros(1).expand(10**12)
    assert_refused(save({**good, key: huge}), "its tensors claim more numbers than the file holds")


def test_arguments_that_cannot_be_are_refused(good, save):
    path = save(good)
    for name, value in (("num_steps", 0), ("num_steps", 10**9), ("image_size", 4096)):
        sentence = (
            rf"^{name} must be at least 1 and at most \d+, got {value}\.$"  # not the file's fault
        )
        with pytest.raises(ValueError, match=sentence):
            load_reference_checkpoint(path, **{name: value})
    assert_refused(path, "images of 21 pixels do not fit", image_size=21)


def test_the_schedule_follows_the_number_of_steps_given(good, save):
    path = save(good)
    with pytest.raises(ValueError, match=r"does not say with how many steps T .*--num-steps"):
        load_reference_checkpoint(path)
    for num_steps in (4, 2):
        model = load_reference_checkpoint(path, num_steps)
        assert model.config.num_steps == num_steps
        assert torch.equal(model.diffusion.alpha_bar, Diffusion(num_steps).alpha_bar)
