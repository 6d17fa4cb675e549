"""The image networks on a CUDA device: right, and how fast.

    python benchmarks/gpu.py --out book/results/gpu.json

1. A small network on the device against the same on the CPU: outputs, losses, R1, one update.
2. The paper's CIFAR-10 networks: training images per second and peak memory in float32, in
   bfloat16, and in bfloat16 with torch.compile and channels_last.
3. Milliseconds for 100 CIFAR-10 images, four network evaluations each, in the same three ways.

Prints one JSON object, and writes it to ``--out``.
"""

import argparse
import copy
import json
import platform
import statistics
import subprocess
import time
from pathlib import Path

import torch

from ddgan_lite.images import Images
from ddgan_lite.presets import preset
from ddgan_lite.training import Trainer

WAYS = {
    "fp32": {"mixed_precision": "no", "compile": False, "channels_last": False},
    "bf16": {"mixed_precision": "bf16", "compile": False, "channels_last": False},
    "bf16+compile+channels_last": {
        "mixed_precision": "bf16",
        "compile": True,
        "channels_last": True,
    },
}


def noise(shape: tuple[int, int, int], n: int = 2048) -> Images:
    """Random images: speed does not depend on what they show."""
    rng = torch.Generator().manual_seed(0)
    return Images(torch.randint(256, (n, *shape), dtype=torch.uint8, generator=rng), name="noise")


def correctness(device: str) -> dict[str, float]:
    """Largest relative differences between the device and the CPU, float32 without tf32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    small = preset("cifar10", width=32, discriminator_width=16, batch_size=8, compile=False)
    torch.manual_seed(0)
    on_cpu = small.build()
    with torch.no_grad():  # silent layers would hide a difference
        for weight in on_cpu.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    there = copy.deepcopy(on_cpu).to(device)
    rng = torch.Generator().manual_seed(1)
    x_0, t = noise(small.config.shape).sample(8, rng), torch.arange(8) % 4 + 1
    x_prev, x_t = on_cpu.diffusion.q_sample_pair(x_0, t, rng)
    z = on_cpu.draw_latent(8, rng)
    results = []
    for model in (on_cpu, there):
        place = model.device
        real = x_prev.to(place).requires_grad_()
        guess = model.generator(x_t.to(place), t.to(place), z.to(place))
        logits = model.discriminator(real, x_t.to(place), t.to(place))
        (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        loss = logits.square().mean() + slope.square().sum() + guess.square().mean()
        loss.backward()
        gradient = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
        results.append([x.detach().double().cpu() for x in (guess, logits, slope, gradient)])
    names = ("generator", "logits", "r1_slope", "gradients")
    return {
        name: ((a - b).norm() / a.norm()).item() for name, a, b in zip(names, *results, strict=True)
    }


def train_speed(way: dict, batch: int, seconds: float, device: str) -> dict[str, float]:
    """Images per second over whole cycles of the lazy R1, and the peak memory in GiB."""
    paper = preset("cifar10", batch_size=batch, **way)
    torch.manual_seed(0)
    trainer = Trainer(paper.build().to(device), noise(paper.config.shape), paper.settings)
    steps, cycle = iter(trainer), paper.settings.r1_interval
    begin = time.perf_counter()
    for _ in range(cycle + 1):  # compiles, tunes, and sees one R1 step
        next(steps)
    warm_up = time.perf_counter() - begin
    torch.cuda.reset_peak_memory_stats()
    rates: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(rates) < 2:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(cycle):
            next(steps)
        torch.cuda.synchronize()
        rates.append(cycle * batch / (time.perf_counter() - start))
    return {
        "images_per_second": round(statistics.median(rates), 1),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "warm_up_s": round(warm_up, 1),
    }


@torch.no_grad()
def sample_speed(way: dict, device: str) -> dict[str, float]:
    """Milliseconds for 100 images, network evaluations and posterior draws together."""
    model = preset("cifar10").build().to(device)
    if way["channels_last"]:
        model.generator.to(memory_format=torch.channels_last)
    if way["compile"]:
        model.generator.compile()
    times = []
    with torch.autocast("cuda", torch.bfloat16, enabled=way["mixed_precision"] == "bf16"):
        for _ in range(20):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            model.sample(100, weights="raw")
            torch.cuda.synchronize()
            times.append(1e3 * (time.perf_counter() - begin))
    return {"ms_per_100_images": round(statistics.median(times[5:]), 2)}


def main() -> None:
    """Run everything; keep what was measured if a later part fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=20, help="of each training speed")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("error: this benchmark needs a CUDA device.")
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    result: dict = {
        "hardware": torch.cuda.get_device_name(),
        "host": platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "code": revision.stdout.strip(),
        "networks": "cifar10 preset",
        "batch": args.batch,
    }

    def keep(key: str, value: dict) -> None:
        result[key] = value
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(result, indent=2) + "\n")

    keep("difference_from_cpu", correctness("cuda"))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for part, measure in (
        ("sampling", lambda way: sample_speed(way, "cuda")),
        ("training", lambda way: train_speed(way, args.batch, args.seconds, "cuda")),
    ):
        for name, way in WAYS.items():
            torch.compiler.reset()
            torch.cuda.empty_cache()
            keep(part, result.get(part, {}) | {name: measure(way)})
    print(json.dumps(result))


if __name__ == "__main__":
    main()
