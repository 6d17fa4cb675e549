"""The adversarial training loop: one step after another, named losses out."""

import contextlib
import functools
import math
import os
from collections.abc import Iterator

import torch
from torch import Tensor, distributed, nn

from ddgan_lite.chain.randomness import SharedGenerator, own_rows
from ddgan_lite.data.images import to_unit
from ddgan_lite.method.ema import EMA
from ddgan_lite.method.model import DDGAN
from ddgan_lite.method.objectives import (
    denoising_loss,
    discriminator_loss,
    generator_loss,
    r1_penalty,
    reconstruction_loss,
    relativistic_loss,
)
from ddgan_lite.networks.layers import MinibatchStd
from ddgan_lite.training.phases import optimisers
from ddgan_lite.training.processes import mean_of, this_process
from ddgan_lite.training.protocols import AdversarialModel, Data, drawn
from ddgan_lite.training.settings import PRECISIONS, TrainSettings


def forget_gradients(weights: list[Tensor]) -> None:
    """What Optimizer.zero_grad does, whose bookkeeping is 4 % of a step of a small network.

    Example:
        >>> weight = torch.ones(2, requires_grad=True)
        >>> weight.sum().backward()
        >>> forget_gradients([weight])
        >>> weight.grad is None
        True
    """
    for weight in weights:
        weight.grad = None


class Trainer:
    """A training run in memory; iterate over it to train.

    The run is the same on one process and on several (``accelerate launch``), up to rounding:
    each draws the whole batch's random numbers and takes its rows. Gradients are averaged by
    hand, as StyleGAN does, because DistributedDataParallel's hooks do not expect a network that
    is differentiated twice.

    Args:
        model: what to train, on the device on which to train it.
        data: where the samples come from.
        settings: how to train.

    Attributes:
        step: generator updates made so far.

    Raises:
        ValueError: if the model has no discriminator, cannot be trained with these settings,
            or the batch cannot be shared out.

    Example:
        >>> from ddgan_lite import MLPConfig, gaussian_grid
        >>> settings = TrainSettings(steps=5, batch_size=8)
        >>> trainer = Trainer(DDGAN(MLPConfig()), gaussian_grid(), settings)
        >>> losses = trainer.advance(torch.zeros(8, 2))  # one step, on samples of your own
        >>> trainer.step, len(list(trainer)), trainer.step  # and the rest, on those of the data
        (1, 4, 5)
    """

    def __init__(self, model: AdversarialModel, data: Data, settings: TrainSettings):
        if model.discriminator is None:
            raise ValueError("this model has no discriminator: it was loaded for sampling only.")
        self.model, self.data, self.settings, self.step = model, data, settings, 0
        networks = [model.generator, model.discriminator]
        process = this_process()
        self.rank, self.processes = process.process_index, process.num_processes
        parts = self.processes * settings.accumulate
        if settings.batch_size % parts:
            raise ValueError(
                f"a batch of {settings.batch_size} cannot be cut into {parts} equal parts "
                f"({self.processes} processes, accumulate={settings.accumulate})."
            )
        if isinstance(model, DDGAN):
            self.alpha_bar = model.diffusion.alpha_bar.to(model.device, torch.float32)
        for name in ("reconstruction", "denoiser_steps", "shared_noise"):
            if getattr(settings, name) and not isinstance(model, DDGAN):
                raise ValueError(f"{name} needs a model that guesses x_0 from x_t: a DDGAN.")
        self.classes = getattr(model, "classes", 0)  # a plain GAN has none
        ordered = hasattr(data, "batches")
        known = data.labels if ordered else getattr(data, "sample_labelled", None)
        if self.classes and known is None:
            raise ValueError(f"these networks have {self.classes} classes, these data no labels.")
        if any(isinstance(module, MinibatchStd) for module in networks[1].modules()):
            MinibatchStd.check(settings.batch_size // parts)

        kind, cuda = model.device.type, model.device.type == "cuda"
        images = any(isinstance(module, nn.Conv2d) for module in networks[0].modules())
        self.compiled = images and cuda if settings.compile is None else settings.compile
        self.channels_last = images and settings.channels_last is not False
        asked = settings.mixed_precision or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        precision = PRECISIONS[asked]
        if precision is torch.float16 and not cuda:
            raise ValueError("mixed_precision='fp16' needs a CUDA device: take 'bf16' or 'no'.")
        self.mixed = precision is not None
        self.autocast = torch.autocast(kind, precision) if self.mixed else contextlib.nullcontext()
        for network in networks:
            if self.channels_last:
                network.to(memory_format=torch.channels_last)
            if self.compiled:
                network.compile()
            for weight in network.parameters() if self.processes > 1 else ():
                distributed.broadcast(weight.data, src=0)  # all start where the first does

        self.weights = [list(network.parameters()) for network in networks]
        self.play(settings.denoiser_steps == 0)
        # One each: an overflow in one network is no news about the other.
        self.scalers = [
            torch.amp.GradScaler(kind, enabled=precision is torch.float16) for _ in networks
        ]
        model.averaged = EMA(networks[0], settings.ema_decay)
        self.rng = SharedGenerator(model.device)
        # Data are drawn on the CPU, wherever the model is; there both are one stream.
        self.data_rng = torch.Generator() if model.device.type != "cpu" else self.rng
        for rng in (self.rng, self.data_rng):
            rng.manual_seed(settings.seed)

    def play(self, game: bool) -> None:
        """Fresh optimisers for the game, or for the denoising before it.

        Example:
            >>> from ddgan_lite import MLPConfig, gaussian_grid
            >>> settings = TrainSettings(denoiser_steps=5, lr_denoiser=1e-3, lr_generator=1e-4)
            >>> trainer = Trainer(DDGAN(MLPConfig()), gaussian_grid(), settings)
            >>> before = trainer.optimisers[0].param_groups[0]["lr"]
            >>> trainer.play(True)
            >>> before, trainer.optimisers[0].param_groups[0]["lr"]
            (0.001, 0.0001)
        """
        self.optimisers, self.schedules = optimisers(self.settings, self.weights, game=game)

    # -- one step ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[dict[str, float]]:
        """Train from ``step`` to the end; yields the losses of every step."""
        batches = self._batches()
        while self.step < self.settings.steps:
            yield self.advance(*next(batches))

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        """This process's rows of every batch, and their labels, from the present step on."""
        size, own = self.settings.batch_size, slice(self.rank, None, self.processes)
        if hasattr(self.data, "batches"):  # one epoch after another
            order = {"seed": self.settings.seed, "start": self.step, "part": own}
            how = {"device": self.model.device, "workers": self.settings.workers, "labelled": True}
            for images, y in self.data.batches(size, **order, **how):
                yield to_unit(images), y
        while True:
            x_0, *y = drawn(self.data, size, self.data_rng, labelled=self.classes > 0)
            yield x_0[own].to(self.model.device, torch.float32), *(label[own] for label in y)

    def _parts(self, batch: list[Tensor]) -> Iterator[list[Tensor]]:
        """The batch in ``accumulate`` parts; each meets the random numbers of its own rows."""
        accumulate = self.settings.accumulate
        self.rng.shares = self.processes * accumulate
        begin = self.rng.get_state() if accumulate > 1 else None
        for part in range(accumulate):
            if part:
                self.rng.set_state(begin)
            self.rng.share = self.rank + self.processes * part
            yield [rows[part::accumulate] for rows in batch]

    def _coins(self, n: int, share: float) -> Tensor:
        """True for about this share of this process's n rows."""
        self.rng.share, self.rng.shares = self.rank, self.processes
        draw = functools.partial(torch.rand, generator=self.rng, device=self.model.device)
        return own_rows(draw, n, self.rng) < share

    def _some(self, y: Tensor) -> Tensor:
        """The labels, some of them hidden."""
        if y.min() < 0 or y.max() >= self.classes:
            raise ValueError(f"the data's labels must lie in 0..{self.classes - 1}.")
        hidden = self._coins(len(y), self.settings.label_drop)
        return y.to(hidden.device).masked_fill(hidden, self.classes)

    def advance(self, x_0: Tensor, y: Tensor | None = None) -> dict[str, float]:
        """One update of each network on this process's clean samples x_0 (n, ...).

        A model with classes learns from their labels y (n,) as well.

        Returns:
            The losses by name, averaged over the whole batch; ``r1`` when it was due.

        Raises:
            ValueError: if the first data are not finite, or a label is none of the classes.
            FloatingPointError: if a loss stops being finite.
        """
        settings, model, discriminator = self.settings, self.model, self.model.discriminator
        if self.step == 0 and not torch.isfinite(x_0).all():
            raise ValueError("the training data hold values that are not finite.")
        if self.channels_last:
            x_0 = x_0.contiguous(memory_format=torch.channels_last)
        if getattr(self.data, "flip", False):
            mirrored = self._coins(len(x_0), 0.5)  # half of the images, left to right
            x_0 = torch.where(mirrored[:, None, None, None], x_0.flip(3), x_0)
        batch = [x_0, self._some(y)] if self.classes and y is not None else [x_0]
        if self.step < settings.denoiser_steps:
            return self._denoise(batch)
        penalise = settings.r1 + settings.r2 > 0 and self.step % settings.r1_interval == 0
        # R1 differentiates twice: in float32 always, and never through compiled code.
        apart = penalise and (self.mixed or self.compiled)
        waiting = self.step < settings.denoiser_steps + settings.head_start
        sums: dict[str, Tensor] = {}

        # The discriminator. Its fakes carry no gradient: the generator learns nothing here.
        forget_gradients(self.weights[1])
        for part, *label in self._parts(batch):
            with self.autocast:
                real, condition = model.real_pair(part, self.rng, *label)
                with torch.set_grad_enabled(not (settings.fresh_fake or waiting)):
                    fake, guess = self._fake(real, condition, part)
                # What R1 and R2 differentiate at; a GAN's real samples are the data's own.
                real = real.detach().requires_grad_(penalise)
                shown = fake.detach().requires_grad_(penalise and settings.r2 > 0)
                named, real_logits = self._named(real.detach() if apart else real, condition)
                fake_logits = discriminator(shown.detach() if apart else shown, *condition)
                relative = settings.relativistic
                terms = discriminator_loss(real_logits, fake_logits, relativistic=relative) | named
            total = sum(terms.values())
            if penalise:
                for name, weight, x, logits in (
                    ("r1", settings.r1_at(self.step), real, real_logits),
                    ("r2", settings.r2, shown, fake_logits),
                ):
                    if weight > 0:
                        again = discriminator.forward(x, *condition) if apart else logits
                        terms[name] = r1_penalty(again, x)
                        total = total + 0.5 * weight * terms[name]
            self._backward(1, total)
            _add(sums, terms)
        self._update(1)
        if waiting:
            return self._finish(sums, moved=False)

        # The generator. Differentiating with respect to its weights alone leaves D in peace.
        forget_gradients(self.weights[0])
        for part, *label in self._parts(batch):
            with self.autocast:
                if settings.fresh_fake:
                    real, condition = model.real_pair(part, self.rng, *label)
                    fake, guess = self._fake(real, condition, part)
                fake_logits = discriminator(fake, *condition)
                if settings.relativistic:
                    with torch.no_grad():
                        real_logits = discriminator(real, *condition)
                    terms = {"g_relativistic": relativistic_loss(fake_logits, real_logits)}
                else:
                    terms = generator_loss(fake_logits)
            total = sum(terms.values())
            if settings.reconstruction > 0:
                error = reconstruction_loss(guess, part, self.alpha_bar[condition[1]])
                total = total + settings.reconstruction * sum(error.values())
                terms |= error
            self._backward(0, total)
            _add(sums, terms)
        return self._finish(sums)

    def _denoise(self, batch: list[Tensor]) -> dict[str, float]:
        """One update of the generator alone, as a denoiser."""
        forget_gradients(self.weights[0])
        sums: dict[str, Tensor] = {}
        for part, *label in self._parts(batch):
            with self.autocast:
                _, (x_t, t, *label) = self.model.real_pair(part, self.rng, *label)
                guess = self.model.predict(x_t, t, None, *label, rng=self.rng)
            terms = denoising_loss(guess, part, self.alpha_bar[t])
            self._backward(0, sum(terms.values()))
            _add(sums, terms)
        losses = self._finish(sums)
        if self.step == self.settings.denoiser_steps:
            self.play(True)
        return losses

    def _finish(self, sums: dict[str, Tensor], moved: bool = True) -> dict[str, float]:
        """The end of a step: the generator moves, and its average with it."""
        if moved:
            self._update(0)
            self.model.averaged.update(self.model.generator)
        self.step += 1
        return self._read(sums)

    def _fake(self, real: Tensor, condition: tuple, x_0: Tensor) -> tuple[Tensor, Tensor | None]:
        """A fake, and the guess of x_0 behind it if that is to be judged as well."""
        if not (self.settings.reconstruction or self.settings.shared_noise):
            return self.model.fake_like(real, condition, self.rng), None
        x_t, t, *label = condition
        guess = self.model.predict(x_t, t, None, *label, rng=self.rng)
        if self.settings.shared_noise:
            return self.model.diffusion.moved(real, guess - x_0, t), guess
        return self.model.fake_like(real, condition, self.rng, guess), guess

    def _named(self, real: Tensor, condition: tuple) -> tuple[dict[str, Tensor], Tensor]:
        """The logits of true samples; and how well a classifier in D knows their labels."""
        if getattr(self.model.discriminator, "classifier", None) is None:
            return {}, self.model.discriminator(real, *condition)
        verdict, evidence = self.model.discriminator.parts(real, *condition)
        return {"d_classes": -evidence.mean()}, verdict + evidence

    def _backward(self, network: int, loss: Tensor) -> None:
        if self.settings.accumulate > 1:
            loss = loss / self.settings.accumulate
        self.scalers[network].scale(loss).backward(inputs=self.weights[network])

    def _update(self, network: int) -> None:
        """Average the gradients over the processes, and move one network's weights."""
        weights = self.weights[network]
        if self.processes > 1:
            mean = mean_of(torch.cat([weight.grad.flatten() for weight in weights]))
            sizes = [weight.numel() for weight in weights]
            for weight, gradient in zip(weights, mean.split(sizes), strict=True):
                weight.grad.copy_(gradient.view_as(weight))
        self.scalers[network].step(self.optimisers[network])
        self.scalers[network].update()
        self.schedules[network].step()

    def _read(self, sums: dict[str, Tensor]) -> dict[str, float]:
        losses = torch.stack(list(sums.values())) / self.settings.accumulate
        if self.processes > 1:
            losses = mean_of(losses)
        values = dict(zip(sums, losses.tolist(), strict=True))  # one transfer from the device
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError(
                f"the losses are no longer finite at step {self.step}: {values}. Try a smaller "
                "learning rate or a larger r1."
            )
        return values


def _add(sums: dict[str, Tensor], terms: dict[str, Tensor]) -> None:
    for name, term in terms.items():
        sums[name] = sums[name] + term.detach() if name in sums else term.detach()


def train(
    model: AdversarialModel, data: Data, settings: TrainSettings
) -> Iterator[dict[str, float]]:
    """Train ``model`` on ``data``; yields the losses of every step as a dictionary of numbers.

    A generator: nothing happens until it is iterated, and the caller may print, plot, sample
    or stop at any step. ``model.averaged`` holds the averaged generator from the start, and
    ``model.sample`` uses it. :class:`Trainer` is the same loop with its state in the open.

    Raises:
        ValueError: if the model has no discriminator, or the data are not finite.
        FloatingPointError: if a loss stops being finite.

    Example:
        >>> from ddgan_lite import DDGAN, MLPConfig, gaussian_grid
        >>> settings = TrainSettings(steps=2, batch_size=8)
        >>> [sorted(losses) for losses in train(DDGAN(MLPConfig()), gaussian_grid(), settings)][0]
        ['d_fake', 'd_real', 'g_adversarial', 'r1']
    """
    yield from Trainer(model, data, settings)
