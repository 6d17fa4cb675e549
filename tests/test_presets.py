"""Presets: the published numbers, spelled out, and what changing a value may and may not do."""

import math

import pytest
import torch

from ddgan_lite.data.images import DataError
from ddgan_lite.data.named import load_data
from ddgan_lite.data.toys import MIXTURES, StackedDigits, mixture
from ddgan_lite.training.presets import PRESETS, QUICK, parse, preset

TOYS = {"gaussians", "stacked_digits", "digits"}  # small as they are

# What the published runs have in common, and what each has of its own.
COMMON = {
    "latent_dim": 100,
    "blocks": 2,
    "attention_size": 16,
    "style_dim": 256,
    "discriminator_width": 64,
    "discriminator_time_dim": 256,
    "betas": (0.5, 0.9),
    "lr_end": 1e-5,
    "fresh_fake": True,
    "step_weights": None,
}
PUBLISHED = {
    "cifar10": {
        "data": "cifar10",
        "shape": (3, 32, 32),
        "num_steps": 4,
        "width": 128,
        "multipliers": (1, 2, 2, 2),
        "mapping_depth": 4,
        "discriminator": "small",
        "steps": 1800 * 195,
        "batch_size": 4 * 64,
        "lr_generator": 1.6e-4,
        "lr_discriminator": 1.25e-4,
        "r1": 0.02,
        "r1_interval": 15,
        "ema_decay": 0.9999,
    },
    "lsun_church_256": {
        "data": "lsun_church_256",
        "shape": (3, 256, 256),
        "num_steps": 4,
        "width": 64,
        "multipliers": (1, 1, 2, 2, 4, 4),
        "mapping_depth": 3,
        "discriminator": "large",
        "steps": 500 * 1875,
        "batch_size": 8 * 8,
        "lr_generator": 1.6e-4,
        "lr_discriminator": 1e-4,
        "r1": 1.0,
        "r1_interval": 10,
        "ema_decay": 0.999,
    },
    "celeba_hq_256": {
        "data": "celeba_hq_256",
        "shape": (3, 256, 256),
        "num_steps": 2,
        "width": 64,
        "multipliers": (1, 1, 2, 2, 4, 4),
        "mapping_depth": 3,
        "discriminator": "large",
        "steps": 750_000,  # 800 epochs of 30,000 images
        "batch_size": 8 * 4,
        "lr_generator": 2e-4,
        "lr_discriminator": 1e-4,
        "r1": 2.0,
        "r1_interval": 10,
        "ema_decay": 0.9999,
    },
}


def values(chosen):
    return chosen.__dict__ | chosen.config.__dict__ | chosen.settings.__dict__


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_values(name):
    found, expected = values(preset(name)), COMMON | PUBLISHED[name]
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("name", PRESETS)
def test_a_quick_preset_is_small_and_has_as_many_denoising_steps(name):
    quick, full = preset(name, quick=True), preset(name)
    assert type(quick.config) is type(full.config)
    assert quick.config.num_steps == full.config.num_steps
    if name in TOYS:
        assert quick == full  # small as it is
    else:
        assert quick.settings.steps <= 1000
        assert quick.data in ("photographs", "stacked_digits")  # nothing to download


def test_every_image_preset_has_a_quick_size():
    assert QUICK.keys() == PRESETS.keys() - TOYS


def test_the_speedrun_makes_a_file_small_enough_for_git_and_sees_the_data_often():
    chosen = preset("speedrun")
    weights = sum(weight.numel() for weight in chosen.config.build_generator().parameters())
    assert 2 * weights <= 12e6  # bytes in half precision
    assert chosen.settings.steps * chosen.settings.batch_size >= 100 * 50_000
    assert preset("speedrun", quick=True).settings.relativistic  # the same objective, small


def test_the_model_is_that_of_the_preset():
    chosen = preset("gaussians", num_steps=2, noise_levels=(1, 3), step_weights=(3, 1))
    model = chosen.build()
    assert model.config == chosen.config
    assert model.step_weights.tolist() == [3, 1]


# -- changes ---------------------------------------------------------------------------------


def test_changes_find_their_place():
    changes = {"data": "my/photos", "width": 64, "seed": 3, "log_every": 7}
    chosen = preset("cifar10", **changes)
    assert (chosen.data, chosen.config.width) == ("my/photos", 64)
    assert (chosen.settings.seed, chosen.log_every) == (3, 7)
    kept = {key: value for key, value in values(preset("cifar10")).items() if key not in changes}
    found = {key: value for key, value in values(chosen).items() if key in kept}
    del kept["config"], kept["settings"], found["config"], found["settings"]
    assert found == kept
    assert PRESETS["cifar10"].config.width == 128  # the preset itself stays


def test_every_preset_takes_noise_levels():
    for name in PRESETS:
        steps = PRESETS[name].config.num_steps
        levels = tuple(float(2**t) for t in range(steps))
        changed = preset(name, **parse([f"noise_levels={levels}"])).config
        assert changed.noise_levels == levels
        rates = preset(name, noise_levels=None, beta_min=0.2, beta_max=10).config
        assert (rates.beta_min, rates.beta_max) == (0.2, 10.0)


def test_whole_numbers_pass_for_floats_and_lists_for_tuples():
    chosen = preset("cifar10", r1=1, shape=[3, 64, 64], betas=[0, 0.9], step_weights=[1, 2, 3, 4])
    assert (chosen.settings.r1, type(chosen.settings.r1)) == (1.0, float)
    assert chosen.config.shape == (3, 64, 64)
    assert chosen.settings.betas == (0.0, 0.9)
    assert chosen.step_weights == (1.0, 2.0, 3.0, 4.0)


def test_none_leaves_a_choice_to_the_library():
    chosen = preset("cifar10", compile=None, mixed_precision=None, step_weights=None)
    assert chosen == preset("cifar10")


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("cifar", {}, r"unknown preset 'cifar': known are gaussians, .*\. Did you mean cifar10\?$"),
        ("zebras", {}, r"unknown preset 'zebras': known are [\w, ]*\.$"),
        ("cifar10", {"batchsize": 3}, r"unknown key 'batchsize': .* Did you mean batch_size\?$"),
        ("cifar10", {"config": 3}, r"unknown key 'config': "),
        ("gaussians", {"mapping_depth": 3}, r"unknown key 'mapping_depth': "),
        ("gaussians", {"num_steps": 2}, "--set noise_levels=None --set step_weights=None, in P"),
        ("gaussians", {"num_steps": 2, "noise_levels": None}, "has step_weights for its 4 steps"),
        ("cifar10", {"num_steps": 2, "noise_levels": (1, 2, 3)}, "for each of the 2 steps"),
        ("gaussians", {"beta_max": 10}, "noise_levels are given, so beta_max cannot be"),
        ("cifar10", {"noise_levels": (1, 2, "3", 4)}, "noise_levels must be of type tuple"),
        ("cifar10", {"width": "wide"}, r"width must be of type int, like 128; got 'wide'"),
        ("cifar10", {"width": 64.0}, r"width must be of type int, like 128; got 64\.0"),
        ("cifar10", {"width": True}, r"width must be of type int, like 128; got True"),
        ("cifar10", {"r1": True}, r"r1 must be of type float, like 0\.02; got True"),
        ("cifar10", {"r1": math.nan}, r"r1 must be of type float, like 0\.02; got nan"),
        ("cifar10", {"r1": math.inf}, r"r1 must be of type float, like 0\.02; got inf"),
        ("cifar10", {"r1": 10**400}, r"r1 must be of type float"),
        ("cifar10", {"fresh_fake": 1}, r"fresh_fake must be of type bool, like True; got 1"),
        ("cifar10", {"compile": 1}, r"compile must be of type bool or None, got 1"),
        ("cifar10", {"data": 3}, r"data must be of type str, like 'cifar10'; got 3"),
        ("cifar10", {"shape": 32}, r"shape must be of type tuple\[int, int, int\], .*; got 32"),
        ("cifar10", {"shape": (3, 32)}, r"shape must be of type tuple\[int, int, int\]"),
        ("cifar10", {"shape": (3, 32, 32.0)}, r"shape must be of type tuple\[int, int, int\]"),
        ("cifar10", {"betas": (0.5,)}, r"betas must be of type tuple\[float, float\]"),
        ("cifar10", {"betas": (0.5, math.nan)}, r"betas must be of type tuple\[float, float\]"),
        ("cifar10", {"multipliers": (1, "2")}, r"multipliers must be of type tuple\[int, \.\.\.\]"),
        ("cifar10", {"step_weights": "all"}, r"of type tuple\[float, \.\.\.\] or None, got"),
        ("cifar10", {"shape": (3, 36, 36)}, r"images of 36 pixels do not fit"),
        ("cifar10", {"save_every": 0}, r"save_every must be at least 1, got 0"),
        ("cifar10", {"save_minutes": 0}, r"save_minutes must be positive, got 0"),
        ("cifar10", {"log_every": -1}, r"log_every must be at least 1, got -1"),
        ("cifar10", {"seed": -1}, r"seed must not be negative, got -1"),
        ("cifar10", {"seed": 2**63}, r"seed must be below 2 \*\* 63, got 9223372036854775808"),
        ("cifar10", {"lr_end": -1.0}, r"lr_end must not be negative, got -1\.0"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(name, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        preset(name, **changes)


def test_assignments_become_values():
    assert parse([]) == {}
    found = parse(
        ["width=64", "r1=1e-3", "fresh_fake=False", "shape=(3, 8, 8)", "data=a/b=c", "compile=None"]
    )
    assert found == {
        "width": 64,
        "r1": 1e-3,
        "fresh_fake": False,
        "shape": (3, 8, 8),
        "data": "a/b=c",
        "compile": None,
    }
    assert parse(["seed=1", "seed=2", "data=", "width={[]: 1}"]) == {
        "seed": 2,
        "data": "",
        "width": "{[]: 1}",
    }


@pytest.mark.parametrize("text", ["width", "=3", ""])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(ValueError, match=f"--set takes key=value, got '{text}'"):
        parse([text])


def test_code_in_an_assignment_is_not_run(tmp_path):
    trap = tmp_path / "sprung"
    text = f"open({str(trap)!r}, 'w')"
    assert parse([f"data={text}"]) == {"data": text}
    assert not trap.exists()


# -- data ------------------------------------------------------------------------------------


def test_data_by_name():
    assert load_data("gaussian_grid", (2,)).dim == 2
    assert isinstance(load_data("stacked_digits", (3, 8, 8)), StackedDigits)
    for name in MIXTURES:
        dim = mixture(name).dim
        assert load_data(name, (dim,)).sample(3).shape == (3, dim)


def test_a_folder_is_scaled_to_the_networks(tmp_path):
    from PIL import Image

    for number in range(3):
        Image.new("L", (20, 30), 50 * number).save(tmp_path / f"{number}.png")
    data = load_data(str(tmp_path), (3, 16, 16))
    assert data.shape == (3, 16, 16)
    assert torch.equal(data.images[1], torch.full((3, 16, 16), 50, dtype=torch.uint8))
    assert load_data(str(tmp_path), (1, 8, 8)).shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("source", "shape", "sentence"),
    [
        ("gaussian_grid", (3,), r"samples of shape \(2,\), the .* \(3,\): set shape=\(2,\) to"),
        ("gaussian_grid", (3, 8, 8), r"samples of shape \(2,\), the .* for \(3, 8, 8\)\.$"),
        (
            "stacked_digits",
            (3, 16, 16),
            r"samples of shape \(3, 8, 8\), the .* set shape=\(3, 8, 8",
        ),
        ("photographs", (2,), r"photographs holds images, but these networks work on \(2,\)"),
        (
            "ring",
            (2,),
            r"ring is neither a folder nor one of the sets gaussian_line, .*gaussian_ring\?$",
        ),
        ("cifar", (3, 32, 32), r"cifar is neither .* Did you mean cifar10\?$"),
        ("my/photos", (2,), r"my/photos is neither a folder nor one of .* lsun_church_256\.$"),
        ("no/such/folder", (3, 8, 8), r"no/such/folder is neither a folder nor one of the sets "),
    ],
)
def test_data_that_do_not_fit_the_networks_are_refused(source, shape, sentence):
    with pytest.raises(DataError, match=sentence):
        load_data(source, shape)


def test_rates_beside_levels_are_answered_with_the_way_to_set_them():
    with pytest.raises(ValueError, match=r"not both\. With noise_levels=None the rates decide\."):
        preset("gaussians", beta_max=10)
    for name in PRESETS:
        chosen = preset(name, beta_max=10, noise_levels=None)
        assert chosen.config.beta_max == 10
