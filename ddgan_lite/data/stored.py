"""Images where they are stored: the files of a folder or the entries of an LMDB, decoded."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, ImageOps
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
        size: side in pixels of the images to make.
        channels: 3 for RGB, 1 for grey.
        crop: ``"center"`` scales the short side to ``size`` (small images are enlarged) and
            keeps the middle; ``"none"`` wants images of that size already.
        limit: take only the first so many.

    Attributes:
        shape: (N, C, H, W).
        labels: (N,) int64, numbering the subfolders that hold the images; None if some image lies
            in none.

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

    def __init__(self, path, size: int, channels: int, crop: str, limit: int | None):
        self.path, self.size, self.mode, self.crop = path, size, MODES[channels], crop
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
        self.shape = torch.Size((len(self.entries), channels, size, size))
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

        entry = self.entries[index]
        where = entry if isinstance(entry, Path) else f"{self.path} at key {entry!r}"
        try:
            image = self._open(entry)
        except Exception as error:  # PIL has many: OSError, SyntaxError, struct.error, ...
            reason = getattr(error, "strerror", None) or f"it is no whole {', '.join(FORMATS)} file"
            raise DataError(f"{where} cannot be read: {reason}.") from error
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{where} has more than 8 bits per channel: save it with 8.")
        ImageOps.exif_transpose(image, in_place=True)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert(self.mode)
        if self.crop == "center":
            image = TF.resize(image, self.size, TF.InterpolationMode.LANCZOS)
            image = TF.center_crop(image, self.size)
        if image.size != (self.size, self.size):
            wide, high = image.size
            raise DataError(f"{where} is {wide} x {high} pixels, not {self.size} x {self.size}.")
        return TF.pil_to_tensor(image)

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
            DataError: as :meth:`decode`.
        """
        images = torch.empty(self.shape, dtype=torch.uint8)
        with ThreadPoolExecutor() as threads:
            for index, image in enumerate(threads.map(self.decode, range(len(images)))):
                images[index] = image
        return images

    def __getitem__(self, indices: list[int]) -> "Tensor | DataError":
        """Several images, uint8 (n, C, H, W).

        An error is returned, not raised: out of a process of a DataLoader it would come as a
        page of traceback.
        """
        try:
            return torch.stack([self.decode(index) for index in indices])
        except DataError as error:
            return error


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
