"""Score the shipped model of stacked digits with one latent for all samples, and with fresh ones.

    python benchmarks/one_latent.py [--store]

26,000 samples each: fresh latents (three seeds), z = 0, and three latents drawn once and used for
all samples and steps. ``--store`` writes book/results/bench_one_latent.json.
"""

import argparse
import json

import torch
from twins import scores_of

from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN


@torch.no_grad()
def samples(model: DDGAN, n: int, seed: int, latent: str) -> torch.Tensor:
    """n samples with latents as named, in parts that share start and noise over the kinds."""
    rng = torch.Generator().manual_seed(seed)
    once = torch.randn(1, model.config.latent_dim, generator=torch.Generator().manual_seed(seed))
    x = torch.randn(n, *model.config.shape, generator=rng)
    for t in range(model.diffusion.num_steps, 0, -1):
        times = torch.full((n,), t)
        z = model.draw_latent(n, rng)
        z = {"fresh": z, "zero": 0 * z, "one": once.expand_as(z)}[latent]
        x_0 = model.predict(x, times, z, weights="averaged")
        x = model.diffusion.posterior_sample(x_0, x, times, rng)
    return x


def main() -> None:
    """Print one JSON object a kind and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    parser.add_argument("--samples", type=int, default=26_000, help="of each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = DDGAN.load(results.find("stacked_digits.safetensors"))
    rows = []
    for latent, seeds in (("fresh", range(3)), ("zero", range(3)), ("one", range(3))):
        for seed in seeds:
            found = scores_of(samples(model, args.samples, seed, latent))
            rows.append({"latent": latent, "seed": seed, **found})
            print(json.dumps(rows[-1]), flush=True)
    if args.store:
        values = {"samples": args.samples, "rows": rows}
        results.store("bench_one_latent", "python benchmarks/one_latent.py --store", values)


if __name__ == "__main__":
    main()
