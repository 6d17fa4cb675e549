"""Draw what the shipped models make, and cut the thumbnails of the chapters' cards.

    python tools/build_pictures.py FOLDER [NOTEBOOKS]

FOLDER is a copy of book/; tools/build_book.py calls this. Of its _static/pictures, ``steps.webp``,
digits in four steps, opens the first page, and ``preview.jpg`` goes with a link that is shared;
``sample-*.webp`` stand beside the weights, and ``NN.webp`` is a part of a figure of chapter NN, as
NOTEBOOKS holds it.
"""

import argparse
import base64
import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import torch
from figures import alt_text, pictures
from PIL import Image
from torch import Tensor

from ddgan_lite.data.images import to_bytes
from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.figures import plots
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN

ROOT = Path(__file__).resolve().parent.parent
THUMBNAIL = (400, 240)  # pixels, at most
# Of each chapter the words of the alt text of a figure, and the part of it that a card shows:
# left, top, right and bottom as shares of its width and height.
CARDS = {
    "00": ("The data: 25 tight spots on a grid. The GAN", (0.51, 0, 1, 1)),
    "01": ("Sixteen triangles", (0, 0, 0.51, 0.25)),
    "02": ("Five scatter plots of the forward chain", (0, 0, 0.42, 1)),
    "03": ("Six panels of the exact denoising distribution", (0.67, 0.52, 1, 1)),
    "04": ("Three panels for steps 1, 2 and 3", (0.36, 0, 1, 1)),
    "05": ("Four panels over the grid of 25 modes, after a short training", (0.52, 0, 1, 1)),
    "06": ("Sixteen colourful 8 by 8 images", (0, 0.12, 0.5, 1)),
    "07": ("The zone plate", (0, 0, 1, 0.51)),
    "08": ("Four grids of 64 generated digits", (0.5, 0, 1, 1)),
    "09": ("published FID on CIFAR-10, StyleGAN2 fastest", (0, 0, 0.52, 0.7)),
    "10": ("Five rows of the digits", (0, 0, 0.8, 1)),
    "11": ("Three panels with 40 arrows each", (0.37, 0, 1, 1)),
}


def shipped(name: str) -> DDGAN:
    """A model that comes with the book."""
    return DDGAN.load(results.find(f"{name}.safetensors"))


def mosaic(images: Tensor, columns: int, scale: int = 1, gap: int = 1) -> Image.Image:
    """Images (n, C, h, w) in [-1, 1] in rows, each pixel ``scale`` wide, nothing between them."""
    n, channels, height, width = images.shape
    picture = Image.new(
        "RGBA", (columns * (width + gap) - gap, -(-n // columns) * (height + gap) - gap)
    )
    pixels = to_bytes(images.clamp(-1, 1)).permute(0, 2, 3, 1).numpy()
    for number, each in enumerate(pixels):
        tile = Image.fromarray(each[..., 0] if channels == 1 else each).convert("RGBA")
        place = (number % columns * (width + gap), number // columns * (height + gap))
        picture.paste(tile, place)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def save(picture: Image.Image, path: Path) -> None:
    """As WebP without loss: pixels that are squares stay squares."""
    picture.save(path, lossless=True, quality=100, method=6)


@torch.no_grad()
def guesses(model: DDGAN, n: int, seed: int = 0) -> Tensor:
    """The noise that n samples start from, then the guess of x_0 at each step: (T + 1, n, ..).

    A model with classes draws them in turn.
    """
    rng = torch.Generator().manual_seed(seed)
    y = model.label_rows("in turn", n)
    rows = [next(iter(model.sample_steps(n, rng=rng)))]
    x_t, steps = rows[0], model.diffusion.num_steps
    for t in range(steps, 0, -1):
        rows.append(model.predict(x_t, torch.full((n,), t), y=y, rng=rng))
        x_t = model.diffusion.posterior_sample(rows[-1], x_t, t, rng)
    return torch.stack(rows)


def preview(digits: Tensor, path: Path) -> None:
    """1200 x 630 pixels, as places that show a shared link want it."""
    figure = plt.figure(figsize=(12, 6.3), dpi=100, layout="none")
    figure.text(0.05, 0.87, "Denoising Diffusion GANs", fontsize=44, family="serif", weight="bold")
    figure.text(0.05, 0.79, "From noise to an image in four steps: a book that runs", fontsize=25)
    axes = figure.add_axes((0.05, 0.05, 0.9, 0.7))
    axes.imshow(np.asarray(mosaic(digits, 10)), interpolation="nearest", aspect="auto")
    axes.axis("off")
    figure.savefig(path, pil_kwargs={"quality": 60, "optimize": True})
    plt.close(figure)


def samples(folder: Path) -> None:
    """A few samples of each model, for the page of the weights."""
    rng = torch.Generator().manual_seed(1)
    mnist, stacks, asked = (shipped(name) for name in ("mnist", "stacked_digits", "digits"))
    labels = "in turn"
    for size in (16, 32):
        first, name = torch.Generator().manual_seed(1), f"cifar10_{size}"
        photographs = shipped(name).sample(24, labels=labels, rng=first)
        save(mosaic(photographs, 12, 64 // size), folder / f"sample-{name}.webp")
    save(mosaic(mnist.sample(24, labels=labels, rng=rng), 12, 2), folder / "sample-mnist.webp")
    channels = stacks.sample(12, rng=rng)  # the stacks, and below each its three digits
    grey = channels.transpose(0, 1).reshape(-1, 1, 8, 8).expand(-1, 3, 8, 8)
    save(mosaic(torch.cat([channels, grey]), 12, 7), folder / "sample-stacked_digits.webp")
    labels = torch.arange(10).repeat(2)
    save(mosaic(asked.sample(20, labels=labels, rng=rng), 10, 8), folder / "sample-digits.webp")
    figure, axes = plt.subplots(figsize=(3.2, 3.2), dpi=150)
    plots.points(axes, shipped("gaussians").sample(2_000, rng=rng), gaussian_grid(), s=2)
    figure.savefig(folder / "sample-gaussians.webp", pil_kwargs={"quality": 80, "method": 6})
    plt.close(figure)


def thumbnail(notebook: Path, words: str, part: tuple[float, ...]) -> Image.Image:
    """The part of the one figure of a chapter that has these words in its alt text."""
    cells = nbformat.read(notebook, as_version=4).cells
    found = [cell for cell in cells if words in alt_text(cell) and pictures(cell)]
    if len(found) != 1:
        sys.exit(f"{notebook.name}: {len(found)} figures say {words!r}; see CARDS in {__file__}.")
    figure = Image.open(io.BytesIO(base64.b64decode(pictures(found[0])[0]))).convert("RGB")
    size = (*figure.size, *figure.size)
    figure = figure.crop([round(share * whole) for share, whole in zip(part, size, strict=True)])
    figure.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    return figure


def write(book: Path, notebooks: Path) -> None:
    """All of it, into ``book/_static/pictures``."""
    plots.use_style()
    torch.set_num_threads(1)
    folder = book / "_static" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    steps = guesses(shipped("mnist"), 12)
    save(mosaic(steps.flatten(0, 1), 12, 3, gap=2), folder / "steps.webp")
    preview(steps[:, :10].flatten(0, 1), folder / "preview.jpg")
    samples(folder)
    for chapter, (words, part) in CARDS.items():
        (notebook,) = notebooks.glob(f"{chapter}_*.ipynb")
        picture = thumbnail(notebook, words, part)
        picture.save(folder / f"{chapter}.webp", quality=70, method=6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("notebooks", nargs="?", type=Path, default=ROOT / "notebooks")
    args = parser.parse_args()
    write(args.folder, args.notebooks)
