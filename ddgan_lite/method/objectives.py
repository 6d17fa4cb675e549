"""The adversarial objective of a denoising step (Xiao et al. 2022, eq. 4 and section 4).

Each function takes the discriminator's logits, float of shape (n,), and returns scalar terms
by name. Their sum is the loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, *, relativistic: bool = False
) -> dict[str, Tensor]:
    """-log sigmoid(D(real)) and -log(1 - sigmoid(D(fake))), batch means.

    Both start at log 2 = 0.6931 for a discriminator that answers 0. ``relativistic`` gives the one
    term of :func:`relativistic_loss` instead.

    Example:
        >>> terms = discriminator_loss(torch.full((5,), 3.0), torch.zeros(5))
        >>> {name: round(term.item(), 4) for name, term in terms.items()}
        {'d_real': 0.0486, 'd_fake': 0.6931}
    """
    if relativistic:
        return {"d_relativistic": relativistic_loss(real_logits, fake_logits)}
    return {
        "d_real": F.softplus(-real_logits).mean(),
        "d_fake": F.softplus(fake_logits).mean(),
    }


def generator_loss(fake_logits: Tensor) -> dict[str, Tensor]:
    """The non-saturating loss -log sigmoid(D(fake)), batch mean (Goodfellow et al. 2014).

    Example:
        >>> logits = torch.tensor([-3.0], requires_grad=True)  # a fake that convinces nobody
        >>> generator_loss(logits)["g_adversarial"].backward()
        >>> round(logits.grad.item(), 2)  # still pulls: -(1 - sigmoid(-3))
        -0.95
    """
    return {"g_adversarial": F.softplus(-fake_logits).mean()}


def relativistic_loss(above: Tensor, below: Tensor) -> Tensor:
    """-log sigmoid(D(above) - D(below)), batch mean, over pairs of logits (n,).

    The discriminator asks for the real sample above the fake, the generator for the reverse
    (Jolicoeur-Martineau 2019): a sample is judged against its partner and not on its own. In
    DDGAN the two of a pair share their x_t. Starts at log 2.

    Example:
        >>> above, below = torch.tensor([5.0, 7.0]), torch.tensor([2.0, 4.0])
        >>> round(relativistic_loss(above, below).item(), 4)  # only the differences of 3 count
        0.0486
    """
    return F.softplus(below - above).mean()


def reconstruction_loss(guess: Tensor, x_0: Tensor, alpha_bar: Tensor) -> dict[str, Tensor]:
    """alpha_bar_t |x_0 - G(x_t, t, z)|, the mean over batch and coordinates.

    An L1 distance draws the guesses to the median of q(x_0 | x_t), which is a blur where x_t
    leaves x_0 open. Hence the weight: it fades the term out as the noise grows. WaveDiff (2023)
    adds an L1 term to DDGAN as well; the weight alpha_bar_t is ours.

    Args:
        guess, x_0: (n, ...).
        alpha_bar: the share of the sample's variance left in x_t, (n,).

    Example:
        >>> guess, x_0 = torch.zeros(2, 3), torch.ones(2, 3)
        >>> reconstruction_loss(guess, x_0, alpha_bar=torch.tensor([1.0, 0.5]))
        {'g_reconstruction': tensor(0.7500)}
    """
    distance = (guess - x_0).abs().flatten(1).mean(1)
    return {"g_reconstruction": (alpha_bar * distance).mean()}


def denoising_loss(guess: Tensor, x_0: Tensor, alpha_bar: Tensor) -> dict[str, Tensor]:
    """|x_0 - G(x_t, t, z)|^2 / (1 - alpha_bar_t), the mean over batch and coordinates.

    Least squares draws the guesses to the mean of q(x_0 | x_t). The weight is one more than the
    signal-to-noise ratio of x_t (Salimans and Ho 2022): hard and easy steps count alike.

    Args:
        guess, x_0: (n, ...).
        alpha_bar: the share of the sample's variance left in x_t, (n,), below 1.

    Example:
        >>> guess, x_0 = torch.zeros(2, 3), torch.ones(2, 3)
        >>> denoising_loss(guess, x_0, alpha_bar=torch.tensor([0.5, 0.0]))
        {'g_denoising': tensor(1.5000)}
    """
    error = (guess.float() - x_0).square().flatten(1).mean(1)
    return {"g_denoising": (error / (1 - alpha_bar)).mean()}


def r1_penalty(real_logits: Tensor, real: Tensor) -> Tensor:
    """E ||grad_real D||^2, the squared slope of D on real samples (Mescheder et al. 2018).

    In DDGAN ``real`` is x_{t-1} alone: x_t and t are conditions and are not differentiated.
    The loss adds gamma / 2 times this. The same on generated samples is called R2.

    Args:
        real_logits: D(real), computed from ``real``.
        real: (n, ...), a leaf that requires gradients.

    Raises:
        ValueError: if ``real`` does not require gradients.

    Example:
        >>> x = torch.ones(5, 2, requires_grad=True)
        >>> r1_penalty(x @ torch.tensor([3.0, 4.0]), x).item()  # a slope of 5, squared
        25.0
    """
    if not real.requires_grad:
        raise ValueError("R1 needs real samples that require gradients: real.requires_grad_().")
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


def sorted_slices(points: Tensor, directions: Tensor) -> Tensor:
    """Points (n, ...) projected on ``directions`` (d, k), each projection sorted: (k, n).

    The mean difference of two such sets is the 1-Wasserstein distance averaged over the
    directions: on a line, optimal transport takes the sorted samples in their order.

    Example:
        >>> points = torch.tensor([[2.0, 5.0], [1.0, 7.0]])
        >>> sorted_slices(points, directions=torch.eye(2)).tolist()
        [[1.0, 2.0], [5.0, 7.0]]
    """
    return (directions.T @ points.flatten(1).T).sort(dim=1).values


def energy_loss(real: Tensor, fake: Tensor, directions: Tensor) -> dict[str, Tensor]:
    """2 d(real, fake) - d(real, real') - d(fake, fake'), with d the sliced 1-Wasserstein distance.

    The mini-batch energy distance (Salimans et al. 2018) between the laws of two batches: 0 in
    expectation when they are equal, positive otherwise. Nothing adversarial is in it, unless a
    coordinate of the points is learned (Nguyen et al. 2024 append one, g(x), to x).

    Args:
        real, fake: points (n, ...), n even. The halves of a batch serve as real and real'; a
            half of ``real`` meets the other half of ``fake``, so rows may share their x_t.
        directions: (d, k), the columns of unit length; fresh ones for every call.

    Raises:
        ValueError: if the batches differ in shape, or cannot be halved.

    Example:
        >>> real, axes = torch.zeros(4, 2), torch.eye(2)
        >>> [energy_loss(real, real + shift, axes)["g_energy"].item() for shift in (0, 3)]
        [0.0, 6.0]
    """
    if real.shape != fake.shape or len(real) % 2:
        raise ValueError(
            "the energy loss needs two batches of one shape and even length, got "
            f"{tuple(real.shape)} and {tuple(fake.shape)}."
        )
    a, other_a, b, other_b = (
        sorted_slices(half, directions) for points in (real, fake) for half in points.chunk(2)
    )
    across = (a - other_b).abs().mean() + (other_a - b).abs().mean()
    return {"g_energy": across - (a - other_a).abs().mean() - (b - other_b).abs().mean()}
