"""What test_streams.py starts with ``accelerate launch``: two processes share shards and rows.

python -m accelerate.commands.launch [options] tests/two_streams.py FOLDER
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import tiny
import torch

from ddgan_lite.data.named import load_data
from ddgan_lite.training import resume
from ddgan_lite.training.processes import this_process
from ddgan_lite.training.settings import TrainSettings
from ddgan_lite.training.trainer import Trainer

NUMBER, STEPS, STOP = 24, 6, 2  # images; updates, of which three are an epoch; after two, a stop
SETTINGS = TrainSettings(batch_size=8, steps=STEPS, r1_interval=2, fresh_fake=True)


class Numbered:
    """Rows whose images say which they are: every byte of image i is 10 i."""

    def __iter__(self):
        for number in range(NUMBER):
            yield {"image": np.full((8, 8, 3), 10 * number, np.uint8), "label": number % 3}


class Watched(Trainer):
    """A trainer that notes the images it is given."""

    def __iter__(self):
        self.seen = []
        return super().__iter__()

    def advance(self, x_0, y=None):
        self.seen.append(((x_0[:, 0, 0, 0] + 1) * 12.75).round().int().tolist())
        return super().advance(x_0, y)


def trained(source, folder, workers):
    """A run as it would have been, and the same run stopped and resumed: images, weights."""
    shape = tiny.UNET.shape
    settings = dataclasses.replace(SETTINGS, workers=workers)
    found = []
    for stop in (STEPS, STOP):
        data = load_data(source, shape, **({"memory": 0} if source.endswith("tar") else {}))
        run = Watched(tiny.model(tiny.UNET), data, settings)
        path = folder / f"{this_process().process_index}.safetensors"
        steps = iter(run)
        for _ in range(stop):
            next(steps)
        if stop < STEPS:
            resume.save(run, path)
            seen = run.seen
            data = load_data(source, shape, **({"memory": 0} if source.endswith("tar") else {}))
            run = Watched(tiny.model(tiny.UNET, seed=1), data, settings)
            resume.load(run, path)
            list(run)
            run.seen = seen + run.seen
        found.append({"seen": run.seen} | tiny.networks(run))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    there = Path(sys.argv[1])
    for kind, source, workers in (
        ("shards", f"{there}/{{000..002}}.tar", 1),
        ("rows", "two_streams:Numbered", 0),
        ("rows ahead", "two_streams:Numbered", 2),
    ):
        result = trained(source, there, workers)
        torch.save(result, there / f"{kind} {this_process().process_index}.pt")
