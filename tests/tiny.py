"""What several tests share: small networks and images, what a run is made of, files of others."""

import dataclasses

import torch

from ddgan_lite.data.images import Images
from ddgan_lite.exchange.javascript import whole_numbers
from ddgan_lite.exchange.reference import generator_names
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import MLPConfig, UNetConfig

MLP = MLPConfig(num_steps=3, latent_dim=4, width=16, depth=3)
UNET = UNetConfig(
    shape=(3, 8, 8),
    num_steps=2,
    latent_dim=4,
    width=8,
    multipliers=(1, 2),
    blocks=1,
    attention_size=8,
    style_dim=8,
    mapping_depth=1,
    discriminator_width=4,
    discriminator_time_dim=8,
)


def as_changes(config, **more):
    """What turns a quick preset of the same kind into ``config``."""
    return dataclasses.asdict(config) | more


def as_options(**changes):
    """The same for the command line."""
    return [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]


def images(n=21):
    """n images of noise, to be mirrored in training; 21 are no multiple of any batch size."""
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (n, *UNET.shape), generator=rng, dtype=torch.uint8)
    return Images(pixels, name="noise", flip=True)


def model(config, seed=0, **options):
    """An untrained model whose networks already do something: no layer starts at zero."""
    torch.manual_seed(seed)
    made = DDGAN(config, **options)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=rng)
    return made


def in_eight_bits(network):
    """Round the weights of ``network`` as export-js does, which leaves the biases as they are."""
    for weight in network.parameters():
        if weight.dim() > 1:
            whole, scale = whole_numbers(weight.data)
            weight.data = whole * scale.reshape(-1, *[1] * (weight.dim() - 1))


def networks(trainer):
    """Every weight of the three networks as one vector each."""
    three = (trainer.model.generator, trainer.model.discriminator, trainer.model.averaged.module)
    names = ("generator", "discriminator", "averaged")
    vectors = [torch.cat([p.detach().flatten() for p in each.parameters()]) for each in three]
    return dict(zip(names, vectors, strict=True))


def published(generator, prefix="module."):
    """The state dict that the published code would have saved for our generator."""
    ours = generator.state_dict()
    return {
        prefix + theirs: ours[name].flatten(1).T.contiguous()
        if theirs.endswith(".W")
        else ours[name]
        for theirs, name in generator_names(generator).items()
    }


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
