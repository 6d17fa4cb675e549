"""Random draws that do not depend on how the work is cut.

In training every process draws for the whole batch from an equal generator and keeps its own rows:
a run sees the same numbers on one process, on eight, or with accumulated gradients. In sampling
every sample may have a generator of its own.
"""

from collections.abc import Callable, Iterable

import numpy as np
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


class Numbered:
    """Noise for samples that have numbers: what number k of a seed gets depends on nothing else.

    Not on how many samples there are, nor which of them are drawn together, on which process or
    on which device. One generator a sample, on the CPU: of the 32 bits that it heeds, ``seed`` is
    mixed into a place to count from, so that no two numbers of a seed share one.

    Args:
        seed: a whole number from 0 on.
        numbers: of the samples of one batch, in its order.

    Raises:
        ValueError: if ``seed`` is negative.

    Example:
        >>> five, fifth = Numbered(0, range(5)), Numbered(0, [4])
        >>> torch.equal(fifth.randn((1, 3, 8, 8))[0], five.randn((5, 3, 8, 8))[4])
        True
    """

    def __init__(self, seed: int, numbers: Iterable[int]):
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}.")
        start = np.random.SeedSequence(seed).generate_state(1).item()
        self.each = [torch.Generator().manual_seed((start + k) % 2**32) for k in numbers]

    def randn(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers (n, ...), float32 on the CPU: row i from the i-th generator.

        Example:
            >>> Numbered(0, range(2)).randn((2, 3)).shape
            torch.Size([2, 3])
        """
        x = torch.empty(shape)
        for row, generator in zip(x, self.each, strict=True):
            torch.randn(row.shape, generator=generator, out=row)
        return x


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
    shape: tuple[int, ...],
    rng: torch.Generator | Numbered | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Standard normal numbers of the given shape, the first axis being the batch.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> randn((5, 3, 8, 8), rng, torch.float64, rng.device).shape
        torch.Size([5, 3, 8, 8])
    """
    if isinstance(rng, Numbered):
        return rng.randn(shape).to(device, dtype)
    n, *rest = shape
    return own_rows(
        lambda rows: torch.randn(rows, *rest, generator=rng, dtype=dtype, device=device), n, rng
    )


def randn_like(x: Tensor, rng: torch.Generator | Numbered | None) -> Tensor:
    """Standard normal numbers like x in shape, type and device.

    Example:
        >>> randn_like(torch.zeros(5, 2, dtype=torch.float64), None).dtype
        torch.float64
    """
    return randn(x.shape, rng, x.dtype, x.device)
