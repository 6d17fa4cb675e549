"""Where the CPU seconds of a training step on images go, by kind of operation.

    python benchmarks/profile_step.py [--steps 6] [--store]

Trains as train_step.py does, under torch.profiler, and adds up the time that each operation takes
itself. A convolution is told apart by its kernel: 3 x 3, 1 x 1, the filter of one channel that
resamples, or another image, in R1's second derivative. R1 falls on every second step (in published
runs on every 15th): give an even number. Beside it the sums of a plain step in GFLOP, and how many
a second this core does in the network's commonest convolution and in a matrix product.
"""

import argparse
import json
import time
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from train_step import build, cpu_seconds

from ddgan_lite.files import results
from ddgan_lite.networks.layers import conv

NETWORKS = {"width": 32, "ngf": 16, "batch": 8, "shared_fake": False}
NETWORKS |= {"channels_last": None, "precision": "float32"}
KINDS = {  # what an operation of torch is counted as; those not named here are "other"
    "convolution_backward": "backward",
    "mkldnn_convolution": "forward",
    "_conv_depthwise2d": "forward",
    "thnn_conv2d": "forward",
    "_slow_conv2d_forward": "forward",
    "mm": "linear layers",
    "addmm": "linear layers",
    "copy_": "copies",
    "cat": "concatenation",
    "native_group_norm": "group normalisation",
    "native_group_norm_backward": "group normalisation",
    "silu": "activations",
    "silu_": "activations",
    "silu_backward": "activations",
    "leaky_relu": "activations",
    "leaky_relu_backward": "activations",
    "add": "sums and products",
    "add_": "sums and products",
    "mul": "sums and products",
    "mul_": "sums and products",
    "addcmul": "sums and products",
    "sum": "sums and products",
    "_fused_adam_": "Adam",
    "_foreach_lerp_": "moving average",
}


def kind(name: str, shapes: list[list[int]]) -> str:
    """The row an operation is counted in; ``shapes`` are those of its inputs."""
    name = name.removeprefix("aten::")
    found = KINDS.get(name, "attention" if "attention" in name else "other")
    if found in ("forward", "backward"):
        weight = shapes[2 if name == "convolution_backward" else 1]
        if weight[1:] == [1, 4, 4]:
            return f"resampling, {found}"
        if weight[2] not in (1, 3):
            return "second derivatives of convolutions"
        return f"convolutions {weight[2]} x {weight[3]}, {found}"
    return found


@torch.no_grad()
def rates() -> dict[str, float]:
    """GFLOP a CPU second, the best of twenty: 3 x 3 convolutions of 32 channels, and a product."""
    layer = conv(NETWORKS["width"], NETWORKS["width"]).to(memory_format=torch.channels_last)
    images = torch.randn(NETWORKS["batch"], NETWORKS["width"], 32, 32)
    images = images.contiguous(memory_format=torch.channels_last)
    matrix = torch.randn(1024, 1024)
    found = {}
    for name, action in (
        ("convolution", lambda: layer(images)),
        ("product", lambda: matrix @ matrix),
    ):
        with FlopCounterMode(display=False) as counter:
            action()
        found[name] = counter.get_total_flops() / min(cpu_seconds(action) for _ in range(20)) / 1e9
    return found


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6, help="steps under the profiler (6)")
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps = iter(build(argparse.Namespace(**NETWORKS)))
    next(steps)  # warms up
    with FlopCounterMode(display=False) as counter:
        next(steps)  # without R1
    begin = time.process_time()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        for _ in range(args.steps):
            next(steps)
    seconds = time.process_time() - begin
    spent, calls = Counter(), Counter()
    for event in found.key_averages(group_by_input_shape=True):
        row = kind(event.key, event.input_shapes)
        spent[row] += event.self_cpu_time_total / 1e6
        calls[row] += event.count
    whole = sum(spent.values())
    rows = [
        {"kind": row, "share": time_ / whole, "calls_per_step": calls[row] / args.steps}
        for row, time_ in spent.most_common()
    ]
    values = NETWORKS | {"steps": args.steps, "cpu_s_per_step": seconds / args.steps, "rows": rows}
    values |= {"plain_step_gflop": counter.get_total_flops() / 1e9, "gflop_per_cpu_s": rates()}
    print(json.dumps(values, indent=1))
    if args.store:
        command = f"python benchmarks/profile_step.py --steps {args.steps} --store"
        results.store("bench_profile", command, values)


if __name__ == "__main__":
    main()
