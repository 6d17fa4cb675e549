"""What test_distributed.py starts with ``accelerate launch``: every process trains and saves.

python -m accelerate.commands.launch [options] tests/two_processes.py FOLDER
"""

import dataclasses
import sys
from pathlib import Path

import tiny
import torch

from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.training.settings import TrainSettings
from ddgan_lite.training.trainer import Trainer, this_process

# Small rates: where a gradient is all but zero, Adam makes a step of full size out of rounding.
COMMON = {"steps": 5, "r1_interval": 2, "ema_decay": 0.5}
SLOW = {"lr_generator": 2e-4, "lr_discriminator": 1e-4, "lr_end": 1e-4}
CASES = {
    "unet": (tiny.UNET, TrainSettings(batch_size=8, fresh_fake=True, **COMMON, **SLOW)),
    "unet in parts": (
        tiny.UNET,
        TrainSettings(batch_size=16, fresh_fake=True, accumulate=2, **COMMON, **SLOW),
    ),
    "mlp": (tiny.MLP, TrainSettings(batch_size=16, **COMMON, **SLOW)),
    "mlp in parts": (
        tiny.MLP,
        TrainSettings(batch_size=16, fresh_fake=True, accumulate=4, **COMMON, **SLOW),
    ),
}


def trainer(case, initial=0, **changes):
    """One case, untrained."""
    config, settings = CASES[case]
    data = tiny.images() if config is tiny.UNET else gaussian_grid()
    return Trainer(tiny.model(config, initial), data, dataclasses.replace(settings, **changes))


if __name__ == "__main__":
    torch.set_num_threads(1)
    process = this_process()
    for case in CASES:
        made = trainer(case, initial=process.process_index)  # all must start where the first does
        result = {"losses": list(made), "processes": process.num_processes} | tiny.networks(made)
        torch.save(result, Path(sys.argv[1]) / f"{case} {process.process_index}.pt")
