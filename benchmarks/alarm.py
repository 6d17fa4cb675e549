"""How much of minibatch standard deviation is left when a batch has collapsed, after training.

    python benchmarks/alarm.py --seeds 3 [--store]

The discriminator of ``preset("cifar10", quick=True)``, before training (its silent layers drawn
like the others) and after it, looks at real pairs and at the same pairs with all x_{t-1} replaced
by one of them (eight are tried). ``own x_t`` and ``one x_t`` are the extra channel of the second
in units of the first, for each t, where every sample brings an x_t of its own and where all share
one. ``--store`` adds the runs to book/results/bench_alarm.json, in place of those with the same
seed and length.
"""

import time
from operator import itemgetter

import seeded
import torch
from torch import nn

from ddgan_lite.data.named import load_data
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks.layers import scaled
from ddgan_lite.training.presets import preset
from ddgan_lite.training.trainer import train


@torch.no_grad()
def channel(discriminator: nn.Module, *pair: torch.Tensor) -> float:
    """The number that minibatch standard deviation appends, averaged over the batch."""
    found = []
    hook = discriminator.compare.register_forward_hook(lambda *call: found.append(call[2]))
    discriminator(*pair)
    hook.remove()
    return found[0][:, -1].mean().item()


@torch.no_grad()
def left(model: DDGAN, images: torch.Tensor) -> dict[str, list[float]]:
    """The share of the channel that a batch of one and the same x_{t-1} keeps, for t = 1, 2, ..."""
    rng, found = torch.Generator().manual_seed(1), {"own x_t": [], "one x_t": []}
    for t in range(1, model.diffusion.num_steps + 1):
        times = torch.full((len(images),), t)
        x_prev, x_t = model.diffusion.q_sample_pair(images, times, rng)
        for name, beside in (("own x_t", x_t), ("one x_t", x_t[:1].expand_as(x_t))):
            varied = channel(model.discriminator, x_prev, beside, times)
            alike = (x_prev[k : k + 1].expand_as(x_prev) for k in range(8))
            kept = [channel(model.discriminator, x, beside, times) for x in alike]
            found[name].append(sum(kept) / len(kept) / varied)
    return found


def one(seed: int, steps: int) -> dict:
    """Train from one seed, and look before and after."""
    made = preset("cifar10", quick=True, seed=seed, steps=steps)
    data = load_data(made.data, made.config.shape)
    images = data.sample(256, torch.Generator().manual_seed(100 + seed))
    torch.manual_seed(seed)
    fresh, model = made.build(), made.build()
    for layer in fresh.discriminator.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and not layer.weight.any():
            scaled(layer)
    begin = time.process_time()
    for _ in train(model, data, made.settings):
        pass
    row = {"seed": seed, "steps": steps, "hardware": results.machine()["hardware"]}
    row |= {"random": left(fresh, images), "trained": left(model, images)}
    return row | {"cpu_seconds": round(time.process_time() - begin, 1)}


def main() -> None:
    """Print one JSON object a run."""
    parser = seeded.parser(__doc__, 3)
    parser.add_argument("--steps", type=int, default=500, help="updates of each")
    args = parser.parse_args()
    seeded.one_thread()
    command = "python benchmarks/alarm.py --store"
    for seed in seeded.seeds(args):
        row = one(seed, args.steps)
        seeded.keep(row, args, "bench_alarm", command, itemgetter("seed", "steps"))


if __name__ == "__main__":
    main()
