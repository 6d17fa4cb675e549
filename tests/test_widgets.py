"""The explorer of a live notebook: every slider redraws the picture, at both of its ends."""

import matplotlib.pyplot as plt
import pytest
import torch

from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.figures.widgets import explore_denoising


def shown(explorer):
    """The picture as bytes: the widget keeps a view, which has neither startswith nor a hash."""
    return bytes(explorer.children[-1].value)


@pytest.fixture
def explorer():
    return explore_denoising(GaussianMixture(torch.tensor([[-1.0], [1.0]]), 0.1))


@pytest.mark.parametrize("number", range(3))
def test_every_slider_redraws_at_both_ends(explorer, number):
    *sliders, _ = explorer.children
    slider = sliders[number]
    pictures = [shown(explorer)]
    for end in (slider.min, slider.max):
        slider.value = end
        pictures.append(shown(explorer))
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(set(pictures)) == 3


def test_all_sliders_at_their_ends_at_once(explorer):
    *sliders, _ = explorer.children
    for ends in ("min", "max"):
        for slider in sliders:
            slider.value = getattr(slider, ends)
        assert shown(explorer).startswith(b"\x89PNG")


def test_drawing_leaves_no_figure_behind(explorer):
    before = plt.get_fignums()
    explorer.children[0].value = 0.5
    assert plt.get_fignums() == before


@pytest.mark.parametrize("means", [torch.zeros(3, 2), torch.zeros(4, 3, 1)])
def test_only_a_single_mixture_in_one_dimension_is_drawn(means):
    with pytest.raises(ValueError, match="a single mixture in 1-D"):
        explore_denoising(GaussianMixture(means, 0.1))
