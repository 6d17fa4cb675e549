"""The command line: ``ddgan-lite`` or ``python -m ddgan_lite``, and its commands."""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

import torch

from ddgan_lite import __version__
from ddgan_lite.data.named import DATA
from ddgan_lite.evaluation.commands import evaluate_arguments, sample_arguments
from ddgan_lite.exchange.commands import exchange_commands
from ddgan_lite.exchange.reference import load_reference_checkpoint
from ddgan_lite.files.cards import card
from ddgan_lite.training.presets import PRESETS, parse, preset
from ddgan_lite.training.processes import this_process
from ddgan_lite.training.runs import run


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
        trackers=args.log.split(",") if args.log else (),
        show=True,
        start=args.start,
        about={"preset": f"{args.preset}{' (quick)' if args.quick else ''}", "command": args.line},
        root=args.root,
        flip=args.flip,
    )
    for _ in lines:
        pass
    if this_process().is_main_process:
        print(f"Done: {folder / 'model.safetensors'}")


def _card(args: argparse.Namespace) -> None:
    print(card(args.model))


def _convert(args: argparse.Namespace) -> None:
    model = load_reference_checkpoint(args.checkpoint, args.num_steps, image_size=args.image_size)
    how = "as given: the file does not say" if args.num_steps else "that of the published CIFAR-10"
    about = {"source": Path(args.checkpoint).name, "T": f"{model.config.num_steps}, {how}"}
    print(model.save(args.out, **about))


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
        if name in ("train", "sample", "evaluate"):
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
    python -m ddgan_lite train lsun_church_256 --set accumulate=4
  a checkpoint at least every two minutes (10), and every 1,000 steps, with samples:
    python -m ddgan_lite train cifar10 --set save_minutes=2 --set save_every=1000""",
    )
    train.add_argument("preset", help=f"one of {', '.join(PRESETS)}")
    train.add_argument("--quick", action="store_true", help="the small size for a CPU")
    places = "a folder of images, tar files of them (shards/*.tar), or module:function"
    train.add_argument("--data", help=f"{', '.join(DATA)}, {places}")
    train.add_argument("--root", default="data", help="where published sets lie or go (data)")
    train.add_argument("--out", help="the run's folder (runs/PRESET or runs/PRESET-quick)")
    train.add_argument(
        "--start", help="networks to begin with: a run, a checkpoint, a file of weights"
    )
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
    train.add_argument("--log", metavar="NAMES", help="trackers: tensorboard,wandb,mlflow, ..")

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
    convert.add_argument(
        "--num-steps", type=int, help="T, which only CIFAR-10's layout settles (4)"
    )
    convert.add_argument("--image-size", type=int, help="in pixels, where the file leaves it open")

    exchange_commands(command)
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
    except KeyboardInterrupt as stop:
        if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
            print(f"\n{str(stop) or 'Stopped.'}", file=sys.stderr)
        return 128 + getattr(stop, "signal", signal.SIGINT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
