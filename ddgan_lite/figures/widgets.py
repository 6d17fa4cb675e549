"""Explorers for a live notebook. The built pages show static panels in their place."""

import io

import ipywidgets
import matplotlib.pyplot as plt
import torch

from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.figures import plots


def explore_denoising(mixture: GaussianMixture) -> ipywidgets.Widget:
    """Sliders for the 1-D denoising distribution: how much noise x_t carries, how large the step
    from x_{t-1} was, and where x_t was observed.

    Args:
        mixture: a single 1-D mixture, the data.

    Raises:
        ValueError: if the mixture is not a single one in 1-D.

    Example:
        >>> explorer = explore_denoising(GaussianMixture(torch.tensor([[-1.0], [1.0]]), 0.2))
        >>> [control.description for control in explorer.children[:3]]
        ['step size', 'noise in x_t', 'x_t']
    """
    if mixture.means.shape[1:] != (1,):
        raise ValueError("the explorer draws a single mixture in 1-D.")

    # The figure is sent as a picture. An Output widget, which ipywidgets.interact would use, can
    # leave papermill waiting for ever when it executes the notebook.
    picture = ipywidgets.Image(format="png")

    def draw(_=None) -> None:
        alpha_bar = 1 - noise.value
        # beta, capped so that the largest step ends at x_0
        alpha_bar_prev = min(alpha_bar / (1 - step_size.value * noise.value), 1.0)
        step = mixture.denoising(torch.tensor([x_t.value]), alpha_bar_prev, alpha_bar)
        figure, ax = plt.subplots(figsize=(6, 2.6))
        plots.denoising(ax, step)
        ax.axvline(x_t.value, color=plots.QUIET, linewidth=1)
        kl = float(step.kl_to_gaussian())
        ax.set(xlabel="$x_{t-1}$", title=f"KL to the best Gaussian: {kl:.4f} nats")
        ax.legend()
        file = io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
        picture.value = file.getvalue()

    def slider(value: float, low: float, high: float, text: str) -> ipywidgets.FloatSlider:
        return ipywidgets.FloatSlider(
            value=value, min=low, max=high, step=0.01, description=text, continuous_update=False
        )

    step_size = slider(0.9, 0.01, 1.0, "step size")
    noise = slider(0.6, 0.05, 0.99, "noise in x_t")
    x_t = slider(0.3, -3.0, 3.0, "x_t")
    for control in (step_size, noise, x_t):
        control.observe(draw, "value")
    draw()
    return ipywidgets.VBox([step_size, noise, x_t, picture])
