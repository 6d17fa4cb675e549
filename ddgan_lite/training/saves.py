"""When a run saves, and which of its checkpoints it keeps."""

import os
import time
from pathlib import Path

import torch
from torch import distributed

from ddgan_lite.files import checkpoints
from ddgan_lite.training import resume
from ddgan_lite.training.presets import Preset
from ddgan_lite.training.trainer import Trainer


class Saves:
    """The checkpoints of a run in ``folder``.

    Regular ones come every ``save_every`` steps and at the end. Others come in between: after the
    first step, before ``save_minutes`` have passed since the last one, and at a stop. One of those
    goes when the next checkpoint comes, so that they never crowd out the regular ones.

    Args:
        trainer: the run.
        preset: for ``save_every`` and ``save_minutes``.
        folder: of the run.
        keep: how many to keep, the newest.
        newest: the one that the run goes on from.

    Attributes:
        newest: the newest.
        passing: the same, if it is one in between.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import gaussian_grid, preset
        >>> rules = preset("gaussians", steps=5, batch_size=8, save_every=2)
        >>> trainer = Trainer(rules.build(), gaussian_grid(), rules.settings)
        >>> with TemporaryDirectory() as folder:
        ...     saves = Saves(trainer, rules, folder, keep=2)
        ...     saved = [saves.save().name[12:13] for _ in trainer if saves.due()]
        ...     saved, len(checkpoints.history(f"{folder}/checkpoints"))
        (['1', '2', '4', '5'], 2)
    """

    def __init__(
        self,
        trainer: Trainer,
        preset: Preset,
        folder: str | os.PathLike,
        keep: int,
        newest: Path | None = None,
    ):
        self.trainer, self.preset, self.keep, self.newest = trainer, preset, keep, newest
        self.folder = Path(folder) / "checkpoints"
        self.passing = None if self._regular() else newest
        self.saved = self.last = time.perf_counter()

    def _regular(self) -> bool:
        """Whether this step has its checkpoint in any case."""
        step = self.trainer.step
        return step % self.preset.save_every == 0 or step == self.preset.settings.steps

    def due(self, stop: int = 0) -> int:
        """What all processes of the run do after this step.

        Args:
            stop: the signal by which this process was asked to stop, else 0.

        Returns:
            0: nothing. 1: save. More: save and stop, by the signal of this number.
        """
        now = time.perf_counter()
        # If the next step takes as long as this one, it would end too late.
        late = (now - self.saved) + (now - self.last) >= 60 * self.preset.save_minutes
        self.last = now
        answer = max(stop, int(late or self.trainer.step == 1 or self._regular()))
        if self.trainer.processes > 1:  # clocks differ, and a signal may come to one of them
            agreed = torch.tensor(answer, device=self.trainer.model.device)
            distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
            answer = int(agreed)
        return answer

    def save(self, **record: object) -> Path:
        """Write a checkpoint, see :func:`~ddgan_lite.training.resume.save`, and delete old ones."""
        path = self.folder / f"step_{self.trainer.step:08d}.safetensors"
        if self.trainer.rank == 0:
            resume.save(self.trainer, path, **record)
            if self.passing not in (None, path):
                self.passing.unlink(missing_ok=True)
            history = checkpoints.history(self.folder)  # any later one is a broken one
            for old in history[: history.index(path) + 1][: -self.keep]:
                old.unlink()
        self.newest, self.passing = path, None if self._regular() else path
        self.saved = self.last = time.perf_counter()
        return path
