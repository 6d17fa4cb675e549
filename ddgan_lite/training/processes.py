"""The processes of one run: which of them this is, and the mean over all."""

import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from accelerate import PartialState


def this_process() -> "PartialState":
    """Which of the processes of ``accelerate launch`` this is, and its device.

    Several processes without a CUDA device meet on the CPU; Accelerate would leave each alone.

    Example:
        >>> process = this_process()
        >>> process.num_processes, process.is_main_process
        (1, True)
    """
    from accelerate import PartialState  # imported when needed: it takes a while
    from accelerate.utils import parse_flag_from_env

    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    without_gpu = several and not torch.cuda.is_available()
    return PartialState(cpu=without_gpu or parse_flag_from_env("ACCELERATE_USE_CPU"))


def mean_of(values: Tensor) -> Tensor:
    """The mean of ``values`` over all processes, in place; there must be several."""
    distributed.all_reduce(values)
    return values.div_(distributed.get_world_size())
