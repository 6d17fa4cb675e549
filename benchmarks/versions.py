"""CPU seconds of a training step and of sampling, for this library's own earlier versions.

    python benchmarks/versions.py [--rounds 8] [--store]

Each commit is checked out beside the others and trains the same networks in a process of its own
(width 32 and 16, 32 x 32, T = 4, batch 8, float32, one thread). The processes take turns, round by
round, so that the ratios hold on a machine whose speed drifts. It needs the repository's history.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = ""  # in place of a commit: the checkout as it is
VERSIONS = (  # commit, whether one fake serves both updates, what is new
    ("e303e80", False, "the first: depthwise filters, no gradient through the fakes D sees"),
    ("8d8bcf0", False, "channels_last, fused attention, shortcuts convolved before upsampling"),
    ("abc740d", False, "the last before the library had rooms"),
    (HERE, False, "as it is now"),
    (HERE, True, "the same, with one fake for both updates"),
)
BATCH = 8


def worker(shared_fake: bool) -> None:
    """Answer every line on standard input with the seconds of an R1 step, a plain one, a batch."""
    import torch  # here: this process runs an older library, the one that asks runs none

    try:
        from ddgan_lite import DDGAN, TrainSettings, UNetConfig, train
    except ImportError:  # before the rooms
        from ddgan_lite.model import DDGAN

        from ddgan_lite.networks import UNetConfig
        from ddgan_lite.training import TrainSettings, train

    class Noise:
        def sample(self, n, rng=None):
            return 2 * torch.rand(n, 3, 32, 32, generator=rng) - 1

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DDGAN(UNetConfig(width=32, discriminator_width=16))
    settings = TrainSettings(
        batch_size=BATCH,
        lr_generator=1.6e-4,
        lr_discriminator=1.25e-4,
        betas=(0.5, 0.9),
        r1=0.02,
        r1_interval=2,
        fresh_fake=not shared_fake,
    )
    steps = train(model, Noise(), settings)
    for _ in sys.stdin:
        seconds = []
        for action in (lambda: next(steps), lambda: next(steps), lambda: model.sample(BATCH)):
            begin = time.process_time()
            action()
            seconds.append(time.process_time() - begin)
        print(json.dumps(seconds), flush=True)


def ask(process: subprocess.Popen) -> list[float]:
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def measure(folder: Path, rounds: int) -> list[dict]:
    """One row per version: medians of the seconds, and their ratios to the first version's."""
    git = ["git", "-C", str(ROOT)]
    processes, trees = [], []
    try:
        for commit, shared_fake, _ in VERSIONS:
            tree = ROOT if commit == HERE else folder / commit
            if commit != HERE:
                add = [*git, "worktree", "add", "--detach", str(tree), commit]
                subprocess.run(add, check=True, capture_output=True)
                trees.append(tree)
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "--worker", str(int(shared_fake))],
                env=os.environ | {"PYTHONPATH": str(tree)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            processes.append(process)
        for process in processes:
            ask(process)  # warms up
        found = [[ask(process) for process in processes] for _ in range(rounds)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for tree in trees:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)
    rows = []
    for index, (commit, shared_fake, change) in enumerate(VERSIONS):
        row = {"commit": commit, "shared_fake": shared_fake, "change": change}
        for kind, name in enumerate(("r1_step", "plain_step", "sample")):
            row[f"{name}_s"] = statistics.median(turn[index][kind] for turn in found)
            row[f"{name}_ratio"] = statistics.median(t[index][kind] / t[0][kind] for t in found)
        rows.append(row)
    return rows


def main() -> None:
    """Print one JSON object a version."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="turns of each version (8)")
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        return worker(bool(args.worker))
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), args.rounds)
    for row in rows:
        print(json.dumps(row))
    if args.store:
        # Here: the workers import this file too, with a library of their own.
        from ddgan_lite.files import results

        command = f"python benchmarks/versions.py --rounds {args.rounds} --store"
        results.store("bench_versions", command, {"rounds": args.rounds, "rows": rows})


if __name__ == "__main__":
    main()
