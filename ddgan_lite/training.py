"""The adversarial training loop: a generator of named losses that the caller drives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ddgan_lite.ema import EMA
from ddgan_lite.objectives import discriminator_loss, generator_loss, r1_penalty


class Data(Protocol):
    """Where training samples come from."""

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """n clean samples (n, ...), drawn at random; ``rng`` is on the CPU."""


class AdversarialModel(Protocol):
    """What :func:`train` needs: :class:`~ddgan_lite.model.DDGAN` has it, and so does a plain GAN.

    A sample comes with the ``condition`` under which the discriminator judges it: (x_t, t) for
    DDGAN, nothing for a GAN.
    """

    generator: nn.Module
    discriminator: nn.Module | None
    averaged: EMA | None
    device: torch.device

    def real_pair(self, x_0: Tensor, rng: torch.Generator | None) -> tuple[Tensor, tuple]: ...

    def fake_like(self, real: Tensor, condition: tuple, rng: torch.Generator | None) -> Tensor: ...


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are the tuned recipe for 25 Gaussians.

    Attributes:
        steps: generator updates, each after one discriminator update.
        batch_size: samples per update.
        lr_generator, lr_discriminator: Adam's learning rates at the start; both fall along a
            cosine over ``steps`` to ``lr_end`` times that.
        betas: Adam's decay rates.
        r1: gamma, the weight of the R1 penalty; the loss adds gamma / 2 times the penalty.
        r1_interval: discriminator updates from one penalty to the next. As in the published
            runs the penalty is *not* multiplied by the interval, so the effective strength is
            gamma / r1_interval (StyleGAN2 multiplies).
        ema_decay: decay of the averaged generator.
        fresh_fake: draw new x_t, t and z for the generator's update, as the published runs do.
            Off, the fake that the discriminator has just judged serves both updates, which saves
            one pass through the generator.
        seed: of this run's own random generator.

    Raises:
        ValueError: if a value is out of range.
    """

    steps: int = 9_000
    batch_size: int = 1024
    lr_generator: float = 6e-3
    lr_discriminator: float = 6e-3
    lr_end: float = 0.01
    betas: tuple[float, float] = (0.0, 0.99)
    r1: float = 0.2
    r1_interval: int = 4
    ema_decay: float = 0.995
    fresh_fake: bool = False
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "r1_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("lr_generator", "lr_discriminator"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if not self.r1 >= 0:
            raise ValueError(f"r1 must not be negative, got {self.r1}.")


def forget_gradients(weights: list[Tensor]) -> None:
    """What Optimizer.zero_grad does, whose bookkeeping is 4 % of a step of a small network."""
    for weight in weights:
        weight.grad = None


def train(
    model: AdversarialModel, data: Data, settings: TrainSettings
) -> Iterator[dict[str, float]]:
    """Train ``model`` on ``data``; yields the losses of every step as a dictionary of numbers.

    A generator: nothing happens until it is iterated, and the caller may print, plot, sample
    or stop at any step. ``model.averaged`` holds the averaged generator from the start, and
    ``model.sample`` uses it.

    Raises:
        ValueError: if the model has no discriminator, or the data are not finite.
        FloatingPointError: if a loss stops being finite.

    Example:
        >>> from ddgan_lite.data import gaussian_grid
        >>> from ddgan_lite.model import DDGAN
        >>> from ddgan_lite.networks import MLPConfig
        >>> settings = TrainSettings(steps=2, batch_size=8)
        >>> [sorted(losses) for losses in train(DDGAN(MLPConfig()), gaussian_grid(), settings)][0]
        ['d_fake', 'd_real', 'g_adversarial', 'r1']
    """
    if model.discriminator is None:
        raise ValueError("this model has no discriminator: it was loaded for sampling only.")
    generator, discriminator = model.generator, model.discriminator
    rng = torch.Generator(model.device).manual_seed(settings.seed)
    # Data are drawn on the CPU, wherever the model is; there both are one stream.
    data_rng = rng if rng.device.type == "cpu" else torch.Generator().manual_seed(settings.seed)
    optimisers = [
        torch.optim.Adam(network.parameters(), lr=lr, betas=settings.betas, fused=True)
        for network, lr in (
            (generator, settings.lr_generator),
            (discriminator, settings.lr_discriminator),
        )
    ]
    opt_g, opt_d = optimisers
    schedules = [
        CosineAnnealingLR(opt, settings.steps, eta_min=settings.lr_end * opt.defaults["lr"])
        for opt in optimisers
    ]
    weights_g, weights_d = list(generator.parameters()), list(discriminator.parameters())
    model.averaged = EMA(generator, settings.ema_decay)

    for step in range(settings.steps):
        x_0 = data.sample(settings.batch_size, data_rng).to(model.device, torch.float32)
        if step == 0 and not torch.isfinite(x_0).all():
            raise ValueError("the training data hold values that are not finite.")
        real, condition = model.real_pair(x_0, rng)

        # The discriminator. Its fakes carry no gradient: the generator learns nothing here.
        with torch.set_grad_enabled(not settings.fresh_fake):
            fake = model.fake_like(real, condition, rng)
        penalise = settings.r1 > 0 and step % settings.r1_interval == 0
        real = real.detach().requires_grad_(penalise)  # a GAN's are the data's own tensors
        real_logits = discriminator(real, *condition)
        losses = discriminator_loss(real_logits, discriminator(fake.detach(), *condition))
        total = losses["d_real"] + losses["d_fake"]
        if penalise:
            losses["r1"] = r1_penalty(real_logits, real)
            total = total + 0.5 * settings.r1 * losses["r1"]
        forget_gradients(weights_d)
        total.backward(inputs=weights_d)
        opt_d.step()

        # The generator. Differentiating with respect to its weights alone leaves D in peace.
        if settings.fresh_fake:
            real, condition = model.real_pair(x_0, rng)
            fake = model.fake_like(real, condition, rng)
        losses |= generator_loss(discriminator(fake, *condition))
        forget_gradients(weights_g)
        losses["g_adversarial"].backward(inputs=weights_g)
        opt_g.step()
        model.averaged.update(generator)
        for schedule in schedules:
            schedule.step()

        values = {name: loss.item() for name, loss in losses.items()}
        if not all(abs(value) < float("inf") for value in values.values()):
            raise FloatingPointError(
                f"the losses are no longer finite at step {step + 1}: {values}. Try a smaller "
                "learning rate or a larger r1."
            )
        yield values
