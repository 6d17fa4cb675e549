"""A training run as a file: everything the rest of the run depends on."""

import json
import math
import os
from dataclasses import asdict
from numbers import Real
from pathlib import Path

import torch
from torch import Tensor, nn

from ddgan_lite.files import checkpoints
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import Config, describe, described
from ddgan_lite.training.phases import optimisers
from ddgan_lite.training.settings import SPEED, TrainSettings
from ddgan_lite.training.trainer import Trainer


class OtherRunError(checkpoints.CheckpointError):
    """A good checkpoint, but of another run.

    Example:
        >>> issubclass(OtherRunError, checkpoints.CheckpointError)
        True
    """


def save(trainer: Trainer, path: str | os.PathLike, **record: object) -> Path:
    """Write both networks, the average, the optimisers, the step and the random state.

    The position in the data needs no entry of its own: images come in an order that is a
    function of seed and step, and everything else is drawn from the random state. ``record``
    (JSON-able) joins the header.

    Raises:
        FloatingPointError: if a weight is not finite: no good checkpoint is followed by it.
        ValueError: if the model's chain is not the one that its configuration names.
        OSError: if the file cannot be written; what stood there before is kept.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import PRESETS, gaussian_grid
        >>> chosen = PRESETS["gaussians"]
        >>> trainer = Trainer(chosen.build(), gaussian_grid(), chosen.settings)
        >>> with TemporaryDirectory() as folder:
        ...     path = save(trainer, f"{folder}/run.safetensors", note="the first try")
        ...     checkpoints.read(path)[1]["note"]
        'the first try'
    """
    if isinstance(trainer.model, DDGAN):
        trainer.model.check_chain()
    tensors = {
        f"{name}/{key}": value
        for name, network in _networks(trainer).items()
        for key, value in network.state_dict().items()
    }
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise FloatingPointError(
            f"the weights are no longer finite at step {trainer.step}. Try a smaller learning "
            "rate or a larger r1."
        )
    states = [optimiser.state_dict() for optimiser in trainer.optimisers]
    for number, state in enumerate(states):
        for place, moments in state["state"].items():
            for key, value in moments.items():
                tensors[f"adam/{number}/{place}/{key}"] = value
    tensors |= {"rng": trainer.rng.get_state(), "data_rng": trainer.data_rng.get_state()}
    header = _identity(trainer)
    header["training"] |= {
        "step": trainer.step,
        "groups": [state["param_groups"] for state in states],
        "schedules": [schedule.state_dict() for schedule in trainer.schedules],
        "scalers": [scaler.state_dict() for scaler in trainer.scalers],
        "averaged_updates": trainer.model.averaged.updates,
        "device": trainer.model.device.type,
    }
    return checkpoints.write(path, tensors, {**header, **record})


def load(trainer: Trainer, path: str | os.PathLike) -> dict:
    """Continue from a file written by :func:`save`; returns its header.

    On a CPU the continued run equals one that was never interrupted, bit for bit.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is not a whole one.
        OtherRunError: if it belongs to a run with other networks or settings.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import gaussian_grid, preset
        >>> chosen = preset("gaussians", steps=4, batch_size=8)
        >>> data = gaussian_grid()
        >>> first, second = (Trainer(chosen.build(), data, chosen.settings) for _ in range(2))
        >>> _ = [next(iter(first)) for _ in range(3)]
        >>> with TemporaryDirectory() as folder:
        ...     header = load(second, save(first, f"{folder}/run.safetensors"))
        >>> second.step, next(iter(first)) == next(iter(second))  # step 4 of both
        (3, True)
    """
    tensors, header = checkpoints.read(path)
    _check(trainer, path, header)
    training, networks = header["training"], _networks(trainer)
    parts = {name: checkpoints.section(tensors, name) for name in networks}
    for name, network in networks.items():
        checkpoints.check_names(path, parts[name], network.state_dict())
    # All of it is checked before any of it is used: a wrong shape in a fused kernel is no error but
    # a write to memory that belongs to somebody else.
    try:
        step = _number("step", training["step"], trainer.settings.steps, whole=True)
        updates = _number("averaged_updates", training["averaged_updates"], step, whole=True)
        _number("seconds", header.get("seconds", 0.0), math.inf)
        settings = trainer.settings
        game, played = step >= settings.denoiser_steps, max(step - settings.denoiser_steps, 0)
        done = (max(played - settings.head_start, 0) if game else step, played)  # of G and of D
        adams, falls = optimisers(settings, trainer.weights, game=game)
        rates, scalers, moments = [], [], []
        for number, scaler in enumerate(trainer.scalers):
            most = max(falls[number].base_lrs[0], falls[number].eta_min)
            rates.append(_number("lr", training["groups"][number][0]["lr"], most * (1 + 1e-6)))
            scalers.append(_scale(scaler.state_dict(), training["scalers"][number]))
            part = checkpoints.section(tensors, f"adam/{number}")
            # In half precision the first updates may have been left out, for an overflow.
            begun = done[number] and (part or not training["scalers"][number])
            moments.append(_moments(part, trainer.weights[number] if begun else [], done[number]))
        same_device = training["device"] == trainer.model.device.type
        rngs = (trainer.rng, trainer.data_rng)
        if same_device:
            for name, rng in zip(("rng", "data_rng"), rngs, strict=True):
                torch.Generator(rng.device).set_state(tensors[name])  # refuses what is no state
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        what = f"it has no {error}" if isinstance(error, LookupError) else error
        raise checkpoints.CheckpointError(
            f"{path} cannot be resumed here: {checkpoints.plain(what)}."
        ) from error
    for name, network in networks.items():
        network.load_state_dict(parts[name])
    trainer.optimisers, trainer.schedules = adams, falls
    for number, optimiser in enumerate(trainer.optimisers):
        # Of the options only the rate changes on the way, the same for both of its keepers.
        group = optimiser.param_groups[0] | {"lr": rates[number]}
        group["params"] = list(range(len(trainer.weights[number])))
        optimiser.load_state_dict({"state": moments[number], "param_groups": [group]})
        schedule = trainer.schedules[number]
        schedule.last_epoch, schedule._step_count = done[number], done[number] + 1
        schedule._last_lr = [rates[number]]
        trainer.scalers[number].load_state_dict(scalers[number])
    if same_device:
        trainer.rng.set_state(tensors["rng"])
        trainer.data_rng.set_state(tensors["data_rng"])
    else:  # another kind of device has another kind of generator: go on with fresh numbers
        for rng in rngs:
            rng.manual_seed(trainer.settings.seed + step)
    trainer.model.averaged.updates = updates
    trainer.step = step
    return header


def _number(name: str, value: object, most: float, whole: bool = False) -> float:
    """A number of a header, from 0 to ``most``."""
    right = isinstance(value, int if whole else Real) and not isinstance(value, bool)
    if not right or not (0 <= value <= most and value < math.inf):
        raise ValueError(f"{name} must be a number from 0 to {most}, got {value!r}")
    return value


def _moments(found: dict[str, Tensor], weights: list[Tensor], step: int) -> dict[int, dict]:
    """Adam's averages and counts for these weights, as its ``load_state_dict`` takes them."""
    places = range(len(weights))
    keys = ("step", "exp_avg", "exp_avg_sq")
    if odd := found.keys() ^ {f"{place}/{key}" for place in places for key in keys}:
        raise ValueError(f"Adam's averages are others than those of the weights: {min(odd)}")
    state: dict[int, dict[str, Tensor]] = {}
    for place in places:
        weight, state[place] = weights[place], {}
        for key in keys:
            value = found[f"{place}/{key}"]
            like = torch.empty(()) if key == "step" else weight
            if value.shape != like.shape or value.dtype != like.dtype:
                raise ValueError(
                    f"Adam's {key} of weight {place} is {tuple(value.shape)} of {value.dtype}, "
                    f"not {tuple(like.shape)} of {like.dtype}"
                )
            low = -math.inf if key == "exp_avg" else 0
            high = step if key == "step" else math.inf
            if not (value.isfinite() & (value >= low) & (value <= high)).all():
                raise ValueError(f"Adam's {key} of weight {place} is out of range")
            # The fused update wants a weight and its moments laid out alike.
            state[place][key] = torch.empty_like(like).copy_(value)
    return state


def _scale(ours: dict, theirs: object) -> dict:
    """The state of a gradient scaler: its scale and how long ago that changed; empty without."""
    if not isinstance(theirs, dict):
        raise ValueError(f"the gradient scaler's state is {theirs!r}")
    most = {"scale": 2.0**64, "_growth_tracker": 2**31} if ours and theirs else {}
    return ours | {name: _number(name, theirs[name], most[name]) for name in most}


def begin_with(model: DDGAN, source: str | os.PathLike, *, head_start: int = 0) -> None:
    """Give ``model`` the networks of another run, from which a new run then starts.

    Args:
        model: of the same configuration.
        source: a training checkpoint, a model saved with :meth:`~ddgan_lite.DDGAN.save`, or the
            folder of a run, whose newest checkpoint is taken. Of a model saved for sampling the
            average becomes the generator, and the discriminator stays as it was built.
        head_start: for how many steps the discriminator will learn alone. A new one that has none
            would move the generator before it sees anything.

    Raises:
        FileNotFoundError: if there is no training checkpoint.
        CheckpointError: if the file is not a whole one, holds other networks, or no discriminator
            where a new one has no head start.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import PRESETS, gaussian_grid
        >>> chosen = PRESETS["gaussians"]
        >>> first = Trainer(chosen.build(), gaussian_grid(), chosen.settings)
        >>> other = chosen.build()
        >>> with TemporaryDirectory() as folder:
        ...     begin_with(other, save(first, f"{folder}/run.safetensors"))
        >>> weights = (next(model.generator.parameters()) for model in (first.model, other))
        >>> torch.equal(*weights)
        True
    """
    path = Path(source)
    if path.is_dir():
        history = checkpoints.history(path / "checkpoints")
        if not history:
            raise FileNotFoundError(f"The folder {path} holds no training checkpoint.")
        path = history[-1]
    tensors, header = checkpoints.read(path)
    parts = {name: checkpoints.section(tensors, name) for name in ("generator", "discriminator")}
    if head_start and not parts["discriminator"]:
        parts = {"generator": tensors}
    else:
        checkpoints.check_trainable(path, tensors)
    for name, part in parts.items():
        network = getattr(model, name)
        try:
            checkpoints.check_names(path, part, network.state_dict())
        except checkpoints.CheckpointError as error:
            other = _differences(header, model.config)
            if not other:  # it does not fit what it says of itself
                raise
            theirs, ours = (" and ".join(words) for words in zip(*other, strict=True))
            raise checkpoints.CheckpointError(
                f"{path} holds networks with {checkpoints.plain(theirs)}, this run has {ours}."
            ) from error
        network.load_state_dict(part)


def _differences(header: dict, config: Config) -> list[tuple[str, str]]:
    """Where a file's configuration is another: "width=64" and "48". Of two kinds, only these."""
    try:
        held, wanted = (describe(each) for each in (described(header), config))
    except (ValueError, RuntimeError):  # it is none
        return []
    if held["kind"] != wanted["kind"]:
        return [(f"kind={held['kind']}", wanted["kind"])]
    theirs, ours = held["config"], wanted["config"]
    return [(f"{key}={theirs[key]}", f"{ours[key]}") for key in ours if theirs[key] != ours[key]]


def _networks(trainer: Trainer) -> dict[str, nn.Module]:
    model = trainer.model
    networks = {"generator": model.generator, "discriminator": model.discriminator}
    return {**networks, "averaged": model.averaged.module}


def _identity(trainer: Trainer) -> dict:
    """The header of a run's file, as far as it stays the same from the first step to the last."""
    weights = getattr(trainer.model, "step_weights", None)  # a plain GAN has no steps
    training = {
        "settings": asdict(trainer.settings),
        "step_weights": None if weights is None else weights.tolist(),
    }
    return {**describe(trainer.model.config), "training": training}


def _rules(header: dict) -> dict:
    """What decides where a run goes, by name."""
    training = header["training"]
    # Built, so that a file from before a field existed has that field's default.
    rules = asdict(described(header)) | asdict(TrainSettings(**training["settings"]))
    return {"kind": header["kind"], **rules, "step_weights": training["step_weights"]}


def _check(trainer: Trainer, path: str | os.PathLike, header: dict) -> None:
    """Refuse a checkpoint of another model, or of a run under other rules."""
    if "training" not in header:
        raise OtherRunError(
            f"{path} holds a model for sampling, not a training run: it cannot be resumed."
        )
    ours = _rules(_identity(trainer))
    try:
        theirs = _rules(header)
    except (KeyError, TypeError, ValueError) as error:
        raise checkpoints.CheckpointError(
            f"{path} cannot be resumed here: {checkpoints.plain(error)}."
        ) from error
    for name in (name for name in ours if name not in SPEED):
        if json.dumps(theirs.get(name)) != json.dumps(ours[name]):
            raise OtherRunError(
                f"{path} was trained with {name} = {checkpoints.plain(theirs.get(name))}, this run "
                f"has {ours[name]}: resume with the same, or start in another folder."
            )
