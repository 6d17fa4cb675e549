"""Shared by every test: one thread, known network weights, and a fresh random generator."""

import pytest
import torch

torch.set_num_threads(1)  # tensors this small run fastest on one thread


@pytest.fixture(autouse=True)
def _fixed_initial_weights():
    torch.manual_seed(0)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)
