"""Kill a training run again and again, and see what is lost and whether it ends as if undisturbed.

    python benchmarks/kills.py --store

The same line starts a process each time, and the process is stopped at a random moment. By SIGKILL
20 times in the first minute of the run, every second time before it has begun, and then 30 times,
every second one while it saves; by SIGTERM 10 times. Then a second process is let into the folder,
and the last one may finish. Prints one JSON object for each stop and one at the end; the exit
status is 1 if more work was lost than the run allows, or any number differs from an undisturbed
run's. Best on a machine with nothing else to do: a step that takes longer than the one before it is
lost as well.
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

from ddgan_lite.files import results
from ddgan_lite.files.checkpoints import history, read
from ddgan_lite.training.logs import read_log

SAVE_MINUTES = 0.03
# A small U-Net on mirrored crops of photographs; its checkpoints come by the clock.
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
    "save_every": 1_000,
    "save_minutes": SAVE_MINUTES,
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


def last_words(folder: Path) -> str:
    return folder.with_suffix(".txt").read_text()[-2000:]


def taken_up(folder: Path, steps: int) -> subprocess.Popen:
    """The run as a process that has opened its log: it puts a new file in the place of the old."""
    log = folder / "log.jsonl"
    before = log.stat().st_ino if log.exists() else None
    process = start(folder, steps)
    while process.poll() is None and (not log.exists() or log.stat().st_ino == before):
        time.sleep(0.01)
    return process


def half_written(folder: Path) -> bool:
    return any((folder / "checkpoints").glob(".*.part"))


def stopped(process: subprocess.Popen, folder: Path, number: int) -> dict:
    """Send the signal; what has become of the process, and of the work it had done."""
    process.send_signal(number)
    status = process.wait()
    if status not in (0, -signal.SIGKILL, 128 + signal.SIGTERM):
        raise SystemExit(last_words(folder))
    saved = history(folder / "checkpoints")
    logged = read_log(folder) if (folder / "log.jsonl").exists() else []
    seconds = [line["seconds"] for line in logged[-1:]] or [0.0]
    kept = read(saved[-1])[1]["seconds"] if saved else 0.0
    return {
        "signal": signal.Signals(number).name,
        "status": status,
        "logged": logged[-1]["step"] if logged else 0,
        "saved": int(saved[-1].stem.removeprefix("step_")) if saved else 0,
        "seconds": round(seconds[0], 3),
        "seconds_lost": round(max(0.0, seconds[0] - kept), 3),
        "while_saving": half_written(folder),
    }


def loading(folder: Path, steps: int, rng: random.Random, longest: float) -> dict:
    """Kill the run up to ``longest`` seconds after its process began."""
    process = start(folder, steps)
    time.sleep(rng.uniform(0, longest))
    return stopped(process, folder, signal.SIGKILL)


def training(
    folder: Path,
    steps: int,
    rng: random.Random,
    number: int = signal.SIGKILL,
    *,
    aim: bool = False,
    most: int = 30,
) -> dict:
    """Stop the run fewer than ``most`` steps after it was taken up, at any moment of a step.

    ``aim``: wait for the next file that is being written after that, and strike in the middle.
    """
    process = taken_up(folder, steps)
    last = rng.randrange(most) + len(read_log(folder))
    while process.poll() is None and len(read_log(folder)) < last:
        time.sleep(0.01)
    seconds = [line["seconds"] for line in read_log(folder)[-2:]]
    time.sleep(rng.uniform(0, seconds[1] - seconds[0] if len(seconds) == 2 else 0.1))
    while aim and process.poll() is None and not half_written(folder):
        pass
    return stopped(process, folder, number)


def refused(folder: Path, steps: int) -> dict:
    """Let a second process into the folder of the first, which is then asked to stop."""
    first = taken_up(folder, steps)
    line = [sys.executable, "-m", "ddgan_lite", *arguments(folder, steps)]
    second = subprocess.run(line, capture_output=True, text=True)
    alive = first.poll() is None
    first.send_signal(signal.SIGTERM)
    return {
        "second": second.returncode,
        "sentence": second.stderr.strip().replace(str(folder), "runs/one"),
        "first_went_on": alive and first.wait() == 128 + signal.SIGTERM,
    }


def differences(a: Path, b: Path) -> list[str]:
    """The tensors of the last checkpoints that are not the same bit for bit: both networks, the
    average, both optimisers and the random state. "losses", if a line of the logs is not."""
    ours, theirs = (read(history(folder / "checkpoints")[-1])[0] for folder in (a, b))
    names, both = sorted(ours.keys() | theirs.keys()), ours.keys() & theirs.keys()
    found = [
        name for name in names if name not in both or not torch.equal(ours[name], theirs[name])
    ]
    losses = [
        [{k: v for k, v in line.items() if "second" not in k} for line in read_log(folder)]
        for folder in (a, b)
    ]
    return found + ["losses"] * (losses[0] != losses[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--early", type=int, default=20, help="kills in the first minute (20)")
    parser.add_argument("--later", type=int, default=30, help="kills after that (30)")
    parser.add_argument("--terms", type=int, default=10, help="SIGTERM (10)")
    parser.add_argument("--steps", type=int, default=1_200, help="of the run (1,200)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    options = parser.parse_args()
    steps, rng = options.steps, random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        disturbed, whole = (Path(temporary) / name for name in ("disturbed", "whole"))
        begin, rows = time.perf_counter(), []
        stopped(
            taken_up(Path(temporary) / "first", steps), Path(temporary) / "first", signal.SIGKILL
        )
        ready = time.perf_counter() - begin
        for number in range(options.early + options.later + options.terms):
            if number < options.early and number % 2 == 0:
                row = loading(disturbed, steps, rng, ready)
            elif number < options.early + options.later:
                aim = number >= options.early and number % 2 == 1
                row = training(disturbed, steps, rng, aim=aim)
            else:
                row = training(disturbed, steps, rng, signal.SIGTERM)
            rows.append(row)
            print(json.dumps(row), flush=True)
        beside = refused(disturbed, steps)
        for folder in (disturbed, whole):
            if start(folder, steps).wait():
                raise SystemExit(last_words(folder))
        kills = [row for row in rows if row["status"] == -signal.SIGKILL]
        terms = [row for row in rows if row["status"] == 128 + signal.SIGTERM]
        summary = {
            "steps": steps,
            "kills": len(kills),
            "kills_in_the_first_minute": sum(row["seconds"] < 60 for row in rows[: options.early]),
            "kills_before_the_first_checkpoint": sum(row["saved"] == 0 for row in kills),
            "kills_while_saving": sum(row["while_saving"] for row in kills),
            "terms": len(terms),
            "seconds_allowed": 60 * SAVE_MINUTES,
            "seconds_lost_by_a_kill": max((row["seconds_lost"] for row in kills), default=0.0),
            "steps_lost_by_a_term": max((row["logged"] - row["saved"] for row in terms), default=0),
            "two_in_one_folder": beside,
            "different": differences(disturbed, whole),
        }
    print(json.dumps(summary), flush=True)
    if options.store:
        results.store("kills", "python benchmarks/kills.py --store", {**summary, "rows": rows})
    kept = summary["seconds_lost_by_a_kill"] <= summary["seconds_allowed"]
    alone = beside["second"] == 1 and beside["first_went_on"]
    good = kept and alone and not summary["steps_lost_by_a_term"] and not summary["different"]
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
