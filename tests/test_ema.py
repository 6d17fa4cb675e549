"""The averaged weights against a loop in plain Python."""

import pytest
import torch
from torch import nn

from ddgan_lite.method.ema import EMA


def set_weights(network, value):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def test_the_first_update_copies_whatever_the_start_was():
    network = nn.Linear(3, 2)
    ema = EMA(network, 0.9)
    set_weights(network, 7.0)
    ema.update(network)
    for parameter in ema.module.parameters():
        assert torch.equal(parameter, torch.full_like(parameter, 7.0))


def test_the_recurrence_is_exact():
    network = nn.Linear(3, 2).double()
    ema = EMA(network, 0.75)
    set_weights(network, 2.0)
    ema.update(network)
    average = 2.0
    # With a decay of 3/4 and small whole weights every number here is exact in binary.
    for value in (10.0, -6.0, 4.0, 4.0, 0.0):
        set_weights(network, value)
        ema.update(network)
        average = 0.75 * average + 0.25 * value
        for parameter in ema.module.parameters():
            assert torch.equal(parameter, torch.full_like(parameter, average))
    assert ema.updates == 6


def test_decay_0_follows_the_weights():
    network = nn.Linear(2, 1)
    ema = EMA(network, 0.0)
    for value in (1.0, 5.0, -2.0):
        set_weights(network, value)
        ema.update(network)
        assert torch.equal(ema.module.weight, network.weight)


def test_the_average_is_a_separate_network_without_gradients():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    before = [p.clone() for p in network.parameters()]
    ema = EMA(network, 0.5)
    set_weights(ema.module, 3.0)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert all(p.requires_grad for p in network.parameters())
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert not ema.module.training
    assert network.training


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"EMA decay must lie in \[0, 1\), got"):
        EMA(nn.Linear(1, 1), decay)
