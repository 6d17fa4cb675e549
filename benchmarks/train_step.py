"""CPU seconds of one training step and of sampling one batch, with the image networks.

    python benchmarks/train_step.py --width 32 --ngf 16 --batch 8 --threads 1 --steps 10
    python benchmarks/train_step.py --precision bf16 --compare

CPU seconds drift by a factor of two on a shared machine, so ``--compare`` takes turns: one step
our way, one the long way round, and prints the ratios of the medians. The long way does the same
sums as the published code is described to do them: resampling by inserting zeros, filtering at
full resolution and discarding pixels; and the discriminator's update with the gradient carried
on through the generator, where it is thrown away. In ``--precision bf16`` the long way stays in
float32, as the published code does on a CPU; what bf16 gains depends on the processor's AMX units,
which ``amx_bf16`` tells of.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from ddgan_lite.data.images import Images
from ddgan_lite.files import results
from ddgan_lite.networks.layers import Resample
from ddgan_lite.training.presets import preset
from ddgan_lite.training.trainer import Trainer


def resample_the_long_way(self: Resample, x: torch.Tensor) -> torch.Tensor:
    """The same result: insert zeros, pad, filter every pixel of a one-channel stack, discard."""
    n, c, h, w = x.shape
    x = x.reshape(n * c, 1, h, w)
    if self.direction == "up":
        zeros = x.new_zeros(n * c, 1, h, 2, w, 2)
        zeros[:, :, :, 0, :, 0] = x.reshape(n * c, 1, h, w)
        x = F.pad(zeros.reshape(n * c, 1, 2 * h, 2 * w), (2, 1, 2, 1))
    else:
        x = F.pad(x, (1, 1, 1, 1))
    x = F.conv2d(x, self.kernel)
    if self.direction == "down":
        x = x[:, :, ::2, ::2]
    return x.reshape(n, c, *x.shape[2:])


def cpu_seconds(action) -> float:
    begin = time.process_time()
    action()
    return time.process_time() - begin


def build(args: argparse.Namespace) -> Trainer:
    """The paper's recipe for CIFAR-10 on noise, with networks of the width asked for."""
    torch.manual_seed(0)
    chosen = preset(
        "cifar10",
        width=args.width,
        discriminator_width=args.ngf,
        batch_size=args.batch,
        r1_interval=2,
        fresh_fake=not args.shared_fake,
        channels_last=args.channels_last,
        mixed_precision=None if args.precision == "float32" else args.precision,
    )
    data = Images(torch.randint(256, (64, *chosen.config.shape), dtype=torch.uint8), name="noise")
    return Trainer(chosen.build(), data, chosen.settings)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("width", 32), ("ngf", 16), ("batch", 8), ("threads", 1), ("steps", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction)
    parser.add_argument("--shared-fake", action="store_true", help="one fake for both updates")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--compare", action="store_true", help="take turns with the long way")
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    trainer = build(args)
    model, steps = trainer.model, iter(trainer)
    ways = {"": contextlib.nullcontext}
    if args.compare:
        ways["long_way_"] = lambda: long_way(trainer)
    times: dict[str, list[float]] = {}
    for round_ in range(args.steps + 1):
        for way, context in ways.items():
            with context():
                for kind, action in (
                    ("r1_step_s" if trainer.step % 2 == 0 else "plain_step_s", lambda: next(steps)),
                    ("r1_step_s" if trainer.step % 2 else "plain_step_s", lambda: next(steps)),
                    ("sample_s", lambda: model.sample(args.batch)),
                ):
                    seconds = cpu_seconds(action)
                    if round_:  # the first warms up
                        times.setdefault(way + kind, []).append(seconds)
    medians = {name: round(statistics.median(values), 4) for name, values in times.items()}
    ratios = {
        f"ratio_{name}": round(medians[name] / medians[f"long_way_{name}"], 3)
        for name in ("plain_step_s", "r1_step_s", "sample_s")
        if args.compare
    }
    sizes = {
        f"{name}_parameters": sum(p.numel() for p in network.parameters())
        for name, network in (
            ("generator", model.generator),
            ("discriminator", model.discriminator),
        )
    }
    options = {name: value for name, value in vars(args).items() if name != "store"}
    cpuinfo = Path("/proc/cpuinfo")
    amx = cpuinfo.exists() and "amx_bf16" in cpuinfo.read_text()
    options |= {"amx_bf16": amx}
    print(json.dumps(options | {"torch": torch.__version__} | sizes | medians | ratios))
    if args.store:
        command = " ".join(["python benchmarks/train_step.py", *sys.argv[1:]])
        results.store("bench_train_step", command, options | sizes | medians | ratios)


@contextlib.contextmanager
def long_way(trainer: Trainer):
    """Resample the long way, and differentiate the generator in the discriminator's update."""
    model, resample, backward = trainer.model, Resample.forward, trainer._backward
    fake_like = model.fake_like
    fakes, autocast = [], trainer.autocast

    def with_gradient(real, condition, rng=None):
        with torch.enable_grad():
            fakes.append(fake_like(real, condition, rng))
        return fakes[-1]

    def through_the_generator(network, loss):
        if network == 1:
            fake = fakes.pop()
            # The slope of D at the fakes, carried back through G as the published loop does.
            fake.backward(torch.ones_like(fake), inputs=trainer.weights[0])
        backward(network, loss)

    Resample.forward, model.fake_like = resample_the_long_way, with_gradient
    trainer._backward = through_the_generator
    trainer.autocast = contextlib.nullcontext()
    try:
        yield
    finally:
        Resample.forward, model.fake_like, trainer._backward = resample, fake_like, backward
        trainer.autocast = autocast


if __name__ == "__main__":
    main()
