"""Images that others hold: rows of a table or of an endless file, each a dict with an image."""

import importlib
import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle, islice
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddgan_lite.data.images import Images, check_order, to_unit
from ddgan_lite.data.stored import DataError, StoredImages, checked

FUNCTION = r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)"  # how --data names rows: module:function


class Rows:
    """Where StoredImages reads: rows that can be asked for by number.

    An image may be one of PIL's, the bytes of a file, ``{"bytes": ...}``, or a uint8 array (H, W)
    or (H, W, 3).

    Args:
        path: what they are called.
        rows: by number, dicts with an ``"image"``.
        entries: the numbers.

    Example:
        >>> rows = Rows("squares", [{"image": np.zeros((8, 8), np.uint8)}], range(1))
        >>> rows.read(0).size
        (8, 8)
        >>> StoredImages(rows, size=4, channels=3, crop="center", limit=None).decode(0).shape
        torch.Size([3, 4, 4])
    """

    labels = None

    def __init__(self, path: str, rows, entries: Sequence[int]):
        self.path, self.rows, self.entries = path, rows, entries

    def __str__(self) -> str:
        return self.path

    def read(self, entry: int) -> bytes | Image.Image:
        """The image of a row: one of PIL's, or the bytes of a file."""
        image = self.rows[entry]["image"]
        if isinstance(image, dict):
            image = image["bytes"]
        return Image.fromarray(image) if isinstance(image, np.ndarray) else image


def _first(rows: Iterable[dict], name: str) -> dict:
    """The first row, if it is one."""
    row = next(iter(rows), None)
    if not isinstance(row, dict) or "image" not in row:
        found = f"dicts with {', '.join(map(str, row))}" if isinstance(row, dict) else repr(row)
        raise DataError(f'{name} must give dicts with an "image", not {found:.60}.')
    return row


def _words(error: Exception) -> str:
    return f"{type(error).__name__}, {' '.join(str(error).split())}"


def _label(row: dict, where: str) -> int:
    """The label of a row."""
    try:
        return int(row["label"].__index__())
    except (KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{where} has no whole number for a label.") from error


def _shuffled(rows: Iterable, buffer: int, rng: np.random.Generator) -> Iterator:
    """The rows in another order: each new one takes the place of one that is drawn."""
    held = []
    for row in rows:
        if len(held) < buffer:
            held.append(row)
            continue
        place = rng.integers(buffer)
        row, held[place] = held[place], row
        yield row
    for place in rng.permutation(len(held)):
        yield held[place]


class Stream:
    """Images that come one after the other, with no way to the hundredth but past 99 others.

    Training takes it for a set of images. Each epoch it reads the rows from the first to the last
    and shuffles them in a buffer, in an order that depends on the seed and on nothing else. A run
    that goes on reads over what it has had of the epoch; where the length is unknown, it reads one
    epoch to learn it. Every process reads every row and decodes its own.

    Args:
        rows: iterable from the beginning as often as wanted, in one order; dicts with an
            ``"image"``, as :class:`Rows` takes them, and maybe a ``"label"``.
        size, channels, crop: as for :class:`~ddgan_lite.data.stored.StoredImages`.
        name: goes into the records of runs.
        flip: whether training should mirror half of the images.
        buffer: rows to hold for shuffling.

    Attributes:
        shape: (C, H, W).
        labels: True where the rows have them, else None.

    Raises:
        DataError: if the rows can be read but once, or the first is not as it should be.

    Example:
        >>> class Squares:
        ...     def __iter__(self):
        ...         for number in range(5):
        ...             yield {"image": np.full((8, 8), number, np.uint8), "label": number % 2}
        >>> squares = Stream(Squares(), size=8, channels=1, name="squares", buffer=3)
        >>> images, labels = next(squares.batches(5, seed=0, labelled=True))
        >>> images[:, 0, 0, 0].sort().values, squares.sample(2).shape
        (tensor([0, 1, 2, 3, 4], dtype=torch.uint8), torch.Size([2, 1, 8, 8]))
    """

    def __init__(
        self,
        rows: Iterable[dict],
        *,
        size: int,
        channels: int = 3,
        crop: str = "center",
        name: str,
        flip: bool = False,
        buffer: int = 10_000,
    ):
        if buffer < 1:
            raise ValueError(f"buffer must be at least 1, got {buffer}.")
        if iter(rows) is rows:
            raise DataError(f"{name} can be read but once: give what can be begun anew.")
        self.rows, self.name, self.flip, self.buffer = rows, name, flip, buffer
        self.how = (size, channels, crop, None)
        self.shape = (channels, size, size)
        self.length: int | None = None
        first = _first(rows, name)
        self.labels = True if "label" in first else None
        self._decoded([(0, first)])

    def _decoded(self, rows: list[tuple[int, dict]]) -> tuple[Tensor, Tensor | None]:
        """Some rows as images, uint8 (n, C, H, W), and their labels (n,)."""
        stored = StoredImages(Rows(self.name, dict(rows), [n for n, _ in rows]), *self.how)
        images = checked(stored[list(range(len(rows)))])
        if not self.labels:
            return images, None
        return images, torch.tensor([_label(row, f"{self.name} at key {n}") for n, row in rows])

    def _numbered(self) -> Iterator[tuple[int, dict]]:
        try:
            yield from enumerate(self.rows)
        except Exception as error:  # whatever somebody else's code raises, a network's for example
            raise DataError(f"{self.name} cannot be read further: {_words(error)}.") from error

    def _walk(self, seed: int, position: int) -> Iterator[tuple[int, dict]]:
        """Numbered rows from ``position`` on, where one shuffled epoch follows another."""
        epoch = 0
        while True:
            if self.length is not None:
                over, position = divmod(position, self.length)
                epoch += over
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))
            read = 0
            for row in _shuffled(self._numbered(), self.buffer, rng):
                read += 1
                if read > position:
                    yield row
            if read < 2 or self.length not in (None, read):
                before = f" and had {self.length} before" if self.length else ""
                raise DataError(f"{self.name} has {read} images{before}: give it a fixed number.")
            self.length, position, epoch = read, max(0, position - read), epoch + 1

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """The first n images (n, C, H, W) in [-1, 1], whatever ``rng``: nothing can be drawn.

        Raises:
            ValueError: if n is below 1.
            DataError: if an image cannot be read.
        """
        return self.sample_labelled(n, rng)[0]

    def sample_labelled(self, n: int, rng: torch.Generator | None = None) -> tuple:
        """The same images with their labels (n,); None where there are none.

        Example:
            >>> red = {"image": Image.new("RGB", (8, 8), "red"), "label": 3}
            >>> Stream((red, red), size=8, name="red").sample_labelled(2)[1]
            tensor([3, 3])
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        held = list(islice(self._numbered(), n))
        again = [(place, row) for place, (_, row) in enumerate(islice(cycle(held), n))]
        images, labels = self._decoded(again)
        return to_unit(images), labels

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
        """Endless batches for training, as :meth:`ddgan_lite.data.images.Images.batches`.

        ``workers`` are threads that decode ahead of time.

        Raises:
            ValueError: if a number is out of range, or ``part`` leaves nothing of a batch.
            DataError: on the way, if an image cannot be read or an epoch is not like another.
        """
        check_order(batch_size, seed, start, part, workers)

        def made() -> Iterator:
            walk, ahead = self._walk(seed, start * batch_size), deque()
            with ThreadPoolExecutor(max(1, workers)) as threads:
                for _ in count():
                    rows = list(islice(walk, batch_size))[part]
                    ahead.append(threads.submit(self._decoded, rows))
                    if len(ahead) > workers:
                        images, labels = ahead.popleft().result()
                        images = images.to(device)
                        yield (images, labels) if labelled else images

        return made()


def stream_images(
    source: str | Iterable[dict],
    *,
    size: int,
    channels: int = 3,
    crop: str = "center",
    flip: bool | None = None,
    buffer: int = 10_000,
    name: str | None = None,
) -> Images | Stream:
    """Rows of others as a set of images: those of ``datasets``, of ``webdataset``, your own.

    Rows that have a length and can be asked for by number, as a list or a ``datasets.Dataset``,
    become :class:`~ddgan_lite.data.images.Images`: shuffled as a whole, and each process reads what
    it decodes. What can only be read from the beginning becomes a :class:`Stream`.

    Args:
        source: the rows, or where to get them, ``"module:function"``; the function takes nothing
            and returns them.
        size, channels, crop, flip, buffer: as for :class:`Stream`.
        name: goes into the records of runs; that of the source or of its class when left out.

    Raises:
        DataError: if the rows cannot be had, or are not as they should be.

    Example:
        >>> rows = [{"image": Image.new("RGB", (40, 30), "red"), "label": n} for n in range(3)]
        >>> images = stream_images(rows, size=16)
        >>> len(images), images.shape, images.labels
        (3, (3, 16, 16), tensor([0, 1, 2]))
    """
    rows = _called(source) if isinstance(source, str) else source
    name = name or (source if isinstance(source, str) else type(rows).__name__)
    how = {"size": size, "channels": channels, "crop": crop}
    if not (hasattr(rows, "__len__") and hasattr(rows, "__getitem__")):
        return Stream(rows, **how, name=name, flip=bool(flip), buffer=buffer)
    labelled = "label" in _first(rows, name)
    stored = StoredImages(Rows(name, rows, range(len(rows))), *how.values(), None)
    stored.decode(0)
    images = Images(stored, name=name, flip=bool(flip))
    if labelled:
        table = hasattr(rows, "column_names")  # of datasets: its labels come without the images
        column = rows["label"] if table else (row.get("label") for row in rows)
        labels = [_label({"label": y}, f"{name} at key {n}") for n, y in enumerate(column)]
        images.labels = torch.tensor(labels)
    return images


def _called(source: str) -> Iterable[dict]:
    """What the function returns that is named so."""
    module, function = re.fullmatch(FUNCTION, source).groups()
    try:
        return getattr(imported(module), function)()
    except Exception as error:  # whatever somebody else's code raises
        raise DataError(f"{source} gives no images: {_words(error)}.") from error


def imported(module: str) -> ModuleType:
    """A module by its name, sought in the folder where the command was given as well.

    Raises:
        Exception: whatever the module raises.

    Example:
        >>> imported("math").pi > 3
        True
    """
    if not {"", os.getcwd()} & set(sys.path):  # "python -m" looks here, an installed command not
        sys.path.insert(0, os.getcwd())
    return importlib.import_module(module)


def names_rows(source: object) -> bool:
    """Whether this is ``"module:function"`` and no path.

    Example:
        >>> names_rows("my_data:photos"), names_rows("my/photos")
        (True, False)
    """
    return bool(re.fullmatch(FUNCTION, str(source))) and not Path(str(source)).exists()
