"""How to train: one dataclass of numbers, checked when it is made."""

from dataclasses import dataclass

import torch

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}

# How fast a run goes, not where: these may differ between a run and its resumption.
SPEED = {"accumulate", "mixed_precision", "compile", "channels_last", "workers"}


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults suit small networks and points in the plane.

    Attributes:
        steps: generator updates, each after one discriminator update.
        denoiser_steps: so many of them come first and have no discriminator: the generator learns
            to denoise (:func:`ddgan_lite.method.objectives.denoising_loss`), fast and surely, and
            the game begins with guesses that are blurred, not wrong; 0 in the paper. Where all
            steps are, there is no game, and over many noise levels what is learned is a DDPM.
        head_start: so many follow in which the discriminator learns alone: Adam moves a generator
            as fast by one that sees nothing yet; 0 in the paper.
        batch_size: samples per update, over all processes together.
        lr_generator, lr_discriminator: Adam's learning rates at the start; both fall along a
            cosine over the steps that have one.
        lr_end: the rate where both end.
        lr_end_discriminator: where the discriminator's ends, if elsewhere.
        lr_denoiser: the generator's rate while it learns to denoise, where the same cosine takes
            it to ``lr_generator``; Adam's decay rates are 0.9 and 0.99 there.
        betas: Adam's decay rates.
        r1: gamma, the weight of the R1 penalty; the loss adds gamma / 2 times the penalty.
        r1_end: where gamma ends, having fallen by the same factor in every step; left out, it
            stays. Small at the end, R1 no longer blurs what the discriminator has found; ours.
        r2: the weight of the same penalty on generated samples.
        relativistic: let the discriminator compare the real and the generated sample of one
            condition (:func:`~ddgan_lite.method.objectives.relativistic_loss`), not judge each.
        shared_noise: let the two samples of a pair share the noise of the posterior and differ in
            their x_0 alone: each keeps its law, and their difference, which is what a relativistic
            discriminator judges, loses most of its variance. Ours.
        reconstruction: weight of the generator's L1 term
            (:func:`ddgan_lite.method.objectives.reconstruction_loss`); 0 in the paper.
        r1_interval: discriminator updates from one penalty to the next. As in the published
            runs the penalty is *not* multiplied by the interval, so the effective strength is
            gamma / r1_interval (StyleGAN2 multiplies).
        ema_decay: decay of the averaged generator.
        label_drop: share of the labels that are hidden in training, so that both networks learn to
            do without; of no effect on networks without classes.
        fresh_fake: draw new x_t, t and z for the generator's update, as the published runs do.
            Off, the fake that the discriminator has just judged serves both updates, which saves
            one pass through the generator.
        seed: of this run's own random generator.
        accumulate: parts into which each process cuts its batch, one after the other, to save
            memory; the update is that of the whole batch.
        mixed_precision: ``"no"``, ``"bf16"`` or ``"fp16"``. R1 stays in float32. Left out:
            what ``accelerate launch --mixed_precision`` says, else ``"no"``.
        compile: let torch.compile fuse the networks; R1, which is differentiated twice, runs
            uncompiled. Left out: for image networks on a CUDA device.
        channels_last: keep each pixel's channels together in memory. Left out: for image
            networks.
        workers: processes that load images which do not fit into memory.

    Raises:
        ValueError: if a value is out of range.

    Example:
        >>> TrainSettings(batch_size=64, accumulate=4)
        Traceback (most recent call last):
            ...
        ValueError: accumulate needs fresh_fake=True: parts are not kept in between.
        >>> TrainSettings(batch_size=64, accumulate=4, fresh_fake=True).lr_generator
        0.006
    """

    steps: int = 7_000
    denoiser_steps: int = 0
    head_start: int = 0
    batch_size: int = 1024
    lr_generator: float = 6e-3
    lr_discriminator: float = 6e-3
    lr_end: float = 6e-5
    lr_end_discriminator: float | None = None
    lr_denoiser: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.99)
    r1: float = 0.2
    r1_end: float | None = None
    r2: float = 0.0
    relativistic: bool = False
    shared_noise: bool = False
    reconstruction: float = 0.0
    r1_interval: int = 4
    ema_decay: float = 0.995
    label_drop: float = 0.1
    fresh_fake: bool = False
    seed: int = 0
    accumulate: int = 1
    mixed_precision: str | None = None
    compile: bool | None = None
    channels_last: bool | None = None
    workers: int = 0

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas))  # JSON brings lists
        for name in ("steps", "batch_size", "r1_interval", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        first = self.denoiser_steps, self.head_start
        if min(first) < 0 or sum(first) > self.steps:
            raise ValueError(
                f"denoiser_steps and head_start must be at least 0 and together at most the "
                f"{self.steps} steps, got {first[0]} and {first[1]}."
            )
        for name in ("lr_generator", "lr_discriminator", "lr_denoiser"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        given = ["lr_end_discriminator"] * (self.lr_end_discriminator is not None)
        for name in ("r1", "r2", "reconstruction", "workers", "lr_end", "seed", *given):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}.")
        if self.r1_end is not None and not 0 < self.r1_end <= self.r1:
            raise ValueError(f"r1_end must lie above 0, up to r1 = {self.r1}, got {self.r1_end}.")
        if self.seed >= 2**63:
            raise ValueError(f"seed must be below 2 ** 63, got {self.seed}.")
        for name in ("ema_decay", "label_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}.")
        if self.mixed_precision not in (None, *PRECISIONS):
            raise ValueError(
                f"mixed_precision must be one of {', '.join(PRECISIONS)}, "
                f"got {self.mixed_precision!r}."
            )
        if self.accumulate > 1 and not self.fresh_fake:
            raise ValueError("accumulate needs fresh_fake=True: parts are not kept in between.")

    def r1_at(self, step: int) -> float:
        """gamma after ``step`` of the ``steps`` updates.

        Example:
            >>> fading = TrainSettings(steps=100, r1=0.4, r1_end=0.1)
            >>> [round(fading.r1_at(step), 3) for step in (0, 50, 100)]
            [0.4, 0.2, 0.1]
        """
        if self.r1_end is None:
            return self.r1
        return self.r1 * (self.r1_end / self.r1) ** (step / self.steps)
