"""Checkpoints of the published code: read the architecture off the tensors, rename, convert.

The file ``netG_<epoch>.pth`` is the state dict of a trained generator and nothing else, so the
number of levels, blocks and channels has to come from the names and shapes of its tensors.
"""

import os
import re
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from ddgan_lite.files.checkpoints import CheckpointError, plain
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import UNetConfig
from ddgan_lite.networks.toy import MOST

# One module of our generator, a piece of it, weight or bias.
_OURS = re.compile(
    r"((?:down|up)\.\d+\.\d+|middle\.\d+|time\.\d+|stem|norm|head)(?:\.(.+))?\.(weight|bias)"
)
# What the pieces of a residual block, an attention and a pyramid are called there.
_PIECES = {
    "norm_in.style": "GroupNorm_0.style",
    "conv_in": "Conv_0",
    "time": "Dense_0",
    "norm_out.style": "GroupNorm_1.style",
    "conv_out": "Conv_1",
    "shortcut": "Conv_2",
    "norm": "GroupNorm_0",
    "query": "NIN_0",
    "key": "NIN_1",
    "value": "NIN_2",
    "out": "NIN_3",
    "conv": "Conv2d_0",
}


def generator_names(generator: nn.Module) -> dict[str, str]:
    """The published name of every tensor of a U-Net generator: published -> ours.

    The published code numbers its modules in the order in which it uses them, as ours does.

    Example:
        >>> config = UNetConfig((3, 8, 8), width=8, multipliers=(1,), blocks=1)
        >>> generator_names(config.build_generator())["all_modules.3.Conv_0.weight"]
        'down.0.0.conv_in.weight'
    """
    names, numbers = {}, {}
    for ours in generator.state_dict():
        if ours.startswith("mapping."):
            names[ours.replace("mapping", "z_transform")] = ours
            continue
        module, piece, end = _OURS.fullmatch(ours).groups()
        number = numbers.setdefault(module, len(numbers))
        piece = f".{_PIECES[piece]}" if piece else ""
        if ".NIN_" in piece:
            end = {"weight": "W", "bias": "b"}[end]
        names[f"all_modules.{number}{piece}.{end}"] = ours
    return names


# The one published layout that belongs to one T; at 256 pixels there are T = 2 and T = 4.
_CIFAR10 = UNetConfig()


def load_reference_checkpoint(
    path: str | os.PathLike, num_steps: int | None = None, *, image_size: int | None = None
) -> DDGAN:
    """A model ready to sample, from a generator file ``netG_<epoch>.pth`` of the published code.

    Nothing in the file is executed. Its weights are the moving average already. The
    discriminator, which the file does not hold, is described as the published one: ``"small"``
    below 128 pixels, ``"large"`` from there on.

    Args:
        path: the file; the names in it may start with ``module.`` or not.
        num_steps: T of the training run, which the file does not tell: 2 for CelebA-HQ, 4 for LSUN
            Church. It may be left out for the published layout of CIFAR-10, whose T is 4.
        image_size: height and width of the images. Left out, it follows from the level with
            attention, which is the one of 16 pixels in every published run; a generator without
            such a level needs it.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is anything but such a generator, whole and finite.
        ValueError: if ``num_steps`` or ``image_size`` is out of range, or T has to be given.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> config = UNetConfig((3, 8, 8), 4, 16, 8, (1,), blocks=1, style_dim=8, mapping_depth=1)
        >>> ours = config.build_generator()
        >>> weights, published = ours.state_dict(), {}
        >>> for theirs, name in generator_names(ours).items():  # as in such a file, only smaller
        ...     matrix = theirs.endswith(".W")
        ...     published[theirs] = weights[name][:, :, 0, 0].T if matrix else weights[name]
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(published, f"{folder}/netG_1200.pth")
        ...     model = load_reference_checkpoint(f"{folder}/netG_1200.pth", 4, image_size=8)
        >>> model.config.multipliers, model.sample(2).shape
        ((1,), torch.Size([2, 3, 8, 8]))
    """
    path = Path(path)
    given = {"num_steps": (num_steps, MOST["num_steps"]), "image_size": (image_size, 1024)}
    for name, (value, most) in given.items():
        if value is not None and not 1 <= value <= most:
            raise ValueError(f"{name} must be at least 1 and at most {most}, got {value}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint file at {path}.")
    try:
        tensors = _read(path)
        config = _architecture(tensors, num_steps or _CIFAR10.num_steps, image_size)
        with torch.device("meta"):  # shapes only: the file is compared before there is memory
            model = DDGAN(config)
        weights = _renamed(tensors, model.generator)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a published generator (netG_<epoch>.pth): {plain(error)}"
        ) from error
    if num_steps is None and config != _CIFAR10:
        raise ValueError(
            f"{path} does not say with how many steps T it was trained: give num_steps "
            "(--num-steps). Published: 2 for CelebA-HQ, 4 for LSUN Church and CIFAR-10."
        )
    model.generator, model.discriminator = config.build_generator(), None
    model.generator.load_state_dict(weights)
    return model.requires_grad_(False).eval()


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, without the prefix ``module.``."""
    size, resume = path.stat().st_size, path.name == "content.pth"
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < size:
        raise ValueError(
            "it is a safetensors file. One of ours goes to sample, evaluate and card as it is; of "
            "a published generator only the torch file (.pth) can be converted."
        )
    found = None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(part.file_size for part in archive.infolist()) > size:
                    raise ValueError("more comes out of the archive than it holds")
                if archive.testzip():
                    raise ValueError("a checksum of the archive does not agree")
                (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
                resume = resume or b"optimizer" in archive.read(pickled)
        with warnings.catch_warnings(action="ignore"):  # what torch makes of a pickle is no news
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # bytes that are no torch file fail in every way there is
        if not resume:  # not "from error": torch explains how to switch its protection off
            raise ValueError(
                "it is not a whole torch file of tensors alone, and any other could run code."
            ) from None
    named = isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    )
    if resume and not named:
        raise ValueError(
            "it is the authors' file for resuming a run (content.pth); the one to convert is "
            "netG_<epoch>.pth, beside it."
        )
    if named and not any("all_modules." in name for name in found):
        raise ValueError(
            "it holds another network: the names of a published generator begin with all_modules, "
            f"these with {', '.join(list(found)[:1]) or 'nothing'}."
        )
    if not named or not all(tensor.is_floating_point() for tensor in found.values()):
        raise ValueError("it holds other things than named float tensors.")
    if sum(tensor.nbytes for tensor in found.values()) > size:
        raise ValueError("its tensors claim more numbers than the file holds.")
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def _architecture(tensors: dict[str, Tensor], num_steps: int, image_size: int | None) -> UNetConfig:
    """Count modules and channels. Whether all the rest fits is for :func:`_renamed` to say."""

    def size(name: str) -> int:
        if name not in tensors:
            raise ValueError(f"it has no tensor {name}.")
        return max(tensors[name].numel(), 1)

    width, style_dim = size("all_modules.2.bias"), size("z_transform.1.bias")

    # Residual blocks, attentions and pyramids in their order, each by its first bias.
    first = re.compile(r"all_modules\.(\d{1,4})\.(Conv_0|NIN_0|Conv2d_0)\.(?:bias|b)")
    found = sorted((int(m[1]), m[2], m[0]) for m in map(first.fullmatch, tensors) if m)
    kinds = [kind for _, kind, _ in found]
    widths = [size(name) for _, kind, name in found if kind == "Conv_0"]
    # Every level but the last ends in a pyramid. b blocks per level stand for b + 1 residual
    # blocks down (one halves) and b + 2 up (one doubles): 2 b + 3 per level. The last level does
    # not halve and the first does not double, but the middle has two more.
    levels = kinds.count("Conv2d_0") + 1
    blocks = max((len(widths) // levels - 3) // 2, 1)

    attention_size = 0  # no level has that size
    if kinds.count("NIN_0") > 1:
        level = kinds[: kinds.index("NIN_0")].count("Conv2d_0")
        image_size = image_size or 16 << level
        attention_size = image_size >> level
    elif image_size is None:
        raise ValueError("no level has attention to tell the size of the images: give image_size.")
    return UNetConfig(
        shape=(size("all_modules.2.weight") // (9 * width), image_size, image_size),
        num_steps=num_steps,
        latent_dim=size("z_transform.1.weight") // style_dim,
        width=width,
        multipliers=tuple(out // width for out in widths[:: blocks + 1][:levels]),
        blocks=blocks,
        attention_size=attention_size,
        style_dim=style_dim,
        mapping_depth=sum(bool(re.fullmatch(r"z_transform\.\d+\.bias", n)) for n in tensors) - 1,
        discriminator="large" if image_size >= 128 else "small",
    )


def _renamed(tensors: dict[str, Tensor], generator: nn.Module) -> dict[str, Tensor]:
    """Our state dict, once the tensors are those of ``generator`` in name and shape, and finite."""
    names, wanted = generator_names(generator), generator.state_dict()
    if odd := sorted(tensors.keys() ^ names.keys()):
        raise ValueError(f"it has {'no' if odd[0] in names else 'a surplus'} tensor {odd[0]}.")
    weights = {}
    for theirs, ours in names.items():
        matrix = theirs.endswith(".W")  # a 1 x 1 convolution, stored as (in, out)
        tensor, shape = tensors[theirs].float(), wanted[ours].shape[: 2 if matrix else None]
        if tensor.shape != shape:
            raise ValueError(f"{theirs} is {tuple(tensor.shape)}, not {tuple(shape)}.")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{theirs} holds values that are not finite.")
        weights[ours] = tensor.T[:, :, None, None] if matrix else tensor
    return weights
