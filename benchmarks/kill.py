"""Kill a training run again and again, and see whether it ends where an undisturbed one does.

python benchmarks/kill.py --times 20

Every time the same line starts a process, which is killed with SIGKILL at a random moment after it
has taken up the run, every second time while it saves; the last process may finish. Prints one JSON
object per kill and one at the end; the exit status is 1 if any weight differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from ddgan_lite.files.checkpoints import history, read
from ddgan_lite.training.logs import read_log

# A small U-Net on mirrored crops of photographs; every second step has its checkpoint and picture.
TINY = {
    "shape": (3, 8, 8),
    "num_steps": 2,
    "latent_dim": 4,
    "width": 8,
    "blocks": 1,
    "style_dim": 8,
    "mapping_depth": 1,
    "discriminator_width": 4,
    "discriminator_time_dim": 8,
    "batch_size": 8,
    "log_every": 1,
    "save_every": 2,
}


def arguments(folder: Path, steps: int) -> list[str]:
    """The line that starts the run in ``folder`` and goes on with it."""
    line = ["train", "cifar10", "--quick", "--device", "cpu"]
    line += ["--steps", str(steps), "--out", str(folder)]
    return line + [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]


def start(folder: Path, steps: int) -> subprocess.Popen:
    """The run as a process; what it says goes into a file beside its folder."""
    with open(folder.with_suffix(".txt"), "a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "ddgan_lite", *arguments(folder, steps)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=file,
            stderr=file,
        )


def kill(
    folder: Path, steps: int, rng: random.Random, *, aim: bool = False, longest: float = 2.0
) -> dict:
    """Start the run, and kill it up to ``longest`` seconds after it has opened its log.

    ``aim``: wait for the next file that is being written after that, and kill in the middle.
    """
    log = folder / "log.jsonl"
    before = log.stat().st_ino if log.exists() else None
    process = start(folder, steps)
    # A run that takes up a folder puts a new file in the place of the log.
    while process.poll() is None and (not log.exists() or log.stat().st_ino == before):
        time.sleep(0.01)
    time.sleep(rng.uniform(0, longest))
    while aim and process.poll() is None and not half_written(folder):
        pass
    process.kill()
    if process.wait() not in (0, -signal.SIGKILL):
        raise SystemExit(folder.with_suffix(".txt").read_text()[-2000:])
    saved, logged = history(folder / "checkpoints"), read_log(folder)
    return {
        "killed": process.returncode == -signal.SIGKILL,
        "logged": logged[-1]["step"] if logged else 0,
        "saved": int(saved[-1].stem.removeprefix("step_")) if saved else 0,
        "while_saving": half_written(folder),
    }


def half_written(folder: Path) -> bool:
    return any((folder / "checkpoints").glob(".*.part"))


def differences(a: Path, b: Path) -> list[str]:
    """The tensors of the last checkpoints that are not the same bit for bit: both networks, the
    average, both optimisers and the random state."""
    ours, theirs = (read(history(folder / "checkpoints")[-1])[0] for folder in (a, b))
    names = sorted(ours.keys() | theirs.keys())
    both = ours.keys() & theirs.keys()
    return [name for name in names if name not in both or not torch.equal(ours[name], theirs[name])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="kills")
    parser.add_argument("--steps", type=int, help="of the run; left out: 20 per kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    steps, rng = options.steps or 20 * options.times, random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        killed, whole = (Path(temporary) / name for name in ("killed", "whole"))
        kills = []
        for number in range(options.times):
            kills.append(kill(killed, steps, rng, aim=number % 2 == 1))
            print(json.dumps(kills[-1]), flush=True)
        for folder in (killed, whole):
            if start(folder, steps).wait():
                raise SystemExit(folder.with_suffix(".txt").read_text()[-2000:])
        different = differences(killed, whole)
        result = {
            "kills": sum(each["killed"] for each in kills),
            "while_saving": sum(each["while_saving"] for each in kills),
            "steps": steps,
            "log_complete": [line["step"] for line in read_log(killed)]
            == list(range(1, steps + 1)),
            "different": different,
        }
    print(json.dumps(result), flush=True)
    return int(bool(different) or not result["log_complete"])


if __name__ == "__main__":
    sys.exit(main())
