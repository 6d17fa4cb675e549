"""The networks: a configuration builds its generator and its discriminator."""

from ddgan_lite.networks.toy import MLPConfig
from ddgan_lite.networks.unet import UNetConfig

# Checkpoints name the kind of their network; this is where the name is looked up.
CONFIGS = {"mlp": MLPConfig, "unet": UNetConfig}

__all__ = ["CONFIGS", "MLPConfig", "UNetConfig"]
