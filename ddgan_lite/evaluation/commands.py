"""The commands ``sample`` and ``evaluate``: their grammar, and what they do with it."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from ddgan_lite.data.images import IMAGE_SETS, Images
from ddgan_lite.data.named import is_images, load_data, load_pair
from ddgan_lite.evaluation.features import INCEPTION
from ddgan_lite.evaluation.fidelity import ENOUGH, METRICS, evaluate, score
from ddgan_lite.evaluation.samples import write_images, write_picture
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.processes import this_process


def sample_arguments(command: Callable) -> None:
    """Give the command line its ``sample``; ``command`` makes a command of it."""
    sample = command(
        "sample",
        "draw images from a model",
        _sample,
        """  a grid of 64 in one picture:
    python -m ddgan_lite sample runs/cifar10 --out samples.png
  50,000 single PNG files:
    python -m ddgan_lite sample runs/cifar10 --n 50000 --out samples/
  the same files, made by all GPUs of this machine:
    accelerate launch -m ddgan_lite sample runs/cifar10 --n 50000 --out samples/
  how eight images come about, step by step:
    python -m ddgan_lite sample runs/cifar10 --steps --out steps.png""",
    )
    sample.add_argument(
        "model", help="a run's folder, a .safetensors file, or owner/name on the hub"
    )
    sample.add_argument("--n", type=int, help="how many (64; with --steps 8)")
    sample.add_argument("--out", default="samples.png", help="a .png for a grid, or a folder")
    looks = sample.add_mutually_exclusive_group()
    looks.add_argument("--columns", type=int, help="of the grid (8)")
    looks.add_argument("--steps", action="store_true", help="a row for each of x_T .. x_0 instead")
    there = sample.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace the folder's samples")
    there.add_argument("--append", action="store_true", help="count on from the folder's samples")
    sample.add_argument("--label", type=int, help="what to draw, 0, 1, .. (all in turn)")
    sample.add_argument("--guidance", type=float, default=1.0, help="stress on the label (1)")
    sample.add_argument(
        "--seed", type=int, default=0, help="with its number it decides each image (0)"
    )
    sample.add_argument("--batch", type=int, help="images drawn at once (128 of 32 x 32)")


def evaluate_arguments(command: Callable) -> None:
    """Give the command line its ``evaluate``; ``command`` makes a command of it."""
    scores = command(
        "evaluate",
        "score a model's samples, or one set of images, against another (torch-fidelity)",
        _evaluate,
        """    python -m ddgan_lite evaluate runs/cifar10 --data cifar10
  shared by all GPUs of this machine:
    accelerate launch -m ddgan_lite evaluate runs/cifar10 --data cifar10
  two folders, scaled and cut to 64 pixels:
    python -m ddgan_lite evaluate samples/ my/photos --size 64
  by a network of your own, the function embed in features.py:
    python -m ddgan_lite evaluate samples/ my/photos --extractor features:embed
  where the Inception weights cannot be downloaded:
    python -m ddgan_lite evaluate runs/cifar10 --data cifar10 --weights inception.pth""",
    )
    scores.add_argument("model", help="as for sample; or a set or folder of images")
    scores.add_argument("real", nargs="?", help="the images to compare with; or --data")
    scores.add_argument("--data", help=f"{', '.join(IMAGE_SETS)}, or as for train")
    scores.add_argument("--root", default="data", help="as for train")
    scores.add_argument("--n", type=int, help="samples of a model to score (50000)")
    scores.add_argument("--size", type=int, help="side, to scale and cut two sets to (as they are)")
    scores.add_argument("--seed", type=int, default=0, help="of the noise (0)")
    scores.add_argument(
        "--metrics", nargs="+", choices=METRICS, help="which ones (all; isc only with logits)"
    )
    scores.add_argument(
        "--extractor",
        default=INCEPTION,
        help="feature network: module:function, the file of a judge, a name in torch-fidelity",
    )
    scores.add_argument("--weights", help="file with the Inception weights")


def _sample(args: argparse.Namespace) -> None:
    process, out = this_process(), Path(args.out)
    picture = out.suffix == ".png"
    if out.suffix and not picture:
        raise ValueError(f"--out must be a .png file or a folder, got {out}.")
    for name in ("overwrite", "append") if picture else ("columns", "steps"):
        if getattr(args, name):
            wanted = "a folder" if picture else "a .png file"
            raise ValueError(f"--{name} needs {wanted} as --out, not {out}.")
    n = args.n if args.n is not None else 8 if args.steps else 64
    for name, value in {"n": n, "batch": args.batch, "columns": args.columns}.items():
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}.")
    model = DDGAN.load(args.model).to(args.device or process.device)
    if len(model.config.shape) != 3:
        raise ValueError(
            f"{args.model} draws points of shape {model.config.shape}, not images. In Python: "
            f"DDGAN.load({str(args.model)!r}).sample(100)."
        )
    if args.label is not None and model.classes and not 0 <= args.label < model.classes:
        raise ValueError(f"--label must be one of 0..{model.classes - 1}, got {args.label}.")
    how = {"guidance": args.guidance, "batch_size": args.batch, "seed": args.seed}
    how["labels"] = "in turn" if args.label is None else args.label
    if picture:
        if process.is_main_process:
            print(write_picture(model, out, n, columns=args.columns or 8, steps=args.steps, **how))
        return
    how |= {"overwrite": args.overwrite, "append": args.append, "process": process}
    with tqdm(total=n, unit="image", disable=not process.is_main_process, delay=0.01) as bar:
        for made in write_images(model, out, n, **how):
            bar.update(min(made * process.num_processes, n - bar.n))
    if process.is_main_process:
        print(f"{n} images in {out}")


def _evaluate(args: argparse.Namespace) -> None:
    if (args.real is None) == (args.data is None):
        raise ValueError("name the real images once: evaluate A B, or evaluate A --data B.")
    process, real = this_process(), args.real or args.data
    options = {name: getattr(args, name) for name in ("seed", "weights", "extractor")}
    device = args.device or process.device
    if is_images(args.model):
        if args.n is not None:
            raise ValueError("--n is for a model: of two sets of images all count.")
        with process.local_main_process_first():  # which downloads
            samples, data = load_pair(args.model, real, size=args.size, root=args.root)
    else:
        if args.size is not None:
            raise ValueError("--size is for two sets of images: a model has its own.")
        model = DDGAN.load(args.model).to(device)
        samples = range(50_000 if args.n is None else args.n)  # their numbers
        with process.local_main_process_first():
            data = load_data(real, model.config.shape, root=args.root)
        if not isinstance(data, Images):
            known = ", ".join(IMAGE_SETS)
            raise ValueError(f"{real} is no fixed set of images: give {known} or a folder.")
    few = 4 <= min(len(samples), len(data)) < ENOUGH
    if args.metrics is not None:
        options["metrics"] = {*args.metrics, *(["bias"] if few and "fid" in args.metrics else [])}
    options["process"] = process
    if isinstance(samples, Images):
        scores = score(samples, data, device=device, **options)
    else:
        scores = evaluate(model, data, n=len(samples), **options)
    if process.is_main_process:
        print(json.dumps(scores, indent=2))
        if few and "fid" in scores:
            print(
                f"warning: FID is too high with fewer than {ENOUGH:,} images, here by about "
                f"{scores['fid_bias']:.3g} (roughly, where there are fewer images than features): "
                "compare it only with an FID of as many.",
                file=sys.stderr,
            )
