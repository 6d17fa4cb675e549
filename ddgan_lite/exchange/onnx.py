"""A generator as an ONNX file, for programs without PyTorch, and the sampler that goes with it."""

import json
import os
import shutil
from pathlib import Path

import torch
from torch.export import Dim

from ddgan_lite.exchange import sample_onnx
from ddgan_lite.exchange.javascript import json_numbers
from ddgan_lite.method.model import DDGAN


def to_onnx(model: DDGAN, path: str | os.PathLike) -> Path:
    """Write the averaged generator of ``model`` to ``path``, and ``sample_onnx.py`` beside it.

    The inputs are ``x_t`` (n, \\*shape), ``t`` (n,) in 1..T, ``z`` (n, latent_dim) and, of a model
    with classes, ``y`` (n,), where the number of classes stands for no label; the output is the
    guess ``x_0`` (n, \\*shape). n is free. What else a sampler needs stands in the metadata, as
    JSON under ``ddgan_lite``: the sizes, and the numbers of the posterior, T + 1 each, so that
    x_{t-1} = coef_x0[t] x_0 + coef_xt[t] x_t + std[t] noise. ``sample_onnx.py`` does that with
    NumPy and ONNX Runtime.

    Args:
        model: with any of the networks.
        path: the .onnx file to write.

    Raises:
        ModuleNotFoundError: without the packages of the extra ``onnx``.
        OSError: if the file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import MLPConfig
        >>> with TemporaryDirectory() as folder:
        ...     path = to_onnx(DDGAN(MLPConfig(shape=(2,))), f"{folder}/points.onnx")
        ...     sorted(os.listdir(folder)), sample_onnx.sample(path, 5).shape
        (['points.onnx', 'sample_onnx.py'], (5, 2))
    """
    path, config, chain = Path(path), model.config, model.diffusion
    given = {
        "x_t": torch.zeros(2, *config.shape),
        "t": torch.ones(2, dtype=torch.int64),
        "z": torch.zeros(2, config.latent_dim),
    }
    if model.classes:
        given["y"] = torch.zeros(2, dtype=torch.int64)
    network = model.network("averaged")
    was = network.training
    network = network.eval().to("cpu")
    try:
        program = torch.onnx.export(
            network,
            tuple(given.values()),
            input_names=list(given),
            output_names=["x_0"],
            dynamic_shapes=[{0: size} for size in ("n", *[Dim.AUTO] * (len(given) - 1))],
            dynamo=True,
            verbose=False,
        )
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ONNX files need three more packages: pip install 'ddgan-lite[onnx]'."
        ) from error
    finally:
        network.train(was).to(model.device)
    tables = {
        "posterior_coef_x0": chain.posterior_coef_x0,
        "posterior_coef_xt": chain.posterior_coef_xt,
        "posterior_std": chain.posterior_variance.sqrt(),
    }
    about = {
        "num_steps": chain.num_steps,
        "shape": config.shape,
        "latent_dim": config.latent_dim,
        "classes": model.classes,
        **{name: json_numbers(table) for name, table in tables.items()},
    }
    program.model.metadata_props["ddgan_lite"] = json.dumps(about)
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path), external_data=False)
    shutil.copy(sample_onnx.__file__, path.with_name("sample_onnx.py"))
    return path
