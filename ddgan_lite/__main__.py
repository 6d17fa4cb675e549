"""The command line: ``ddgan-lite`` or ``python -m ddgan_lite``, and one of six commands."""

import argparse
import shlex
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from ddgan_lite import __version__
from ddgan_lite.data.named import DATA
from ddgan_lite.evaluation.commands import evaluate_arguments, sample_arguments
from ddgan_lite.exchange.javascript import to_javascript
from ddgan_lite.exchange.reference import load_reference_checkpoint
from ddgan_lite.files.cards import card
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.presets import PRESETS, parse, preset
from ddgan_lite.training.runs import run
from ddgan_lite.training.trainer import this_process


def _train(args: argparse.Namespace) -> None:
    changes = parse(args.set)
    if args.data is not None:
        changes["data"] = args.data
    if args.steps is not None:
        changes["steps"] = args.steps
    chosen = preset(args.preset, quick=args.quick, **changes)
    folder = Path(args.out or f"runs/{args.preset}{'-quick' if args.quick else ''}")
    lines = run(
        chosen,
        folder,
        device=args.device,
        keep=args.keep,
        tensorboard=args.tensorboard,
        start=args.start,
        about={"preset": f"{args.preset}{' (quick)' if args.quick else ''}", "command": args.line},
        root=args.root,
        flip=args.flip,
    )
    main = this_process().is_main_process
    told = f"Training {args.preset} on {chosen.data} in {folder}; the same line goes on with it."
    # The delay keeps the bar away until there is a first line: an error before that stands alone.
    with tqdm(total=chosen.settings.steps, unit="step", disable=not main, delay=0.01) as bar:
        for line in lines:
            if main and told:  # not before an error
                print(told)
                told = ""
            shown = [name for name in line if name.startswith(("d_", "g_", "images_per"))]
            terms = {name: f"{line[name]:.3g}" for name in shown if not name.endswith("_by_step")}
            bar.set_postfix(terms, refresh=False)
            if not bar.n:  # of a resumed run only what it does now counts for the rate
                bar.initial = bar.n = max(0, line["step"] - chosen.log_every)
            bar.update(line["step"] - bar.n)
    if main:
        print(f"Done: {folder / 'model.safetensors'}")


def _card(args: argparse.Namespace) -> None:
    print(card(args.model))


def _convert(args: argparse.Namespace) -> None:
    if args.num_steps is not None and args.num_steps < 1:
        raise ValueError(f"--num-steps must be at least 1, got {args.num_steps}.")
    model = load_reference_checkpoint(args.checkpoint, args.num_steps, image_size=args.image_size)
    print(model.save(args.out, source=Path(args.checkpoint).name))


def _export_js(args: argparse.Namespace) -> None:
    model = DDGAN.load(args.model)
    print(to_javascript(model, args.out, name=args.name, half=args.half))


def _device(text: str) -> torch.device:
    """A device that is there."""
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # torch raises either
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        there += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(
            f"there is no device {text!r} here: known are {', '.join(there)}."
        ) from error
    return device


def parser() -> argparse.ArgumentParser:
    """The command line's grammar, and the help that teaches it."""
    top = argparse.ArgumentParser(
        prog="ddgan-lite" if Path(sys.argv[0]).stem == "ddgan-lite" else "python -m ddgan_lite",
        description="Train, sample, evaluate, convert and export Denoising Diffusion GANs.",
    )
    top.add_argument("--version", action="version", version=f"ddgan_lite {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, does: str, act, examples: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=does,
            description=does[0].upper() + does[1:] + ".",
            epilog="examples:\n" + examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(act=act)
        if name not in ("card", "convert", "export-js"):
            made.add_argument(
                "--device", help="cpu, cuda, cuda:1, mps; left out: the best there is"
            )
        return made

    train = command(
        "train",
        "train a model, or go on with a run that was stopped",
        _train,
        """  a minute or two on a CPU, nothing to download:
    python -m ddgan_lite train cifar10 --quick
  the paper's CIFAR-10 run on one GPU; after a stop the same line goes on:
    python -m ddgan_lite train cifar10 --out runs/cifar10
  on all GPUs of this machine, in bfloat16:
    accelerate launch -m ddgan_lite train cifar10 --set mixed_precision=bf16
  your own images at 64 pixels:
    python -m ddgan_lite train cifar10 --data my/photos --set "shape=(3, 64, 64)"
  too large for the memory? the same update in four parts:
    python -m ddgan_lite train lsun_church_256 --set accumulate=4""",
    )
    train.add_argument("preset", help=f"one of {', '.join(PRESETS)}")
    train.add_argument("--quick", action="store_true", help="the small size for a CPU")
    train.add_argument("--data", help=f"{', '.join(DATA)}, or a folder of images")
    train.add_argument("--root", default="data", help="where published sets lie or go (data)")
    train.add_argument("--out", help="the run's folder (runs/PRESET or runs/PRESET-quick)")
    train.add_argument("--start", help="another run, whose networks are the initial ones")
    train.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="mirror half of the images; left out: as the set is used to",
    )
    train.add_argument("--steps", type=int, help="generator updates; the learning rate ends there")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change any value of the preset, its networks or its settings; may be repeated",
    )
    train.add_argument("--keep", type=int, default=2, help="checkpoints to keep (2)")
    train.add_argument("--tensorboard", action="store_true", help="write TensorBoard's files")

    sample_arguments(command)
    evaluate_arguments(command)

    about = command(
        "card",
        "print where a model comes from and how it scored, out of its own file",
        _card,
        "    python -m ddgan_lite card runs/cifar10",
    )
    about.add_argument("model", help="as for sample")

    convert = command(
        "convert",
        "turn a published checkpoint into a file of this library",
        _convert,
        "    python -m ddgan_lite convert netG_1200.pth cifar10.safetensors --num-steps 4",
    )
    convert.add_argument("checkpoint", help="netG_<epoch>.pth; nothing in it is executed")
    convert.add_argument("out", help="the .safetensors file to write")
    convert.add_argument("--num-steps", type=int, default=4, help="T of the checkpoint (4)")
    convert.add_argument("--image-size", type=int, help="in pixels, where the file leaves it open")

    export = command(
        "export-js",
        "write a small model as a script, to run in a web page",
        _export_js,
        "    python -m ddgan_lite export-js runs/gaussians gaussians.js",
    )
    export.add_argument("model", help="as for sample; an MLP or a small convolutional network")
    export.add_argument("out", help="the .js file to write")
    export.add_argument("--name", help="in ddganModels[NAME] (the file's name)")
    export.add_argument("--half", action="store_true", help="round the weights to half precision")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; what a user can get wrong is answered with one sentence and status 1."""
    args = parser().parse_args(arguments)
    args.line = "python -m ddgan_lite " + shlex.join(
        sys.argv[1:] if arguments is None else arguments
    )
    try:
        if getattr(args, "device", None) is not None:
            args.device = _device(args.device)
        args.act(args)
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        gpu = isinstance(error, torch.cuda.OutOfMemoryError)
        if not gpu and "can't allocate memory" not in str(error):
            raise
        print(
            "error: out of memory. Try a smaller batch: --set batch_size=... or, for the same "
            "update in parts, --set accumulate=2; for sample, --batch.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same line goes on from the last checkpoint.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
