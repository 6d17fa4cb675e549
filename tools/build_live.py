"""Write what the live pages and the cover need, made by the shipped models: scripts, pictures.

    python tools/build_live.py FOLDER   (a copy of book/; tools/build_book.py calls it)

Each live page shows a picture and its text where JavaScript is off; the script replaces them.
"""

import argparse
import dataclasses
import itertools
import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from ship import SAID
from torch.nn.functional import avg_pool2d, pad

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.chain.mixtures import GaussianMixture, best_gaussian_sample
from ddgan_lite.data.toys import gaussian_grid, gaussian_line
from ddgan_lite.evaluation.metrics import kl_to_uniform
from ddgan_lite.exchange.javascript import TABLES, json_numbers, to_javascript
from ddgan_lite.figures import plots
from ddgan_lite.files import checkpoints, results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.presets import Preset, preset
from ddgan_lite.training.trainer import train

IMAGES = "stacked_digits"  # the models of the page on images
ASKED = "digits"
LARGE = "mnist"  # whose script comes when a reader asks for it
READABLE_ON_BOTH = "#858B94"  # the grey of text on a light and on a dark page


def save(figure: plt.Figure, path: Path, quality: int = 82, **options) -> None:
    """Write a figure as WebP, a fraction of the size of PNG."""
    webp = {"quality": quality, "alpha_quality": quality, "method": 6}
    figure.savefig(path, format="webp", pil_kwargs=webp, **options)
    plt.close(figure)


def cover(model: DDGAN, path: Path, n: int = 700) -> None:
    """Four steps of n samples, from left to right: their first coordinate on its way to data."""
    rng = torch.Generator().manual_seed(3)
    chain = torch.stack(list(model.sample_steps(n, rng=rng)))[..., 0].numpy()  # (5, n)
    fine = np.linspace(0, 1, 25)
    ease = fine**2 * (3 - 2 * fine)  # arrive and leave level, like a river
    figure, ax = plt.subplots(figsize=(12, 3.6), dpi=85)
    colours = LinearSegmentedColormap.from_list("", [plots.DATA, "#8A6FB0", plots.MODEL])
    for k in range(4):
        y = chain[k][:, None] + (chain[k + 1] - chain[k])[:, None] * ease
        x = np.broadcast_to(k + fine, y.shape)
        for part in range(0, 24, 4):  # a colour that changes along the way
            lines = np.stack([x, y], -1)[:, part : part + 5]
            shade = colours((k + fine[part]) / 4)
            ax.add_collection(LineCollection(lines, color=shade, alpha=0.14, linewidth=0.9))
    for k, name in enumerate(["noise", "", "", "", "data"]):
        text = f"$x_{4 - k}$" + (f"  {name}" if name else "")
        place = {0: "left", 4: "right"}.get(k, "center")
        ax.text(k, -4.05, text, ha=place, fontsize=15, color=READABLE_ON_BOTH)
    ax.set(xlim=(-0.02, 4.02), ylim=(-4.2, 3.6))
    ax.axis("off")
    save(figure, path, 45, transparent=True, bbox_inches="tight", pad_inches=0.02)


def denoising(path: Path) -> None:
    """One x_t, four sizes of the step: the exact distribution and its best Gaussian."""
    data, time, x_t = gaussian_line(), 0.3, torch.tensor([0.3])
    fine = Diffusion(1000).alpha_bar
    figure, axes = plt.subplots(1, 4, figsize=(10, 2.6), sharex=True)
    for ax, steps in zip(axes, (32, 6, 4, 3), strict=True):
        now, before = round(1000 * time), round(1000 * max(0, time - 1 / steps))
        step = data.denoising(x_t, float(fine[before]), float(fine[now]))
        x = torch.linspace(-3.2, 3.2, 1200, dtype=torch.float64)
        gaussian = torch.distributions.Normal(step.mean(), step.covariance()[0, 0].sqrt())
        ax.fill_between(x, step.log_prob(x[:, None]).exp(), color=plots.DATA, alpha=0.4)
        ax.plot(x, gaussian.log_prob(x).exp(), "--", color=plots.MODEL)
        ax.set(title=f"T = {steps}: KL {step.kl_to_gaussian().item():.2f}", yticks=[])
        ax.set(xlabel="$x_{t-1}$")
    save(figure, path)


LEVELS = {  # of four steps: where the search on the page ends, from "even in log"
    1: (0.098, 0.158, 0.291, 1.39),
    2: (0.0117, 0.0273, 0.158, 1.13),
    3: (0.00137, 0.0121, 0.128, 1.06),
}


def scales_of_spikes(number: int) -> GaussianMixture:
    """Five spikes at a spacing of 1, each of them again five at a tenth of it, and so on."""
    means = torch.zeros(1, 1, dtype=torch.float64)
    for k in range(number):
        means = (means[:, None] + gaussian_line(spacing=10.0**-k).means).reshape(-1, 1)
    return GaussianMixture(means, 0.05 * 0.1 ** (number - 1))


def levels(path: Path, n: int = 20_000) -> None:
    """The samples of four best Gaussian steps, on the paper's levels and on those of a search."""
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.2), sharex=True)
    bins = torch.linspace(-3, 3, 301, dtype=torch.float64)
    for column, number in zip(axes.T, LEVELS, strict=True):
        data = scales_of_spikes(number)
        truth = data.sample(200_000, torch.Generator().manual_seed(1))[:, 0]
        for ax, chosen in zip(column, (None, LEVELS[number]), strict=True):
            rng = torch.Generator().manual_seed(0)
            x = best_gaussian_sample(data, Diffusion(4, noise_levels=chosen), n, rng=rng)
            off, nearest = (x - data.means.T).abs().min(1)
            near = off < 3 * data.std[0]
            kl = kl_to_uniform(torch.bincount(nearest[near], minlength=len(data.means)))
            ax.hist(truth, bins, density=True, color=plots.DATA, alpha=0.4)
            ax.hist(x[:, 0], bins, density=True, color=plots.MODEL, histtype="step")
            ax.set(yticks=[], title=f"{near.double().mean():.0%} near a spike, KL {kl:.2f}")
        column[1].set(xlabel=f"$x_0$, {('one scale', 'two scales', 'three scales')[number - 1]}")
    axes[0, 0].set(ylabel="paper's levels")
    axes[1, 0].set(ylabel="after a search")
    save(figure, path)


def found_levels(path: Path) -> None:
    """For the button "Best found": the searched levels of bench_levels.json."""
    rows = results.load("bench_levels")["rows"]
    rows = [row for row in rows if row["aim"] == "both"]  # samples on the spikes and even weights
    rows = [{key: row[key] for key in ("scales", "levels")} for row in rows]
    path.write_text(f"globalThis.ddganLevels = {json.dumps(rows)};\n")


TRAINED_IN_THE_PAGE = {"steps": 2_500, "batch_size": 256}  # a quarter of the preset's rows


def recipe(chosen: Preset) -> dict:
    """What trainer.js needs of a preset for points in the plane: its numbers and its chain."""
    chain, names = chosen.build().diffusion, ("config", "settings")
    told = {name: dataclasses.asdict(getattr(chosen, name)) for name in names}
    told |= {table: json_numbers(getattr(chain, table)) for table in TABLES}
    return told | {"step_weights": chosen.step_weights}


def plane(model: DDGAN, path: Path) -> None:
    """2,000 samples at every step of the DDGAN, and where the best Gaussian steps end."""
    data, rng = gaussian_grid(), torch.Generator().manual_seed(0)
    sets = {f"$x_{4 - k}$": x for k, x in enumerate(model.sample_steps(2000, rng=rng))}
    sets["Gaussian steps, $x_0$"] = best_gaussian_sample(data, model.diffusion, 2000, rng=rng)
    save(plots.panels(sets, data, width=10), path)


def training(chosen: Preset, path: Path) -> None:
    """A run of the page's recipe at its end: samples, D's verdicts on x_0 for one x_1, losses."""
    torch.manual_seed(0)
    model, data, x_1 = chosen.build(), gaussian_grid(), torch.tensor([0.46, 0.36])
    losses = list(train(model, data, chosen.settings))
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.3))
    plots.points(axes[0], model.sample(1500, rng=torch.Generator().manual_seed(0)), data, s=3)
    axis = torch.linspace(-3, 3, 120)
    grid = torch.cartesian_prod(axis.flip(0), axis).flip(1)
    with torch.no_grad():
        condition = x_1.expand(len(grid), 2), torch.ones(len(grid)).long()
        verdict = model.discriminator(grid, *condition).sigmoid().reshape(120, 120)
    shades = LinearSegmentedColormap.from_list("", [plots.DATA, "white", plots.MODEL])
    axes[1].imshow(verdict, cmap=shades, vmin=0, vmax=1, extent=(-3, 3, -3, 3))
    axes[1].plot(*x_1, "o", color=plots.THIRD)
    axes[1].set(xticks=[], yticks=[])
    shown = (("d_real", plots.DATA), ("d_fake", plots.FOURTH), ("g_adversarial", plots.MODEL))
    for key, colour in shown:
        axes[2].plot([row[key] for row in losses[::25]], color=colour, label=key)
    axes[2].set(xlabel="updates / 25")
    axes[2].legend()
    save(figure, path)


def step(model: DDGAN, path: Path) -> None:
    """One x_1 and the guesses of x_0 for 400 latents, over the clusters it may come from."""
    x_1 = torch.tensor([0.46, 0.36])  # between four clusters
    with torch.no_grad():
        rng = torch.Generator().manual_seed(0)
        guesses = model.predict(x_1.expand(400, 2), torch.ones(400).long(), rng=rng)
    figure, ax = plt.subplots(figsize=(4, 4))
    plots.points(ax, guesses, gaussian_grid(), s=6)
    ax.plot(*x_1, "o", color=plots.THIRD)
    save(figure, path)


def images(model: DDGAN, path: Path, rows: int = 4, labels: list[int] | None = None) -> None:
    """Rows of images from noise to sample; the channels of an image side by side."""
    rng = torch.Generator().manual_seed(1)
    chain = torch.stack(list(model.sample_steps(rows, labels=labels, rng=rng)), 1)  # (rows, 5, ...)
    chain = chain.clamp(-1, 1)
    channels = chain.shape[2]
    figure, axes = plt.subplots(rows, 5, figsize=(10, 2 * rows / channels + 0.4))
    for k, ax in enumerate(axes.flat):
        image = chain[k // 5, k % 5].permute(1, 0, 2).flatten(1)
        ax.imshow(image, cmap="gray", vmin=-1, vmax=1)
        ax.axis("off")
        if k < 5:
            ax.set_title(f"$x_{4 - k}$")
    save(figure, path)


PEN = 2.1  # its radius in spots, as in strokes.js
DRAWINGS = [  # (column, row) corners on 32 by 32 spots, one line for each digit 0..9
    [(16, 4), (9, 8), (8, 21), (15, 28), (23, 22), (23, 10), (16, 4)],
    [(17, 2), (15, 30)],
    [(8, 8), (16, 4), (23, 10), (8, 28), (24, 28)],
    [(9, 5), (22, 6), (14, 15), (23, 21), (17, 28), (8, 27)],
    [(10, 4), (8, 16), (24, 16), (20, 4), (20, 30)],
    [(23, 4), (10, 4), (9, 14), (20, 15), (22, 24), (8, 28)],
    [(19, 2), (9, 16), (10, 27), (20, 27), (20, 17), (10, 18)],
    [(8, 5), (23, 5), (13, 30)],
    [(16, 15), (10, 7), (22, 5), (16, 15), (9, 25), (22, 27), (16, 15)],
    [(22, 7), (12, 6), (10, 15), (22, 14), (22, 7), (19, 30)],
]


def sheet(corners: list[tuple[int, int]], size: int = 8, margin: int = 0) -> torch.Tensor:
    """A drawing (1, size, size) as strokes.js makes it: ink on 32 by 32 spots, counted in blocks.

    The spots fill the pixels inside the margin, 12 or 4 thirds of a spot to each.
    """
    spots = torch.stack(torch.meshgrid(2 * [torch.arange(32.0) + 0.5], indexing="xy"), -1)
    ink = torch.zeros(32, 32, dtype=torch.bool)
    for start, end in itertools.pairwise(torch.tensor(corners, dtype=torch.float32)):
        count = max(1, math.ceil(2 * float((end - start).norm())))
        for k in range(count + 1):
            ink |= (spots - start - k * (end - start) / count).norm(dim=-1) < PEN
    thirds, inside = ink.float().repeat_interleave(3, 0).repeat_interleave(3, 1), size - 2 * margin
    pixels = avg_pool2d(thirds[None], 96 // inside)
    return 2 * pad(pixels, [margin] * 4) - 1


def strokes(model: DDGAN, path: Path) -> None:
    """The drawings, and what they become from x_1 and x_2 when their own digit is asked for."""
    rng, digits = torch.Generator().manual_seed(0), list(range(10))
    rows = {"drawing": torch.stack([sheet(corners) for corners in DRAWINGS])}
    for t in (1, 2):
        x_t = model.diffusion.q_sample(rows["drawing"], t, rng)
        *_, rows[f"from $x_{t}$"] = model.denoise_steps(x_t, t, labels=digits, rng=rng)
    figure, axes = plt.subplots(3, 10, figsize=(10, 3.2))
    for line, (name, found) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(line, found, strict=True):
            ax.imshow(image[0], cmap="gray", vmin=-1, vmax=1)
            ax.axis("off")
        line[0].text(-1.5, 3.5, name, ha="right", va="center")
    save(figure, path)


def in_words(path: Path, script: Path) -> str:
    """What the page says of weights and of their script, from the card."""
    known = checkpoints.read(path)[1]["provenance"]
    said = SAID[path.stem].format(**known["scores"]).replace("%", "\N{NO-BREAK SPACE}%")
    weights = sum(weight.numel() for weight in DDGAN.load(path).generator.parameters())
    return (
        f"The weights are those of `{path.name}`, trained by `{known['command']}` for "
        f"{known['steps']:,} steps, {known['seconds'] / 60:.0f} minutes on {known['hardware']}. "
        f"{said} (Measured on {known['protocol'].split(' (')[0]}; the whole card is on the page of "
        f"the [weights](weights.md).) Here its {weights:,} weights come in 8 bits each, a "
        f"script of {script.stat().st_size / 1e6:.1f} MB.\n"
    )


def write(book: Path) -> None:
    """All of it, into ``book/_static/live`` and ``book/_static/cover.webp``."""
    plots.use_style()
    folder = book / "_static" / "live"
    folder.mkdir(parents=True, exist_ok=True)
    gaussians = DDGAN.load(results.find("gaussians.safetensors"))
    pictures = DDGAN.load(results.find(f"{IMAGES}.safetensors"))
    to_javascript(gaussians, folder / "gaussians.js")
    to_javascript(pictures, folder / "images-model.js", name=IMAGES, bits=16)
    asked = DDGAN.load(results.find(f"{ASKED}.safetensors"))
    to_javascript(asked, folder / "digits-model.js", name=ASKED, bits=16)
    large = DDGAN.load(path := results.find(f"{LARGE}.safetensors"))
    script = to_javascript(large, folder / "mnist-model.js", name=LARGE, bits=8)
    (book / "results" / "live-mnist.md").write_text(in_words(path, script))
    images(large, folder / "mnist.webp", labels=[6, 7, 8, 9])
    cover(gaussians, book / "_static" / "cover.webp")
    denoising(folder / "denoising.webp")
    levels(folder / "levels.webp")
    found_levels(folder / "levels-found.js")
    chosen = preset("gaussians", **TRAINED_IN_THE_PAGE)
    told = json.dumps(recipe(chosen))
    (folder / "training-recipe.js").write_text(f"globalThis.ddganRecipe = {told};\n")
    training(chosen, folder / "training.webp")
    plane(gaussians, folder / "plane.webp")
    step(gaussians, folder / "step.webp")
    images(pictures, folder / "images.webp")
    images(asked, folder / "digits.webp", labels=[3, 3, 8, 8])
    (folder / "drawings.js").write_text(f"globalThis.ddganDrawings = {json.dumps(DRAWINGS)};\n")
    strokes(asked, folder / "strokes.webp")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
