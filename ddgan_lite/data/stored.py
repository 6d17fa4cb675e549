"""Images where they are stored: the files of a folder or the entries of an LMDB, decoded."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, ImageOps
from PIL import __version__ as PILLOW
from torch import Tensor

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
SUFFIXES = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
MODES = {1: "L", 3: "RGB"}  # PIL's names for grey and colour


class DataError(ValueError):
    """Images that are missing, unreadable or of the wrong size: one sentence says which.

    Example:
        >>> from ddgan_lite import load_images
        >>> load_images("my/photos", size=64)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ddgan_lite.data.stored.DataError: my/photos is neither a folder nor one of the sets ...
    """


_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def _lmdb(path: Path):
    """A look into the LMDB at ``path``, opened for this look only.

    An open LMDB may be opened neither twice in a process nor again after a fork, so none is
    kept open: that costs a fraction of what decoding an image does.
    """
    with _ONE_AT_A_TIME:
        try:
            import lmdb

            folder = path.is_dir()
            env = lmdb.open(str(path), subdir=folder, readonly=True, lock=False, readahead=False)
        except ModuleNotFoundError as error:
            raise DataError(f"{path} needs lmdb: pip install 'ddgan-lite[data]'.") from error
        except Exception as error:  # lmdb.Error, which only lmdb can name
            raise DataError(f"{path} cannot be read as an LMDB: {error}.") from error
        with env, env.begin() as transaction:
            yield transaction


class StoredImages:
    """Images in a folder or an LMDB, decoded when they are asked for.

    What is partly transparent is laid on white, what has an orientation tag is turned upright,
    and of an animation the first frame counts. Then colour becomes grey or grey colour, as
    ``channels`` wants.

    Args:
        path: a folder, searched with its subfolders for files with the suffix of an image
            (hidden ones are left out), in the order of their paths; or an LMDB (a folder that
            holds data.mdb, or one file), in the order of its keys, whose values are image files
            or 256 x 256 x 3 bare bytes; or whatever has ``entries``, their ``labels`` and a
            method ``read(entry)``, as :class:`ddgan_lite.data.shards.Shards`.
        size: side in pixels of the images to make; None for the width of the first one.
        channels: 3 for RGB, 1 for grey.
        crop: ``"center"`` scales the short side to ``size`` (small images are enlarged) and
            keeps the middle; ``"none"`` wants images of that size already.
        limit: take only the first so many.

    Attributes:
        shape: (N, C, H, W).
        labels: (N,) int64, numbering the subfolders that hold the images; None if some image lies
            in none.
        seen: of the images decoded so far, in this process, the formats, and whether one of that
            format was scaled or cut.

    Raises:
        DataError: if ``path`` holds no images, or is an LMDB that cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Image.new("L", (40, 30), 255).save(f"{folder}/white.png")
        ...     images = StoredImages(Path(folder), size=16, channels=3, crop="center", limit=None)
        ...     images.shape, images.decode(0).shape, images.decode_all().unique()
        (torch.Size([1, 3, 16, 16]), torch.Size([3, 16, 16]), tensor([255], dtype=torch.uint8))
    """

    dtype = torch.uint8

    def __init__(self, path, size: int | None, channels: int, crop: str, limit: int | None):
        self.path, self.mode, self.crop = path, MODES[channels], crop
        self.seen: set[tuple[str, bool]] = set()
        if not isinstance(path, Path):
            entries = path.entries
        elif path.is_file() or (path / "data.mdb").is_file():
            with _lmdb(path) as transaction:
                entries = list(transaction.cursor().iternext(values=False))
        else:
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            entries = [f for f in files if "/." not in f"/{f.relative_to(path).as_posix()}"]
        self.entries = entries[:limit]
        if not self.entries:
            raise DataError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))}).")
        self.size = size or self._upright(0)[0].width
        self.shape = torch.Size((len(self.entries), channels, self.size, self.size))
        homes = [f.relative_to(path).parts[:-1][:1] for f in self.entries if isinstance(f, Path)]
        number = {home: k for k, home in enumerate(sorted(set(homes)))}
        self.labels = torch.tensor([number[h] for h in homes]) if homes and all(homes) else None
        if not isinstance(path, Path):
            self.labels = path.labels

    def decode(self, index: int) -> Tensor:
        """One image, uint8 (C, H, W).

        Raises:
            DataError: naming the file, if it cannot be read or has the wrong size.
        """
        from torchvision.transforms import functional as TF  # takes seconds to import

        image, kind = self._upright(index)
        fits = image.size == (self.size, self.size)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert(self.mode)
        if self.crop == "center":
            image = TF.resize(image, self.size, TF.InterpolationMode.LANCZOS)
            image = TF.center_crop(image, self.size)
        if image.size != (self.size, self.size):
            wide, high = image.size
            raise DataError(
                f"{self._where(index)} is {wide} x {high} pixels, not {self.size} x {self.size}."
            )
        self.seen.add((kind, not fits))
        return TF.pil_to_tensor(image)

    def _where(self, index: int) -> str:
        entry = self.entries[index]
        return str(entry) if isinstance(entry, Path) else f"{self.path} at key {entry!r}"

    def _upright(self, index: int) -> tuple[Image.Image, str]:
        """An image as it is stored, the right way up, and its format."""
        try:
            image = self._open(self.entries[index])
        except Exception as error:  # PIL has many: OSError, SyntaxError, struct.error, ...
            reason = getattr(error, "strerror", None) or f"it is no whole {', '.join(FORMATS)} file"
            raise DataError(f"{self._where(index)} cannot be read: {reason}.") from error
        if image.mode.startswith(("I", "F")):
            raise DataError(
                f"{self._where(index)} has more than 8 bits per channel: save it with 8."
            )
        kind = image.format or "bare bytes"
        ImageOps.exif_transpose(image, in_place=True)
        return image, kind

    def _open(self, entry: Path | bytes) -> Image.Image:
        if not isinstance(self.path, Path):
            data = self.path.read(entry)
            if isinstance(data, Image.Image):
                return data
        elif isinstance(entry, Path):
            data = entry.read_bytes()
        else:
            with _lmdb(self.path) as transaction:
                data = transaction.get(entry)
            if len(data) == 256 * 256 * 3:
                return Image.frombytes("RGB", (256, 256), data)
        image = Image.open(BytesIO(data), formats=FORMATS)
        image.load()
        return image

    def decode_all(self) -> Tensor:
        """Every image, uint8 (N, C, H, W), by several threads.

        Raises:
            DataError: as :meth:`decode`; one for all images that cannot be used.
        """
        with ThreadPoolExecutor() as threads:
            return checked(self._several(range(len(self.entries)), threads.map))

    def __getitem__(self, indices: list[int]) -> "Tensor | DataError":
        """Several images, uint8 (n, C, H, W).

        An error is returned, not raised: out of a process of a DataLoader it would come as a
        page of traceback.
        """
        return self._several(indices, map)

    def _several(self, indices: Sequence[int], mapped: Callable) -> "Tensor | DataError":
        images = torch.empty((len(indices), *self.shape[1:]), dtype=torch.uint8)
        wrong: dict[int, DataError] = {}

        def put(place: int) -> None:
            try:
                images[place] = self.decode(indices[place])
            except DataError as error:
                wrong[indices[place]] = error

        for _ in mapped(put, range(len(indices))):
            pass
        if len(wrong) < 2:
            return next(iter(wrong.values()), images)
        first, *_ = places = sorted(wrong)
        names = [self._where(k).removeprefix(f"{self.path}{os.sep}") for k in places[:10]]
        others = f" and {len(wrong) - 10} more" * (len(wrong) > 10)
        return DataError(
            f"{len(wrong)} of {len(set(indices))} images in {self.path} cannot be used: "
            f"{', '.join(names)}{others}. The first: {wrong[first]}"
        )

    def described(self) -> str:
        """What became of the files on their way to bytes, as far as they have been decoded.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> with TemporaryDirectory() as folder:
            ...     Image.new("L", (40, 30)).save(f"{folder}/a.png")
            ...     Image.new("L", (16, 16)).save(f"{folder}/b.jpg")
            ...     images = StoredImages(Path(folder), 16, 3, crop="center", limit=None)
            ...     _ = images.decode_all()
            >>> print(images.described())  # doctest: +ELLIPSIS
            JPEG as they are, PNG scaled to a short side of 16 by Lanczos and cut to the ...
        """
        changed = f"scaled to a short side of {self.size} by Lanczos and cut to the middle"
        kinds = [
            f"{kind} {changed if (kind, True) in self.seen else 'as they are'}"
            for kind in sorted({kind for kind, _ in self.seen})
        ]
        return f"{', '.join(kinds)}, decoded by Pillow {PILLOW}"


def checked(images: "Tensor | DataError") -> Tensor:
    """What StoredImages returned; raised here if it was an error.

    Raises:
        DataError: if it was one.

    Example:
        >>> checked(DataError("cat.png cannot be read: it is empty."))
        Traceback (most recent call last):
            ...
        ddgan_lite.data.stored.DataError: cat.png cannot be read: it is empty.
    """
    if isinstance(images, DataError):
        raise images
    return images
