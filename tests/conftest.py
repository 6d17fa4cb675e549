"""Shared by every test: one thread, known weights, a fresh generator, and the scripts by name."""

import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tensors this small run fastest on one thread
# The scripts that tests import: what runs them puts their own folder there.
sys.path += [str(Path(__file__).resolve().parent.parent / name) for name in ("tools", "benchmarks")]


@pytest.fixture(autouse=True)
def _fixed_initial_weights():
    torch.manual_seed(0)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)
