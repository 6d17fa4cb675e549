"""Random draws for a batch that several processes share.

Every process draws for the whole batch from an equal generator and keeps its own rows. A run
then sees the same numbers on one process, on eight, or with accumulated gradients.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class SharedGenerator(torch.Generator):
    """A torch.Generator that knows whose rows it draws: rows ``share``, ``share + shares``, ..

    Interleaved rows, not blocks: the groups of the minibatch standard deviation, sample i with
    i + n/4, i + n/2 and i + 3n/4, then stay whole within a share.

    Example:
        >>> rng = SharedGenerator()
        >>> _ = rng.manual_seed(0)
        >>> rng.share, rng.shares = 1, 2  # the second of two processes
        >>> whole = torch.randn(4, generator=torch.Generator().manual_seed(0))
        >>> torch.equal(randn((2,), rng, torch.float32, rng.device), whole[1::2])
        True
    """

    share = 0
    shares = 1


def own_rows(draw: Callable[[int], Tensor], n: int, rng: torch.Generator | None) -> Tensor:
    """``draw(n)``; for a SharedGenerator its n rows of a draw for the whole batch.

    Example:
        >>> rng = SharedGenerator()
        >>> rng.share, rng.shares = 1, 3
        >>> own_rows(torch.arange, 2, rng)  # rows 1 and 4 of the whole batch of 6
        tensor([1, 4])
    """
    shares = getattr(rng, "shares", 1)
    return draw(n) if shares == 1 else draw(n * shares)[rng.share :: shares]


def randn(
    shape: tuple[int, ...], rng: torch.Generator | None, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Standard normal numbers of the given shape, the first axis being the batch.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> randn((5, 3, 8, 8), rng, torch.float64, rng.device).shape
        torch.Size([5, 3, 8, 8])
    """
    n, *rest = shape
    return own_rows(
        lambda rows: torch.randn(rows, *rest, generator=rng, dtype=dtype, device=device), n, rng
    )


def randn_like(x: Tensor, rng: torch.Generator | None) -> Tensor:
    """Standard normal numbers like x in shape, type and device.

    Example:
        >>> randn_like(torch.zeros(5, 2, dtype=torch.float64), None).dtype
        torch.float64
    """
    return randn(x.shape, rng, x.dtype, x.device)
