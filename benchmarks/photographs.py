"""CIFAR-10 on a CPU: the runs of the presets, and the ablation on photographs of 16 x 16 pixels.

    python benchmarks/photographs.py --cifar FOLDER --run runs/cifar10_16 [--set steps=...]
    python benchmarks/photographs.py --cifar FOLDER --preset cifar10_32 --run runs/cifar10_32
    python benchmarks/photographs.py --cifar FOLDER --preset cifar10_32 --run runs/ddpm_32 --ddpm
    python benchmarks/photographs.py --cifar FOLDER [--seeds 1] [--only NAMES] [--store]
    python benchmarks/photographs.py --cifar FOLDER --score runs/cifar10_16 [--store]

FOLDER holds train/ and test/, each with one folder for each class, as the JPEG re-encoding of
CIFAR-10 that machines without a download have; without --cifar torchvision's CIFAR-10 under data/
is taken. Of each variant of the ablation the scores of 10,000 samples in the features of the judge
that comes with the book, whose card has the floor: Fréchet distance, precision, recall, inception
score, and the discriminator's loss at each t. A variant has networks of half the preset's width and
the updates of SHORT; other numbers of steps come twice, once with as many in all and once with as
many at each t as four steps have. The preset's slow generator is made for a game that begins with
a denoiser, so what begins with nothing is run with a fast one too. A variant whose classes are
*taught* has the preset's own recipe, with labels and a discriminator that names them; the others
have an earlier one, and the rows of those on record are of code in which the generator's correction
was not yet squashed into [-1, 1].
``--store`` adds the rows to book/results/bench_photographs.json, in place of those with the same
variant, seed and processor. ``--score`` gives a finished run of 16 pixels, or the weights of one,
the scores of a row, which ``--store`` keeps in bench_photographs_hour.json.
"""

import json
import shlex
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path

import seeded
import torch
from torch import Tensor, nn

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.data.images import Images, load_images, to_bytes, to_unit
from ddgan_lite.evaluation import fidelity
from ddgan_lite.evaluation.judge import Judge
from ddgan_lite.files import checkpoints, results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.presets import Preset, parse, preset
from ddgan_lite.training.protocols import drawn
from ddgan_lite.training.runs import losses_by_step, run
from ddgan_lite.training.trainer import train

RUNS = {"cifar10_16": 16, "cifar10_32": 32}  # presets, and the size of their images
SAMPLES = 10_000
SHORT = {"denoiser_steps": 2_500, "head_start": 800, "steps": 5_500}
# An earlier recipe of the preset, without labels; TAUGHT is the one it has now.
FAST_D = {"lr_discriminator": 1e-3, "lr_end_discriminator": 5e-4, "r1": 0.05, "r2": 0.05}
EARLIER = FAST_D | {"classes": 0, "marginal": False, "classifier_steps": 0, "shared_noise": False}
EARLIER |= {"lr_generator": 4e-5, "lr_end": 1e-5}
OWN = preset("cifar10_16")
TAUGHT = {k: v for k, v in (asdict(OWN.config) | asdict(OWN.settings)).items() if k in EARLIER}
SMALL = {"width": 32, "ema_decay": 0.995} | EARLIER
# Where the generator's output is no guess of x_0 from x_t, all updates are the game's.
GAME = {"denoiser_steps": 0}
FAST = {"lr_generator": 2e-4, "lr_end": 5e-5}
ALONE = TAUGHT | GAME | FAST | FAST_D
# Where what is generated is no guess of x_0 from x_t either, a pair has no noise to share.
OWN_NOISE, RAW = {"shared_noise": False}, {"data_std": None}
# Of 9.2 nats, which of 10,000 photographs it is (answers.py), those of the preset decide 0, 0, 2.8
# and 6.2 at t = 1..4; these 0, 1.2, 4.0 and 3.8.
SPREAD = (0.5, 2.0, 4.0, 20.0)
# Of other numbers of steps: those of four, fewer or with their geometric means.
LEVELS = {1: (20.0,), 2: (0.9, 20.0), 8: (0.17, 0.3, 0.52, 0.9, 1.56, 2.7, 7.3, 20.0)}


def photographs(cifar: Path | None, size: int = 16, *, train: bool = True) -> Images:
    """CIFAR-10 as it is, or its 2 x 2 means."""
    if cifar is None:
        return load_images("cifar10", size=size, train=train)
    images = load_images(cifar / ("train" if train else "test"), size=32, flip=True)
    images.name = f"cifar10, a JPEG re-encoding{', 2 x 2 means' * (size == 16)}"
    return images.shrunk(size)


class NothingBack(Diffusion):
    """No noise is put back: what the generator says *is* x_{t-1}."""

    def posterior_sample(self, x_0, x_t, t, rng=None):
        return x_0


class Blind(nn.Module):
    """A discriminator that is not shown x_t."""

    def __init__(self, discriminator: nn.Module):
        super().__init__()
        self.discriminator = discriminator

    def forward(self, x_prev, x_t, t):
        return self.discriminator(x_prev, torch.zeros_like(x_t), t)


class OneShot(DDGAN):
    """x_0 from noise in one shot; real and generated images are noised alike before D sees them."""

    def made(self, n: int, rng: torch.Generator | None, y: Tensor | None = None) -> Tensor:
        """n images out of pure noise."""
        last = torch.full((n,), self.diffusion.num_steps)
        noise = torch.randn(n, *self.config.shape, generator=rng)
        return self.predict(noise, last, None, y, rng=rng)

    def fake_like(self, real, condition, rng=None, guess=None):
        _, t, *label = condition
        return self.diffusion.q_sample(self.made(len(real), rng, *label), t - 1, rng)

    @torch.no_grad()
    def sample(self, n, *, labels="in turn", rng=None):
        raw, self.generator = self.generator, self.averaged.module
        y = self.label_rows(labels, n)
        parts = [None] * (n // 500) if y is None else y.split(500)
        images = torch.cat([self.made(500, rng, part) for part in parts]).clamp(-1, 1)
        self.generator = raw
        return images


def direct(made: Preset) -> DDGAN:
    """The generator makes x_{t-1}: without the correction, which is one for x_0."""
    model = made.build()
    model.diffusion = NothingBack(made.config.num_steps, noise_levels=made.config.noise_levels)
    return model


def blind(made: Preset) -> DDGAN:
    model = made.build()
    model.discriminator = Blind(model.discriminator)
    return model


def one_shot(made: Preset) -> DDGAN:
    return OneShot(made.config, step_weights=made.step_weights)


def steps(number: int) -> dict:
    """Another number of steps, t drawn evenly."""
    return {"num_steps": number, "noise_levels": LEVELS[number], "step_weights": None}


# A DDPM with the network of a preset: it learns to denoise at many levels, and there is no game.
LEVELS_OF_DDPM = 32
DDPM = {
    "num_steps": LEVELS_OF_DDPM,
    "noise_levels": tuple(torch.logspace(-1.5, 1.6, LEVELS_OF_DDPM).tolist()),  # .03 to 40
    "step_weights": None,
    "latent_dim": 0,
    "steps": 36_000,
    "denoiser_steps": 36_000,
    "head_start": 0,
    "lr_generator": 1e-5,
}

# How a variant is built, what changes in the preset, and its share of the updates of SHORT.
PLAIN = Preset.build
VARIANTS = {
    "T = 4": (PLAIN, {}, 1),
    "T = 4, decisions spread": (PLAIN, {"noise_levels": SPREAD}, 1),
    "T = 1": (PLAIN, steps(1), 1),
    "T = 1, fast generator": (PLAIN, steps(1) | GAME | FAST, 1),
    "no latent": (PLAIN, {"latent_dim": 0}, 1),
    "T = 2": (PLAIN, steps(2), 1),
    "T = 8": (PLAIN, steps(8), 1),
    "no latent, D without x_t": (blind, {"latent_dim": 0}, 1),
    "no denoiser first, fast generator": (PLAIN, GAME | FAST, 1),
    "T = 4, classes taught": (PLAIN, TAUGHT, 1),
    "T = 1, classes taught": (PLAIN, TAUGHT | steps(1), 1),
    "T = 1, classes taught, fast generator": (PLAIN, ALONE | steps(1), 1),
    "T = 2, classes taught": (PLAIN, TAUGHT | steps(2), 1),
    "T = 8, classes taught": (PLAIN, TAUGHT | steps(8), 1),
    "no latent, classes taught": (PLAIN, TAUGHT | {"latent_dim": 0}, 1),
    "direct denoising, classes taught, fast generator": (direct, ALONE | OWN_NOISE | RAW, 1),
    "one shot, classes taught, fast generator": (one_shot, ALONE | OWN_NOISE, 1),
    "T = 1, classes taught, fast generator, updates of one of four": (
        PLAIN,
        ALONE | steps(1),
        1 / 4,
    ),
    "T = 2, classes taught, updates of two of four": (PLAIN, TAUGHT | steps(2), 1 / 2),
    "T = 8, classes taught, updates of eight": (PLAIN, TAUGHT | steps(8), 2),
    "no denoiser first, classes taught, fast generator": (PLAIN, ALONE, 1),
    "T = 2, classes taught, fast generator": (PLAIN, ALONE | steps(2), 1),
    "T = 8, classes taught, fast generator": (PLAIN, ALONE | steps(8), 1),
    "no latent, classes taught, fast generator": (PLAIN, ALONE | {"latent_dim": 0}, 1),
}


def rules(name: str, seed: int) -> Preset:
    """What a variant is trained by."""
    _, changes, share = VARIANTS[name]
    updates = {key: round(share * value) for key, value in SHORT.items()}
    return preset("cifar10_16", **SMALL | updates | changes | {"seed": seed})


def one(name: str, seed: int, images: Images, held_out: Images) -> dict:
    """Train one variant; its scores."""
    made = rules(name, seed)
    torch.manual_seed(seed)
    model = VARIANTS[name][0](made)
    seconds = round(seeded.cpu_seconds(train(model, images, made.settings)), 1)
    row = {"variant": name, "seed": seed, "cpu_seconds": seconds}
    rng = torch.Generator().manual_seed(1)
    shown = drawn(images, 2_048, rng, labelled=model.classes > 0)
    row |= losses_by_step(model, *shown, relativistic=True, shared=made.settings.shared_noise)
    row |= {"scores": scores(model, held_out)}
    row |= {"config": asdict(made.config), "settings": asdict(made.settings)}
    return row | {"hardware": results.machine()["hardware"]}


def finished(source: Path, held_out: Images) -> dict:
    """The row of a finished run's folder, or of weights saved from it."""
    path = checkpoints.locate(source)
    card, model = checkpoints.read(path)[1]["provenance"], DDGAN.load(path)
    about = {key: card[key] for key in ("command", "steps", "seed", "seconds", "hardware")}
    return about | {"scores": scores(model, held_out), "config": asdict(model.config)}


def scores(model: DDGAN, held_out: Images) -> dict[str, float | str]:
    """Of SAMPLES, in the judge's features, against the held-out photographs."""
    samples = model.sample(SAMPLES, labels="in turn", rng=torch.Generator().manual_seed(1))
    path = results.folder() / "cifar10_16_judge.safetensors"
    images = Images(to_bytes(samples), name="samples")
    own = Judge.load(path).scores(to_unit(images.images))
    others = fidelity.score(images, held_out, extractor=str(path), metrics=("prc", "isc"))
    return own | others


def main() -> None:
    """Print one JSON object a run."""
    parser = seeded.parser(__doc__, 1, "runs of each variant")
    parser.add_argument("--cifar", type=Path, help="train/ and test/ of CIFAR-10")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--score", type=Path, help="a run's folder or its weights: score it only")
    parser.add_argument("--run", type=Path, help="train a preset in this folder instead")
    parser.add_argument("--preset", default="cifar10_16", choices=RUNS, help="with --run")
    parser.add_argument("--ddpm", action="store_true", help="with --run: a DDPM of its network")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="with --run")
    parser.add_argument("--start", type=Path, help="with --run: the weights to begin with")
    args = parser.parse_args()
    seeded.one_thread()
    command = "python benchmarks/photographs.py --cifar FOLDER"
    if args.score:
        row = finished(args.score, photographs(args.cifar, train=False))
        name, command = "bench_photographs_hour", f"{command} --score RUN --store"
        return seeded.keep(row, args, name, command, itemgetter("command", "hardware"))
    images = photographs(args.cifar, RUNS[args.preset])
    if args.run:
        made = preset(args.preset, **(DDPM if args.ddpm else {}) | parse(args.set))
        command += f" --preset {args.preset} --run {args.run}{' --ddpm' * args.ddpm}"
        command += f" --start {args.start}" * bool(args.start)
        command += f" --set {shlex.join(args.set)}" * bool(args.set)
        about = {"preset": args.preset, "command": command}
        for line in run(made, args.run, data=images, start=args.start, about=about, show=True):
            print(json.dumps(line), flush=True)
        return
    held_out = photographs(args.cifar, train=False)
    for seed, name in ((seed, name) for seed in seeded.seeds(args) for name in args.only):
        row, same = one(name, seed, images, held_out), itemgetter("variant", "seed", "hardware")
        seeded.keep(row, args, "bench_photographs", f"{command} --store", same)


if __name__ == "__main__":
    main()
