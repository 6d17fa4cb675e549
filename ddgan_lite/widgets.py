"""Explorers for a live notebook. The built pages show static panels in their place."""

import ipywidgets
import matplotlib.pyplot as plt
import torch

from ddgan_lite import plots
from ddgan_lite.mixtures import GaussianMixture


def explore_denoising(mixture: GaussianMixture) -> ipywidgets.Widget:
    """Sliders for the 1-D denoising distribution: how much noise x_t carries, how large the step
    from x_{t-1} was, and where x_t was observed.

    Args:
        mixture: a single 1-D mixture, the data.

    Raises:
        ValueError: if the mixture is not a single one in 1-D.
    """
    if mixture.means.shape[1:] != (1,):
        raise ValueError("the explorer draws a single mixture in 1-D.")

    def draw(step_size: float, noise: float, x_t: float) -> None:
        alpha_bar = 1 - noise
        alpha_bar_prev = alpha_bar / (1 - step_size * noise)  # beta, capped so that x_0 is the end
        step = mixture.denoising(torch.tensor([x_t]), alpha_bar_prev, alpha_bar)
        _, ax = plt.subplots(figsize=(6, 2.6))
        plots.denoising(ax, step)
        ax.axvline(x_t, color=plots.QUIET, linewidth=1)
        kl = float(step.kl_to_gaussian())
        ax.set(xlabel="$x_{t-1}$", title=f"KL to the best Gaussian: {kl:.4f} nats")
        ax.legend()
        plt.show()

    def slider(value: float, low: float, high: float, text: str) -> ipywidgets.FloatSlider:
        return ipywidgets.FloatSlider(
            value=value, min=low, max=high, step=0.01, description=text, continuous_update=False
        )

    return ipywidgets.interactive(
        draw,
        step_size=slider(0.9, 0.01, 1.0, "step size"),
        noise=slider(0.6, 0.05, 0.99, "noise in x_t"),
        x_t=slider(0.3, -3.0, 3.0, "x_t"),
    )
