"""What measurements over several seeds share: options, one thread, seconds of a run, its row."""

import argparse
import json
import time
from collections.abc import Callable, Iterable

import torch

from ddgan_lite.files import results


def parser(description: str, seeds: int, of: str = "runs") -> argparse.ArgumentParser:
    """The options --seeds, --first and --store."""
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    options.add_argument("--seeds", type=int, default=seeds, help=f"number of {of}")
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--store", action="store_true", help="keep them in book/results")
    return options


def seeds(args: argparse.Namespace) -> range:
    """Those that the options name."""
    return range(args.first, args.first + args.seeds)


def one_thread() -> None:
    """How small networks run fastest; Adam's averages of idle units decay into slow numbers."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def keep(row: dict, args: argparse.Namespace, name: str, command: str, same: Callable) -> None:
    """Print a run's row; with --store add it to book/results, see results.add_rows.

    After every run, because a long series may be stopped.
    """
    print(json.dumps(row), flush=True)
    if args.store:
        results.add_rows(name, command, [row], same)


def cpu_seconds(loop: Iterable) -> float:
    """Go through a training to its end; the processor seconds it took."""
    begin = time.process_time()
    for _ in loop:
        pass
    return time.process_time() - begin
