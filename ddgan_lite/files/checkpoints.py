"""Checkpoints: safetensors files that explain themselves, written whole or not at all.

A file may come from a stranger. Every border reads it here: no code in it runs, nothing is made
larger than the file itself, and a damaged one is refused.
"""

import difflib
import hashlib
import itertools
import json
import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "ddgan_lite/1"
HUB_NAME = r"[\w-][\w.-]*/[\w.-]+"  # of a model on the Hugging Face hub: owner/name
# Bytes: of safetensors' own table, 100 for each of some thousand tensors, and of what we add.
_TABLE, _HEADER = 2**23, 2**20
_DEPTH, _DIGITS = 32, 40  # of the JSON in a header: brackets in brackets, digits of a number
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this library, or not a whole one.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "notes.txt").write_text("no numbers")
        ...     read(f"{folder}/notes.txt")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ddgan_lite.files.checkpoints.CheckpointError: ...notes.txt is not a whole ddgan_lite ...
    """


def write(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict) -> Path:
    """Write tensors and a JSON-able header to ``path``, with their checksum.

    The file appears under its name only once it is complete: a crash, a full disk or a
    failing ``write`` leaves what stood there before.

    Raises:
        OSError: if the folder cannot be written.
        ValueError: if the header is larger than :func:`read` takes, 1 MiB, or nested too deeply.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = write(f"{folder}/new/one.safetensors", {"x": torch.ones(2)}, {"seed": 0})
        ...     [file.name for file in path.parent.iterdir()]
        ['one.safetensors']
    """
    path, text = Path(path), json.dumps(header)
    _parse(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "header": text, "sha256": _checksum(tensors, text)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, temporary, metadata)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)  # it can only be read by setting it
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # safetensors lets only the owner read
        os.replace(temporary, path)
    except SafetensorError as error:  # how safetensors reports what the system refused
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path} could not be written: {error}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def history(folder: str | os.PathLike) -> list[Path]:
    """The training checkpoints in ``folder``, oldest first.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for step in (9_000, 12_000):
        ...         _ = write(f"{folder}/step_{step:08d}.safetensors", {"x": torch.ones(2)}, {})
        ...     [path.name for path in history(folder)]
        ['step_00009000.safetensors', 'step_00012000.safetensors']
    """
    return sorted(Path(folder).glob("step_*.safetensors"))


def locate(source: str | os.PathLike, sha256: str | None = None) -> Path:
    """The file behind a path, the folder of a run, an address, or a name on the Hugging Face hub.

    Args:
        source: any of these.
        sha256: what the SHA-256 of the file must be, 64 hexadecimal digits. A file from an address
            (``"https://..."``) is then kept in torch's cache; without it, it is fetched each time.

    Raises:
        FileNotFoundError: if there is none, or it cannot be downloaded.
        CheckpointError: if it is another file than ``sha256`` says.
        ValueError: if ``sha256`` is none.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as run:
        ...     for name in ("checkpoints/step_00009000.safetensors", "model.safetensors"):
        ...         _ = write(f"{run}/{name}", {"x": torch.ones(2)}, {"seed": 0})
        ...     locate(run).name  # the finished model, once there is one
        'model.safetensors'
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {sha256!r}.")
    if re.match("https?://", str(source)):
        path = _download(str(source), sha256)
    else:
        path = _on_disk_or_hub(source)
    if sha256 is not None and path.is_file() and (found := _sha256(path)) != sha256.lower():
        raise CheckpointError(
            f"{source} is not the file that was asked for: its SHA-256 is {found}, "
            f"not {sha256.lower()}."
        )
    return path


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _on_disk_or_hub(source: str | os.PathLike) -> Path:
    path = Path(source)
    if path.is_dir():
        found = [*history(path / "checkpoints"), *path.glob("model.safetensors")]
        if not found:
            raise FileNotFoundError(f"The folder {path} holds no model and no checkpoint.")
        return found[-1]
    if path.exists() or not _on_hub(str(source)):
        return path
    from huggingface_hub import hf_hub_download  # imported when needed: it takes a while

    try:
        return Path(hf_hub_download(str(source), "model.safetensors"))
    except Exception as error:  # offline, private, misspelled: the hub has a dozen classes
        raise FileNotFoundError(
            f"{source} is neither a file here nor a model that the Hugging Face hub would give "
            f"us ({type(error).__name__}). Check the name and the network."
        ) from error


def _on_hub(name: str) -> bool:
    """Whether this can only be ``owner/name`` on the hub: nothing here is called like the owner."""
    owner = name.partition("/")[0]
    known = [each.name for each in Path().iterdir() if each.is_dir()] + ["runs"]
    return bool(
        re.fullmatch(HUB_NAME, name)
        and Path(name).suffix not in (".safetensors", ".pth", ".pt", ".ckpt", ".png")
        and not difflib.get_close_matches(owner, known, cutoff=0.75)
    )


def _download(url: str, sha256: str | None) -> Path:
    """The file at an address, in torch's cache."""
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}.safetensors"
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if sha256 is not None and path.is_file() and _sha256(path) == sha256.lower():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except Exception as error:  # of the network, the server or the disk
        raise FileNotFoundError(
            f"{url} cannot be downloaded ({' '.join(str(error).split())}). Check the address and "
            "the network."
        ) from error
    return path


def read(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Read the tensors (on the CPU) and the header of a file made by :func:`write`.

    Nothing in the file is executed: safetensors holds numbers and text only. Its checksum must
    agree; files from before there was one are read without.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is anything but a whole checkpoint of this library.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     read(write(f"{folder}/one.safetensors", {"x": torch.ones(2)}, {"seed": 0}))
        ({'x': tensor([1., 1.])}, {'seed': 0})
    """
    path = Path(path)
    if not path.is_file():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, beside, n=1)
        hint = f" Did you mean {path.with_name(close[0])}?" if close else ""
        raise FileNotFoundError(f"There is no checkpoint file at {path}.{hint}")
    try:
        _check_table(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} is a safetensors file, but not a ddgan_lite checkpoint: its header "
                    f"does not say format={FORMAT!r}."
                )
            if not {"format", "header"} <= metadata.keys() <= {"format", "header", "sha256"}:
                raise ValueError("its header is not one of ours")
            header = _parse(metadata["header"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("sha256") not in (None, _checksum(tensors, metadata["header"])):
            raise ValueError("its checksum and its content do not agree, so it was damaged")
    except CheckpointError:
        raise
    except Exception as error:  # bytes at random fail in every way there is
        raise CheckpointError(
            f"{path} is not a whole ddgan_lite checkpoint (a safetensors file written by "
            f"DDGAN.save): {plain(error)}."
        ) from error
    return tensors, header


def _check_table(path: Path) -> None:
    """Refuse a file that does not begin as safetensors do, before it is opened as one."""
    with open(path, "rb") as file:
        start = file.read(8)
    if len(start) == 8 and int.from_bytes(start, "little") <= min(path.stat().st_size, _TABLE):
        return
    if start.startswith((b"PK\3\4", b"\x80")):  # a zip archive, a pickle
        raise ValueError(
            "it is a torch file; a published netG_<epoch>.pth becomes one of ours by "
            f"python -m ddgan_lite convert {path.name} OUT.safetensors"
        )
    raise ValueError("it does not begin as a safetensors file does")


def _parse(text: str) -> dict:
    """The JSON object in a header, refused before it is parsed if it is made to be a burden."""
    bare = re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*"', "", text[: _HEADER + 1])
    steps = ({"[": 1, "{": 1, "]": -1, "}": -1}.get(letter, 0) for letter in bare)
    deep = max(itertools.accumulate(steps), default=0) > _DEPTH
    if len(text) > _HEADER or deep or re.search(rf"\d{{{_DIGITS}}}", bare):
        raise ValueError(
            f"a header may hold {_HEADER:,} characters, {_DEPTH} levels of brackets and numbers "
            f"below {_DIGITS} digits: keep what is longer in a file beside it"
        )
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _checksum(tensors: dict[str, Tensor], header: str) -> str:
    """SHA-256 of the header and of every tensor: name, type, shape, bytes."""
    total = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def plain(text: object, most: int = 200) -> str:
    """Words out of a file, fit for a terminal: one line of printable characters, cut short.

    Example:
        >>> plain("two\\nlines \\x1b[31m and a colour"), plain("long" * 99, most=8)
        ('two lines ?[31m and a colour', 'longlong...')
    """
    line = " ".join(str(text).split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line[: most + 1])
    return line if len(line) <= most else f"{line[:most]}..."


def section(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors called ``name/...``, without that prefix: one network of a training run.

    Example:
        >>> section({"averaged/net.bias": torch.ones(2), "rng": torch.zeros(3)}, "averaged")
        {'net.bias': tensor([1., 1.])}
    """
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def check_trainable(path: str | os.PathLike, tensors: dict[str, Tensor]) -> None:
    """Refuse a file that holds no discriminator, from which no training can begin.

    Raises:
        CheckpointError: if so.

    Example:
        >>> check_trainable("run.safetensors", {"discriminator/bias": torch.ones(2)})
    """
    if not section(tensors, "discriminator"):
        there = "".join(f", {last}" for last in history(Path(path).parent / "checkpoints")[-1:])
        raise CheckpointError(
            f"{path} holds a model for sampling, without its discriminator: to go on training take "
            f'a checkpoint of its run{there}, or a file saved with keep="training", or head_start.'
        )


def check_names(
    path: str | os.PathLike, found: dict[str, Tensor], wanted: dict[str, Tensor]
) -> None:
    """Refuse tensors that are not what a network wants: other names, shapes, types, not finite.

    Those of ``wanted`` may be on torch's device "meta": a file is compared before there is memory.

    Raises:
        CheckpointError: naming the first tensor that does not fit.

    Example:
        >>> have, want = {"bias": torch.ones(2)}, {"bias": torch.ones(3)}
        >>> check_names("my.safetensors", have, want)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ddgan_lite.files.checkpoints.CheckpointError: my.safetensors does not fit ...: bias ...
    """
    for name in sorted(found.keys() | wanted.keys()):
        have = tuple(found[name].shape) if name in found else "nothing"
        want = tuple(wanted[name].shape) if name in wanted else "nothing"
        if have == want and found[name].dtype != wanted[name].dtype:
            have, want = found[name].dtype, wanted[name].dtype
            have = want if {have, want} <= _FLOATS else have
        if have != want:
            raise CheckpointError(
                f"{path} does not fit its own header: {plain(name)} is {have}, not {want}."
            )
        if not torch.isfinite(found[name]).all():
            raise CheckpointError(f"{path} holds values that are not finite in {name}.")
