"""A resumed run equals one that was never interrupted; what does not belong to it is refused."""

import pytest
import tiny
import torch

from ddgan_lite.baselines.gan import GAN
from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.files import checkpoints
from ddgan_lite.files.checkpoints import CheckpointError
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import MLPConfig
from ddgan_lite.training import resume
from ddgan_lite.training.resume import OtherRunError
from ddgan_lite.training.settings import SPEED, TrainSettings
from ddgan_lite.training.trainer import Trainer

# R1 at steps 0, 3 and 6; 21 images in batches of 8 end an epoch in the 3rd and in the 6th.
COMMON = {"steps": 8, "batch_size": 8, "r1_interval": 3, "ema_decay": 0.9}
KINDS = {
    "mlp": (tiny.MLP, {"fresh_fake": False}),
    "mlp, fresh fakes": (tiny.MLP, {"fresh_fake": True}),
    "mlp, bfloat16": (tiny.MLP, {"mixed_precision": "bf16"}),
    "mlp, a denoiser first": (tiny.MLP, {"denoiser_steps": 4}),
    "mlp, a head start too": (tiny.MLP, {"denoiser_steps": 2, "head_start": 3}),
    "unet": (tiny.UNET, {"fresh_fake": True, "betas": (0.5, 0.9), "lr_generator": 1e-3}),
}


def new_trainer(kind="mlp", initial=0, step_weights=None, **changes):
    config, recipe = KINDS[kind]
    data = gaussian_grid() if config is tiny.MLP else tiny.images()
    model = tiny.model(config, initial, step_weights=step_weights)
    return Trainer(model, data, TrainSettings(**(COMMON | recipe | changes)))


def go(trainer, steps):
    """Train ``steps`` further steps; returns their losses."""
    run = iter(trainer)
    return [next(run) for _ in range(steps)]


def state(trainer):
    """Everything that the rest of a run depends on, by name."""
    everything = tiny.networks(trainer)
    for number, optimiser in enumerate(trainer.optimisers):
        for index, moments in optimiser.state_dict()["state"].items():
            everything |= {f"adam {number} {index} {k}": v for k, v in moments.items()}
        everything[f"rate {number}"] = torch.tensor(optimiser.param_groups[0]["lr"])
    rng = {"rng": trainer.rng.get_state(), "data_rng": trainer.data_rng.get_state()}
    return everything | rng | {"step": torch.tensor(trainer.step)}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


# -- bit for bit -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_an_uninterrupted_one(kind, tmp_path):
    whole = new_trainer(kind)
    losses = go(whole, 8)
    stopped = new_trainer(kind)
    for step in range(8):
        resume.save(stopped, tmp_path / f"{step}.safetensors")
        assert go(stopped, 1) == losses[step : step + 1]
    assert_same(state(stopped), state(whole))  # saving disturbs nothing

    for step in (0, 1, 3, 4, 6, 7):
        resumed = new_trainer(kind, initial=99)  # other weights and other random numbers
        go(resumed, 1)
        resume.load(resumed, tmp_path / f"{step}.safetensors")
        assert resumed.step == step
        assert go(resumed, 8 - step) == losses[step:]
        assert_same(state(resumed), state(whole))


def test_a_run_stopped_many_times_equals_an_uninterrupted_one(tmp_path):
    whole, path = new_trainer("unet"), tmp_path / "run.safetensors"
    go(whole, 8)
    resume.save(new_trainer("unet"), path)
    for seed in range(8):
        one_step = new_trainer("unet", initial=seed)
        resume.load(one_step, path)
        go(one_step, 1)
        resume.save(one_step, path)
    assert_same(state(one_step), state(whole))


def test_another_layout_of_memory_may_go_on_with_a_run(tmp_path):
    first = new_trainer("unet")
    go(first, 2)
    path = resume.save(first, tmp_path / "run.safetensors")
    second = new_trainer("unet", initial=1, channels_last=False)
    resume.load(second, path)
    assert_same(state(second), state(first))
    expected, found = go(first, 2), go(second, 2)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_a_plain_gan_resumes_too(tmp_path):
    def new():
        return Trainer(GAN(tiny.MLP), gaussian_grid(), TrainSettings(**COMMON))

    whole = new()
    go(whole, 2)
    path = resume.save(whole, tmp_path / "gan.safetensors")
    expected = go(whole, 2)
    resumed = new()
    resume.load(resumed, path)
    assert go(resumed, 2) == expected
    assert_same(state(resumed), state(whole))


def test_another_kind_of_device_goes_on_with_fresh_numbers(tmp_path):
    trainer = new_trainer()
    go(trainer, 2)
    path = resume.save(trainer, tmp_path / "run.safetensors")
    tensors, header = checkpoints.read(path)
    header["training"]["device"] = "cuda"
    tensors["rng"] = torch.zeros(16, dtype=torch.uint8)  # the size of a CUDA generator's state
    checkpoints.write(path, tensors, header)
    resumed = new_trainer(initial=1)
    resume.load(resumed, path)
    expected = torch.Generator().manual_seed(trainer.settings.seed + 2).get_state()
    assert torch.equal(resumed.rng.get_state(), expected)
    assert_same(tiny.networks(resumed), tiny.networks(trainer))


def test_the_file_of_a_run_samples_with_the_averaged_weights(tmp_path):
    trainer = new_trainer()
    go(trainer, 3)
    path = resume.save(trainer, tmp_path / "run.safetensors", data="grid", seconds=1.5)
    _, header = checkpoints.read(path)
    assert (header["data"], header["seconds"], header["training"]["step"]) == ("grid", 1.5, 3)
    loaded = torch.cat([p.flatten() for p in DDGAN.load(path).generator.parameters()])
    assert torch.equal(loaded, tiny.networks(trainer)["averaged"])


# -- what does not belong to the run ---------------------------------------------------------

OTHER = {
    "steps": 9,
    "batch_size": 16,
    "lr_generator": 1e-4,
    "lr_discriminator": 1e-4,
    "lr_end": 1e-6,
    "lr_end_discriminator": 1e-5,
    "lr_denoiser": 1e-4,
    "denoiser_steps": 3,
    "head_start": 2,
    "betas": (0.0, 0.98),
    "r1": 0.3,
    "r1_end": 0.01,
    "r2": 0.3,
    "relativistic": True,
    "shared_noise": True,
    "reconstruction": 1.0,
    "r1_interval": 2,
    "ema_decay": 0.8,
    "label_drop": 0.2,
    "fresh_fake": True,
    "seed": 1,
    "step_weights": (1, 1, 2),
}
FASTER = {
    "accumulate": 2,
    "mixed_precision": "bf16",
    "compile": False,
    "channels_last": True,
    "workers": 1,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    trainer = new_trainer()
    go(trainer, 2)
    return resume.save(trainer, tmp_path_factory.mktemp("run") / "run.safetensors")


def test_every_setting_is_tried():
    assert OTHER.keys() | FASTER.keys() == set(TrainSettings().__dict__) | {"step_weights"}
    assert FASTER.keys() == SPEED


@pytest.mark.parametrize("name", OTHER)
def test_another_setting_is_refused_by_name(name, saved):
    trainer = new_trainer(**{name: OTHER[name]})
    before = state(trainer)
    sentence = rf"was trained with {name} = .*, this run has .*: resume with the same, or start in"
    with pytest.raises(OtherRunError, match=sentence):
        resume.load(trainer, saved)
    assert_same(state(trainer), before)


@pytest.mark.parametrize("name", FASTER)
def test_how_fast_it_goes_may_change(name, tmp_path):
    fresh = {"fresh_fake": True}  # which accumulate needs
    path = resume.save(new_trainer(**fresh), tmp_path / "run.safetensors")
    trainer = new_trainer(**{name: FASTER[name]}, **fresh)
    resume.load(trainer, path)
    go(trainer, 1)


def test_other_networks_are_refused_by_name(saved):
    model = tiny.model(MLPConfig(num_steps=3, latent_dim=4, width=17, depth=3))
    settings = TrainSettings(**COMMON | {"fresh_fake": False})
    with pytest.raises(OtherRunError, match="trained with width = 16, this run has 17: "):
        resume.load(Trainer(model, gaussian_grid(), settings), saved)
    with pytest.raises(OtherRunError, match="trained with kind = mlp, this run has unet: "):
        resume.load(new_trainer("unet"), saved)


def test_a_file_for_sampling_is_refused(tmp_path):
    path = tiny.model(tiny.MLP).save(tmp_path / "model.safetensors")
    with pytest.raises(OtherRunError, match="holds a model for sampling, not a training run"):
        resume.load(new_trainer(), path)


# -- damaged files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["adam/0/0/exp_avg", "adam/1/2/step", "rng", "data_rng", "averaged/net.0.weight"]
)
def test_a_file_that_lacks_something_is_refused(name, saved, tmp_path):
    tensors, header = checkpoints.read(saved)
    del tensors[name]
    path = checkpoints.write(tmp_path / "less.safetensors", tensors, header)
    with pytest.raises(CheckpointError, match=r"cannot be resumed here|is nothing, not"):
        resume.load(new_trainer(), path)


@pytest.mark.parametrize(
    "training",
    [None, 3, {}, {"settings": None}, {"step": "two"}, {"groups": []}, {"scalers": None}],
)
def test_a_header_that_lies_is_refused(training, saved, tmp_path):
    tensors, header = checkpoints.read(saved)
    partly = isinstance(training, dict) and training
    header["training"] = header["training"] | training if partly else training
    path = checkpoints.write(tmp_path / "lie.safetensors", tensors, header)
    with pytest.raises(CheckpointError, match=r"lie.safetensors cannot be resumed here"):
        resume.load(new_trainer(), path)


@pytest.mark.parametrize("network", ["generator", "discriminator", "averaged"])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(network, saved, tmp_path):
    trainer = new_trainer()
    path = resume.save(trainer, tmp_path / "run.safetensors")
    before = path.read_bytes()
    with torch.no_grad():
        next(resume._networks(trainer)[network].parameters())[0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"no longer finite at step 0\. Try a smaller"):
        resume.save(trainer, path)
    assert path.read_bytes() == before

    tensors, header = checkpoints.read(saved)
    tensors[f"{network}/net.0.weight"][0, 0] = float("inf")
    checkpoints.write(path, tensors, header)
    with pytest.raises(CheckpointError, match=r"not finite in net\.0\.weight"):
        resume.load(new_trainer(), path)


def cut_short(value):
    return value.flatten()[:-1].clone()


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("adam/0/0/exp_avg", cut_short),  # smaller than its weight: the fused update writes past it
        ("adam/0/0/exp_avg_sq", lambda value: value.T.contiguous()),
        ("adam/1/2/exp_avg", lambda value: value.double()),
        ("adam/0/1/exp_avg", lambda value: value * float("nan")),
        ("adam/0/1/exp_avg_sq", lambda value: value - 1),
        ("adam/0/0/step", lambda value: value + 10),
        ("adam/0/0/step", lambda value: value - 10),
        ("adam/0/0/step", lambda value: value[None]),
        ("adam/0/0/more", lambda value: torch.ones(2)),
        ("adam/0/7/exp_avg", lambda value: torch.ones(3)),
        ("rng", cut_short),
        ("data_rng", lambda value: value.float()),
        ("rng", lambda value: value * 0 + 255),
    ],
)
def test_a_state_that_does_not_fit_its_weights_never_reaches_them(name, spoil, saved, tmp_path):
    tensors, header = checkpoints.read(saved)
    tensors[name] = spoil(tensors.get(name))
    path = checkpoints.write(tmp_path / "lie.safetensors", tensors, header)
    trainer = new_trainer(initial=1)
    go(trainer, 1)
    before = state(trainer)
    with pytest.raises(CheckpointError, match=r"lie.safetensors cannot be resumed here") as caught:
        resume.load(trainer, path)
    assert str(caught.value).isprintable()
    assert_same(state(trainer), before)
    go(trainer, 1)


@pytest.mark.parametrize(
    "training",
    [
        {"step": 99},
        {"step": -1},
        {"step": True},
        {"averaged_updates": 10**30},
        {"groups": [[{"lr": "fast"}], [{"lr": 1.0}]]},
        {"groups": [[{"lr": 1e9}], [{"lr": 1e9}]]},
        {"scalers": [1, 2]},
    ],
)
def test_numbers_of_a_header_are_bounded(training, saved, tmp_path):
    tensors, header = checkpoints.read(saved)
    header["training"] |= training
    path = checkpoints.write(tmp_path / "lie.safetensors", tensors, header)
    with pytest.raises(CheckpointError, match=r"lie.safetensors cannot be resumed here"):
        resume.load(new_trainer(), path)


@pytest.mark.parametrize("seconds", ["long", None, -1, float("nan"), [3]])
def test_seconds_of_another_type_are_not_added_to(seconds, saved, tmp_path):
    tensors, header = checkpoints.read(saved)
    header["seconds"] = seconds
    path = checkpoints.write(tmp_path / "lie.safetensors", tensors, header)
    with pytest.raises(CheckpointError, match="seconds must be a number from 0 to inf, got"):
        resume.load(new_trainer(), path)


def test_of_optimisers_and_schedules_only_the_rate_is_believed(saved, tmp_path):
    tensors, header = checkpoints.read(saved)
    header["training"]["schedules"] = [{"optimizer": 3, "step": None}] * 2
    for (group,) in header["training"]["groups"]:
        group |= {"betas": [9, 9], "eps": "small", "fused": None, "params": [0] * 99}
    path = checkpoints.write(tmp_path / "lie.safetensors", tensors, header)
    lied, honest = new_trainer(), new_trainer()
    resume.load(lied, path), resume.load(honest, saved)
    assert go(lied, 4) == go(honest, 4)
    assert_same(state(lied), state(honest))
