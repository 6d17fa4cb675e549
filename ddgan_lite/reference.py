"""Checkpoints of the published code: read the architecture off the tensors, rename, convert."""

import os
import pickle
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ddgan_lite.checkpoints import CheckpointError
from ddgan_lite.model import DDGAN
from ddgan_lite.networks import UNetConfig
from ddgan_lite.networks.generator import Pyramid, ResBlock, UNetGenerator
from ddgan_lite.networks.layers import Attention

# What a piece is called there, and here.
_BLOCK = {
    "GroupNorm_0.style": "norm_in.style",
    "Conv_0": "conv_in",
    "Dense_0": "time",
    "GroupNorm_1.style": "norm_out.style",
    "Conv_1": "conv_out",
    "Conv_2": "shortcut",
}
_ATTENTION = {
    "GroupNorm_0": "norm",
    "NIN_0": "query",
    "NIN_1": "key",
    "NIN_2": "value",
    "NIN_3": "out",
}
_PIECES = {ResBlock: _BLOCK, Attention: _ATTENTION, Pyramid: {"Conv2d_0": "conv"}}


def _modules(generator: UNetGenerator) -> Iterator[tuple[str, nn.Module]]:
    """Our pieces in the order in which the published code numbers its own."""
    yield "time.1", generator.time[1]
    yield "time.3", generator.time[3]
    yield "stem", generator.stem
    for part in ("down", "middle", "up"):
        for name, module in getattr(generator, part).named_modules():
            if type(module) in _PIECES:
                yield f"{part}.{name}", module
    yield "norm", generator.norm
    yield "head", generator.head


def generator_names(generator: UNetGenerator) -> dict[str, str]:
    """The published name of every tensor of ``generator``: published -> ours."""
    names = {}
    for index in range(1, len(generator.mapping), 2):  # PixelNorm, then linear and SiLU in turn
        names[f"z_transform.{index}"] = f"mapping.{index}"
    for index, (ours, module) in enumerate(_modules(generator)):
        pieces = _PIECES.get(type(module))
        for theirs, piece in pieces.items() if pieces else [("", "")]:
            names[f"all_modules.{index}.{theirs}".rstrip(".")] = f"{ours}.{piece}".rstrip(".")
    wanted = generator.state_dict()
    full = {}
    for theirs, ours in names.items():
        weight, bias = ("W", "b") if ".NIN_" in theirs else ("weight", "bias")
        for their_end, our_end in ((weight, "weight"), (bias, "bias")):
            if f"{ours}.{our_end}" in wanted:
                full[f"{theirs}.{their_end}"] = f"{ours}.{our_end}"
    return full
