"""A training run in a folder: it logs, saves, shows samples, and goes on where it stopped.

The folder::

    runs/cifar10/
        log.jsonl             one line per log_every steps
        checkpoints/          the newest checkpoints, for going on
        samples/              (of images) a grid every save_every steps, always from the same noise
        trackers/             TensorBoard's files, if asked for
        model.safetensors     the finished model, for sampling
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from operator import index
from pathlib import Path

import torch
from torch import Tensor

from ddgan_lite.data.named import load_data
from ddgan_lite.files import checkpoints
from ddgan_lite.files.results import machine
from ddgan_lite.method.model import DDGAN
from ddgan_lite.method.objectives import discriminator_loss
from ddgan_lite.training import logs, resume
from ddgan_lite.training.guard import Stop, Stopped, sole
from ddgan_lite.training.presets import Preset
from ddgan_lite.training.processes import this_process
from ddgan_lite.training.protocols import Data, drawn
from ddgan_lite.training.saves import Saves
from ddgan_lite.training.trainer import Trainer


def run(
    preset: Preset,
    folder: str | os.PathLike,
    *,
    data: Data | None = None,
    device: str | torch.device | None = None,
    keep: int = 2,
    trackers: Sequence[str] = (),
    show: bool = False,
    start: str | os.PathLike | None = None,
    about: dict[str, object] | None = None,
    **options: object,
) -> Iterator[dict]:
    """Train ``preset`` in ``folder``, or go on with what is there; yields the lines of the log.

    A line holds ``step``, ``seconds`` of training so far, ``images_per_second``, the mean of
    each loss since the last line, and of images, once the discriminator learns, its losses at
    t = 1..T: ``d_real_by_step`` and ``d_fake_by_step``, or ``d_relativistic_by_step``.

    Ctrl-C and SIGTERM let the step be finished and saved first; a second one acts at once.

    Args:
        preset: the experiment.
        folder: of this run and no other.
        data: used in place of the preset's own.
        device: where to train; left out, the best there is.
        keep: checkpoints to keep, at least 1.
        trackers: who follows the log, as ``("tensorboard",)``: any of Accelerate's trackers.
        show: on stderr how it begins and gets on, with a progress bar in a terminal.
        start: another run, or a training checkpoint, whose networks are the initial ones.
        about: what else the model's card should say, as the preset's name or the command.
        options: for loading the data, see :func:`ddgan_lite.data.images.load_images`.

    Raises:
        ValueError: from a value that does not fit, including missing data.
        ModuleNotFoundError: if a tracker is not installed.
        BlockingIOError: if another run is training in ``folder``.
        CheckpointError: if ``folder`` holds another run, or no checkpoint in it can be read.
        FloatingPointError: if training diverges; the checkpoints before that are kept.
        OSError: if the disk is full; likewise.
        Stopped: a KeyboardInterrupt, after the signal's step is saved.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import preset
        >>> small = preset("gaussians", steps=4, batch_size=8, log_every=2)
        >>> with TemporaryDirectory() as folder:
        ...     [line["step"] for line in run(small, folder)]
        ...     [line["step"] for line in run(small, folder)]  # nothing is left to do
        ...     sorted(os.listdir(folder))
        [2, 4]
        []
        ['.lock', 'checkpoints', 'log.jsonl', 'model.safetensors']
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}.")
    logs.check_trackers(trackers)
    process, folder = this_process(), Path(folder)
    device = torch.device(device or process.device)
    # The code that trains is that of the beginning: the checkout may go on during the run.
    about = {"commit": machine(device)["commit"]} | (about or {})
    # One process of each machine downloads; the others find it done.
    with process.local_main_process_first():
        if data is None:
            data = load_data(preset.data, preset.config.shape, **options)
    torch.manual_seed(preset.settings.seed)  # decides the initial weights
    model = preset.build()
    if start is not None and not checkpoints.history(folder / "checkpoints"):
        resume.begin_with(model, start, head_start=preset.settings.head_start)
    trainer = Trainer(model.to(device), data, preset.settings)
    with contextlib.ExitStack() as held:
        _enter(folder, held)
        record = {"data": getattr(data, "name", preset.data)}
        good, record["seconds"], sums = _go_on(trainer, folder, record["data"])
        saves, begun, log = Saves(trainer, preset, folder, keep, good), trainer.step, None
        if process.is_main_process:
            log = held.enter_context(logs.Log(folder, trainer, preset, trackers, show))
            log.say(_opening(trainer, preset, folder, record["data"]))
        yield from _steps(saves, log, record, sums)
        if log and (begun < trainer.step or not _finished(folder).exists()):
            model.save(_finished(folder), **provenance(preset, about | record, device))
    process.wait_for_everyone()


def _enter(folder: Path, held: contextlib.ExitStack) -> None:
    """Lock the folder for the processes of this run; a refusal reaches all of them."""
    from accelerate.utils import broadcast_object_list

    refusal = None
    if this_process().is_main_process:
        try:
            held.enter_context(sole(folder))
        except OSError as error:
            refusal = error
    (refusal,) = broadcast_object_list([refusal])
    if refusal is not None:
        raise refusal


def _steps(
    saves: Saves, log: logs.Log | None, record: dict, sums: dict[str, tuple[float, int]]
) -> Iterator[dict]:
    """The rest of a run: the lines of its log, each when all that belongs to it is on disk."""
    trainer, preset, model = saves.trainer, saves.preset, saves.trainer.model
    settings, folder, begun = preset.settings, saves.folder.parent, record["seconds"]
    pairs = {"relativistic": settings.relativistic, "shared": settings.shared_noise}
    labelled, rng = model.classes > 0, torch.Generator().manual_seed(0)
    x_0, *label = drawn(trainer.data, 64, rng, labelled=labelled)
    probe, images = x_0.to(model.device, torch.float32), x_0.ndim == 4
    started, last_step, last_time = time.perf_counter(), trainer.step, 0.0
    try:
        with Stop() as stop:
            for losses in log.follow() if log else trainer:
                for name, loss in losses.items():
                    total, count = sums.get(name, (0.0, 0))
                    sums[name] = total + loss, count + 1
                step, line = trainer.step, {}
                elapsed = time.perf_counter() - started
                record["seconds"] = begun + elapsed
                if step % preset.log_every == 0 or step == settings.steps:
                    made = (step - last_step) * settings.batch_size
                    line = {"step": step, "seconds": round(record["seconds"], 3)}
                    line["images_per_second"] = round(made / (elapsed - last_time), 3)
                    line |= {name: total / count for name, (total, count) in sums.items()}
                    if images and step > settings.denoiser_steps:
                        by_step = losses_by_step(model, probe, *label, **pairs)
                        line |= {f"{name}_by_step": values for name, values in by_step.items()}
                    sums, last_step, last_time = {}, step, elapsed
                    if log:
                        log.write(line)
                if due := saves.due(stop.signal):
                    saves.save(**record, unlogged=sums)
                    if log and images and not saves.passing:
                        write_grid(model, folder / "samples" / f"step_{step:08d}.png")
                if due > 1 and step < settings.steps:
                    this_process().wait_for_everyone()  # one that ends may end the others
                    raise Stopped(f"Stopped after step {step}, which is saved. {_GO_ON}", due)
                if line:
                    yield line
    except FloatingPointError as error:
        raise FloatingPointError(f"{error} {_rescue(saves.newest, trainer.mixed)}") from error
    except Stopped:
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_left(saves.newest)) from None


_GO_ON = "The same line goes on from there."


def _left(newest: Path | None) -> str:
    """What is left of a run that was stopped in the middle of a step."""
    if newest is None:
        return "Stopped before anything was saved."
    return f"Stopped; {newest} is the last checkpoint. {_GO_ON}"


def _opening(trainer: Trainer, preset: Preset, folder: Path, data: str) -> str:
    """How the run begins: where, on how many processes, from which step, and when it saves."""
    step, steps, processes = trainer.step, preset.settings.steps, trainer.processes
    many = "1 process" if processes == 1 else f"{processes} processes"
    words = f"Training on {data} in {folder}: {many}, device {trainer.model.device}."
    if "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        words += (
            "\nAccelerate was asked for several processes and has started one: without GPUs it "
            "starts several only with --multi_gpu."
        )
    if step == steps:
        return f"{words}\nStep {step} of {steps} is done: nothing is left to do."
    every = preset.save_every
    following = f"step {min(steps, step - step % every + every)}"
    if step == 0:
        words += "\nNothing saved yet: starting anew."
        following = f"step 1, then at {following}" if min(every, steps) > 1 else following
    else:
        words += f"\nGoing on from step {step} of {steps}."
    return f"{words} Next checkpoint at {following} or in {preset.save_minutes:g} minutes."


def _finished(folder: Path) -> Path:
    return folder / "model.safetensors"


def _rescue(good: Path | None, mixed: bool) -> str:
    """What is left of a run that diverged, and where to try again."""
    if good is None:
        return "No checkpoint was saved before."
    here = ", or go on in this one with mixed_precision=no" if mixed else ""
    return f"Start in another folder{here}. The last good checkpoint is {good}."


def _go_on(
    trainer: Trainer, folder: Path, data: str
) -> tuple[Path | None, float, dict[str, tuple[float, int]]]:
    """Take up the newest whole checkpoint of ``folder``.

    Returns:
        Its path, the seconds already trained, and the sums of the losses since the last line.
    """
    unreadable: checkpoints.CheckpointError | None = None
    for path in reversed(checkpoints.history(folder / "checkpoints")):
        try:
            header = resume.load(trainer, path)
        except resume.OtherRunError:
            raise
        except checkpoints.CheckpointError as error:  # a failing disk: an older one may do
            unreadable = unreadable or error
            continue
        if header.get("data") != data:
            raise resume.OtherRunError(
                f"{path} was trained on {checkpoints.plain(header.get('data'))}, this run is on "
                f"{data}: start in another folder."
            )
        try:
            means = header.get("unlogged", {}).items()
            sums = {str(name): (float(total), index(count)) for name, (total, count) in means}
            return path, float(header.get("seconds", 0.0)), sums
        except (AttributeError, TypeError, ValueError) as error:
            raise checkpoints.CheckpointError(f"{path} cannot be resumed here: {error}.") from error
    if unreadable:
        raise unreadable
    return None, 0.0, {}


@torch.no_grad()
def losses_by_step(
    model: DDGAN, x_0: Tensor, *y: Tensor, relativistic: bool = False, shared: bool = False
) -> dict[str, list[float]]:
    """The discriminator's losses at each t = 1..T, on the same clean samples x_0 (n, ...).

    With classes, their labels y (n,) belong to them.

    Two of them, or the one of the relativistic loss, under which only differences of logits count.
    ``shared``: the two of a pair share the noise of the posterior, as in a game that is played so.

    Noise makes the discriminator's task harder: its loss at t = 1 is the lowest (Xiao et al.
    2022, appendix D). Uses random numbers of its own, so looking does not change a run.

    Example:
        >>> from ddgan_lite import MLPConfig
        >>> losses = losses_by_step(DDGAN(MLPConfig(num_steps=4)), torch.zeros(8, 2))
        >>> {name: len(values) for name, values in losses.items()}
        {'d_real': 4, 'd_fake': 4}
    """
    rng = torch.Generator(x_0.device).manual_seed(0)
    losses: dict[str, list[float]] = {}
    for t in range(1, model.diffusion.num_steps + 1):
        steps = torch.full((len(x_0),), t, device=x_0.device)
        real, x_t = model.diffusion.q_sample_pair(x_0, steps, rng)
        condition = x_t, steps, *(label.to(x_0.device) for label in y)
        guess = model.predict(x_t, steps, None, *condition[2:], rng=rng)
        moved = model.diffusion.moved(real, guess - x_0, steps)
        fake = moved if shared else model.fake_like(real, condition, rng, guess)
        logits = [model.discriminator(x_prev, *condition) for x_prev in (real, fake)]
        terms = discriminator_loss(*logits, relativistic=relativistic)
        for name, loss in terms.items():
            losses.setdefault(name, []).append(loss.item())
    return losses


def write_grid(
    model: DDGAN, path: str | os.PathLike, n: int = 64, seed: int = 0, **how: object
) -> Path:
    """n images by the averaged generator as one PNG of 8 columns; the same noise every time.

    ``how`` may hold ``labels`` and ``guidance``, as for :meth:`DDGAN.sample`; a model with classes
    draws them in turn otherwise.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import ConvConfig
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     path = write_grid(DDGAN(ConvConfig()), f"{folder}/grid.png", n=16)
        ...     Image.open(path).size  # 8 columns, 2 rows, 2 pixels between them
        (82, 22)
    """
    from torchvision.utils import save_image  # imported when needed: it takes seconds

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"labels": "in turn", "rng": torch.Generator(model.device).manual_seed(seed)} | how
    save_image(model.sample(n, **how), path, nrow=8, normalize=True, value_range=(-1, 1))
    return path


def provenance(preset: Preset, record: dict, device: torch.device) -> dict:
    """Where a trained model comes from: data, length, seed, hardware, versions.

    Example:
        >>> from ddgan_lite import PRESETS
        >>> about = provenance(PRESETS["gaussians"], {"data": "gaussian_grid"}, torch.device("cpu"))
        >>> about["data"], about["steps"], about["processes"]
        ('gaussian_grid', 7000, 1)
    """
    return {
        **machine(device),
        **record,
        "steps": preset.settings.steps,
        "batch_size": preset.settings.batch_size,
        "seed": preset.settings.seed,
        "processes": this_process().num_processes,
    }
