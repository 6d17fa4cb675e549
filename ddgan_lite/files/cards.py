"""Model cards: where trained weights come from, read from the header of their own file."""

import math
import os
from numbers import Real
from pathlib import Path

from torch import Tensor

from ddgan_lite.files import checkpoints, results

# What a card must answer before its weights are given to others, by the names in the header.
REQUIRED = (
    "data", "preset", "steps", "batch_size", "seed", "hardware", "seconds", "torch", "ddgan_lite",
    "commit", "date", "command", "scores", "protocol",
)  # fmt: skip


def card(source: str | os.PathLike) -> str:
    """The card of a model as Markdown.

    It repeats what the file says, whoever wrote that, as plain lines of text.

    Args:
        source: as for :meth:`ddgan_lite.method.model.DDGAN.load`.

    Raises:
        FileNotFoundError: if there is no such file, or no way to download it.
        CheckpointError: if it is not such a file, or belongs to a run that is not finished.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import DDGAN, MLPConfig
        >>> with TemporaryDirectory() as folder:
        ...     path = DDGAN(MLPConfig()).save(f"{folder}/mine.safetensors", data="mine")
        ...     print(*card(path).splitlines()[4:8], sep="\\n")
        | networks | mlp, samples of shape 2, T = 4; 5,522 weights, float32 |
        | file | 23 kB |
        | preset | not recorded |
        | data | mine |
    """
    path = checkpoints.locate(source)
    tensors, header = checkpoints.read(path)
    known = _provenance(path, header)

    def told(name: str) -> str:
        return _text(known[name]) if name in known else "not recorded"

    several = known.get("processes", 1) != 1
    rows = {
        "networks": _networks(header, checkpoints.section(tensors, "averaged") or tensors),
        "file": f"{path.stat().st_size / 1000:,.0f} kB",
        "preset": told("preset"),
        "data": told("data"),
        "training": f"{_thousands(told('steps'))} steps, a batch of {told('batch_size')}",
        "seed": told("seed"),
        "hardware": told("hardware") + (f", {told('processes')} processes" if several else ""),
        "training time": _duration(known["seconds"]) if "seconds" in known else "not recorded",
        "code": f"ddgan_lite {told('ddgan_lite')}, commit {told('commit')}; torch {told('torch')}",
        "date": told("date"),
    }
    if checkpoints.section(tensors, "discriminator"):
        rows["kept for training"] = "the generator before averaging, and the discriminator"
    # What else its maker wrote down, a licence for example.
    shown = {*REQUIRED, "processes", "scores_float32"}
    rows |= {_text(name): _text(value) for name, value in known.items() if name not in shown}
    lines = [f"# {path.name}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows.items()]
    lines += ["", *_scores(known), "", f"Made by `{told('command')}`."]
    return "\n".join(lines)


def missing(source: str | os.PathLike) -> list[str]:
    """What the card of a file leaves open, of REQUIRED.

    Raises:
        FileNotFoundError, CheckpointError: as :func:`card`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     about = dict.fromkeys(REQUIRED, 0) | {"data": ""}
        ...     missing(checkpoints.write(f"{folder}/one", {}, {"provenance": about}))
        ['data']
    """
    path = checkpoints.locate(source)
    known = _provenance(path, checkpoints.read(path)[1])
    return [name for name in REQUIRED if known.get(name) in (None, "", {})]


def _provenance(path: Path, header: dict) -> dict:
    if "provenance" not in header:
        raise checkpoints.CheckpointError(
            f"{path} belongs to a run that is not finished: the model gets its card at the end."
        )
    if not isinstance(header["provenance"], dict):
        raise checkpoints.CheckpointError(f"{path} has no card: its provenance is no table.")
    return header["provenance"]


def _text(value: object) -> str:
    return checkpoints.plain(value, most=2_000)


def _thousands(number: str) -> str:
    return f"{int(number):,}" if number.isdecimal() else number


def _networks(header: dict, tensors: dict[str, Tensor]) -> str:
    weights = f"{sum(t.numel() for t in tensors.values()):,} weights"
    kinds = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in tensors.values()}))
    config = header.get("config")
    samples = ""
    if isinstance(config, dict) and isinstance(config.get("shape"), list):
        shape = _text(" x ".join(map(str, config["shape"])))
        samples = f", samples of shape {shape}, T = {_text(config.get('num_steps'))}"
    return f"{_text(header.get('kind'))}{samples}; {weights}, {kinds}"


def _duration(seconds: object) -> str:
    """Seconds in the largest two units that are not zero.

    Example:
        >>> _duration(42.4), _duration(125), _duration(7_500)
        ('42 s', '2 min 5 s', '2 h 5 min')
    """
    if not isinstance(seconds, Real) or not math.isfinite(seconds):
        return _text(seconds)
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _scores(known: dict) -> list[str]:
    columns = {"this file": known.get("scores"), "before rounding": known.get("scores_float32")}
    columns = {name: each for name, each in columns.items() if isinstance(each, dict) and each}
    if "this file" not in columns:
        return ["Scores: not recorded."]
    protocol = _text(known.get("protocol", "by a protocol that is not recorded."))
    lines = [f"Scores: {protocol}", ""]
    lines += [f"| score | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name in columns["this file"]:
        values = (_number(column.get(name)) for column in columns.values())
        lines.append(f"| {_text(name)} | {' | '.join(values)} |")
    return lines


def _number(value: object) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return _text(value)


def shipped() -> list[Path]:
    """The trained weights that come with the book.

    Example:
        >>> "gaussians.safetensors" in [path.name for path in shipped()]
        True
    """
    return sorted(results.folder().glob("*.safetensors"))
