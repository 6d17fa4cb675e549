"""The commands that give a model to others: a web page, an ONNX file, the hub."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from ddgan_lite.exchange.hub import push, readme
from ddgan_lite.exchange.javascript import BITS, to_javascript
from ddgan_lite.exchange.onnx import to_onnx
from ddgan_lite.files.checkpoints import locate
from ddgan_lite.method.model import DDGAN


def _export_js(args: Namespace) -> None:
    print(to_javascript(DDGAN.load(args.model), args.out, name=args.name, bits=args.bits))


def _export_onnx(args: Namespace) -> None:
    print(to_onnx(DDGAN.load(args.model), args.out))


def _push(args: Namespace) -> None:
    if args.dry_run:
        print(readme(args.model, args.name))
        print(f"{locate(args.model)} would be {args.name}/model.safetensors, this its README.md.")
    else:
        print(push(args.model, args.name, private=args.private))


def exchange_commands(command: Callable[..., ArgumentParser]) -> None:
    """Add them to the command line; ``command(name, does, act, examples)`` makes each parser."""
    export = command(
        "export-js",
        "write a small model as a script, to run in a web page",
        _export_js,
        "    python -m ddgan_lite export-js runs/gaussians gaussians.js",
    )
    export.add_argument("model", help="as for sample; any network but a U-Net")
    export.add_argument("out", help="the .js file to write")
    export.add_argument("--name", help="in ddganModels[NAME] (the file's name)")
    bits = {"type": int, "choices": BITS, "default": 32}
    export.add_argument(
        "--bits", **bits, help="of a weight in the file: 16 make it half as large, 8 a quarter (32)"
    )

    export = command(
        "export-onnx",
        "write a model as an ONNX file, and a sampler in NumPy beside it",
        _export_onnx,
        """    python -m ddgan_lite export-onnx runs/cifar10 cifar10.onnx
    python sample_onnx.py cifar10.onnx 16 samples.npy""",
    )
    export.add_argument("model", help="as for sample")
    export.add_argument("out", help="the .onnx file to write")

    up = command(
        "push",
        "put a model on the Hugging Face hub, its card as the page",
        _push,
        """  after `hf auth login`:
    python -m ddgan_lite push runs/cifar10 you/ddgan-cifar10""",
    )
    up.add_argument("model", help="as for sample; a run must be finished")
    up.add_argument("name", help="owner/name; made if there is none")
    up.add_argument("--private", action="store_true", help="if it is made: seen by you alone")
    up.add_argument("--dry-run", action="store_true", help="show the page, send nothing")
