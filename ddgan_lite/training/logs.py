"""What a run tells: the lines of its log, on the terminal, and to the trackers that people use."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from ddgan_lite.training.presets import Preset
from ddgan_lite.training.trainer import Trainer

PACKAGES = {
    "tensorboard": "'ddgan-lite[logs]'"
}  # where the name alone does not say what to install


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that Accelerate does not know, or that is not installed.

    Raises:
        ValueError: with the names there are.
        ModuleNotFoundError: saying what to install.

    Example:
        >>> check_trackers(["tensorbord"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: unknown tracker 'tensorbord': known are aim, ...
    """
    if not names:
        return
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    known = sorted(str(kind) for kind in LoggerType if str(kind) != "all")
    there = {str(kind) for kind in get_available_trackers()}
    for name in names:
        if name not in known:
            raise ValueError(f"unknown tracker {name!r}: known are {', '.join(known)}.")
        if name not in there:
            package = PACKAGES.get(name, name.replace("_", "-"))
            raise ModuleNotFoundError(f"{name} is not installed: pip install {package}.")


class Log:
    """log.jsonl in ``folder``, the trackers, and with ``show`` stderr: a bar in a terminal.

    Lines after the trainer's step, which a run that was killed has left, are dropped first.

    Args:
        folder: of the run; there must be one.
        trainer: the run.
        preset: what the trackers note beside the losses.
        trackers: any of Accelerate's: ``"tensorboard"``, ``"wandb"``, ``"mlflow"``, ...
        show: on stderr as well.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import gaussian_grid, preset
        >>> chosen = preset("gaussians", steps=1, batch_size=8)
        >>> trainer = Trainer(chosen.build(), gaussian_grid(), chosen.settings)
        >>> with TemporaryDirectory() as folder, Log(folder, trainer, chosen) as log:
        ...     log.say("quiet, if it is not to show")
        ...     for losses in log.follow():
        ...         log.write({"step": trainer.step, "d_real": 0.5})
        ...     read_log(folder)
        [{'step': 1, 'd_real': 0.5}]
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        trainer: Trainer,
        preset: Preset,
        trackers: Sequence[str] = (),
        show: bool = False,
    ):
        self.folder, self.trainer, self.show = Path(folder), trainer, show
        for leftover in self.folder.glob("**/.*.part"):  # of a write that was killed
            leftover.unlink()
        self.path = self.folder / "log.jsonl"
        lines = read_log(folder) if self.path.exists() else []
        kept = [json.dumps(line) + "\n" for line in lines if line["step"] <= trainer.step]
        shortened = self.path.with_name(f".{self.path.name}.part")
        shortened.write_text("".join(kept))
        os.replace(shortened, self.path)  # a crash in between must not cost the log
        self.trackers = self._start(trackers, preset) if trackers else None
        self.bar = None

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        # Not Accelerator.end_training, which parts the processes.
        for tracker in self.trackers.trackers if self.trackers else ():
            tracker.finish()

    def _start(self, names: Sequence[str], preset: Preset):
        """An Accelerator that does nothing but pass on what it is told."""
        from accelerate import Accelerator

        accelerator = Accelerator(
            log_with=list(names), project_dir=self.folder / "trackers", mixed_precision="no"
        )
        plain = dataclasses.asdict(preset)
        values = {**plain, **plain.pop("config"), **plain.pop("settings")}
        called = self.folder.resolve().name
        accelerator.init_trackers(
            "ddgan_lite",
            {k: v if isinstance(v, int | float | str) else str(v) for k, v in values.items()},
            {
                "tensorboard": {"purge_step": self.trainer.step + 1},
                "wandb": {"name": called, "dir": str(self.folder)},
                "mlflow": {"run_name": called},
            },
        )
        return accelerator

    def say(self, words: str) -> None:
        """One sentence on stderr, if that is wanted."""
        if self.show:
            print(words, file=sys.stderr, flush=True)

    def follow(self) -> Iterator[dict[str, float]]:
        """The steps of the trainer, with a bar that has their rate and the time left."""
        steps, begun = self.trainer.settings.steps, self.trainer.step
        quiet = not (self.show and sys.stderr.isatty()) or begun == steps
        self.bar = tqdm(self.trainer, total=steps, initial=begun, unit="step", disable=quiet)
        return iter(self.bar)

    def write(self, line: dict) -> None:
        """Append one line to the file, make sure that it is on disk, and tell everybody."""
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
        shown = [name for name in line if name.startswith(("d_", "g_", "images_per"))]
        terms = {name: f"{line[name]:.3g}" for name in shown if not name.endswith("_by_step")}
        if self.bar is not None and not self.bar.disable:
            self.bar.set_postfix(terms)
        else:
            words = ", ".join(f"{name}={value}" for name, value in terms.items())
            self.say(f"{line['step']}/{self.trainer.settings.steps} {words}")
        if self.trackers:
            values = {}
            for name, value in line.items():
                many = value if isinstance(value, list) else ()
                values |= {f"{name}/t{t}": each for t, each in enumerate(many, 1)} or {name: value}
            self.trackers.log(values, step=values.pop("step"))


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
