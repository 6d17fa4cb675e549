"""A model as a JavaScript file, for a page that samples without a server.

``book/_static/live/ddgan.js`` reads it: four evaluations of a small network are nothing to a
browser. A page that is opened from a folder may load scripts but no other files, so the weights
are a script too.
"""

import base64
import json
import os
from pathlib import Path

import torch
from torch import Tensor

from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import ConvConfig, MLPConfig, describe

TABLES = ("alpha_bar", "posterior_coef_x0", "posterior_coef_xt", "posterior_variance")


def json_numbers(table: Tensor) -> list[float | None]:
    """A table of the chain (T + 1,) as JSON has it, which knows no nan: no step starts from x_0.

    Example:
        >>> json_numbers(torch.tensor([torch.nan, 0.5]))
        [None, 0.5]
    """
    return [None if value != value else value for value in table.tolist()]


def to_javascript(
    model: DDGAN, path: str | os.PathLike, *, name: str | None = None, half: bool = False
) -> Path:
    """Write ``model`` to ``path`` as a script that puts it into ``ddganModels[name]``.

    The file holds the averaged generator, its configuration and the tables of the chain.

    Args:
        model: with an MLP or a small convolutional generator; a U-Net is no matter for a page.
        path: the .js file to write.
        name: under which the page finds it; left out, the file's own name without its suffix.
        half: round the weights to half precision, for a file half as large. They are read back
            in single precision.

    Raises:
        ValueError: if the page has no such network.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     to_javascript(DDGAN(MLPConfig()), f"{folder}/toy.js").read_text()[:47]
        '(globalThis.ddganModels ??= {})["toy"] = {"kind'
    """
    if not isinstance(model.config, MLPConfig | ConvConfig):
        kind = type(model.config).__name__
        raise ValueError(f"a page runs networks of MLPConfig or ConvConfig, not of {kind}.")
    path, kind = Path(path), torch.float16 if half else torch.float32
    tables = {table: json_numbers(getattr(model.diffusion, table)) for table in TABLES}
    weights = {
        key: {
            "shape": list(tensor.shape),
            "type": str(kind).removeprefix("torch."),
            "data": base64.b64encode(tensor.detach().cpu().to(kind).numpy().tobytes()).decode(),
        }
        for key, tensor in model.network("averaged").state_dict().items()
    }
    content = json.dumps({**describe(model.config), **tables, "weights": weights})
    path.parent.mkdir(parents=True, exist_ok=True)
    name = json.dumps(path.stem if name is None else name)
    path.write_text(f"(globalThis.ddganModels ??= {{}})[{name}] = {content};\n")
    return path
