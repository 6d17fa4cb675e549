"""The image networks on a CUDA device: right, and how fast.

    python benchmarks/gpu.py --out book/results/gpu.json

1. A small network on the device against the same on the CPU: outputs, logits, slopes, gradients.
2. The CIFAR-10 preset: training images per second, and peak memory.
3. Milliseconds for 100 images of its generator, four evaluations each.

The last two in several ways, those with a bar first. Prints one JSON object, and the bars beside
what was measured; ``--out`` is written after every part. ``--quick --device cpu`` tries it out
with small networks, without the ways that are compiled.
"""

import argparse
import copy
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from ddgan_lite.data.images import Images
from ddgan_lite.files.results import machine
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.presets import Preset, preset
from ddgan_lite.training.trainer import Trainer

PLAIN = {"mixed_precision": "no", "compile": False, "channels_last": False}
FAST = {"mixed_precision": "bf16", "compile": True, "channels_last": True}
# "tf32" is what PyTorch does by default: float32, but convolutions round their factors.
WAYS = {
    "fp32": PLAIN,
    "tf32": PLAIN,
    "bf16": {**PLAIN, "mixed_precision": "bf16"},
    "bf16+compile+channels_last": FAST,
    "the same in CUDA graphs": FAST,  # for sampling: one launch for all kernels of an evaluation
}
*_, FASTEST, GRAPHS = WAYS
ORDER = [
    ("training", "fp32"),
    ("training", FASTEST),
    ("sampling", FASTEST),
    ("sampling", GRAPHS),
    ("sampling", "fp32"),
    ("training", "tf32"),
    ("sampling", "tf32"),
    ("sampling", "bf16"),
    ("training", "bf16"),
]


def noise(shape: tuple[int, int, int], n: int = 2048) -> Images:
    """Random images: speed does not depend on what they show."""
    rng = torch.Generator().manual_seed(0)
    return Images(torch.randint(256, (n, *shape), dtype=torch.uint8, generator=rng), name="noise")


def stir(model: DDGAN) -> DDGAN:
    """Move all weights a little: layers that start silent would hide a difference."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return model


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """||a - b|| / ||a||, in double precision on the CPU."""
    a, b = (x.detach().double().cpu() for x in (a, b))
    return ((a - b).norm() / a.norm()).item()


def allow_tf32(allowed: bool) -> None:
    """Whether convolutions in float32 may round; matrix products do not, as by default."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = allowed


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def correctness(device: str) -> dict[str, float]:
    """Relative differences between the device and the CPU, float32 without tf32."""
    allow_tf32(False)
    small = preset("cifar10", width=32, discriminator_width=16, batch_size=8)
    torch.manual_seed(0)
    on_cpu = stir(small.build())
    there = copy.deepcopy(on_cpu).to(device)
    rng = torch.Generator().manual_seed(1)
    x_0, t = noise(small.config.shape).sample(8, rng), torch.arange(8) % 4 + 1
    x_prev, x_t = on_cpu.diffusion.q_sample_pair(x_0, t, rng)
    z = on_cpu.draw_latent(8, rng)
    found = []
    for model in (on_cpu, there):
        place = model.device
        real = x_prev.to(place).requires_grad_()
        guess = model.generator(x_t.to(place), t.to(place), z.to(place))
        logits = model.discriminator(real, x_t.to(place), t.to(place))
        (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        loss = logits.square().mean() + slope.square().sum() + guess.square().mean()
        loss.backward()
        gradient = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
        found.append((guess, logits, slope, gradient))
    names = ("generator", "logits", "r1_slope", "gradients")
    return {name: difference(a, b) for name, a, b in zip(names, *found, strict=True)}


def training(chosen: Preset, seconds: float, device: str) -> dict[str, float]:
    """Images per second over whole cycles of the lazy R1, and the peak memory in GiB."""
    torch.manual_seed(0)
    trainer = Trainer(chosen.build().to(device), noise(chosen.config.shape), chosen.settings)
    steps, cycle = iter(trainer), chosen.settings.r1_interval
    begin = time.perf_counter()
    for _ in range(cycle + 1):  # compiles, tunes, and sees two R1 steps
        next(steps)
    wait(device)
    warm_up = time.perf_counter() - begin
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    rates: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(rates) < 2:
        start = time.perf_counter()
        for _ in range(cycle):
            next(steps)
        wait(device)
        rates.append(cycle * chosen.settings.batch_size / (time.perf_counter() - start))
    peak = {} if device == "cpu" else {"peak_gib": torch.cuda.max_memory_allocated() / 2**30}
    return {
        "images_per_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "warm_up_s": warm_up,
        **peak,
    }


@torch.no_grad()
def sampling(chosen: Preset, graphs: bool, seconds: float, device: str) -> dict[str, float]:
    """Milliseconds for 100 images, network evaluations and posterior draws together."""
    torch.manual_seed(0)
    model, n = stir(chosen.build()).to(device), 100
    x_t, t = torch.randn((n, *chosen.config.shape), device=device), torch.arange(n) % 4 + 1
    inputs = x_t, t.to(device), model.draw_latent(n)
    exact = model.generator(*inputs)
    if chosen.settings.channels_last:
        model.generator.to(memory_format=torch.channels_last)
    if chosen.settings.compile:
        model.generator.compile(mode="reduce-overhead" if graphs else None)
    bf16 = chosen.settings.mixed_precision == "bf16"
    times: list[float] = []
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        guess = model.generator(*inputs).clone()
        begin = time.perf_counter()
        while len(times) < 25 and (len(times) < 7 or time.perf_counter() - begin < seconds):
            wait(device)
            start = time.perf_counter()
            model.sample(n, weights="raw")
            wait(device)
            times.append(1e3 * (time.perf_counter() - start))
    kept = times[5:]  # the first compile, tune and record
    return {
        "ms_per_100_images": statistics.median(kept),
        "slowest": max(kept),
        "fastest": min(kept),
        "difference_of_one_evaluation": difference(exact, guess),
    }


def bars(result: dict) -> dict[str, dict]:
    """The bars that what was measured allows to judge; a ratio is of one and the same run."""
    rates = {way: each["images_per_second"] for way, each in result.get("training", {}).items()}
    times = {way: each["ms_per_100_images"] for way, each in result.get("sampling", {}).items()}
    differences = result.get("difference_from_cpu", {}).values()
    found: dict[str, dict] = {}

    def judge(name: str, measured: float, *, most: float = float("inf"), least: float = 0) -> None:
        wanted = f"at most {most:g}" if least == 0 else f"at least {least:g}"
        found[name] = {"measured": measured, "bar": wanted, "met": least <= measured <= most}

    if differences:
        judge("largest relative difference from the CPU", max(differences), most=1e-3)
    if rates.keys() >= {"fp32", FASTEST}:
        judge(f"training, {FASTEST} / fp32", rates[FASTEST] / rates["fp32"], least=3)
    if rates.keys() >= {"tf32", FASTEST}:
        found[f"training, {FASTEST} / tf32"] = {"measured": rates[FASTEST] / rates["tf32"]}
    if times:
        best = min(times, key=lambda way: times[way])
        judge(f"ms for 100 images, {best}", times[best], most=50)
    return found


def main() -> None:
    """Run everything; keep what was measured if a later part fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10, help="of each speed, at least (10)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small networks, to try this out")
    parser.add_argument("--code", help="the commit, where git cannot be asked")
    args = parser.parse_args()
    cuda = torch.device(args.device).type == "cuda"
    if cuda and not torch.cuda.is_available():
        raise SystemExit("error: there is no CUDA device here: --quick --device cpu tries it out.")
    origin = {"command": f"python benchmarks/gpu.py {shlex.join(sys.argv[1:])}".strip()}
    origin |= machine(args.device) | {"cuda": str(torch.version.cuda)}
    origin |= {"commit": args.code} if args.code else {}
    networks = f"cifar10 preset{' (quick)' if args.quick else ''}"
    result: dict = {"provenance": origin, "networks": networks, "batch": args.batch}

    def measure(part: str, name: str | None, what: Callable[[], dict]) -> None:
        """One measurement, written down at once; a failure is written down too."""
        try:
            value = what()
        except (RuntimeError, ValueError) as error:
            result.setdefault("failed", {})[f"{part}, {name}"] = str(error)[:500]
            print(f"failed: {part}, {name}: {error}", file=sys.stderr)
            return
        result[part] = value if name is None else result.get(part, {}) | {name: value}
        result["bars"] = bars(result)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{part}, {name}: {value}", file=sys.stderr, flush=True)

    measure("difference_from_cpu", None, partial(correctness, args.device))
    for part, way in ORDER:
        if WAYS[way]["compile"] and not cuda:
            continue
        allow_tf32(way != "fp32")
        torch.compiler.reset()
        torch.cuda.empty_cache()
        chosen = preset("cifar10", quick=args.quick, batch_size=args.batch, **WAYS[way])
        if part == "training":
            measure(part, way, partial(training, chosen, args.seconds, args.device))
        else:
            measure(part, way, partial(sampling, chosen, way == GRAPHS, args.seconds, args.device))
    print(json.dumps(result))
    for name, each in result.get("bars", {}).items():
        verdict = f" ({each['bar']}: {'met' if each['met'] else 'MISSED'})" if "bar" in each else ""
        print(f"{name}: {each['measured']:.3g}{verdict}", file=sys.stderr)


if __name__ == "__main__":
    main()
