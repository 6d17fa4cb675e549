"""Averaged weights: the generator one samples from is a moving average of the trained one."""

import copy

import torch
from torch import nn


class EMA:
    """An exponential moving average of a network's weights, updated in one fused operation.

    The first :meth:`update` copies the weights, each later one moves the average towards them:
    average <- decay * average + (1 - decay) * weights. There is no warm-up, as in the paper's
    runs. (torch.optim.swa_utils.AveragedModel does the same; for small networks its
    bookkeeping costs more than the update, and on a GPU it waits for the device every time.)

    Args:
        network: the network to follow.
        decay: in [0, 1). With decay d the average looks back about 1 / (1 - d) updates.

    Attributes:
        module: the averaged network; it takes no gradients.

    Raises:
        ValueError: if decay is out of range.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> average = EMA(network, decay=0.9)
        >>> for value in (0.0, 1.0):
        ...     _ = nn.init.constant_(network.weight, value)
        ...     average.update(network)
        >>> round(average.module.weight.item(), 4)  # 0.9 * 0 + 0.1 * 1
        0.1
    """

    def __init__(self, network: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA decay must lie in [0, 1), got {decay}.")
        self.decay = decay
        self.updates = 0
        self.module = copy.deepcopy(network).requires_grad_(False).eval()
        self._average = list(self.module.parameters())

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Fold the present weights of ``network`` into the average."""
        weight = 1 - self.decay if self.updates else 1.0
        torch._foreach_lerp_(self._average, list(network.parameters()), weight)
        self.updates += 1
