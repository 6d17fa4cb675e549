"""The networks: a configuration builds its generator and its discriminator.

Here live the four configurations, for points, digits, small images and the paper's, with the
modules they are built from. A configuration also names its noise levels. Nothing here knows a
loss or a training loop.
"""

import dataclasses

from ddgan_lite.networks.conv import ConvConfig
from ddgan_lite.networks.pyramid import PyramidConfig
from ddgan_lite.networks.toy import MLPConfig
from ddgan_lite.networks.unet import UNetConfig

# Checkpoints name the kind of their network; this is where the name is looked up.
CONFIGS = {"mlp": MLPConfig, "conv": ConvConfig, "pyramid": PyramidConfig, "unet": UNetConfig}
Config = MLPConfig | ConvConfig | PyramidConfig | UNetConfig

__all__ = [
    "CONFIGS",
    "Config",
    "ConvConfig",
    "MLPConfig",
    "PyramidConfig",
    "UNetConfig",
    "describe",
]


def describe(config: Config) -> dict:
    """What a file must say to have the same networks built again: their kind and their sizes.

    Example:
        >>> described = describe(MLPConfig(width=64))
        >>> described["kind"], described["config"]["width"]
        ('mlp', 64)
        >>> CONFIGS[described["kind"]](**described["config"]) == MLPConfig(width=64)
        True
    """
    kind = next(name for name, cls in CONFIGS.items() if isinstance(config, cls))
    return {"kind": kind, "config": dataclasses.asdict(config)}
