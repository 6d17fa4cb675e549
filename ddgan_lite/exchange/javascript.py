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
from ddgan_lite.networks import ConvConfig, MLPConfig, PyramidConfig, describe

BITS = (32, 16, 8)  # of a weight in the file
TABLES = ("alpha_bar", "posterior_coef_x0", "posterior_coef_xt", "posterior_variance")


def json_numbers(table: Tensor) -> list[float | None]:
    """A table of the chain (T + 1,) as JSON has it, which knows no nan: no step starts from x_0.

    Example:
        >>> json_numbers(torch.tensor([torch.nan, 0.5]))
        [None, 0.5]
    """
    return [None if value != value else value for value in table.tolist()]


def whole_numbers(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight (n, ...) in 8 bits: whole numbers from -127 to 127, and the scale of each row (n,).

    Example:
        >>> whole, scale = whole_numbers(torch.tensor([[12.7, -0.1], [0.0, 0.0]]))
        >>> whole.tolist(), [round(x, 3) for x in scale.tolist()]
        ([[127, -1], [0, 0]], [0.1, 0.0])
    """
    rows = weight.flatten(1)
    scale = rows.abs().amax(1) / 127
    whole = (rows / scale.clamp(min=1e-30)[:, None]).round()  # a row of zeros has the scale 0
    return whole.reshape(weight.shape).to(torch.int8), scale


def _numbers(tensor: Tensor) -> str:
    return base64.b64encode(tensor.numpy().tobytes()).decode()


def _stored(tensor: Tensor, bits: int) -> dict[str, object]:
    """A tensor as it stands in the file."""
    told: dict[str, object] = {"shape": list(tensor.shape)}
    if bits == 8 and tensor.dim() > 1:
        tensor, scale = whole_numbers(tensor)
        told["scale"] = _numbers(scale)
    else:
        tensor = tensor.to(torch.float16 if bits == 16 else torch.float32)
    return told | {"type": str(tensor.dtype).removeprefix("torch."), "data": _numbers(tensor)}


def to_javascript(
    model: DDGAN, path: str | os.PathLike, *, name: str | None = None, bits: int = 32
) -> Path:
    """Write ``model`` to ``path`` as a script that puts it into ``ddganModels[name]``.

    The file holds the averaged generator, its configuration and the tables of the chain.

    Args:
        model: with any generator but a U-Net, which is no matter for a page.
        path: the .js file to write.
        name: under which the page finds it; left out, the file's own name without its suffix.
        bits: of a weight in the file. 16: rounded to half precision, half the file. 8: rounded
            to :func:`whole_numbers`, a quarter of it; biases stay as they are. The page computes
            in single precision or better.

    Raises:
        ValueError: if the page has no such network, or ``bits`` is none of these.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     to_javascript(DDGAN(MLPConfig()), f"{folder}/toy.js").read_text()[:47]
        '(globalThis.ddganModels ??= {})["toy"] = {"kind'
    """
    if not isinstance(model.config, MLPConfig | ConvConfig | PyramidConfig):
        raise ValueError(f"a page runs no network of {type(model.config).__name__}.")
    if bits not in BITS:
        raise ValueError(f"bits must be 32, 16 or 8, got {bits}.")
    path, state = Path(path), model.network("averaged").state_dict()
    tables = {table: json_numbers(getattr(model.diffusion, table)) for table in TABLES}
    weights = {key: _stored(tensor.detach().cpu(), bits) for key, tensor in state.items()}
    content = json.dumps({**describe(model.config), **tables, "weights": weights})
    path.parent.mkdir(parents=True, exist_ok=True)
    name = json.dumps(path.stem if name is None else name)
    path.write_text(f"(globalThis.ddganModels ??= {{}})[{name}] = {content};\n")
    return path
