"""Train a preset for so many minutes of one CUDA device, and keep what the book shows of it.

    python benchmarks/gpu_train.py --preset speedrun --minutes 20 --out book/results/speedrun

1. Throw-away networks are compiled and timed. From that follows the number of steps with which
   training, and the fall of its learning rate, end within ``--minutes`` from the start of this
   program. It is written down in the run's folder.
2. The run itself, by ddgan_lite.training.runs: after a stop the same line goes on with it, as
   planned.
3. With every checkpoint, and at the end with scores: ``OUT.safetensors``, the averaged weights in
   half precision with their card; ``OUT.json``, the card, the plan and the log; ``OUT.png``, the
   newest samples, and those of three earlier checkpoints as ``OUT-step-N.png``. Weights of more
   than 12 MB stay in the run's folder, as ``half.safetensors``.

To try it where there is no such device:

    python benchmarks/gpu_train.py --preset speedrun --quick --device cpu --minutes 2 --out /tmp/try
"""

import argparse
import importlib
import json
import math
import os
import shlex
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import stacks
import torch
from torch import Tensor

from ddgan_lite.data.images import Images, to_unit
from ddgan_lite.data.named import load_data
from ddgan_lite.evaluation.fidelity import evaluate
from ddgan_lite.evaluation.judge import Judge
from ddgan_lite.evaluation.metrics import mode_scores, sliced_wasserstein
from ddgan_lite.files import checkpoints
from ddgan_lite.files.cards import missing
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.logs import read_log
from ddgan_lite.training.presets import PRESETS, Preset, parse, preset
from ddgan_lite.training.protocols import Data
from ddgan_lite.training.runs import provenance, run

SAVES = 12  # checkpoints of a run
SHOWN = (1, 3, 6)  # those whose samples are kept besides the newest
SPARE = 0.04  # of the time that is left for training, for what the timing did not see
LARGEST = 12e6  # bytes of weights that may lie beside the other results; more stay with the run
SEED = 1  # of the samples that are scored; the runs themselves have seed 0


def images(args: argparse.Namespace, chosen: Preset) -> Data:
    """The training images; their name says so if they come from JPEG files."""
    if args.data is None:
        options = {"root": args.root, "download": args.download, "flip": args.flip}
        return load_data(chosen.data, chosen.config.shape, **options)
    folder = Path(args.data).expanduser().resolve()
    data = load_data(str(folder), chosen.config.shape, flip=args.flip)
    data.name = args.called or f"{folder.parent.name}/{folder.name}"
    jpeg = any(file.suffix.lower() in (".jpg", ".jpeg") for file in folder.rglob("*"))
    if jpeg and "JPEG" not in data.name:
        data.name += " (JPEG files)"
    return data


def pace(chosen: Preset, data: Data, device: str) -> tuple[float, float]:
    """Seconds of one step, and of one checkpoint with its samples, after everything is compiled."""
    every = chosen.log_every
    trial = replace(
        chosen, settings=replace(chosen.settings, steps=4 * every + 1), save_every=3 * every
    )
    with TemporaryDirectory() as folder:
        lines = run(trial, folder, data=data, device=device)
        # Training is compiled before the first line, the look at the losses by step after it.
        _, second, third, fourth = (next(lines)["seconds"] for _ in range(4))
        lines.close()
    return (third - second) / every, max(0.0, (fourth - third) - (third - second))


def plan(args: argparse.Namespace, chosen: Preset, data: Data, begin: float) -> dict:
    """How long to train: as written in the run's folder, or found out and written there."""
    path = args.run / "plan.json"
    if path.exists():
        return json.loads(path.read_text())
    step, save = pace(chosen, data, args.device)
    ready = time.perf_counter() - begin
    # A checkpoint is read back for the results: about as long again.
    steps = int(((1 - SPARE) * (60 * args.minutes - ready) - 2 * SAVES * save) / step)
    if steps < SAVES:
        least = (ready + 2 * SAVES * save + 10 * SAVES * step) / 60
        raise ValueError(
            f"{args.minutes:g} minutes are too short: it took {ready:.0f} s to get ready, and a "
            f"step takes {step:.2f} s. Give --minutes {1.1 * least:.1f} or more."
        )
    found = {
        "minutes": args.minutes,
        "steps": steps,
        "seconds_to_get_ready": ready,
        "seconds_per_step": step,
        "seconds_per_checkpoint": save,
        "images_per_second": chosen.settings.batch_size / step,
    }
    args.run.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    return found


def about_run(args: argparse.Namespace) -> dict:
    """What only the command line knows, for the card."""
    name = f"{args.preset}{' (quick)' if args.quick else ''}"
    return {"preset": name, "command": args.line}


def keep(args: argparse.Namespace, chosen: Preset, planned: dict, **more: object) -> Path:
    """Write the results as they stand at the newest checkpoint; the path of the weights."""
    newest = checkpoints.history(args.run / "checkpoints")[-1]
    header = checkpoints.read(newest)[1]
    record = {key: header[key] for key in ("data", "seconds")}
    about = provenance(chosen, about_run(args) | record, torch.device(args.device)) | more
    about["steps"] = header["training"]["step"]
    if args.code:
        about["commit"] = args.code
    model = DDGAN.load(newest)
    small = 2 * sum(weight.numel() for weight in model.parameters()) <= LARGEST
    weights = named(args.out, ".safetensors") if small else args.run / "half.safetensors"
    model.save(weights, half=True, **about)
    grids = args.run / "samples"
    for step in (number * chosen.save_every for number in SHOWN):
        if step < about["steps"]:
            shutil.copy(grids / f"step_{step:08d}.png", named(args.out, f"-step-{step}.png"))
    for grid in sorted(grids.glob("step_*.png"))[-1:]:  # not every checkpoint has one
        shutil.copy(grid, named(args.out, ".png"))
    result = {"provenance": about, "plan": planned, "log": read_log(args.run)}
    whole = named(args.out, ".json")
    partial = whole.with_name(f".{whole.name}.part")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(partial, whole)
    return weights


def named(out: Path, ending: str) -> Path:
    """``out`` with something behind its name, in a folder that is there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.with_name(out.name + ending)


def two_parts(data: Data, n: int) -> tuple[Tensor, Tensor]:
    """Twice n real images, or as many as there are; of a finite set none is in both parts."""
    rng = torch.Generator().manual_seed(SEED)
    if not isinstance(data, Images):
        return data.sample(n, rng), data.sample(n, rng)
    order, n = torch.randperm(len(data), generator=rng), min(n, len(data) // 2)
    return to_unit(data.load(order[:n])), to_unit(data.load(order[n : 2 * n]))


def score(args: argparse.Namespace, model: DDGAN, data: Data) -> tuple[dict, str]:
    """What this machine can tell of the samples, and by which protocol."""
    model = model.to(args.device)
    rng = torch.Generator(args.device).manual_seed(SEED)
    samples = model.sample(args.samples, rng=rng, batch_size=min(args.samples, 500)).cpu()
    near, other = two_parts(data, args.samples)
    n = len(near)
    found = {
        "sliced_w2": sliced_wasserstein(samples[:n], near),
        "sliced_w2_of_real": sliced_wasserstein(other, near),
    }
    protocol = [
        f"{n:,} samples (seed {SEED}), sliced 2-Wasserstein distance of the pixels from as many "
        "training images, and of other training images from these"
    ]
    if getattr(data, "name", "") == "stacked_mnist":
        try:
            found |= mode_scores(stacks.read(Judge.load(), samples)[0], 1000)
            protocol.append(f"modes of {len(samples):,} samples by ddgan_lite.evaluation.judge")
        except FileNotFoundError as error:
            protocol.append(f"no modes: {error}")
    if args.inception:
        protocol.append("fid: 50,000 samples against all training images, torch-fidelity")
        found |= evaluate(model, data, seed=SEED, metrics=["fid"], weights=args.inception)
    else:
        protocol.append("no FID: Inception's weights were not at hand")
    return found, "; ".join(protocol)


def train(args: argparse.Namespace, begin: float) -> None:
    """Plan, train and keep; says what it does."""
    if torch.device(args.device).type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("there is no CUDA device here: --quick --device cpu tries it out.")
        dynamo = importlib.import_module("torch._dynamo")
        dynamo.config.recompile_limit = 64  # D alone is called in six ways
    changes = parse(args.set)
    chosen = preset(args.preset, quick=args.quick, **changes)
    data = images(args, chosen)
    planned = plan(args, chosen, data, begin)
    steps = planned["steps"]
    settings = replace(chosen.settings, steps=steps)
    chosen = replace(chosen, settings=settings, save_every=math.ceil(steps / SAVES))
    print("planned:", json.dumps(planned), flush=True)

    kept: list[Path] = []
    for line in run(chosen, args.run, data=data, device=args.device, about=about_run(args)):
        shown = [key for key in line if key.startswith(("d_", "g_", "r")) and key[-5:] != "_step"]
        terms = ", ".join(f"{key} {line[key]:.4f}" for key in shown)
        speed = f"{line['seconds']:.0f} s, {line['images_per_second']:.0f} images/s"
        print(f"{line['step']} of {steps}, {speed}: {terms}", flush=True)
        newest = checkpoints.history(args.run / "checkpoints")[-1:]
        if newest != kept:  # saved after the line before
            keep(args, chosen, planned)
            kept = newest
    print(f"trained, {time.perf_counter() - begin:.0f} s after the start", flush=True)
    weights = keep(args, chosen, planned)
    found, protocol = score(args, DDGAN.load(weights), data)
    whole, _ = score(args, DDGAN.load(args.run), data)
    keep(args, chosen, planned, scores=found, scores_float32=whole, protocol=protocol)
    print(f"{weights}; its card leaves open: {', '.join(missing(weights)) or 'nothing'}")


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    top.add_argument("--preset", required=True, choices=PRESETS)
    top.add_argument("--minutes", type=float, required=True, help="until training has ended")
    top.add_argument("--out", type=Path, required=True, help="results are called OUT.json, ...")
    top.add_argument("--run", type=Path, help="the run's folder (runs/, and the last part of OUT)")
    top.add_argument("--root", default="data", help="where published sets lie (data)")
    top.add_argument("--download", action="store_true", help="fetch a published set if need be")
    top.add_argument("--data", help="a folder of images in place of the preset's set")
    top.add_argument("--called", help="what the card calls these images")
    top.add_argument("--flip", action=argparse.BooleanOptionalAction, help="as for train")
    top.add_argument("--quick", action="store_true", help="the small size for a CPU")
    top.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for train")
    top.add_argument("--device", default="cuda")
    top.add_argument("--samples", type=int, default=10_000, help="how many to score (10000)")
    top.add_argument("--inception", help="file with Inception's weights, for the FID")
    top.add_argument("--code", help="the commit, where git cannot be asked")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run it; what can go wrong is answered with one sentence and status 1."""
    begin = time.perf_counter()
    words = sys.argv[1:] if arguments is None else arguments
    args = parser().parse_args(words)
    args.line = "python benchmarks/gpu_train.py " + shlex.join(words)
    args.run = args.run or Path("runs") / args.out.name
    try:
        train(args, begin)
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
