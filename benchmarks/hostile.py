"""Damaged and lying files at every border: is each refused in a sentence, at once, and unharmed?

    python benchmarks/hostile.py --files 10000 --store

Good files of every kind are made, then mutated: by the bit and the block as a failing disk does it,
and as a stranger would who writes a right checksum under whatever he likes. Every mutated file is
handed to every border in another process, so that a crash, more than five seconds of the processor
and more than 1 GiB of memory are seen. Prints one JSON object with the counts, and the
first files that did not end well, to be made again with ``--first NUMBER --files 1``.
"""

import argparse
import collections
import contextlib
import io
import itertools
import json
import os
import pickle
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

import torch
import torchvision.utils  # noqa: F401 (before the fork: it takes seconds)
from safetensors.torch import save, save_file

from ddgan_lite.__main__ import main as command
from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.exchange.reference import generator_names
from ddgan_lite.files import checkpoints, results
from ddgan_lite.files.checkpoints import CheckpointError
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import ConvConfig, MLPConfig, PyramidConfig, UNetConfig
from ddgan_lite.training import resume
from ddgan_lite.training.resume import OtherRunError
from ddgan_lite.training.settings import TrainSettings
from ddgan_lite.training.trainer import Trainer

POINTS = MLPConfig(num_steps=2, latent_dim=2, width=8, depth=2, frequencies=(1.0,), data_std=1.0)
IMAGES = UNetConfig(
    (3, 16, 16), 2, 4, 8, (1, 2), 1, 16, 8, 1, discriminator_width=2, discriminator_time_dim=4
)
MODELS = {
    "points": POINTS,
    "digits": ConvConfig(num_steps=2, latent_dim=2, width=2, hidden=4, classes=3),
    "pyramid": PyramidConfig((1, 16, 16), 2, 2, width=8, levels=1, hidden=4, style=4),
    "images": replace(IMAGES, multipliers=(1,), noise_levels=(1.0, 5.0)),
}
ABOUT = {
    "data": "noise",
    "steps": 3,
    "seed": 0,
    "seconds": 1.5,
    "scores": {"fd": 0.5},
    "torch": "2",
}
SECONDS, GIB = 5, 2**20  # of the processor; ru_maxrss counts in KiB


# -- good files ------------------------------------------------------------------------------


def trainer() -> Trainer:
    torch.manual_seed(0)
    return Trainer(DDGAN(POINTS), gaussian_grid(), TrainSettings(steps=4, batch_size=8))


def make(folder: Path) -> None:
    """A file of every kind: models, one kept for training, a run's checkpoint, published ones."""
    for name, config in MODELS.items():
        DDGAN(config).save(folder / f"{name}.safetensors", **ABOUT)
    DDGAN(POINTS).save(folder / "kept.safetensors", keep="training", **ABOUT)
    run = trainer()
    next(iter(run)), next(iter(run))
    resume.save(run, folder / "run.safetensors", data="grid", seconds=1.5)
    generator = IMAGES.build_generator()
    weights = generator.state_dict()
    published = {
        theirs: weights[ours].flatten(1).T.contiguous() if theirs.endswith(".W") else weights[ours]
        for theirs, ours in generator_names(generator).items()
    }
    torch.save(published, folder / "netG.pth")
    torch.save(published, folder / "old.pth", _use_new_zipfile_serialization=False)


# -- mutations -------------------------------------------------------------------------------

ODD = [
    None, True, -1, 0, 1, 2, 0.5, 2**31, 2**63 - 1, 2**64, -(10**30), 1e-308, 1e308, float("nan"),
    float("inf"), "", "wide", "two\nlines\x1b[31m", "9" * 5_000, [], [0], [2.5], ["x"], [2**64] * 3,
    [1] * 20_000, {}, {"a\n\x1b[0m": {"b": []}}, [[[[[[[[]]]]]]]],
]  # fmt: skip
TYPES = [
    torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8,
    torch.complex64, torch.float8_e4m3fn,
]  # fmt: skip


def flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def grow(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.randrange(1, 100))


def overwrite(data: bytearray, rng: random.Random) -> None:
    at, size = rng.randrange(len(data)), rng.randrange(1, 64)
    data[at : at + size] = rng.choice([bytes(size), rng.randbytes(size)])


def begin(data: bytearray, rng: random.Random) -> None:
    """Another length of the table, or bytes in the table: names, types, shapes, places."""
    if rng.random() < 0.3:
        data[:8] = rng.choice([0, 1, 2**24, 2**40, 2**64 - 1]).to_bytes(8, "little")
        return
    size = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + size].decode()
    numbers = [at for at, letter in enumerate(text) if letter.isdigit()] or [0]
    at = rng.choice(numbers)
    changed = text[:at] + rng.choice(["0", "9", "-1", "9" * 30, "[", '"', "\\n"]) + text[at + 1 :]
    data[: 8 + size] = len(changed).to_bytes(8, "little") + changed.encode()


def bury(data: bytearray, rng: random.Random) -> None:
    """A header that is a burden to parse."""
    n = rng.choice([50, 5_000, 500_000])
    text = rng.choice(
        ["[" * n, '{"a":' * n, "1" * n, f'{{"kind": {"[" * n}{"]" * n}}}', '"\\\\' * n]
    )
    metadata = {"format": checkpoints.FORMAT, "header": text}
    data[:] = save({"x": torch.zeros(2)}, metadata)


def places(tree: object, way: tuple = ()) -> list[tuple]:
    """Every way from the root of a JSON object to a part of it."""
    if not isinstance(tree, dict | list):
        return []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    ways = [[(*way, key), *places(value, (*way, key))] for key, value in items]
    return list(itertools.chain.from_iterable(ways))


def lie(tensors: dict, header: dict, rng: random.Random) -> None:
    """Another value at any place of the header, or none, or one more."""
    *way, last = rng.choice(places(header))
    for key in way:
        header = header[key]
    what = rng.random()
    if what < 0.8:
        header[last] = rng.choice(ODD)
    elif what < 0.9:
        del header[last]
    elif isinstance(header, dict):
        header[rng.choice(["x", "a\nb\x1b[2J", "self", "n" * 5_000])] = rng.choice(ODD)


def reshape(tensors: dict, header: dict, rng: random.Random) -> None:
    """A tensor of another shape, type, value or name; one too few, one too many."""
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    fill = rng.choice([float("nan"), float("inf"), -1.0, 1e30])
    choice = rng.randrange(8)
    if choice == 0:
        tensors[name] = tensor.flatten()[:-1].clone()
    elif choice == 1:
        tensors[name] = tensor.reshape(-1, 1).T.contiguous()
    elif choice == 2:
        tensors[name] = tensor.reshape(-1)[:1].reshape(()).clone() if tensor.numel() else tensor
    elif choice == 3:
        tensors[name] = torch.zeros(rng.choice([0, 1, 7, 4_096]), dtype=tensor.dtype)
    elif choice == 4:
        tensors[name] = tensor.float().to(rng.choice(TYPES))
    elif choice == 5 and tensor.is_floating_point():
        tensors[name] = torch.full_like(tensor, fill)
    elif choice == 6:
        tensors[rng.choice(["x", "a\nb\x1b[2J", f"{name}.more", "n" * 5_000])] = tensor.clone()
    else:
        del tensors[name]


def exchange(tensors: dict, header: dict, rng: random.Random) -> None:
    """Two tensors change places."""
    a, b = rng.sample(sorted(tensors), 2)
    tensors[a], tensors[b] = tensors[b], tensors[a]


def optimiser(tensors: dict, header: dict, rng: random.Random) -> None:
    """The same as ``reshape`` of Adam's averages and of the random state alone."""
    inner = {name: tensors.pop(name) for name in list(tensors) if name.startswith(("adam", "rng"))}
    reshape(inner, header, rng) if inner else lie(tensors, header, rng)
    tensors |= inner


class Trap:
    """Unpickled, it leaves a file behind."""

    def __reduce__(self):
        return open, ("sprung", "w")


def dress(tensors: dict, header: dict, rng: random.Random) -> None:
    """Other things than tensors, code among them, as only a pickle can hold them."""
    name = rng.choice(sorted(tensors))
    tensors[name] = rng.choice(
        [Trap(), {"epoch": 3}, "text", 3.0, None, torch.zeros(1).expand(2**40)]
    )


RAW = {each.__name__: each for each in (flip, cut, grow, overwrite)}
TABLE = {each.__name__: each for each in (begin, bury)}
WITHIN = {each.__name__: each for each in (lie, reshape, exchange, optimiser)}
PUBLISHED = {each.__name__: each for each in (reshape, exchange, dress)}


def mutate(good: Path, kind: str, rng: random.Random) -> None:
    """A mutated copy of ``good`` in the present folder, under its name."""
    there = Path(good.name)
    if kind in RAW | TABLE:
        data = bytearray(good.read_bytes())
        (RAW | TABLE)[kind](data, rng)
        there.write_bytes(data)
    elif good.suffix == ".pth":
        tensors = torch.load(good, weights_only=True)
        PUBLISHED[kind](tensors, {}, rng)
        torch.save(tensors, there, _use_new_zipfile_serialization=good.stem == "netG")
        if rng.random() < 0.05:
            there.write_bytes(pickle.dumps(Trap()))
    else:
        tensors, header = checkpoints.read(good)
        WITHIN[kind](tensors, header, rng)
        text = json.dumps(header)
        total = checkpoints._checksum(tensors, text)
        save_file(tensors, there, {"format": checkpoints.FORMAT, "header": text, "sha256": total})


# -- borders ---------------------------------------------------------------------------------


def ask(*words: str) -> None:
    """A command; what it says in place of an answer must be one line."""
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        status = command(list(words))
    lines = printed.getvalue().splitlines()
    if any(not line.isprintable() for line in lines):
        raise AssertionError("it prints what a terminal would obey")
    if status:
        raise ValueError(said.getvalue().removesuffix("\n"))


def go_on(path: str) -> None:
    run = trainer()
    resume.load(run, path)
    list(run)


def draw(model: DDGAN) -> None:
    """A sample of points; images are drawn by the command."""
    if len(model.config.shape) == 1:
        model.sample(1)


BORDERS = {
    "load": lambda path: draw(DDGAN.load(path)),
    "load to train": lambda path: DDGAN.load(path, keep="training"),
    "sample": lambda path: ask("sample", path, "--n", "1", "--out", "one.png", "--device", "cpu"),
    "export-js": lambda path: ask("export-js", path, "one.js"),
    "card": lambda path: ask("card", path),
    "resume": go_on,
    "--start": lambda path: resume.begin_with(DDGAN(POINTS), path),
    "convert": lambda path: ask("convert", path, "one.safetensors", "--num-steps", "2"),
}


def attack(paths: list[Path], numbers: list[int], report: int) -> None:
    """Make these files, hand each to every border, and write down how that ends. Runs in a fork.

    Each line is written twice: as a crash before the border is tried, as what it was after that.
    """
    torch.set_num_threads(1)
    for number in numbers:
        good, kind, rng = plan(paths, number)
        mutate(good, kind, rng)
        for name, border in BORDERS.items():
            row = {"number": number, "file": good.name, "kind": kind, "border": name}
            say(report, row | {"outcome": "crash"})
            signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)  # ends the process
            begun, start = time.process_time(), peak()
            row["outcome"] = attempt(border, good.name, row)
            signal.setitimer(signal.ITIMER_PROF, 0)
            row |= {"seconds": time.process_time() - begun, "gib": (peak() - start) / GIB}
            if row["seconds"] > SECONDS:
                row["outcome"] = "hang"
            elif row["gib"] > 1:  # the files are of some kB
                row["outcome"] = "memory"
            elif Path("sprung").exists():
                row["outcome"] = "code run"
                Path("sprung").unlink()
            elif row["outcome"] == "accepted" and kind == "flip" and good.suffix != ".pth":
                row["outcome"] = "flip unnoticed"
            say(report, row)


def plan(paths: list[Path], number: int) -> tuple[Path, str, random.Random]:
    """Which good file is mutated as number ``number``, how, and by which random numbers."""
    rng, good = random.Random(number), paths[number % len(paths)]
    kinds = [*RAW, *PUBLISHED] if good.suffix == ".pth" else [*RAW, *TABLE, *WITHIN, "lie"]
    return good, rng.choice(kinds), rng


def attempt(border, path: str, row: dict) -> str:
    """Whether the border accepts the file, refuses it in a sentence, or shows a traceback."""
    try:
        border(path)
        return "accepted"
    except (ValueError, FloatingPointError, FileNotFoundError) as error:
        # json's errors and those of text are ValueErrors as well: nobody meant them for a reader.
        meant = (ValueError, FloatingPointError, FileNotFoundError, OtherRunError, CheckpointError)
        if type(error) in meant and str(error).isprintable():
            return "sentence"
        row["why"] = traceback.format_exc()[-600:]
    except BaseException:
        row["why"] = traceback.format_exc()[-600:]
    return "traceback"


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def say(report: int, row: dict) -> None:
    os.write(report, (json.dumps(row) + "\n").encode())


def apart(work, *arguments) -> tuple[list[dict], int]:
    """``work(*arguments, pipe)`` in a process of its own: the rows it wrote, and its status."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (2**35, 2**35))  # 32 GiB: spare the machine
            os.dup2(os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            work(*arguments, writing)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as pipe:
        rows = [json.loads(line) for line in pipe]
    return rows, os.waitpid(child, 0)[1]


def endings(paths: list[Path], numbers: list[int]) -> dict[tuple[int, str], dict]:
    """How every file ended at every border; after a crash another process takes the next file."""
    found: dict[tuple[int, str], dict] = {}
    while numbers:
        rows, status = apart(attack, paths, numbers)
        found |= {(row["number"], row["border"]): row for row in rows}
        if status == 0:
            break
        if not rows or not os.WIFSIGNALED(status):  # a fault of this script
            raise SystemExit(Path("said.txt").read_text())
        if os.WTERMSIG(status) == signal.SIGPROF:
            found[rows[-1]["number"], rows[-1]["border"]]["outcome"] = "hang"
        numbers = [number for number in numbers if number > rows[-1]["number"]]
    return found


def main() -> int:
    """Mutate, hand over, count."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--files", type=int, default=1_000, help="mutated files (1000)")
    options.add_argument("--first", type=int, default=0, help="number of the first (0)")
    options.add_argument("--store", action="store_true", help="keep the counts in book/results")
    args = options.parse_args()
    numbers = list(range(args.first, args.first + args.files))
    borders = {name: collections.Counter() for name in BORDERS}
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
        goods = Path("good")
        goods.mkdir()
        if apart(lambda _: make(goods))[1]:  # training before a fork would spoil the fork's own
            raise SystemExit(Path("said.txt").read_text())
        paths = sorted(goods.iterdir())
        found = endings(paths, numbers)
        kinds = collections.Counter("{1} of {0.suffix}".format(*plan(paths, n)) for n in numbers)
    for row in found.values():
        borders[row["border"]][row["outcome"]] += 1
    bad = [row for row in found.values() if row["outcome"] not in ("sentence", "accepted")]
    result = {
        "files": len(numbers),
        "borders": borders,
        "kinds": kinds,
        "longest_s": max(row.get("seconds", 0.0) for row in found.values()),
        "most_gib": max(row.get("gib", 0.0) for row in found.values()),
        "bad": bad[:20],
    }
    print(json.dumps(result, indent=1))
    if args.store:
        line = f"python benchmarks/hostile.py --files {args.files} --first {args.first} --store"
        results.store("hostile", line, result)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
