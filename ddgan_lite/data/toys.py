"""Training data that needs no download: Gaussians in the plane and scikit-learn's digits."""

import torch
from torch import Tensor

from ddgan_lite.chain.mixtures import GaussianMixture


def gaussian_grid(side: int = 5, std: float = 0.05, spacing: float = 1.0) -> GaussianMixture:
    """side x side equal Gaussians on a centred square grid: the "25 Gaussians" by default.

    Example:
        >>> grid = gaussian_grid(side=3)
        >>> grid.num_components, grid.means[0].tolist(), grid.sample(5).shape
        (9, [-1.0, -1.0], torch.Size([5, 2]))
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}.")
    axis = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return GaussianMixture(torch.cartesian_prod(axis, axis).reshape(-1, 2), std)


def gaussian_line(side: int = 5, std: float = 0.05, spacing: float = 1.0) -> GaussianMixture:
    """``side`` equal Gaussians in 1-D: a row of :func:`gaussian_grid`.

    Example:
        >>> gaussian_line(side=3).means.tolist()
        [[-1.0], [0.0], [1.0]]
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}.")
    axis = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return GaussianMixture(axis.unsqueeze(1), std)


def gaussian_ring(count: int = 8, std: float = 0.05, radius: float = 2.0) -> GaussianMixture:
    """``count`` equal Gaussians on a circle.

    Example:
        >>> ring = gaussian_ring(count=8, radius=2.0)
        >>> ring.means.norm(dim=1).round(decimals=4).unique()  # all on the circle
        tensor([2.], dtype=torch.float64)
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    angle = 2 * torch.pi * torch.arange(count, dtype=torch.float64) / count
    return GaussianMixture(radius * torch.stack([angle.cos(), angle.sin()], 1), std)


MIXTURES = {
    "gaussian_line": gaussian_line,
    "gaussian_grid": gaussian_grid,
    "gaussian_ring": gaussian_ring,
}


def mixture(name: str) -> GaussianMixture:
    """A toy distribution by name.

    Raises:
        ValueError: with the list of known names.

    Example:
        >>> mixture("gaussian_ring").num_components
        8
        >>> mixture("spiral")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: unknown data set 'spiral': known are gaussian_line, ...
    """
    if name not in MIXTURES:
        raise ValueError(f"unknown data set {name!r}: known are {', '.join(MIXTURES)}.")
    return MIXTURES[name]()


class Digits:
    """scikit-learn's 1,797 grey 8 x 8 digits, scaled to [-1, 1].

    Args:
        split: ``"train"`` (two thirds), ``"test"`` (one third, held out) or ``"all"``.

    Attributes:
        images: (n, 8, 8) float32.
        labels: (n,) int64, 0..9.

    Example:
        >>> digits = Digits("test")
        >>> digits.images.shape, digits.labels.unique().tolist()
        (torch.Size([599, 8, 8]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    def __init__(self, split: str = "train"):
        from sklearn.datasets import load_digits  # imported when needed: it takes seconds
        from sklearn.model_selection import train_test_split

        bunch = load_digits()
        images = torch.tensor(bunch.images, dtype=torch.float32) / 8 - 1
        labels = torch.tensor(bunch.target)
        # One fixed, stratified split, so that every model and every score share it.
        parts = train_test_split(
            torch.arange(len(labels)), test_size=1 / 3, stratify=labels, random_state=0
        )
        chosen = {"train": parts[0], "test": parts[1], "all": torch.arange(len(labels))}
        if split not in chosen:
            raise ValueError(f"unknown split {split!r}: known are {', '.join(chosen)}.")
        self.images, self.labels = images[chosen[split]], labels[chosen[split]]


class StackedDigits:
    """Three digits stacked as colour channels: 10 x 10 x 10 = 1,000 modes.

    The laptop-sized sibling of StackedMNIST (Metz et al. 2017). Each digit class is equally
    likely in each channel, so the 1,000 modes are exactly uniform.

    Args:
        digits: the digits to stack.

    Example:
        >>> stacks = StackedDigits()
        >>> stacks.sample(5).shape
        torch.Size([5, 3, 8, 8])
        >>> images, modes = stacks.sample_labelled(20_000)
        >>> len(modes.unique()), images.min().item(), images.max().item()
        (1000, -1.0, 1.0)
    """

    num_modes = 1000
    shape = (3, 8, 8)

    def __init__(self, digits: Digits | None = None):
        digits = Digits() if digits is None else digits
        self.by_class = [digits.images[digits.labels == label] for label in range(10)]
        if any(len(images) == 0 for images in self.by_class):
            raise ValueError("StackedDigits needs at least one image of each of the ten digits.")

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """n stacks (n, 3, 8, 8) in [-1, 1]."""
        return self.sample_labelled(n, rng)[0]

    def sample_labelled(self, n: int, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """n stacks and their modes (n,), 0..999: the three digits read as a number."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        classes = torch.randint(10, (n, 3), generator=rng)
        position = torch.rand(n, 3, generator=rng)
        images = torch.empty(n, 3, 8, 8)
        for label, pool in enumerate(self.by_class):
            here = classes == label
            images[here] = pool[(position[here] * len(pool)).long()]
        return images, classes @ torch.tensor([100, 10, 1])
