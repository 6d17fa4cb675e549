"""Samples by number, as images in memory, as files and as pictures: each follows from a seed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, cat

from ddgan_lite.chain.randomness import Numbered
from ddgan_lite.data.images import Images, to_bytes
from ddgan_lite.method.model import DDGAN

if TYPE_CHECKING:
    from accelerate import PartialState


class Drawn(Images):
    """Samples 0..n-1 of a model as images, made when they are asked for; the classes in turn.

    Args:
        model: what draws, on its device.
        n: how many.
        seed: what they follow from, with their numbers.
        weights: as for :meth:`DDGAN.sample`.

    Example:
        >>> import torch
        >>> from ddgan_lite import ConvConfig
        >>> drawn = Drawn(DDGAN(ConvConfig()), n=5)
        >>> len(drawn), drawn.load(torch.tensor([3, 4])).shape
        (5, torch.Size([2, 3, 8, 8]))
    """

    stored = None

    def __init__(self, model: DDGAN, n: int, seed: int = 0, weights: str = "averaged"):
        self.shape, self.name = model.config.shape, "the model"
        self.model, self.n, self.seed, self.weights = model, n, seed, weights

    def __len__(self) -> int:
        return self.n

    def load(self, indices: Tensor) -> Tensor:
        """The images at consecutive ``indices`` (n,): uint8 (n, C, H, W).

        Raises:
            FloatingPointError: if the model draws values that are not finite.
        """
        how = {"labels": "in turn", "seed": self.seed, "first": int(indices[0])}
        images = self.model.sample(len(indices), weights=self.weights, **how)
        if not images.isfinite().all():
            raise FloatingPointError("the model draws values that are not finite.")
        return to_bytes(images)


def _numbers(folder: Path, overwrite: bool, append: bool) -> list[int]:
    """The numbers of the samples that lie in ``folder``, if more may be written there."""
    found = [path for path in folder.glob("[!.]*")] if folder.exists() else []
    ours = {p for p in found if p.suffix == ".png" and p.stem.isdecimal() and len(p.stem) >= 6}
    if found and not (overwrite or append):
        raise FileExistsError(
            f"{folder} holds {len(found)} files already: choose another folder, or overwrite the "
            "samples in it (--overwrite), or append to them (--append)."
        )
    if others := sorted(set(found) - ours):
        raise FileExistsError(
            f"{folder} holds {others[0].name}, which is no sample: choose another folder."
        )
    numbers = sorted(int(path.stem) for path in ours)
    if append and numbers != list(range(len(numbers))):
        raise FileExistsError(f"of the samples in {folder} some are missing: overwrite them.")
    return numbers


def write_images(
    model: DDGAN,
    folder: str | os.PathLike,
    n: int,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    overwrite: bool = False,
    append: bool = False,
    process: "PartialState | None" = None,
    **how: object,
) -> Iterator[int]:
    """Write samples 0..n-1 as 000000.png, 000001.png, ..; yields how many, batch by batch.

    Args:
        model: what draws, on its device.
        folder: a new or an empty one.
        n: how many.
        seed: what they follow from, with their numbers.
        batch_size: images drawn at once.
        overwrite: delete the samples that are there first.
        append: let n more follow those that are there, and so count on from them.
        process: one of those that share the work, each of which must make this call.
        how: ``labels``, one for all or ``"in turn"``, and ``guidance``, as for
            :meth:`DDGAN.sample`.

    Raises:
        FileExistsError: if the folder holds something else, or samples that are to stay.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import ConvConfig
        >>> model = DDGAN(ConvConfig())
        >>> with TemporaryDirectory() as folder:
        ...     list(write_images(model, folder, 3, batch_size=2))
        ...     list(write_images(model, folder, 1, append=True))
        ...     sorted(os.listdir(folder))
        [2, 1]
        [1]
        ['000000.png', '000001.png', '000002.png', '000003.png']
    """
    from torchvision.transforms.functional import to_pil_image  # takes seconds to import

    folder, at_once = Path(folder), batch_size or model.batch_size
    numbers = _numbers(folder, overwrite, append)
    if process is not None:
        process.wait_for_everyone()  # all have looked
    if process is None or process.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        for number in () if append else numbers:
            (folder / f"{number:06d}.png").unlink()
    if process is not None:
        process.wait_for_everyone()
    first = len(numbers) if append else 0
    starts = range(first, first + n, at_once)
    if process is not None:  # whole batches, as one process would draw them: equal to the last bit
        starts = starts[process.process_index :: process.num_processes]
    for start in starts:
        some = min(at_once, first + n - start)
        images = model.sample(some, seed=seed, first=start, batch_size=at_once, **how)
        for number, image in enumerate(to_bytes(images).cpu(), start):
            to_pil_image(image).save(folder / f"{number:06d}.png")
        yield some


def write_picture(
    model: DDGAN,
    path: str | os.PathLike,
    n: int = 64,
    *,
    seed: int = 0,
    columns: int = 8,
    steps: bool = False,
    batch_size: int | None = None,
    **how: object,
) -> Path:
    """Samples 0..n-1 side by side in one PNG; the same images as those of :func:`write_images`.

    Args:
        model, seed, batch_size, how: as there.
        path: the file to write.
        n: how many.
        columns: of the picture.
        steps: show how the n samples came about: one below the other x_T, x_{T-1}, .., x_0, a
            column for each sample.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import ConvConfig
        >>> from PIL import Image
        >>> model = DDGAN(ConvConfig(num_steps=4))  # 8 x 8 pixels, and 2 between them
        >>> with TemporaryDirectory() as folder:
        ...     Image.open(write_picture(model, f"{folder}/grid.png", 6, columns=3)).size
        ...     Image.open(write_picture(model, f"{folder}/steps.png", 6, steps=True)).size
        (32, 22)
        (62, 52)
    """
    from torchvision.transforms.functional import to_pil_image  # takes seconds to import
    from torchvision.utils import make_grid

    if steps:
        images, columns = cat([*model.sample_steps(n, rng=Numbered(seed, range(n)), **how)]), n
    else:
        images = model.sample(n, seed=seed, batch_size=batch_size, **how)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    to_pil_image(make_grid(to_bytes(images), nrow=columns).cpu()).save(path)
    return path
