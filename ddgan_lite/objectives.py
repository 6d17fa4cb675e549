"""The adversarial objective of a denoising step (Xiao et al. 2022, eq. 4 and section 4).

Each function takes the discriminator's logits, float of shape (n,), and returns scalar terms
by name. Their sum is the loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
    """-log sigmoid(D(real)) and -log(1 - sigmoid(D(fake))), batch means.

    Both start at log 2 = 0.6931 for a discriminator that answers 0.
    """
    return {
        "d_real": F.softplus(-real_logits).mean(),
        "d_fake": F.softplus(fake_logits).mean(),
    }


def generator_loss(fake_logits: Tensor) -> dict[str, Tensor]:
    """The non-saturating loss -log sigmoid(D(fake)), batch mean (Goodfellow et al. 2014)."""
    return {"g_adversarial": F.softplus(-fake_logits).mean()}


def r1_penalty(real_logits: Tensor, real: Tensor) -> Tensor:
    """E ||grad_real D||^2, the squared slope of D on real samples (Mescheder et al. 2018).

    In DDGAN ``real`` is x_{t-1} alone: x_t and t are conditions and are not differentiated.
    The loss adds gamma / 2 times this.

    Args:
        real_logits: D(real), computed from ``real``.
        real: (n, ...), a leaf that requires gradients.

    Raises:
        ValueError: if ``real`` does not require gradients.
    """
    if not real.requires_grad:
        raise ValueError("R1 needs real samples that require gradients: real.requires_grad_().")
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()
