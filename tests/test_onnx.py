"""ONNX: the network says what PyTorch's says, the NumPy sampler draws what DDGAN.sample does."""

import ast
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import tiny
import torch
from test_imports import code_lines

from ddgan_lite.__main__ import main
from ddgan_lite.exchange import sample_onnx
from ddgan_lite.exchange.onnx import to_onnx
from ddgan_lite.method.ema import EMA
from ddgan_lite.networks import ConvConfig, MLPConfig, PyramidConfig

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def imported(source):
    """The packages that a script imports."""
    nodes = list(ast.walk(ast.parse(source)))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return whole | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}


PYRAMID = PyramidConfig(shape=(1, 16, 16), width=8, hidden=32, style=16)
CONV = ConvConfig(shape=(2, 8, 8), width=4, hidden=8)
WAVES = MLPConfig(latent_dim=0, frequencies=(1, 3), data_std=1.4, noise_levels=(0.3, 1, 3, 9))
CONFIGS = [
    replaced
    for config in (tiny.MLP, CONV, PYRAMID, tiny.UNET)
    for replaced in (config, dataclasses.replace(config, classes=3))
] + [WAVES]


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda c: f"{type(c).__name__}-{c.classes}")
def exported(request, tmp_path_factory):
    """A model and its file."""
    model = tiny.model(request.param).eval()
    return model, to_onnx(model, tmp_path_factory.mktemp("onnx") / "deep" / "model.onnx")


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_network_is_that_of_pytorch(exported, n, rng):
    model, path = exported
    config, session = model.config, runtime.InferenceSession(path)
    given = {
        "x_t": torch.randn(n, *config.shape, generator=rng),
        "t": torch.randint(1, config.num_steps + 1, (n,), generator=rng),
        "z": torch.randn(n, config.latent_dim, generator=rng),
    }
    if model.classes:
        given["y"] = torch.randint(0, model.classes + 1, (n,), generator=rng)
    (found,) = session.run(None, {name: value.numpy() for name, value in given.items()})
    with torch.no_grad():
        expected = model.generator(*given.values()).numpy()
    assert np.abs(expected).max() > 0.05 and np.abs(found - expected).max() < 1e-5


def test_the_sampler_draws_what_the_model_does(exported):
    model, path = exported
    ways = [{}] if not model.classes else [{}, {"label": 2}, {"label": 1, "guidance": 2.5}]
    for how in ways:
        rngs = [torch.Generator().manual_seed(5) for _ in range(2)]
        found = sample_onnx.sample(
            path,
            6,
            normal=lambda shape, rng=rngs[0]: torch.randn(shape, generator=rng).numpy(),
            **how,
        )
        asked = {"labels" if key == "label" else key: value for key, value in how.items()}
        expected = model.sample(6, rng=rngs[1], **asked).numpy()
        assert found.dtype == np.float32 and np.abs(found - expected).max() < 5e-5


def test_a_label_that_is_none_is_refused(exported):
    model, path = exported
    with pytest.raises(ValueError, match=f"has {model.classes} classes: there is no label 3"):
        sample_onnx.sample(path, 1, label=3)


def test_the_averaged_weights_are_the_ones_exported(tmp_path):
    model = tiny.model(tiny.MLP)
    model.averaged = EMA(model.generator, 0.5)
    with torch.no_grad():
        model.generator.net[-1].bias += 1  # since then only the raw weights have moved
    path = to_onnx(model, tmp_path / "model.onnx")
    assert model.generator.training  # as it was
    given = (torch.zeros(4, 2), torch.ones(4, dtype=torch.int64), torch.zeros(4, 4))
    names = dict(zip(("x_t", "t", "z"), (value.numpy() for value in given), strict=True))
    (found,) = runtime.InferenceSession(path).run(None, names)
    np.testing.assert_allclose(found, model.averaged.module(*given).detach(), atol=1e-6)


def test_the_sampler_is_a_short_file_that_runs_alone(tmp_path):
    model = tiny.model(tiny.MLP)
    file = model.save(tmp_path / "model.safetensors")
    assert main(["export-onnx", str(file), str(tmp_path / "a.onnx")]) == 0
    script = tmp_path / "sample_onnx.py"
    assert code_lines(script.read_text()) <= 30
    assert imported(script.read_text()) == {"json", "sys", "numpy", "onnxruntime"}
    words = [sys.executable, script.name, "a.onnx", "9", "samples.npy"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    samples = np.load(tmp_path / "samples.npy")
    assert samples.shape == (9, 2) and np.isfinite(samples).all() and samples.std() > 0
    done = subprocess.run(words[:2], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("python sample_onnx.py model.onnx 16 samples.npy\n\n")
