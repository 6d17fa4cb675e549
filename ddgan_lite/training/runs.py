"""A training run in a folder: it logs, saves, shows samples, and goes on where it stopped.

The folder::

    runs/cifar10/
        log.jsonl             one line per log_every steps
        checkpoints/          the newest checkpoints, for going on
        samples/              a grid of images per checkpoint, always from the same noise
        tensorboard/          if asked for
        model.safetensors     the finished model, for sampling
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ddgan_lite.data.named import load_data
from ddgan_lite.files import checkpoints
from ddgan_lite.files.results import machine
from ddgan_lite.method.model import DDGAN
from ddgan_lite.method.objectives import discriminator_loss, relativistic_loss
from ddgan_lite.training import resume
from ddgan_lite.training.presets import Preset
from ddgan_lite.training.trainer import Data, Trainer, drawn, this_process


def run(
    preset: Preset,
    folder: str | os.PathLike,
    *,
    data: Data | None = None,
    device: str | torch.device | None = None,
    keep: int = 2,
    tensorboard: bool = False,
    start: str | os.PathLike | None = None,
    about: dict[str, object] | None = None,
    **options: object,
) -> Iterator[dict]:
    """Train ``preset`` in ``folder``, or go on with what is there; yields the lines of the log.

    A line holds ``step``, ``seconds`` of training so far, ``images_per_second``, the mean of
    each loss since the last line, and with images the discriminator's losses at t = 1..T,
    ``d_real_by_step`` and ``d_fake_by_step``, or ``d_relativistic_by_step``.

    Args:
        preset: the experiment.
        folder: of this run and no other.
        data: used in place of the preset's own.
        device: where to train; left out, the best there is.
        keep: checkpoints to keep, at least 1.
        tensorboard: write its files as well.
        start: another run, or a training checkpoint, whose networks are the initial ones.
        about: what else the model's card should say, as the preset's name or the command.
        options: for loading the data, see :func:`ddgan_lite.data.images.load_images`.

    Raises:
        ValueError: from a value that does not fit, including missing data.
        CheckpointError: if ``folder`` holds another run, or no checkpoint in it can be read.
        FloatingPointError: if training diverges; the checkpoints before that are kept.
        OSError: if the disk is full; likewise.

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
        ['checkpoints', 'log.jsonl', 'model.safetensors']
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}.")
    process, folder = this_process(), Path(folder)
    device = torch.device(device or process.device)
    # One process of each machine downloads; the others find it done.
    with process.local_main_process_first():
        if data is None:
            data = load_data(preset.data, preset.config.shape, **options)
    torch.manual_seed(preset.settings.seed)  # decides the initial weights
    model = preset.build()
    if start is not None and not checkpoints.history(folder / "checkpoints"):
        resume.begin_with(model, start)
    trainer = Trainer(model.to(device), data, preset.settings)
    record = {"data": getattr(data, "name", preset.data)}
    good, begun = _go_on(trainer, folder, record["data"])
    record["seconds"] = begun

    log = _Log(folder, trainer.step, tensorboard) if process.is_main_process else None
    x_0, *label = drawn(data, 64, torch.Generator().manual_seed(0), labelled=model.classes > 0)
    probe, images = x_0.to(device, torch.float32), x_0.ndim == 4
    sums: dict[str, list[float]] = {}
    begun_at, started, last_step, last_time = trainer.step, time.perf_counter(), trainer.step, 0.0
    try:
        for losses in trainer:
            for name, loss in losses.items():
                sums.setdefault(name, []).append(loss)
            step, finished = trainer.step, trainer.step == preset.settings.steps
            elapsed = time.perf_counter() - started
            record["seconds"] = begun + elapsed
            if step % preset.log_every == 0 or finished:
                made = (step - last_step) * preset.settings.batch_size
                line = {"step": step, "seconds": round(record["seconds"], 3)}
                line["images_per_second"] = round(made / (elapsed - last_time), 3)
                line |= {name: sum(values) / len(values) for name, values in sums.items()}
                if images:
                    pairs = preset.settings.relativistic
                    by_step = losses_by_step(trainer.model, probe, *label, relativistic=pairs)
                    line |= {f"{name}_by_step": values for name, values in by_step.items()}
                sums, last_step, last_time = {}, step, elapsed
                if log:
                    log.write(line)
                yield line
            if step % preset.save_every == 0 or finished:
                path = folder / "checkpoints" / f"step_{step:08d}.safetensors"
                if process.is_main_process:
                    resume.save(trainer, path, **record)
                    _prune(path, keep)
                    if images:
                        write_grid(trainer.model, folder / "samples" / f"step_{step:08d}.png")
                good = path
    except FloatingPointError as error:
        raise FloatingPointError(f"{error} {_rescue(good, trainer.mixed)}") from error
    if process.is_main_process and (begun_at < trainer.step or not _finished(folder).exists()):
        origin = provenance(preset, (about or {}) | record, device)
        trainer.model.save(_finished(folder), **origin)
    process.wait_for_everyone()


def _finished(folder: Path) -> Path:
    return folder / "model.safetensors"


def _prune(newest: Path, keep: int) -> None:
    """Delete all but ``keep`` checkpoints up to ``newest``; any later one is a broken one."""
    history = checkpoints.history(newest.parent)
    for old in history[: history.index(newest) + 1][:-keep]:
        old.unlink()


def _rescue(good: Path | None, mixed: bool) -> str:
    """What is left of a run that diverged, and where to try again."""
    if good is None:
        return "No checkpoint was saved before."
    here = ", or go on in this one with mixed_precision=no" if mixed else ""
    return f"Start in another folder{here}. The last good checkpoint is {good}."


def _go_on(trainer: Trainer, folder: Path, data: str) -> tuple[Path | None, float]:
    """Take up the newest whole checkpoint of ``folder``: its path, the seconds already trained."""
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
                f"{path} was trained on {header.get('data')}, this run is on {data}: start in "
                "another folder."
            )
        return path, header.get("seconds", 0.0)
    if unreadable:
        raise unreadable
    return None, 0.0


class _Log:
    """log.jsonl, and TensorBoard's files if wanted. Lines after ``step`` are dropped first."""

    def __init__(self, folder: Path, step: int, tensorboard: bool):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("**/.*.part"):  # of a write that was killed
            leftover.unlink()
        self.path = folder / "log.jsonl"
        lines = read_log(folder) if self.path.exists() else []
        kept = [json.dumps(line) + "\n" for line in lines if line["step"] <= step]
        shortened = self.path.with_name(f".{self.path.name}.part")
        shortened.write_text("".join(kept))
        os.replace(shortened, self.path)  # a crash in between must not cost the log
        self.board = None
        if tensorboard:
            try:  # slow to import, and not always there
                from torch.utils.tensorboard import SummaryWriter
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    "TensorBoard's files need tensorboard: pip install 'ddgan-lite[logs]'."
                ) from error

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, line: dict) -> None:
        """Append one line, and make sure that it is on disk."""
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
        if self.board:
            for name, value in line.items():
                values = (
                    {f"/t{t}": v for t, v in enumerate(value, 1)}
                    if isinstance(value, list)
                    else {"": value}
                )
                for end, number in values.items():
                    self.board.add_scalar(name + end, number, line["step"])
            self.board.flush()


def read_log(folder: str | os.PathLike) -> list[dict]:
    """The lines of a run's log. One that a crash cut short is left out.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> lines = ['{"step": 100}', '{"step": 200}', '{"step": 3']
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "log.jsonl").write_text(os.linesep.join(lines))
        ...     read_log(folder)
        [{'step': 100}, {'step': 200}]
    """
    lines = []
    for text in (Path(folder) / "log.jsonl").read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


@torch.no_grad()
def losses_by_step(
    model: DDGAN, x_0: Tensor, *y: Tensor, relativistic: bool = False, seed: int = 0
) -> dict[str, list[float]]:
    """The discriminator's losses at each t = 1..T, on the same clean samples x_0 (n, ...).

    With classes, their labels y (n,) belong to them.

    Two of them, or the one of the relativistic loss, under which only differences of logits count.

    Noise makes the discriminator's task harder: its loss at t = 1 is the lowest (Xiao et al.
    2022, appendix D). Uses random numbers of its own, so looking does not change a run.

    Example:
        >>> from ddgan_lite import MLPConfig
        >>> losses = losses_by_step(DDGAN(MLPConfig(num_steps=4)), torch.zeros(8, 2))
        >>> {name: len(values) for name, values in losses.items()}
        {'d_real': 4, 'd_fake': 4}
    """
    rng = torch.Generator(x_0.device).manual_seed(seed)
    losses: dict[str, list[float]] = {}
    for t in range(1, model.diffusion.num_steps + 1):
        steps = torch.full((len(x_0),), t, device=x_0.device)
        real, x_t = model.diffusion.q_sample_pair(x_0, steps, rng)
        condition = x_t, steps, *(label.to(x_0.device) for label in y)
        fake = model.fake_like(real, condition, rng)
        logits = [model.discriminator(x_prev, *condition) for x_prev in (real, fake)]
        if relativistic:
            terms = {"d_relativistic": relativistic_loss(*logits)}
        else:
            terms = discriminator_loss(*logits)
        for name, loss in terms.items():
            losses.setdefault(name, []).append(loss.item())
    return losses


def write_grid(
    model: DDGAN, path: str | os.PathLike, n: int = 64, seed: int = 0, **how: object
) -> Path:
    """n images by the averaged generator as one PNG of 8 columns; the same noise every time.

    ``how`` may hold ``labels`` and ``guidance``, as for :meth:`DDGAN.sample`.

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
    rng = torch.Generator(model.device).manual_seed(seed)
    save_image(model.sample(n, rng=rng, **how), path, nrow=8, normalize=True, value_range=(-1, 1))
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
        **record,
        "steps": preset.settings.steps,
        "batch_size": preset.settings.batch_size,
        "seed": preset.settings.seed,
        "processes": this_process().num_processes,
        **machine(device),
    }
