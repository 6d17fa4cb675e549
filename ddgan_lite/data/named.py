"""Data by name or path, whatever they are: points, stacks of digits, images."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.data.images import FIXED, IMAGE_SETS, Images, load_images
from ddgan_lite.data.shards import is_tar
from ddgan_lite.data.stored import DataError
from ddgan_lite.data.streams import Stream, names_rows, stream_images
from ddgan_lite.data.toys import MIXTURES, StackedDigits, mixture

DATA = (*MIXTURES, "stacked_digits", *IMAGE_SETS)  # what has a name; a folder of images has a path


def hint(name: str, known: Iterable[str]) -> str:
    """What may have been meant, if one of the known comes close or has the name in it.

    Example:
        >>> hint("ring", DATA), hint("spiral", DATA)
        (' Did you mean gaussian_ring?', '')
    """
    close = difflib.get_close_matches(name, known, n=1) or [k for k in known if name in k]
    return f" Did you mean {close[0]}?" if close else ""


def load_data(
    source: str, shape: tuple[int, ...], **options: object
) -> GaussianMixture | StackedDigits | Images | Stream:
    """A data set, checked against the sample ``shape`` of its networks.

    Images of a fixed size are shrunk to a whole fraction of it
    (:meth:`~ddgan_lite.data.images.Images.shrunk`).

    Args:
        source: a toy distribution, ``stacked_digits``, one of
            :data:`ddgan_lite.data.images.IMAGE_SETS`, a path to images, or ``module:function``,
            which returns rows for :func:`ddgan_lite.data.streams.stream_images`.
        shape: (d,) or (C, H, W).
        options: passed to :func:`ddgan_lite.data.images.load_images`.

    Raises:
        DataError: if the data are missing, or of another shape.

    Example:
        >>> load_data("stacked_digits", (3, 8, 8)).sample(5).shape
        torch.Size([5, 3, 8, 8])
        >>> load_data("gaussian_line", (2,))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ddgan_lite.data.stored.DataError: gaussian_line holds samples of shape (1,), ... to match.
    """
    elsewhere = is_tar(source) or names_rows(source)  # which say themselves what is missing
    if source not in DATA and not elsewhere and not Path(source).expanduser().exists():
        raise DataError(
            f"{source} is neither a folder nor one of the sets {', '.join(DATA)}."
            f"{hint(source, DATA) if '/' not in str(source) else ''}"
        )
    if source in MIXTURES or source == "stacked_digits":
        data = mixture(source) if source in MIXTURES else StackedDigits()
        found = data.shape if isinstance(data, StackedDigits) else (data.dim,)
    else:
        if len(shape) != 3:
            raise DataError(f"{source} holds images, but these networks work on {shape}.")
        size = {} if source in FIXED else {"size": shape[2], "channels": shape[0]}
        if names_rows(source):
            files = {"root", "download", "train", "memory"}  # that is about those on a disk
            options = {key: value for key, value in options.items() if key not in files}
            data = stream_images(source, **size, **options)
        else:
            data = load_images(source, **size, **options)
        if source in FIXED and data.shape[0] == shape[0] and not data.shape[2] % shape[2]:
            data = data.shrunk(shape[2])
        found = data.shape
    if tuple(found) != tuple(shape):
        match = f": set shape={tuple(found)} to match" if len(found) == len(shape) else ""
        raise DataError(
            f"{source} holds samples of shape {tuple(found)}, the networks are built for "
            f"{tuple(shape)}{match}."
        )
    return data


def is_images(source: str) -> bool:
    """Whether this names a set of images, or a folder, an LMDB or shards of them, and no model.

    Example:
        >>> is_images("cifar10"), is_images("runs/cifar10"), is_images("shards/*.tar")
        (True, False, True)
    """
    path = Path(source).expanduser()
    run = (path / "checkpoints").is_dir() or (path / "model.safetensors").is_file()
    lmdb = path.suffix in (".mdb", ".lmdb")
    return source in IMAGE_SETS or (path.is_dir() and not run) or lmdb or is_tar(source)


def load_pair(
    a: str, b: str, *, size: int | None = None, root: str = "data"
) -> tuple[Images, Images]:
    """Two sets of images to compare, each by its name or its path.

    Args:
        a, b: one of :data:`ddgan_lite.data.images.IMAGE_SETS`, a folder, an LMDB or tar files.
            Where one is of a fixed size, that decides the size and the channels of the other.
        size: side in pixels, to which the images of folders are scaled and cut; left out, they
            must all have the size of the first one of ``b``, and are taken as they are.
        root: the folder with the published sets.

    Raises:
        DataError: as :func:`~ddgan_lite.data.images.load_images`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     for name in "ab":
        ...         Image.new("L", (8, 8)).save(f"{folder}/{name}.png")
        ...     mine, digits = load_pair(folder, "digits")
        >>> mine.shape, digits.shape
        ((1, 8, 8), (1, 8, 8))
    """
    found: dict[int, Images] = {}
    for place in sorted((1, 0), key=lambda place: (a, b)[place] not in FIXED):
        source, other = (a, b)[place], found.get(1 - place)
        if source in FIXED:
            found[place] = load_images(source, root=root)
            continue
        side, channels = size or (other and other.shape[1]), other and other.shape[0]
        crop = "center" if size or source in IMAGE_SETS else "none"
        try:
            found[place] = load_images(source, size=side, channels=channels, crop=crop, root=root)
        except DataError as error:
            hint = " With a size (--size) all are scaled and cut to it." * (crop == "none")
            raise DataError(f"{error}{hint}") from error
    if found[0].name == found[1].name:  # two folders of one name in different places
        found[0].name, found[1].name = a, b
    return found[0], found[1]
