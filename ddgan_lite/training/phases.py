"""The optimisers of each phase of a run: a denoiser first, if asked for, and then the game."""

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from ddgan_lite.training.settings import TrainSettings


def optimisers(
    settings: TrainSettings, weights: list[list[Tensor]], *, game: bool
) -> tuple[list[torch.optim.Adam], list[CosineAnnealingLR]]:
    """Adam of the generator and of the discriminator, and the fall of their rates.

    While the generator learns to denoise, its rate goes from ``lr_denoiser`` to ``lr_generator``;
    in the game both rates fall to ``lr_end``, the generator's from the end of the head start on.
    Adam's averages begin anew with the game, whose gradients are of another size.

    Args:
        settings: of the run.
        weights: those of the generator and those of the discriminator.
        game: whether the game is on.

    Example:
        >>> settings = TrainSettings(steps=10, denoiser_steps=4, lr_denoiser=1e-3)
        >>> weights = [[torch.ones(2)], [torch.ones(2)]]
        >>> (first, _), _ = optimisers(settings, weights, game=False)
        >>> first.param_groups[0]["lr"]
        0.001
    """
    left = settings.steps - settings.denoiser_steps
    if game:
        first = left - settings.head_start, settings.lr_generator, settings.lr_end
    else:
        first = settings.denoiser_steps, settings.lr_denoiser, settings.lr_generator
    end = settings.lr_end_discriminator
    second = left, settings.lr_discriminator, settings.lr_end if end is None else end
    adams, falls = [], []
    for tensors, (steps, lr, low) in zip(weights, (first, second), strict=True):
        betas = settings.betas if game else (0.9, 0.99)
        adams.append(torch.optim.Adam(tensors, lr=lr, betas=betas, fused=True))
        falls.append(CosineAnnealingLR(adams[-1], steps, eta_min=low))
    return adams, falls
