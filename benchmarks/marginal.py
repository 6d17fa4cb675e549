"""Conditional or marginal: who asks for what on 25 Gaussians, under the same scores.

    python benchmarks/marginal.py [--rows "pairs, T = 4"] [--seeds 3] [--jobs 1] [--store]

One JSON object per run. Quality and coverage are those of chapter 05; *coupling* asks whether the
answers to a true x_t follow q(x_0 | x_t), which is exact here. ``--store`` adds the runs to
book/results/bench_marginal.json, in place of those with the same row, seed and processor.
"""

from dataclasses import replace
from functools import partial
from operator import itemgetter

import seeded
import torch
from joblib import Parallel, delayed
from torch import nn

from ddgan_lite.chain.diffusion import cosine_levels
from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.evaluation.metrics import mixture_scores
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks.toy import OneHot, Waves, mlp
from ddgan_lite.training.presets import PRESETS
from ddgan_lite.training.trainer import Trainer

PRESET = PRESETS["gaussians"]


class Blind(nn.Module):
    """A discriminator that is not shown x_t."""

    def __init__(self, discriminator):
        super().__init__()
        self.discriminator = discriminator

    def forward(self, x_prev, x_t, t):
        return self.discriminator(x_prev, torch.zeros_like(x_t), t)


class Mirrored(DDGAN):
    """Its generator is shown -x_t: it starts from a coupling that is as wrong as can be."""

    def predict(self, x_t, *condition, **options):
        return super().predict(-x_t, *condition, **options)


def build(num_steps=4, kind=DDGAN, blind=False, uniform=False, **changes):
    """A model of chapter 05: as the preset, with these changes."""
    levels = {"num_steps": num_steps, "noise_levels": cosine_levels(num_steps)}
    visits = [1] * num_steps if uniform else [4, 2, *[1] * (num_steps - 2)][:num_steps]
    model = kind(replace(PRESET.config, **levels | changes), step_weights=visits)
    if blind:
        model.discriminator = Blind(model.discriminator)
    return model


class Regression(nn.Module):
    """The mean of e, the noise between x_{t-1} and x_t, given x_{t-1}: of true pairs it is 0."""

    def __init__(self, num_steps):
        super().__init__()
        self.time, self.waves = OneHot(num_steps), Waves((1, 2, 4, 8))
        self.net = mlp(18 + num_steps, 2, 48, 4, 0.05)
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x_prev, t):
        return self.net(torch.cat([self.waves(x_prev), self.time(t)], 1))


class TiedTrainer(Trainer):
    """The marginal game, and the divergence of p(x_t | x_{t-1}) from the forward step.

    log q(x_t | x_{t-1}) is -|e|^2 / 2 with e = (x_t - sqrt(alpha_t) x_{t-1}) / sqrt(beta_t), up to
    a constant; log p is estimated by a Gaussian of the same width around a regressed mean.
    ``plain`` leaves log p, the entropy, out.
    """

    def __init__(self, *args, weight=1.0, plain=False):
        super().__init__(*args)
        self.weight, self.plain = weight, plain
        self.regression = Regression(self.model.config.num_steps)
        self.adam = torch.optim.Adam(
            self.regression.parameters(), 3e-3, betas=(0.0, 0.99), fused=True
        )

    def _fake(self, real, condition, x_0):
        fake, guess = super()._fake(real, condition, x_0)
        self.pair = fake, *condition
        return fake, guess

    def _errors(self, x_prev, x_t, t):
        """|e|^2 / 2 and |e - its regression|^2 / 2, means over the batch."""
        beta = self.model.diffusion.beta.float()[t].unsqueeze(1)
        e = (x_t - (1 - beta).sqrt() * x_prev) / beta.sqrt()
        rest = e if self.plain else e - self.regression(x_prev, t)
        return 0.5 * e.square().sum(1).mean(), 0.5 * rest.square().sum(1).mean()

    def _backward(self, network, loss):
        if network == 0:  # the generator's turn
            if not self.plain:
                x_prev, x_t, t = self.pair
                self.adam.zero_grad()
                self._errors(x_prev.detach(), x_t, t)[1].backward()
                self.adam.step()
            whole, rest = self._errors(*self.pair)
            loss = loss + self.weight * (whole if self.plain else whole - rest)
        super()._backward(network, loss)


def follows(answer, data, alpha_bar, seed, starts=200, answers=128):
    """How answers to true x_t keep to q(x_0 | x_t): total variation of modes, share implausible.

    ``answer`` takes x_t (n, 2) to x_0 (n, 2). Implausible is a mode that the exact posterior gives
    less than 1 %.
    """
    rng = torch.Generator().manual_seed(seed)
    x_t = alpha_bar**0.5 * data.sample(starts, rng)
    x_t += (1 - alpha_bar) ** 0.5 * torch.randn(x_t.shape, generator=rng, dtype=torch.float64)
    posterior = data.denoising(x_t, 1.0, alpha_bar)
    x_0 = answer(x_t.repeat_interleave(answers, 0).float(), rng)
    mode = torch.cdist(x_0.double(), data.means).argmin(1).view(starts, answers)
    share = nn.functional.one_hot(mode, data.num_components).double().mean(1)
    return {
        "tv": 0.5 * (share - posterior.weights).abs().sum(1).mean().item(),
        "implausible": (share * (posterior.weights < 0.01)).sum(1).mean().item(),
        "answers": share.square().sum(1).reciprocal().mean().item(),
    }


def exact(data, alpha_bar, seed):
    """The floor of :func:`follows`: answers drawn from the posterior itself."""
    draw = lambda x_t, rng: data.denoising(x_t, 1.0, alpha_bar).sample(1, rng)[0]  # noqa: E731
    return follows(draw, data, alpha_bar, seed)


PAPER = {"noise_levels": None}
FIXED = {"latent_dim": 0}


def made(*args, trainer=Trainer, settings=None, **changes):
    """A row: how to build it, the trainer, changed settings."""
    return partial(build, *args, **changes), trainer, settings or {}


BARE = {"frequencies": (), "data_std": None, "noise_levels": None}
CONSTANT = {"r1": 0.2, "r1_end": None}
PLAIN_TIE = partial(TiedTrainer, plain=True, weight=0.1)
ROWS = {
    "pairs, T = 4": made(),
    "blind, T = 4": made(blind=True),
    "tied, T = 4": made(blind=True, trainer=TiedTrainer),
    "tied, T = 2": made(2, blind=True, trainer=TiedTrainer),
    "pairs, no latent, T = 1": made(1, **FIXED),
    "pairs, no latent, paper's levels, T = 1": made(1, **FIXED, **PAPER),
    "blind, no latent, paper's levels, T = 4": made(blind=True, **FIXED, **PAPER),
    "blind, no latent, paper's levels, T = 2": made(2, blind=True, **FIXED, **PAPER),
    "blind, no latent, paper's levels, T = 1": made(1, blind=True, **FIXED, **PAPER),
    "mirrored, pairs, T = 4": made(kind=Mirrored),
    "mirrored, blind, T = 4": made(kind=Mirrored, blind=True),
    "mirrored, tied, T = 4": made(kind=Mirrored, blind=True, trainer=TiedTrainer),
    "blind, no latent, T = 4": made(blind=True, **FIXED),
    "blind, no latent, T = 2": made(2, blind=True, **FIXED),
    "blind, no latent, T = 1": made(1, blind=True, **FIXED),
    "pairs, no latent, T = 4": made(**FIXED),
    "plain tie, T = 4": made(blind=True, trainer=PLAIN_TIE),
    "pairs, no latent, no additions, T = 1": made(1, **FIXED, **BARE, settings=CONSTANT),
    "blind, no latent, no additions, T = 1": made(
        1, blind=True, **FIXED, **BARE, settings=CONSTANT
    ),
    "pairs, T = 8, even visits": made(8, uniform=True),
    "pairs, T = 8, 6,000 updates": made(8, settings={"steps": 6_000}),
}


def one(row: str, seed: int, samples: int = 10_000) -> dict:
    """Train one row from one seed; its scores, evaluations and CPU seconds."""
    seeded.one_thread()  # also in a process that joblib starts
    data = gaussian_grid()
    make, trainer, changes = ROWS[row]
    torch.manual_seed(seed)
    model = make()
    settings = replace(PRESET.settings, **{"steps": 3_000, "seed": seed} | changes)
    seconds = seeded.cpu_seconds(trainer(model, data, settings))
    drawn = model.sample(samples, rng=torch.Generator().manual_seed(10_000 + seed))
    chain, coupling = model.diffusion, []
    for t in range(1, chain.num_steps + 1):
        alpha_bar = chain.alpha_bar[t].item()
        answer = lambda x_t, rng, t=t: list(model.denoise_steps(x_t, t, rng=rng))[-1]  # noqa: E731
        found = follows(answer, data, alpha_bar, seed)
        floor = {f"exact_{name}": value for name, value in exact(data, alpha_bar, seed).items()}
        coupling.append({"t": t, "level": chain.noise_levels[t - 1], **found, **floor})
    record = {"row": row, "seed": seed, "hardware": results.machine()["hardware"]}
    record |= {"steps": settings.steps, "evaluations": chain.num_steps}
    record |= mixture_scores(drawn, data) | {"cpu_seconds": round(seconds, 1)}
    return record | {"coupling": coupling}


def main() -> None:
    """Print one JSON object a run."""
    parser = seeded.parser(__doc__, 3)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), help="some of the rows")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}. Known: {', '.join(ROWS)}.")
    tasks = [(row, s) for s in seeded.seeds(args) for row in args.rows]
    command = "python benchmarks/marginal.py --store"
    same = itemgetter("row", "seed", "hardware")
    for record in Parallel(args.jobs, return_as="generator")(delayed(one)(*task) for task in tasks):
        seeded.keep(record, args, "bench_marginal", command, same)


if __name__ == "__main__":
    main()
