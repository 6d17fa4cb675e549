"""What test_distributed.py starts with ``accelerate launch``: every process trains and saves.

python -m accelerate.commands.launch [options] tests/two_processes.py FOLDER
"""

import contextlib
import dataclasses
import signal
import sys
from pathlib import Path

import tiny
import torch

from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.training import guard
from ddgan_lite.training.presets import preset
from ddgan_lite.training.processes import this_process
from ddgan_lite.training.runs import run
from ddgan_lite.training.settings import TrainSettings
from ddgan_lite.training.trainer import Trainer

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


def stops_and_goes_on(folder):
    """A run in which only the second process is asked to stop, in step 3, and the run after it."""
    rules = preset("gaussians", steps=6, batch_size=8, width=8, save_every=4, log_every=1)
    advance, found = Trainer.advance, {}

    def asked(self, *batch):
        if self.step == 2 and self.rank == 1:
            signal.raise_signal(signal.SIGTERM)
        return advance(self, *batch)

    Trainer.advance = asked
    try:
        list(run(rules, folder, device="cpu"))
    except guard.Stopped as stopped:
        found["stopped"] = str(stopped), stopped.signal
    Trainer.advance, guard.PATIENCE = advance, 0.1
    with guard.sole(folder) if process.is_main_process else contextlib.nullcontext():
        process.wait_for_everyone()
        try:
            list(run(rules, folder, device="cpu"))
        except BlockingIOError as error:
            found["refused"] = str(error)
    return found | {"rest": [line["step"] for line in run(rules, folder, device="cpu")]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    process = this_process()
    for case in CASES:
        made = trainer(case, initial=process.process_index)  # all must start where the first does
        result = {"losses": list(made), "processes": process.num_processes} | tiny.networks(made)
        torch.save(result, Path(sys.argv[1]) / f"{case} {process.process_index}.pt")
    found = stops_and_goes_on(Path(sys.argv[1]) / "run")
    torch.save(found, Path(sys.argv[1]) / f"stop {process.process_index}.pt")
