"""Peak memory of sampling images at 256 pixels with the published network, on a CPU.

    python benchmarks/memory.py --n 16

Prints one JSON object; ``peak_gib`` is the most memory that the process ever held, Python and
PyTorch included.
"""

import argparse
import json
import resource
import time

import torch

from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.presets import preset


def main() -> None:
    """Sample and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="lsun_church_256")
    parser.add_argument("--n", type=int, default=16, help="images (16)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = DDGAN(preset(args.preset).config)
    model.discriminator = None
    loaded = peak()
    begin = time.process_time()
    images = model.sample(args.n)
    found = {
        "preset": args.preset,
        "n": args.n,
        "threads": args.threads,
        "generator_parameters": sum(p.numel() for p in model.generator.parameters()),
        "shape": tuple(images.shape),
        "cpu_s": round(time.process_time() - begin, 1),
        "loaded_gib": round(loaded, 3),
        "peak_gib": round(peak(), 3),
    }
    print(json.dumps(found | {"torch": torch.__version__}))
    if args.store:
        results.store("bench_memory", f"python benchmarks/memory.py --n {args.n} --store", found)


def peak() -> float:
    """The most memory this process has held so far, in GiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
