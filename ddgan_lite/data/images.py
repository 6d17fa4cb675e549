"""Finite sets of images, as bytes: published sets, folders, and photographs at hand."""

import os
from collections.abc import Iterator
from itertools import count, islice, tee
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from ddgan_lite.data.shards import Shards, is_tar
from ddgan_lite.data.stored import MODES, DataError, StoredImages, checked
from ddgan_lite.data.toys import Digits

# What torchvision downloads: the name of its reader, the folder under the root.
DOWNLOADS = {
    "mnist": ("MNIST", "MNIST/raw"),
    "stacked_mnist": ("MNIST", "MNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
}
# What a user brings: the LMDB under the root, how many images of it to take, where to get it.
PLACES = {
    "celeba_hq_256": ("celeba/celeba-lmdb/train.lmdb", None, "github.com/NVlabs/NVAE makes one"),
    "lsun_church_256": ("church_outdoor_train_lmdb", 120_000, "github.com/fyu/lsun has one"),
}
FIXED = ("digits", *DOWNLOADS)  # in size, and with a held-out part
IMAGE_SETS = ("photographs", *FIXED, *PLACES)


def to_unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in [-1, 1]: x / 127.5 - 1.

    Example:
        >>> to_unit(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([-1.,  1.])
    """
    return images.to(torch.float32) / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1], of any float type, as uint8: rounded, and clamped if outside.

    Example:
        >>> to_bytes(torch.tensor([-1.0, 0.0, 1.0, 1.3]))
        tensor([  0, 128, 255, 255], dtype=torch.uint8)
    """
    return ((images.to(torch.float32) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _walk(size: int, seed: int, start: int) -> Iterator[int]:
    """Indices from position ``start`` on, where one permutation of 0..size-1 follows another.

    torch's generator on the CPU heeds 32 bits of a seed: ``seed`` and the permutation's number
    are mixed into them.
    """
    for epoch in count(start // size):
        mixed = np.random.SeedSequence(seed, spawn_key=(epoch,)).generate_state(1).item()
        order = torch.randperm(size, generator=torch.Generator().manual_seed(mixed))
        yield from order[max(0, start - epoch * size) :].tolist()


def check_order(batch_size: int, seed: int, start: int, part: slice, workers: int) -> None:
    """Refuse what :meth:`Images.batches` cannot do.

    Raises:
        ValueError: if a number is out of range, or ``part`` leaves nothing of a batch.

    Example:
        >>> check_order(8, seed=0, start=0, part=slice(8, None), workers=0)
        Traceback (most recent call last):
            ...
        ValueError: slice(8, None, None) leaves nothing of a batch of 8.
    """
    least = (("batch_size", batch_size, 1), ("seed", seed, 0), ("start", start, 0))
    for name, value, minimum in (*least, ("workers", workers, 0)):
        if value < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}.")
    if not range(batch_size)[part]:
        raise ValueError(f"{part} leaves nothing of a batch of {batch_size}.")


class Images:
    """A finite set of images of one size, as bytes.

    Args:
        images: uint8 (N, C, H, W), in memory or on a device, or :class:`StoredImages`; at
            least two of them.
        name: goes into the records of runs.
        flip: whether training should mirror half of the images. Nothing here does.

    Attributes:
        shape: (C, H, W).
        labels: (N,) int64, from 0 on, where a set has them, else None.
        stored: the files that the images are decoded from, None where there are none.

    Raises:
        DataError: if ``images`` has another type or shape.

    Example:
        >>> three = Images(torch.arange(3, dtype=torch.uint8).reshape(3, 1, 1, 1), name="three")
        >>> batches = three.batches(2, seed=0)
        >>> [next(batches).flatten().tolist() for _ in range(3)]
        [[2, 0], [1, 0], [1, 2]]
    """

    def __init__(self, images: Tensor | StoredImages, *, name: str, flip: bool = False):
        shape = tuple(images.shape)
        if images.dtype != torch.uint8 or len(shape) != 4 or 0 in shape[1:]:
            raise DataError(f"{name} must be uint8 (N, C, H, W), not {images.dtype} {shape}.")
        if shape[0] < 2:
            raise DataError(f"{name} holds too few images: {shape[0]}, and 2 are the least.")
        self.images, self.name, self.flip = images, name, flip
        self.labels: Tensor | None = getattr(images, "labels", None)
        self.stored = images if isinstance(images, StoredImages) else None
        self.shape = shape[1:]

    def __len__(self) -> int:
        return self.images.shape[0]

    def load(self, indices: Tensor) -> Tensor:
        """The images at ``indices`` (n,): uint8 (n, C, H, W), where the set is held.

        Raises:
            DataError: if a stored image cannot be read.

        Example:
            >>> images = Images(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), name="dark")
            >>> images.load(torch.tensor([0, 8])).shape
            torch.Size([2, 3, 8, 8])
        """
        if isinstance(self.images, Tensor):
            return self.images[indices.to(self.images.device)]
        return checked(self.images[indices.tolist()])

    def shrunk(self, size: int) -> "Images":
        """The same images at ``size`` x ``size`` pixels: means of k x k of theirs, rounded.

        Raises:
            DataError: if ``size`` is no whole fraction of theirs, or they are still to be decoded.

        Example:
            >>> pixels = torch.tensor([0, 10, 20, 30], dtype=torch.uint8).reshape(1, 1, 2, 2)
            >>> Images(pixels.repeat(2, 1, 1, 1), name="two").shrunk(1).images.flatten().tolist()
            [15, 15]
        """
        side = self.shape[1]
        if size == side:
            return self
        if size < 1 or side % size or not isinstance(self.images, Tensor):
            raise DataError(f"{self.name} of {side} x {side} cannot be shrunk to {size} x {size}.")
        parts = self.images.split(1_000)  # in float32 they are four times as large
        means = [F.avg_pool2d(part.float(), side // size).round().byte() for part in parts]
        small = Images(torch.cat(means), name=self.name, flip=self.flip)
        small.labels = self.labels
        return small

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """n images (n, C, H, W) in [-1, 1], drawn with replacement, none mirrored.

        ``rng`` is on the CPU.

        Raises:
            ValueError: if n is below 1.
            DataError: if a stored image cannot be read.

        Example:
            >>> images = Images(torch.zeros(9, 1, 2, 2, dtype=torch.uint8), name="dark")
            >>> images.sample(5).shape, images.sample(5).unique()
            (torch.Size([5, 1, 2, 2]), tensor([-1.]))
        """
        return self.sample_labelled(n, rng)[0]

    def sample_labelled(self, n: int, rng: torch.Generator | None = None) -> tuple:
        """The same images with their labels (n,); None where the set has none.

        Example:
            >>> x, labels = digits().sample_labelled(5)
            >>> x.shape, labels.shape
            (torch.Size([5, 1, 8, 8]), torch.Size([5]))
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        indices = torch.randint(len(self), (n,), generator=rng)
        return to_unit(self.load(indices)), None if self.labels is None else self.labels[indices]

    def batches(
        self,
        batch_size: int,
        *,
        seed: int,
        start: int = 0,
        part: slice = slice(None),
        device: str | torch.device = "cpu",
        workers: int = 0,
        labelled: bool = False,
    ) -> Iterator:
        """Endless batches for training: uint8 (n, C, H, W) on ``device``.

        One random permutation of the set follows another without a gap, so a batch may end an
        epoch and begin the next. The order depends on ``seed`` and on nothing else: after any
        stop, ``start`` goes on with the images that would have come.

        Args:
            batch_size: images per batch, of all processes together.
            seed: of the order; not negative.
            start: number of the first batch, from 0.
            part: what to load of each batch: ``slice(i, None, p)`` is the share of process i
                of p.
            device: a set in memory is copied there whole, once per call, unless it is there.
            workers: processes that decode stored images ahead of time.
            labelled: yield pairs, the images and their labels (n,); None where the set has none.

        Raises:
            ValueError: if a number is out of range, or ``part`` leaves nothing of a batch.
            DataError: on the way, if a stored image cannot be read.
        """
        check_order(batch_size, seed, start, part, workers)
        walk = _walk(len(self), seed, start * batch_size)
        order = (list(islice(walk, batch_size))[part] for _ in count())
        if labelled:
            order, again = tee(order)
            labels = (None if self.labels is None else self.labels[rows] for rows in again)
        if isinstance(self.images, Tensor):
            images = self.images.to(device)
            batches = (images[torch.tensor(indices, device=device)] for indices in order)
        else:
            pin = torch.device(device).type == "cuda"
            own = torch.Generator()  # or the loader would draw from the global one
            # No batch size: the lists of indices are the batches.
            loader = DataLoader(
                self.images, None, sampler=order, num_workers=workers, pin_memory=pin, generator=own
            )
            batches = (checked(images).to(device, non_blocking=True) for images in loader)
        return zip(batches, labels, strict=False) if labelled else batches


def digits(train: bool = True) -> Images:
    """scikit-learn's grey 8 x 8 digits: two thirds of them, or the held-out third; labels 0..9.

    Example:
        >>> held_out = digits(train=False)
        >>> len(held_out), held_out.shape, held_out.labels.unique().tolist()
        (599, (1, 8, 8), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    found = Digits("train" if train else "test")
    images = Images(to_bytes(found.images.unsqueeze(1)), name="digits")
    images.labels = found.labels
    return images


def photographs(size: int = 32, channels: int = 3, number: int = 10_000) -> Images:
    """Crops of scikit-learn's two photographs, a temple and a flower: nothing to download.

    Squares anywhere in the 640 x 427 photographs, always the same ones, scaled to ``size``
    from 3 to 10 times that, as far as the photographs reach.

    Raises:
        DataError: if ``size`` is above 427.

    Example:
        >>> crops = photographs(size=16, number=4)
        >>> len(crops), crops.shape, crops.flip
        (4, (3, 16, 16), True)
    """
    from sklearn.datasets import load_sample_images  # these two take seconds to import
    from torchvision.transforms.functional import pil_to_tensor

    photos = [Image.fromarray(p).convert(MODES[channels]) for p in load_sample_images().images]
    width, height = photos[0].size
    if size > height:
        raise DataError(f"the photographs are {height} pixels high: size {size} is too much.")
    side, left, top = torch.rand(3, number, generator=torch.Generator().manual_seed(0))
    smallest, largest = max(size, min(3 * size, height / 2)), min(10 * size, height)
    side = smallest + (largest - smallest) * side
    left, top = left * (width - side), top * (height - side)
    images = torch.empty(number, channels, size, size, dtype=torch.uint8)
    for i, box in enumerate(torch.stack([left, top, left + side, top + side], 1).tolist()):
        crop = photos[i % 2].resize((size, size), Image.Resampling.BICUBIC, box, reducing_gap=1.5)
        images[i] = pil_to_tensor(crop)
    return Images(images, name="photographs", flip=True)


def _downloaded(source: str, root: Path, train: bool, download: bool) -> Images:
    """MNIST, StackedMNIST or CIFAR-10, read by torchvision.

    StackedMNIST as published: every digit twice in each channel, in orders of their own.
    """
    from torchvision import datasets  # takes seconds to import

    kind, folder = DOWNLOADS[source]
    reader = getattr(datasets, kind)
    try:
        found = reader(root, train=train, download=download)
    except Exception as error:  # of the network, the disk, an archive or a file cut short
        address = reader.url if kind == "CIFAR10" else reader.mirrors[0]
        raise DataError(
            f"{source} cannot be read from {root / folder} ({' '.join(str(error).split())}): give "
            f"download=True and a connection, or fill that folder from {address}."
        ) from error
    pixels, labels = torch.as_tensor(found.data), torch.as_tensor(found.targets)
    if source == "cifar10":
        pixels = pixels.permute(0, 3, 1, 2).contiguous()
    else:
        pixels = F.pad(pixels, (2, 2, 2, 2)).unsqueeze(1)  # 28 to 32 pixels
    if source == "stacked_mnist":
        rng = torch.Generator().manual_seed(0)
        orders = [torch.randperm(len(pixels), generator=rng) for _ in range(6)]
        triplets = torch.cat(orders).reshape(3, -1).T
        pixels, labels = pixels[triplets, 0], labels[triplets] @ torch.tensor([100, 10, 1])
    images = Images(pixels, name=source, flip=source == "cifar10")
    images.labels = labels
    return images


def _stored(
    source: str | os.PathLike, root: Path, size: int | None, channels: int, crop: str
) -> Images:
    """The images of a folder, an LMDB or shards, none decoded yet."""
    shards = Shards(source) if is_tar(source) else None
    path, limit = Path(source).expanduser(), None
    missing = f"{source} is neither a folder nor one of the sets {', '.join(IMAGE_SETS)}."
    if source in PLACES:
        place, limit, origin = PLACES[source]
        path = root / source if (root / source).exists() else root / place
        missing = (
            f"{source} must be a folder {root / source} of images or an LMDB {path}: {origin}."
        )
        size = size or 256
    if not (shards or path.exists()):
        raise DataError(missing)
    if size is None and crop == "center":
        raise DataError(f"{source} needs a size, the side of its images in pixels.")
    stored = StoredImages(shards or path, size, channels, crop, limit)
    known = source in PLACES
    name = shards.name if shards else source if known else path.resolve().name
    return Images(stored, name=name, flip=known)


def load_images(
    source: str | os.PathLike,
    *,
    size: int | None = None,
    channels: int | None = None,
    crop: str = "center",
    flip: bool | None = None,
    root: str | os.PathLike = "data",
    download: bool = True,
    train: bool = True,
    memory: int = 4 * 2**30,
) -> Images:
    """A set of images by its name, or the images of a folder.

    - ``photographs``: 10,000 crops, 32 x 32 unless ``size``; see :func:`photographs`. Flip.
    - ``digits``: 1,198 of scikit-learn's, one channel, 8 x 8; labels 0..9.
    - ``mnist``: 60,000 digits, one channel, padded to 32 x 32; labels 0..9.
    - ``stacked_mnist``: 120,000 random triplets of them as channels; labels 0..999.
    - ``cifar10``: 50,000 images, 32 x 32; labels 0..9. Flip.
    - ``celeba_hq_256``, ``lsun_church_256`` (the first 120,000): folder or LMDB, 256 x 256
      unless ``size``. Flip.
    - a path (``./mnist`` if a set has that name): folder or LMDB, scaled to ``size``. If every
      image of a folder lies in a subfolder, these are the labels 0, 1, .. in the order of names.
    - tar files, ``shards/{000..002}.tar`` or ``shards/*.tar``: see
      :class:`~ddgan_lite.data.shards.Shards`.

    Args:
        source: a name or a path.
        size: side in pixels; left out with ``crop="none"``: that of the first image. The digits,
            MNIST and CIFAR-10 have their own, or a whole fraction of it: :meth:`Images.shrunk`.
        channels: 3 unless given, or 1. Those of the digits, MNIST and CIFAR-10 are fixed.
        crop: of a folder or an LMDB, ``"center"`` or ``"none"``: see :class:`StoredImages`.
        flip: whether training should mirror half of the images, unless as above.
        root: the folder with the published sets.
        download: get MNIST or CIFAR-10 if it is not there.
        train: the training part; False is the held-out part, which the digits, MNIST and CIFAR-10
            have.
        memory: in bytes. A folder or an LMDB that takes no more is decoded here, a larger one
            image by image as training goes.

    Raises:
        ValueError: if an option is out of range.
        DataError: if the set is missing or not whole, if an image cannot be read or has the
            wrong size, or if there are fewer than two.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in "ab":
        ...         Image.new("RGB", (40, 30), "red").save(f"{folder}/{name}.png")
        ...     images = load_images(folder, size=16)
        >>> len(images), images.shape, images.load(torch.tensor([0]))[0, :, 8, 8].tolist()
        (2, (3, 16, 16), [255, 0, 0])
    """
    if crop not in ("center", "none"):
        raise ValueError(f"unknown crop {crop!r}: known are center, none.")
    if channels not in (None, *MODES):
        raise ValueError(f"channels must be 1 or 3, got {channels}.")
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, got {size}.")
    if not train and source not in FIXED:
        raise DataError(f"{source} has no held-out part: give a folder that is one.")
    root = Path(root).expanduser()
    if source == "photographs":
        images = photographs(size or 32, channels or 3)
    elif source in FIXED:
        images = digits(train) if source == "digits" else _downloaded(source, root, train, download)
        if channels not in (None, images.shape[0]) or images.shape[1] % (size or 1):
            raise DataError(f"{source} has the shape {images.shape}: omit size and channels.")
        images = images.shrunk(size or images.shape[1])
    else:
        images = _stored(source, root, size, channels or 3, crop)
        if images.images.shape.numel() <= memory:
            images.images = images.images.decode_all()
        else:
            images.images.decode(0)  # to be sure of the first
    images.flip = images.flip if flip is None else flip
    return images
