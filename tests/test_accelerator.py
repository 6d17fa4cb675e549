"""An accelerator without one: torch's device "meta" has shapes and no values.

What a GPU would refuse or wait for fails here: tensors on two devices, a value read back in a step.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ddgan_lite.chain.randomness import SharedGenerator
from ddgan_lite.data.images import Images
from ddgan_lite.data.named import load_data
from ddgan_lite.training import trainer as training
from ddgan_lite.training.presets import PRESETS, QUICK, preset
from ddgan_lite.training.trainer import Trainer

META = torch.device("meta")
CHOICES = [(name, False) for name in PRESETS] + [(name, True) for name in QUICK]


class OnMetaOnly(TorchDispatchMode):
    """Refuses every operation that leaves a tensor elsewhere, and counts the others."""

    operations = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        for made in tree_leaves(out):
            # A single number, as Adam's count of its steps, goes with tensors on any device.
            if isinstance(made, torch.Tensor) and made.dim() > 0:
                assert made.device == META, f"{operation} leaves a tensor on {made.device}"
        self.operations += 1
        return out


class WatchedTrainer(Trainer):
    """The real one, watched from when the data have reached the device."""

    def advance(self, x_0, *label):
        with OnMetaOnly() as self.watch:
            return super().advance(x_0, *label)

    def _read(self, losses):
        return losses  # a step reads its losses back once, at its end: meta has no values


@pytest.fixture
def as_on_a_device(monkeypatch):
    """What else meta lacks: a fused Adam, and a random generator in place of the CPU's."""
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda weights, fused, **rest: adam(weights, **rest))
    monkeypatch.setattr(training, "SharedGenerator", lambda device: SharedGenerator())


@pytest.mark.parametrize(("name", "quick"), CHOICES)
def test_a_step_and_a_sample_stay_on_the_device(name, quick, as_on_a_device):
    # Autocast refuses meta as well; it casts every tensor where it lies.
    chosen = preset(name, quick=quick, mixed_precision="no")
    shape, settings = chosen.config.shape, chosen.settings
    if len(shape) == 1:
        data = load_data(chosen.data, shape)
    else:  # mirrored, as every set of photographs: that happens on the device
        data = Images(torch.zeros(2, *shape, dtype=torch.uint8), name="dark", flip=True)
        data.labels = torch.zeros(2, dtype=torch.long)
    model = chosen.build().to(META)
    trainer = WatchedTrainer(model, data, settings)
    trainer.step = 1  # step 0 alone reads back: are the data finite?
    if settings.denoiser_steps:
        assert set(next(iter(trainer))) == {"g_denoising"}
    trainer.step = settings.denoiser_steps + settings.head_start
    trainer.step += settings.r1_interval - trainer.step % settings.r1_interval  # R1 is due

    losses = next(iter(trainer))
    with OnMetaOnly():
        sample = model.sample(2)
    assert trainer.watch.operations > 500
    assert "r1" in losses and sample.shape == (2, *shape)
    left = [*model.parameters(), *model.buffers(), *model.averaged.module.parameters()]
    left += [*losses.values(), *(weight.grad for weight in model.parameters())]
    assert {tensor.device for tensor in left} == {META}


def test_a_tensor_made_on_the_cpu_is_noticed():
    with OnMetaOnly():
        torch.zeros(3, device=META)
        with pytest.raises(AssertionError, match=r"zeros.* leaves a tensor on cpu"):
            torch.zeros(3).to(META)
