"""WebDataset shards: tar files whose images are read where they lie, none unpacked."""

import glob
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from ddgan_lite.data.stored import SUFFIXES, DataError


@dataclass(frozen=True)
class Member:
    """An image in a tar file: where its bytes begin, and how many they are.

    Example:
        >>> Member(Path("shards/000.tar"), "cat.jpg", offset=512, size=9_000)
        000.tar/cat.jpg
    """

    file: Path
    name: str
    offset: int
    size: int

    def __repr__(self) -> str:
        return f"{self.file.name}/{self.name}"


class Shards:
    """The images of tar files, in the order of the files and in theirs.

    What belongs together has one name up to the first dot, as WebDataset has it: ``cat1.jpg`` and,
    with its label as a whole number, ``cat1.cls``. A tar file that is not compressed is as good as
    a folder: each image is read when it is asked for, wherever it lies, so a run may shuffle all of
    them and go on anywhere.

    Args:
        path: the files by a pattern, ranges of numbers in braces, ``"shards/{000..002}.tar"``, or
            ``*`` and ``?``.

    Attributes:
        entries: the images, :class:`Member`.
        labels: (N,) int64; None if some image has none.
        name: the folder's name and the pattern.

    Raises:
        DataError: if a file is missing or no whole tar file, a label no number, or two images
            share a name.

    Example:
        >>> from io import BytesIO
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for number in range(2):
        ...         with tarfile.open(f"{folder}/{number}.tar", "w") as tar:
        ...             for name in ("cat.png", "cat.cls"):
        ...                 about = tarfile.TarInfo(name)
        ...                 about.size = 1
        ...                 tar.addfile(about, BytesIO(b"5"))
        ...     shards = Shards(f"{folder}/{{0..1}}.tar")
        ...     shards.entries, shards.labels, shards.read(shards.entries[1])
        ([0.tar/cat.png, 1.tar/cat.png], tensor([5, 5]), b'5')
    """

    def __init__(self, path: str | os.PathLike):
        self.path = str(Path(path).expanduser())
        self.name = "/".join(Path(self.path).absolute().parts[-2:])
        self.entries: list[Member] = []
        labels: list[int | None] = []
        for file in expand(self.path):
            members, found = _scan(file)
            self.entries += members
            labels += found
        known = bool(labels) and None not in labels
        self.labels: Tensor | None = torch.tensor(labels) if known else None

    def __str__(self) -> str:
        return self.path

    def read(self, entry: Member) -> bytes:
        """The bytes of one image.

        Raises:
            OSError: if the file has gone.
        """
        with open(entry.file, "rb") as file:
            file.seek(entry.offset)
            return file.read(entry.size)


def is_tar(source: object) -> bool:
    """Whether a path or a pattern ends as those of tar files do; compressed ones are refused later.

    Example:
        >>> is_tar("shards/{000..002}.tar"), is_tar("shards")
        (True, False)
    """
    return str(source).endswith((".tar", ".tar.gz", ".tgz"))


def expand(pattern: str) -> Iterator[Path]:
    """The files that a pattern names, in order.

    Raises:
        DataError: if one is not there.

    Example:
        >>> [str(file) for file in expand("missing/{08..10}.tar")]
        Traceback (most recent call last):
            ...
        ddgan_lite.data.stored.DataError: there is no tar file missing/08.tar.
    """
    if braces := re.search(r"\{(\d+)\.\.(\d+)\}", pattern):
        first, last = braces.groups()
        for number in range(int(first), int(last) + 1):
            digits = str(number).zfill(len(first))
            yield from expand(pattern[: braces.start()] + digits + pattern[braces.end() :])
        return
    files = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
    if not files or not os.path.isfile(files[0]):
        raise DataError(f"there is no tar file {pattern}.")
    yield from map(Path, files)


def _scan(file: Path) -> tuple[list[Member], list[int | None]]:
    """The images of a tar file, and their labels."""
    images: dict[str, Member] = {}
    labels: dict[str, int] = {}
    length = file.stat().st_size
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if not 0 <= member.size <= length - member.offset_data:
                    raise tarfile.ReadError("it is cut short")
                if not member.isfile() or "/." in f"/{path}":  # hidden files are left out
                    continue
                key = str(path.with_name(path.name.split(".")[0]))
                if path.suffix.lower() in SUFFIXES:
                    if key in images:
                        both = f"{images[key].name} and {path}"
                        raise DataError(f"{file} holds two images of one sample, {both}.")
                    images[key] = Member(file, str(path), member.offset_data, member.size)
                elif path.suffix == ".cls":
                    text = tar.extractfile(member).read(20)
                    if not re.fullmatch(rb"\s*\d{1,9}\s*", text):
                        raise DataError(f"{file} holds a label that is no number in {path}.")
                    labels[key] = int(text)
    except DataError:
        raise
    except Exception as error:  # tarfile has more than its own: ValueError, OverflowError, ...
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{file} cannot be read as a tar file without compression: {reason}."
        ) from error
    return list(images.values()), [labels.get(key) for key in images]
