"""When does the discriminator of small photographs see anything? One change at a time, in minutes.

    python benchmarks/awake.py --cifar FOLDER [--seeds 2] [--only NAMES] [--store]

Four denoising steps on CIFAR-10 at 16 x 16 pixels (2 x 2 means; FOLDER has one folder for each
class): a generator that first learns to denoise, then the relativistic game. For each variant the
relativistic loss at t = 1..T over the last 300 updates, where log 2 = .693 means that nothing is
seen, and the Fréchet distance of 5,000 samples in the features of a small classifier, which is
trained first and kept in runs/awake. Also of samples whose last t steps alone are the model's.
``--store`` adds the rows to book/results/bench_awake.json, in place of those with the same variant,
seed and processor. What came out: lab/blind-discriminator.md.
"""

import time
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path

import seeded
import torch
import torch.nn.functional as F
from photographs import photographs
from torch import Tensor, nn
from torchvision.utils import save_image

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.data.images import to_bytes, to_unit
from ddgan_lite.evaluation.judge import Judge, moments
from ddgan_lite.evaluation.metrics import frechet_between
from ddgan_lite.files import results
from ddgan_lite.method.ema import EMA
from ddgan_lite.method.objectives import r1_penalty, relativistic_loss
from ddgan_lite.networks.toy import mlp, preconditioning

STD = 0.5  # root mean square of the images' values
PAPER, EVEN = (0.957, 3.40, 16.1, 140.0), (0.3, 0.9, 2.7, 20.0)  # noise levels
SIZE = 16  # of the images
KEPT = Path("runs/awake")


@dataclass(frozen=True)
class Recipe:
    """What a variant may change; the defaults are the first row of the page."""

    levels: tuple[float, ...] = EVEN
    denoiser_steps: int = 500
    steps: int = 850
    lr_generator: float = 1e-4
    lr_discriminator: float = 5e-4
    penalty: float = 0.005  # R1 and R2, every 4th update, not multiplied
    shared_noise: bool = True  # of the posterior, between the two of a pair
    news: bool = True  # D sees (x_{t-1} - b x_t) / a at unit scale, not x_{t-1}
    correction: bool = True  # G's output corrects the best linear guess
    width: int = 48
    batch: int = 64
    average: float = 0.99  # decay of the averaged generator
    fall: bool = False  # the rates fall to 5 % in a straight line


VARIANTS = {
    "as it is": {},
    "the paper's levels": {"levels": PAPER},
    "penalty x 20": {"penalty": 0.1},
    "own noise for each": {"shared_noise": False},
    "D sees x_{t-1} itself": {"news": False},
    "G without correction": {"correction": False},
    "no denoiser first": {"denoiser_steps": 0, "steps": 1_000},
    "denoiser ten times as long": {"denoiser_steps": 5_000},
    "G twice, D twice as fast": {"lr_generator": 2e-4, "lr_discriminator": 1e-3},
    "G and D four times": {"lr_generator": 4e-4, "lr_discriminator": 2e-3},
    "G as fast as D": {"lr_generator": 5e-4},
    "an hour of it": {
        "denoiser_steps": 12_000,
        "steps": 12_000,
        "penalty": 0.02,
        "width": 64,
        "average": 0.999,
        "fall": True,
    },
}


def small(layer: nn.Conv2d) -> nn.Conv2d:
    """What it adds begins as a detail."""
    with torch.no_grad():
        layer.weight.mul_(0.3)
    return layer


def one_hot(t: Tensor, tables: Tensor) -> Tensor:
    """t = 1..T (n,) as rows (n, T), T being that of tables (.., T + 1)."""
    return F.one_hot(t - 1, tables.shape[-1] - 1).float()


class Block(nn.Module):
    """Two convolutions beside the identity; with a style, normalised and scaled by it."""

    def __init__(self, channels: int, style: int = 0):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = small(nn.Conv2d(channels, channels, 3, padding=1))
        self.style = nn.Linear(style, 2 * channels) if style else None
        if style:
            nn.init.zeros_(self.style.weight)
            nn.init.zeros_(self.style.bias)

    def forward(self, h: Tensor, style: Tensor | None = None) -> Tensor:
        inner = h
        if self.style is not None:
            scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
            inner = F.group_norm(h, 8) * (1 + scale) + shift
        return h + self.second(F.leaky_relu(self.first(F.leaky_relu(inner, 0.2)), 0.2))


class Generator(nn.Module):
    """G(x_t, t, z) on maps of 8 x 8 and 4 x 4."""

    def __init__(self, recipe: Recipe, tables: Tensor):
        super().__init__()
        self.correct, w = recipe.correction, recipe.width
        self.register_buffer("tables", tables)
        self.mapping = mlp(32 + len(recipe.levels), 128, 128, 2, 0.2)
        self.stem = nn.Conv2d(12, w, 3, padding=1)
        self.down = nn.Conv2d(w, 2 * w, 4, 2, 1)
        self.up = nn.ConvTranspose2d(2 * w, w, 4, 2, 1)
        self.blocks = nn.ModuleList(Block(c, 128) for c in (w, 2 * w, 2 * w, w))
        self.dense = mlp(32 * w + 128, 32 * w, 256, 2, 0.2)
        self.out = small(nn.Conv2d(w, 12, 3, padding=1))

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
        skip, out, scale = self.tables[:, t, None, None, None]
        step = one_hot(t, self.tables)
        style = F.leaky_relu(self.mapping(torch.cat([z, step], 1)), 0.2)
        first, second, third, fourth = self.blocks
        large = first(self.stem(F.pixel_unshuffle(scale * x_t, 2)), style)
        h = second(self.down(large), style)
        h = h + self.dense(torch.cat([h.flatten(1), style], 1)).reshape(h.shape)
        h = fourth(self.up(third(h, style)) + large, style)
        made = F.pixel_shuffle(self.out(F.leaky_relu(h, 0.2)), 2).float()
        return skip * x_t + out * made if self.correct else 1.05 * made.tanh()


class Discriminator(nn.Module):
    """D(x_{t-1}, x_t, t) on the same maps."""

    def __init__(self, recipe: Recipe, tables: Tensor):
        super().__init__()
        self.news, w = recipe.news, recipe.width
        self.register_buffer("tables", tables)
        self.stem = nn.Conv2d(24, w, 3, padding=1)
        self.step = nn.Linear(len(recipe.levels), w)
        self.down = nn.Conv2d(w, 2 * w, 4, 2, 1)
        self.first, self.second = Block(w), Block(2 * w)
        self.dense = mlp(32 * w + len(recipe.levels), 1, 256, 2, 0.2)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        step = one_hot(t, self.tables)
        if self.news:
            a, b, scale = self.tables[:, t, None, None, None]
            x_prev, x_t = a * x_prev - b * x_t, scale * x_t
        h = self.stem(F.pixel_unshuffle(torch.cat([x_prev, x_t], 1), 2))
        h = self.first(h + self.step(step)[:, :, None, None])
        h = F.leaky_relu(self.second(self.down(F.leaky_relu(h, 0.2))), 0.2)
        return self.dense(torch.cat([h.flatten(1), step], 1)).squeeze(1).float()


class Game:
    """The chain, both networks, and their training."""

    def __init__(self, recipe: Recipe, images: Tensor, seed: int):
        self.recipe, self.images, self.steps = recipe, images, len(recipe.levels)
        self.chain = Diffusion(self.steps, noise_levels=recipe.levels)
        alpha_bar, a, b = (
            getattr(self.chain, name)
            for name in ("alpha_bar", "posterior_coef_x0", "posterior_coef_xt")
        )
        correction = preconditioning(alpha_bar, STD).float()
        unit = (STD**2 * a**2 + self.chain.posterior_variance).rsqrt()
        news = torch.stack([unit, b * unit, correction[2]]).float()
        self.alpha_bar, self.a = alpha_bar.float(), a.float()
        torch.manual_seed(seed)
        self.rng = torch.Generator().manual_seed(seed)
        self.generator, self.discriminator = (
            Generator(recipe, correction),
            Discriminator(recipe, news),
        )
        self.average = EMA(self.generator, recipe.average)

    def pairs(self) -> tuple[Tensor, ...]:
        """x_0, a true x_{t-1}, its x_t, and t."""
        n = self.recipe.batch
        rows = torch.randint(len(self.images), (n,), generator=self.rng)
        mirrored = torch.rand(n, 1, 1, 1, generator=self.rng) < 0.5
        x_0 = to_unit(self.images[rows])
        x_0 = torch.where(mirrored, x_0.flip(3), x_0)
        t = torch.randint(self.steps, (n,), generator=self.rng) + 1
        return x_0, *self.chain.q_sample_pair(x_0, t, self.rng), t

    def guess(self, x_t: Tensor, t: Tensor) -> Tensor:
        z = torch.randn(len(x_t), 32, generator=self.rng)
        with torch.autocast("cpu", torch.bfloat16):
            return self.generator(x_t, t, z)

    def learn_to_denoise(self) -> None:
        """Least squares, weighted by one more than the signal-to-noise ratio."""
        steps = self.recipe.denoiser_steps
        adam = torch.optim.Adam(self.generator.parameters(), lr=2e-3, betas=(0.9, 0.99), fused=True)
        for step in range(steps):
            adam.param_groups[0]["lr"] = 2e-3 * min(1, step / 50) * (1 - 0.9 * step / steps)
            x_0, _, x_t, t = self.pairs()
            error = (self.guess(x_t, t) - x_0).square().flatten(1).mean(1)
            adam.zero_grad()
            (error / (1 - self.alpha_bar[t])).mean().backward()
            adam.step()
            self.average.update(self.generator)

    def play(self) -> list[float]:
        """The relativistic game; D's loss at t = 1..T over the last 300 updates."""
        recipe, seen = self.recipe, [[] for _ in range(self.steps)]
        nets, rates = (
            (self.generator, self.discriminator),
            (recipe.lr_generator, recipe.lr_discriminator),
        )
        adams = [
            torch.optim.Adam(net.parameters(), lr=rate, betas=(0.0, 0.99), fused=True)
            for net, rate in zip(nets, rates, strict=True)
        ]
        autocast = torch.autocast("cpu", torch.bfloat16)
        for step in range(recipe.steps):
            for adam, rate in zip(adams, rates, strict=True):
                left = 1 - 0.95 * step / recipe.steps if recipe.fall else 1
                adam.param_groups[0]["lr"] = rate * left * min(1, (step + 1) / 50)
            x_0, real, x_t, t = self.pairs()
            guess = self.guess(x_t, t)
            if recipe.shared_noise:
                fake = real + self.a[t][:, None, None, None] * (guess - x_0)
            else:
                fake = self.chain.posterior_sample(guess, x_t, t, self.rng)
            if step % 4 == 0:
                true, made = (x.detach().requires_grad_() for x in (real, fake))
                above, below = (self.discriminator(x, x_t, t) for x in (true, made))
                slopes = r1_penalty(above, true) + r1_penalty(below, made)
            else:
                with autocast:
                    both = torch.cat([real, fake.detach()])
                    logits = self.discriminator(both, x_t.repeat(2, 1, 1, 1), t.repeat(2))
                (above, below), slopes = logits.chunk(2), 0.0
            for k in range(self.steps):
                if (t == k + 1).any() and step >= recipe.steps - 300:
                    here = t == k + 1
                    seen[k].append(relativistic_loss(above[here], below[here]).item())
            loss = relativistic_loss(above, below) + recipe.penalty / 2 * slopes
            adams[1].zero_grad()
            loss.backward(inputs=list(self.discriminator.parameters()))
            adams[1].step()
            with autocast:
                above, below = (self.discriminator(x, x_t, t) for x in (fake, real))
            adams[0].zero_grad()
            relativistic_loss(above, below.detach()).backward(
                inputs=list(self.generator.parameters())
            )
            adams[0].step()
            self.average.update(self.generator)
        return [round(sum(losses) / len(losses), 3) for losses in seen]

    @torch.no_grad()
    def samples(self, n: int, begin: int) -> Tensor:
        """n images: noise, or true x_t at t = ``begin`` < T, and the averaged generator's steps."""
        rng, made = torch.Generator().manual_seed(1), []
        for _ in range(n // 500):
            rows = torch.randint(len(self.images), (500,), generator=rng)
            x = torch.randn(500, 3, SIZE, SIZE, generator=rng)
            if begin < self.steps:
                x = self.chain.q_sample(to_unit(self.images[rows]), begin, rng)
            for step in range(begin, 0, -1):
                t, z = torch.full((500,), step), torch.randn(500, 32, generator=rng)
                with torch.autocast("cpu", torch.bfloat16):
                    guess = self.average.module(x, t, z)
                x = self.chain.posterior_sample(guess.clamp(-1.05, 1.05), x, step, rng)
            made.append(to_unit(to_bytes(x)))
        return torch.cat(made)


def train_reader(images: Tensor, labels: Tensor, epochs: int = 10) -> Judge:
    """Flips and shifts by two pixels; eight minutes of one core.

    The rows that are stored were scored by it, not by the judge that has come with the book since.
    """
    torch.manual_seed(0)
    net, steps = Judge("cifar10_16"), epochs * len(images) // 128
    rng = torch.Generator().manual_seed(0)
    adam = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(images), (128,), generator=rng)
        x = to_unit(images[rows])
        x = x.flip(3) if torch.rand((), generator=rng) < 0.5 else x
        down, right = torch.randint(5, (2,), generator=rng).tolist()
        x = F.pad(x, (2, 2, 2, 2), mode="reflect")[..., down : down + SIZE, right : right + SIZE]
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)
        adam.zero_grad()
        F.cross_entropy(logits.float(), labels[rows]).backward()
        adam.step()
        rates.step()
    return net


class Scale:
    """The Fréchet distance from the held-out photographs in a reader's features."""

    def __init__(self, cifar: Path, images: Tensor, labels: Tensor):
        kept = KEPT / "reader.pt"
        self.net = Judge("cifar10_16")
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save(train_reader(images, labels).state_dict(), kept)
        self.net.load_state_dict(torch.load(kept, weights_only=True))
        self.net.requires_grad_(False).eval()
        held = photographs(cifar, train=False)
        features = self.features(to_unit(held.images))
        self.real = moments(features)
        read = self.net.logits(features).argmax(1)
        first = self.features(to_unit(images[torch.randperm(len(images))[:5_000]]))
        self.about = {
            "accuracy": round((read == held.labels).double().mean().item(), 4),
            "floor": round(frechet_between(*moments(first), *self.real), 2),
            "feature variance": round(self.real[1].trace().item(), 1),
        }

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return torch.cat([self.net.features(part) for part in x.split(500)])

    def distance(self, x: Tensor) -> float:
        return round(frechet_between(*moments(self.features(x)), *self.real), 1)


def one(name: str, seed: int, images: Tensor, scale: Scale) -> dict:
    """Train one variant; what its discriminator sees, and how far its samples are."""
    recipe, begun = replace(Recipe(), **VARIANTS[name]), time.process_time()
    game = Game(recipe, images, seed)
    game.learn_to_denoise()
    seen = game.play()
    seconds = round(time.process_time() - begun, 1)
    far = [scale.distance(game.samples(5_000, begin)) for begin in range(1, game.steps + 1)]
    save_image(to_bytes(game.samples(500, game.steps)[:64]) / 255, KEPT / f"{name}.png")
    row = {"variant": name, "seed": seed, "d_relativistic_by_step": seen, "fd": far[-1]}
    row |= {"fd_of_last_steps": far, "cpu_seconds": seconds, "recipe": asdict(recipe)}
    return row | {"reader": scale.about, "hardware": results.machine()["hardware"]}


def main() -> None:
    """Print one JSON object a run."""
    parser = seeded.parser(__doc__, 1, "runs of each variant")
    parser.add_argument("--cifar", type=Path, required=True, help="train/ and test/ of CIFAR-10")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    args = parser.parse_args()
    seeded.one_thread()
    found = photographs(args.cifar)
    images, scale = found.images, Scale(args.cifar, found.images, found.labels)
    command = "python benchmarks/awake.py --cifar FOLDER --store"
    for seed, name in ((seed, name) for seed in seeded.seeds(args) for name in args.only):
        row = one(name, seed, images, scale)
        seeded.keep(row, args, "bench_awake", command, itemgetter("variant", "seed", "hardware"))


if __name__ == "__main__":
    main()
