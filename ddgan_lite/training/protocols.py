"""What a training run needs from its data and from its model."""

from typing import Protocol

import torch
from torch import Tensor, nn

from ddgan_lite.method.ema import EMA


class Data(Protocol):
    """Where samples come from: an endless supply, or images that come in epochs.

    These have ``batches``: :class:`~ddgan_lite.data.images.Images` and
    :class:`~ddgan_lite.data.streams.Stream`.

    Example:
        >>> class Here:
        ...     def sample(self, n, rng=None):
        ...         return torch.ones(n, 2)
        >>> from ddgan_lite import DDGAN, MLPConfig, TrainSettings, train
        >>> losses = next(train(DDGAN(MLPConfig()), Here(), TrainSettings(batch_size=8)))
        >>> sorted(losses)
        ['d_fake', 'd_real', 'g_adversarial', 'r1']
    """

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """n clean samples (n, ...), drawn at random; ``rng`` is on the CPU.

        For networks with classes there must be ``sample_labelled`` as well, which returns their
        labels (n,) beside them.
        """


def drawn(data: Data, n: int, rng: torch.Generator, *, labelled: bool) -> tuple[Tensor, ...]:
    """n samples and, if ``labelled``, their labels beside them.

    Example:
        >>> from ddgan_lite import gaussian_grid
        >>> [x.shape for x in drawn(gaussian_grid(), 5, torch.Generator(), labelled=False)]
        [torch.Size([5, 2])]
    """
    return data.sample_labelled(n, rng) if labelled else (data.sample(n, rng),)


class AdversarialModel(Protocol):
    """What training needs: :class:`~ddgan_lite.method.model.DDGAN` has it, and so does a plain GAN.

    A sample comes with the ``condition`` under which the discriminator judges it: (x_t, t) for
    DDGAN, nothing for a GAN.

    Example:
        >>> from ddgan_lite import DDGAN, MLPConfig
        >>> model: AdversarialModel = DDGAN(MLPConfig(shape=(2,)))
        >>> real, condition = model.real_pair(torch.zeros(5, 2), rng=None)
        >>> fake = model.fake_like(real, condition, rng=None)
        >>> real.shape == fake.shape, model.discriminator(fake, *condition).shape
        (True, torch.Size([5]))
    """

    generator: nn.Module
    discriminator: nn.Module | None
    averaged: EMA | None
    device: torch.device

    def real_pair(self, x_0: Tensor, rng: torch.Generator | None) -> tuple[Tensor, tuple]: ...

    def fake_like(self, real: Tensor, condition: tuple, rng: torch.Generator | None) -> Tensor: ...
