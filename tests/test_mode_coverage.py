"""Chapter 06 at its full profile, cut to three steps: StackedMNIST from MNIST's own files."""

import ast
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from test_images import the_real_mnist, write_mnist

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks/06_mode_coverage.ipynb"
# The preset stacked_mnist with its data, loss and four denoising steps, and little else.
TINY = {
    "steps": 3,
    "batch_size": 4,
    "width": 8,
    "blocks": 1,
    "style_dim": 16,
    "discriminator_width": 4,
    "discriminator_time_dim": 8,
    "log_every": 1,
}


def digits_as_mnist(root):
    """scikit-learn's digits, 28 x 28, in the files of MNIST."""
    bunch = load_digits()
    small = np.repeat(np.repeat(bunch.images * 15.9, 3, axis=1), 3, axis=2).astype(np.uint8)
    large = np.pad(small, ((0, 0), (2, 2), (2, 2)))
    for part, rows in (("train", slice(0, 1500)), ("t10k", slice(1500, None))):
        write_mnist(root, large[rows], bunch.target[rows].tolist(), part)


def needed_cells():
    """The chapter's code cells, without those of the small digits: the full profile uses none."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    first = next(i for i, cell in enumerate(cells) if "reader, real = " in cell)
    last = next(i for i, cell in enumerate(cells) if "mode_scores(torch.cat" in cell)
    opening = [
        next(cell for cell in cells if text in cell)
        for text in ("import torch", 'profile = "quick"', "if profile not in")
    ]
    return opening, cells[first : last + 1]


@pytest.fixture
def same_torch_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("same_torch_afterwards")
@pytest.mark.parametrize("provide", [digits_as_mnist, the_real_mnist])
def test_the_full_profile_trains_on_stacked_mnist_and_scores_it(provide, tmp_path, capsys):
    provide(tmp_path)
    parameters = {
        "profile": "full",
        "data_root": str(tmp_path),
        "changes": TINY,
        "num_samples": 48,
    }
    (imports, defaults, check), cells = needed_cells()
    space = {}
    exec(imports, space)
    exec(defaults, space)
    assert parameters.keys() <= space.keys()
    space |= parameters  # as papermill does
    for cell in (check, *cells):
        exec(cell, space)
    lines = capsys.readouterr().out.splitlines()
    judged = next(line for line in lines if line.startswith("the judge reads"))
    assert float(judged.split()[3]) > 50  # other digits than it has learned, or MNIST's own

    for step in (1, 2, 3):
        (line,) = [line for line in lines if line.startswith(f"{step} {{")]
        losses = ast.literal_eval(line[2:])
        assert losses.keys() == {"d_real", "d_fake", "g_adversarial", "r1"}
        assert all(0 <= loss < 10 for loss in losses.values())
    (line,) = [line for line in lines if line.startswith("3 steps:")]
    found = ast.literal_eval(line.removeprefix("3 steps: "))
    assert found["samples"] == 48 and 1 <= found["modes"] <= 48
    assert found["kl"] > 3  # untrained: log(1000 / 48) at best
