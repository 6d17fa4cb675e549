"""Every figure of the book. Functions draw on the axes they are given, or make a row of panels.

Figures are opaque, near-white cards with dark ink, so that they read the same on a light page,
a dark page and in a hosted notebook. Colours are Okabe and Ito's, which colour-blind readers
can tell apart; data are blue and models vermilion throughout. A figure of :data:`WIDTH` fills the
column of a page, where its letters are as large as the text's or a little smaller.
"""

import base64
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from torch import Tensor

from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.figures.tables import table as table

DATA, MODEL, THIRD, FOURTH, QUIET = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B7280"
INK, PAPER = "#22262B", "#FBFAF7"
WIDTH = 7.1  # inches, of 96 pixels on a page


def use_style() -> None:
    """Set matplotlib's defaults for the book. Call it once, at the top of a notebook.

    Example:
        >>> with plt.rc_context():
        ...     use_style()
        ...     plt.rcParams["figure.facecolor"] == PAPER
        True
    """
    plt.rcParams.update({
        "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "axes.facecolor": PAPER,
        "figure.dpi": 100, "figure.constrained_layout.use": True,
        "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": QUIET,
        "axes.labelcolor": INK, "axes.titlesize": 10, "axes.titlecolor": INK, "text.color": INK,
        "xtick.color": INK, "ytick.color": INK, "xtick.labelsize": 8, "ytick.labelsize": 8,
        "font.size": 9, "legend.fontsize": 8.5, "legend.frameon": False, "lines.linewidth": 1.8,
        "image.interpolation": "none",  # an image keeps its own pixels, however it is scaled
        "axes.prop_cycle": plt.cycler(color=[DATA, MODEL, THIRD, FOURTH, "#E69F00"]),
    })  # fmt: skip


def points(ax: Axes, samples: Tensor, mixture: GaussianMixture | None = None, **scatter) -> None:
    """Samples (n, 2) as dots, over the 3-standard-deviation circles of a mixture's modes.

    Example:
        >>> ax = Figure().subplots()
        >>> points(ax, torch.zeros(5, 2), GaussianMixture(torch.zeros(1, 2), 0.5))
        >>> [round(float(end), 1) for end in ax.get_xlim()]  # 8 standard deviations and 0.2
        [-4.2, 4.2]
    """
    style = {"s": 2, "color": MODEL, "alpha": 0.5, "linewidths": 0, "rasterized": True}
    if mixture is not None:
        width = 6 * mixture.std.numpy()
        circles = EllipseCollection(
            width, width, 0 * width, units="x", offsets=mixture.means.numpy(), rasterized=True,
            transOffset=ax.transData, facecolors="none", edgecolors=QUIET, linewidths=0.6,
        )  # fmt: skip
        ax.add_collection(circles)
        reach = float(mixture.means.abs().max()) + 8 * float(mixture.std.max()) + 0.2
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    x, y = samples.detach().cpu().numpy().T
    ax.scatter(x, y, **(style | scatter))
    ax.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")


def panels(
    samples: dict[str, Tensor], mixture: GaussianMixture, *, shown: int = 2500, columns: int = 0,
    width: float = WIDTH,
) -> Figure:  # fmt: skip
    """Sample sets (n, 2), one panel each, titled by their names, in rows of ``columns`` (0: one).

    Example:
        >>> mixture = GaussianMixture(torch.zeros(1, 2), 1.0)
        >>> figure = panels({"data": torch.zeros(5, 2), "DDGAN": torch.ones(5, 2)}, mixture)
        >>> [ax.get_title() for ax in figure.axes]
        ['data', 'DDGAN']
        >>> plt.close(figure)
    """
    columns = columns or len(samples)
    rows = -(-len(samples) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, rows * (width / columns + 0.4)), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    for ax in axes.flat[len(samples) :]:
        ax.axis("off")
    for ax, (title, sample) in zip(axes.flat, samples.items(), strict=False):
        colour = DATA if title.startswith("data") else MODEL
        points(ax, sample[:shown], mixture, color=colour)
        ax.set_title(title)
        ax.label_outer()
    return figure


def density(ax: Axes, mixture: GaussianMixture, *, low: float = -3, high: float = 3, **line):
    """The density of a 1-D mixture, filled.

    Example:
        >>> ax = Figure().subplots()
        >>> density(ax, GaussianMixture(torch.zeros(1, 1), 1.0))
        >>> round(ax.lines[0].get_ydata().max().item(), 4)  # 1 / sqrt(2 pi)
        0.3989
    """
    x = torch.linspace(low, high, 1201, dtype=torch.float64)
    y = mixture.log_prob(x.unsqueeze(1)).exp()
    style = {"color": DATA} | line
    ax.plot(x, y, **style)
    # An area is stored point by point: a quarter of them will do, and the two corners.
    area = [(low, 0), *zip(x[::4].tolist(), y[::4].tolist(), strict=True), (high, 0)]
    ax.fill(*zip(*area, strict=True), alpha=0.25, color=style["color"], linewidth=0)
    ax.set(ylim=(0, None), yticks=[])


def denoising(ax: Axes, mixture: GaussianMixture, *, low: float = -3, high: float = 3) -> None:
    """A 1-D denoising distribution and, dashed, its best Gaussian.

    Example:
        >>> ax = Figure().subplots()
        >>> denoising(ax, GaussianMixture(torch.tensor([[-1.0], [1.0]]), 0.2))
        >>> [line.get_label() for line in ax.lines]
        ['exact', 'best Gaussian']
    """
    density(ax, mixture, low=low, high=high, label="exact")
    gaussian = GaussianMixture(mixture.mean().unsqueeze(0), mixture.covariance().sqrt().reshape(1))
    x = torch.linspace(low, high, 1201, dtype=torch.float64)
    y = gaussian.log_prob(x.unsqueeze(1)).exp()
    ax.plot(x, y, color=MODEL, linestyle="--", label="best Gaussian")


def losses(ax: Axes, log: Sequence[dict[str, float]], names: Sequence[str], *, smooth: int) -> None:
    """Training losses by name, averaged over windows of ``smooth`` steps.

    Example:
        >>> ax = Figure().subplots()
        >>> losses(ax, [{"r1": 2.0}, {"r1": 4.0}, {"r1": 1.0}, {"r1": 2.0}], ["r1"], smooth=2)
        >>> ax.lines[0].get_ydata().tolist()
        [3.0, 1.5]
    """
    for name in names:
        values = torch.tensor([row[name] for row in log if name in row])
        usable = len(values) // smooth * smooth
        means = values[:usable].reshape(-1, smooth).mean(1)
        steps = (torch.arange(len(means)) + 0.5) * smooth * len(log) / len(values)
        ax.plot(steps, means, label=name)
    ax.set(xlabel="training step", ylabel="loss")
    ax.legend()


def trajectory(steps: Sequence[Tensor], mixture: GaussianMixture, *, shown: int = 1000) -> Figure:
    """x_T, .., x_0 side by side, coloured by the place where each sample ends.

    Example:
        >>> steps = [torch.zeros(5, 2), torch.zeros(5, 2), torch.ones(5, 2)]
        >>> figure = trajectory(steps, GaussianMixture(torch.zeros(1, 2), 1.0))
        >>> [ax.get_title() for ax in figure.axes]
        ['$x_2$', '$x_1$', '$x_0$']
        >>> plt.close(figure)
    """
    num_steps = len(steps) - 1
    figure, axes = plt.subplots(
        1, len(steps), figsize=(WIDTH, WIDTH / len(steps) + 0.4), sharex=True, sharey=True
    )
    for ax, t, x in zip(axes, range(num_steps, -1, -1), steps, strict=True):
        points(ax, x[:shown], mixture, color=_colours(steps[-1][:shown]), alpha=0.6)
        ax.set_title(f"$x_{t}$")
        ax.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4))
        ax.label_outer()
    return figure


def animation(
    steps: Sequence[Tensor], mixture: GaussianMixture, *, alt: str, shown: int = 300
) -> HTML:
    """The steps x_T, .., x_0 as a moving picture that plays three times and stops.

    ``alt`` says what it shows, for readers who cannot see it.

    Example:
        >>> steps = [torch.zeros(5, 2), torch.ones(5, 2)]
        >>> html = animation(steps, GaussianMixture(torch.zeros(1, 2), 1.0), alt="five points move")
        >>> html.data[:48]
        '<img alt="five points move" src="data:image/gif;'
    """
    figure, ax = plt.subplots(figsize=(3.4, 3.6), dpi=72)
    points(ax, steps[0][:shown], mixture, color=_colours(steps[-1][:shown]), s=4, alpha=0.7)
    ax.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4))
    dots = ax.collections[-1]
    # One frame of movement between two states; the writer rests on each state reached.
    frames = [(0, 0.0)] + [(k, part / 2) for k in range(len(steps) - 1) for part in (1, 2)]

    def draw(frame: tuple[int, float]) -> list:
        k, part = frame
        dots.set_offsets(torch.lerp(steps[k][:shown], steps[k + 1][:shown], part).cpu().numpy())
        t = len(steps) - 1 - k
        ax.set_title(f"$x_{t}$" if part == 0 else f"$x_{t} \\to x_{t - 1}$")
        return [dots]

    with tempfile.TemporaryDirectory() as folder:  # matplotlib writes animations to files only
        file = Path(folder) / "steps.gif"
        FuncAnimation(figure, draw, frames).save(file, _ThreeTimes())
        data = base64.b64encode(file.read_bytes()).decode()
    plt.close(figure)
    return HTML(f'<img alt="{escape(alt)}" src="data:image/gif;base64,{data}">')


class _ThreeTimes(PillowWriter):
    """Every second frame stays a while, and the picture stops; matplotlib's own never does."""

    def finish(self):
        first, *rest = [frame.convert("RGB").quantize(32, dither=0) for frame in self._frames]
        duration = [900 if k % 2 == 0 else 150 for k in range(len(self._frames))]
        how = {"save_all": True, "append_images": rest, "duration": duration, "loop": 2}
        first.save(self.outfile, optimize=True, **how)


def images(ax: Axes, batch: Tensor, *, columns: int = 8) -> None:
    """A grid of images (n, 3, h, w) in [-1, 1].

    Example:
        >>> ax = Figure().subplots()
        >>> images(ax, torch.zeros(6, 3, 8, 8), columns=3)
        >>> ax.images[0].get_array().shape  # 2 rows of 3, a line of one pixel around each
        (19, 28, 3)
    """
    from torchvision.utils import make_grid  # imported when needed: it takes seconds

    grid = make_grid((batch.clamp(-1, 1) + 1) / 2, nrow=columns, padding=1, pad_value=1)
    ax.imshow(grid.permute(1, 2, 0).cpu())
    ax.axis("off")


def unet(stages: dict[str, dict[str, int]]) -> Figure:
    """A U-Net as measured: its feature maps with the skips between them, and where its cost is.

    ``stages`` come in the order of use, the first one before all ``"down..."`` stages; each has
    ``channels`` and ``size`` of the map it leaves, ``weights`` and ``operations``.

    Example:
        >>> stage = {"channels": 8, "size": 16, "weights": 100, "operations": 1000}
        >>> figure = unet({"stem": stage, "down 16": stage, "up 16": stage})
        >>> [round(bar.get_height()) for bar in figure.axes[1].patches[:3]]  # % of the weights
        [33, 33, 33]
        >>> plt.close(figure)
    """
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(WIDTH, 4.4), sharex=True, height_ratios=(3, 2)
    )
    colours = {"d": DATA, "u": MODEL}
    for place, (name, stage) in enumerate(stages.items()):
        top.bar(place, stage["size"], 0.75, color=colours.get(name[0], QUIET))
        top.text(place, -1, stage["channels"], ha="center", va="top", fontsize=8)
    maps = [stage["size"] for stage in stages.values()]
    ends = [place for place, name in enumerate(stages) if name.startswith("up")]
    bend = {"arrowstyle": "-", "connectionstyle": "arc3,rad=-0.25", "color": QUIET, "lw": 0.8}
    for start, end in enumerate(reversed(ends)):  # last in, first out
        top.annotate("", (end, maps[start]), (start, maps[start]), arrowprops=bend)
    height = max(maps)
    top.set(ylim=(-0.16 * height, 1.8 * height), ylabel="width of the map (pixels)")
    top.set(yticks=sorted(set(maps)), xticks=[])
    top.set_title("channels under each map; blue: down, orange: up")
    places = torch.arange(len(stages))
    for name, colour, shift in (("weights", THIRD, -0.2), ("operations", FOURTH, 0.2)):
        amounts = torch.tensor([float(stage[name]) for stage in stages.values()])
        bottom.bar(places + shift, 100 * amounts / amounts.sum(), 0.4, label=name, color=colour)
    bottom.set(xlabel="stage", ylabel="share (%)")
    bottom.legend(loc="upper left")
    return figure


def triangle(ax: Axes, name: str, scores: Sequence[float]) -> None:
    """Quality, coverage and speed, each from 0 to 1, as a triangle inside the largest possible.

    Example:
        >>> ax = Figure().subplots()
        >>> triangle(ax, "DDGAN", (0.9, 1.0, 0.5))
        >>> [text.get_text().split() for text in ax.texts]
        [['quality', '0.90'], ['coverage', '1.00'], ['speed', '0.50']]
    """
    angles = torch.tensor([90.0, 210.0, 330.0]).deg2rad()
    corners = torch.stack([angles.cos(), angles.sin()], 1)
    for size in (0.5, 1.0):
        ax.fill(*(size * corners).T, facecolor="none", edgecolor=QUIET, linewidth=0.7)
    for corner in corners:
        ax.plot(*torch.stack([0 * corner, corner]).T, color=QUIET, linewidth=0.5)
    reached = torch.tensor(scores).unsqueeze(1) * corners
    ax.fill(*reached.T, facecolor=MODEL, edgecolor=MODEL, alpha=0.45)
    ax.plot(*reached.T, "o", color=MODEL, markersize=4)
    for label, corner, score in zip(("quality", "coverage", "speed"), corners, scores, strict=True):
        x, y = corner + torch.tensor([0.0, 0.3 if corner[1] > 0 else -0.35])
        ax.text(x, y, f"{label}\n{score:.2f}", ha="center", va="center", fontsize=9)
    ax.set(title=name, xlim=(-1.4, 1.4), ylim=(-1.1, 1.6), aspect="equal")
    ax.axis("off")


def _colours(x_0: Tensor) -> list[tuple[float, float, float]]:
    """A colour for each final position (n, 2): mostly by column, a little by row."""
    place = ((x_0.cpu() + 2.4) / 4.8).clamp(0, 1)
    return [plt.cm.viridis(0.05 + 0.85 * (0.75 * float(x) + 0.25 * float(y)))[:3] for x, y in place]
