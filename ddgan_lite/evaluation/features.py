"""Feature networks: images become the numbers that scores compare, by Inception or by your own."""

import hashlib
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ddgan_lite.data.images import Images, to_unit
from ddgan_lite.data.streams import imported
from ddgan_lite.evaluation.judge import Judge

if TYPE_CHECKING:
    from accelerate import PartialState

INCEPTION = "inception-v3-compat"
CHUNK = 128  # images loaded at once; each process takes whole chunks


@dataclass(frozen=True)
class FeatureNetwork:
    """What turns images into features, and how a protocol names it.

    Attributes:
        told: its name and its checksum.
        layers: which of its outputs each metric wants.
        run: uint8 images (n, C, H, W) -> output by name, each (n, d).
        shape: of the images that it reads; None: it takes any.
        colour: whether it is shown three equal channels in place of a grey one.

    Example:
        >>> from ddgan_lite import results
        >>> judge = feature_network(str(results.find("mnist_judge.safetensors")), ["fid"])
        >>> judge.told  # doctest: +ELLIPSIS
        'mnist_judge.safetensors (sha256 ...)'
        >>> judge.run(torch.zeros(5, 1, 32, 32, dtype=torch.uint8))["features"].shape
        torch.Size([5, 64])
    """

    told: str
    layers: dict[str, str]
    run: Callable[[Tensor], dict[str, Tensor]]
    shape: tuple[int, ...] | None = None
    colour: bool = False


def feature_network(
    name: str,
    metrics: Sequence[str],
    *,
    optional: Sequence[str] = (),
    weights: str | os.PathLike | None = None,
    device: torch.device | str = "cpu",
) -> FeatureNetwork:
    """The feature network of this name.

    Args:
        name: a name in torch-fidelity (``torch_fidelity.register_feature_extractor`` adds one);
            the ``.safetensors`` file of a :class:`~ddgan_lite.evaluation.judge.Judge`; or
            ``"module:function"``, a function of yours, or a torch module, that gets uint8 images
            (n, C, H, W) and returns their features (n, d), or, for the Inception score, a pair of
            the features and the logits of classes (n, k).
        metrics: by torch-fidelity's names.
        optional: those of them that a function need not give the output for.
        weights: a file for the network, if torch-fidelity knows it.
        device: where it runs.

    Raises:
        ValueError: if there is no such network, or its weights do not fit.
        FileNotFoundError: if weights cannot be downloaded, or there is no such judge.
        CheckpointError: if a file is no judge.

    Example:
        >>> feature_network("my_features:embed", ["fid"])
        Traceback (most recent call last):
            ...
        ValueError: my_features cannot be imported: No module named 'my_features'.
    """
    device = torch.device(device)
    own = name.endswith(".safetensors") or ":" in name
    if own and weights is not None:
        raise ValueError(f"weights are for a network of torch-fidelity, and {name} is none.")
    if not own:
        return _registered(name, metrics, weights, device)
    layers = {metric: "logits" if metric == "isc" else "features" for metric in metrics}
    if name.endswith(".safetensors"):
        judge = Judge.load(name).to(device)

        def read(images: Tensor) -> dict[str, Tensor]:
            features = judge.features(to_unit(images))
            return {"features": features, "logits": judge.logits(features)}

        told = f"{Path(name).name} (sha256 {_short(Path(name).read_bytes())})"
        return FeatureNetwork(told, layers, read, judge.shape)
    needed = {layers[metric] for metric in metrics if metric not in optional}
    return FeatureNetwork(*_function(name, layers, needed, device))


def _function(name: str, layers: dict[str, str], needed: set[str], device: torch.device) -> tuple:
    """What a FeatureNetwork around the "module:function" of a user is made of."""
    module_name, _, attribute = name.partition(":")
    try:
        module = imported(module_name)
    except Exception as error:  # whatever the module of a user does
        raise ValueError(f"{module_name} cannot be imported: {error}.") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ValueError(f"{module_name} has no function {attribute!r}.")
    networks = [value for value in vars(module).values() if isinstance(value, nn.Module)]
    for network in networks:
        network.to(device).eval()
    source = inspect.getsourcefile(module)
    code = Path(source).read_bytes() if source else b""
    told = f"{name} (sha256 {_short(code, *networks)})"

    def run(images: Tensor) -> dict[str, Tensor]:
        made = function(images)
        made = (made,) if isinstance(made, Tensor) else made
        outputs = dict(zip(("features", "logits"), made, strict=False))
        if needed - outputs.keys():
            raise ValueError(
                f"{name} gives no logits, which isc needs: leave isc out of the metrics "
                "(--metrics), or return a pair of the features and the logits."
            )
        for layer in outputs.keys() & set(layers.values()):
            shape = tuple(outputs[layer].shape)
            if len(shape) != 2 or shape[0] != len(images) or shape[1] < 2:
                raise ValueError(
                    f"{name} gives {layer} of shape {shape} for {len(images)} images: give "
                    f"({len(images)}, d), with d at least 2."
                )
        return outputs

    return told, layers, run


def _registered(
    name: str, metrics: Sequence[str], weights: str | os.PathLike | None, device: torch.device
) -> FeatureNetwork:
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as EXTRACTORS
    from torch_fidelity.utils import create_feature_extractor

    if name not in EXTRACTORS:
        raise ValueError(
            f"unknown extractor {name!r}: known are {', '.join(EXTRACTORS)}, the file "
            "of a judge (.safetensors) and module:function."
        )
    kind = EXTRACTORS[name]
    if weights is None and name == INCEPTION:
        weights = _inception()
    checksum = weights and _checksum(weights, kind, name)
    theirs = {"bias": "fid", "dnc": "prc"}  # which of its outputs our own metrics take
    layers = {m: kind.get_default_feature_layer_for_metric(theirs.get(m, m)) for m in metrics}
    network = create_feature_extractor(
        name,
        sorted(set(layers.values())),
        cuda=False,
        feature_extractor_weights_path=weights,
        verbose=False,
    ).to(device)

    def run(images: Tensor) -> dict[str, Tensor]:
        outputs = network(images.expand(-1, 3, -1, -1).contiguous())
        return network.convert_features_tuple_to_dict(outputs)

    own = "" if checksum else "its own weights, "
    told = f"{name} ({own}sha256 {checksum or _short(network)})"
    return FeatureNetwork(told, layers, run, colour=True)


def _short(*parts: bytes | nn.Module) -> str:
    """12 digits of the SHA-256 of bytes, and of the weights of networks."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, nn.Module):
            for name, tensor in part.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        else:
            digest.update(part)
    return digest.hexdigest()[:12]


def _inception() -> Path:
    """The file with the Inception weights in torch's cache, downloaded if it is not there."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3 as URL

    path = Path(torch.hub.get_dir(), "checkpoints", URL.rpartition("/")[2])
    if not path.exists():
        checksum = path.stem.rpartition("-")[2]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL, str(path), checksum, progress=False)
        except Exception as error:  # of the network, the disk or the checksum
            raise FileNotFoundError(
                f"the Inception weights cannot be downloaded ({' '.join(str(error).split())}): "
                f"get {URL} on another machine and name the file with --weights."
            ) from error
    return path


def _checksum(path: str | os.PathLike, extractor: type, name: str) -> str:
    """SHA-256 (12 digits) of a file, once ``extractor`` has taken its weights from it."""
    try:
        contents = Path(path).read_bytes()
        torch.load(BytesIO(contents), "cpu", weights_only=True)  # or a file could run code
        layer = extractor.get_default_feature_layer_for_metric("fid")
        extractor(name, [layer], feature_extractor_weights_path=path)
    except Exception as error:  # bytes that are no torch file fail in every way there is
        reason = getattr(error, "strerror", None) or "it is no whole torch file of its tensors"
        # Not "from error": torch goes on to explain how to switch its protection off.
        raise ValueError(f"{path} cannot be the weights of {name}: {reason}.") from None
    return _short(contents)


@torch.no_grad()
def features_of(
    images: Images,
    network: FeatureNetwork,
    *,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    process: "PartialState | None" = None,
) -> dict[str, Tensor]:
    """The outputs of a feature network for all images, on the CPU: name -> (N, d).

    Those that its metrics want and that it gives.

    Args:
        images: all of them are looked at, none mirrored.
        network: :func:`feature_network`.
        batch_size: images that the network sees at once.
        device: where it runs.
        process: one of those that share the work, each of which must make this call.

    Raises:
        ValueError: if the network takes other images, or gives values that are not finite.
        DataError: if a stored image cannot be read.

    Example:
        >>> from ddgan_lite import results
        >>> images = Images(torch.zeros(9, 1, 32, 32, dtype=torch.uint8), name="dark")
        >>> judge = feature_network(str(results.find("mnist_judge.safetensors")), ["fid"])
        >>> features_of(images, judge)["features"].shape
        torch.Size([9, 64])
    """
    if network.shape not in (None, tuple(images.shape)):
        raise ValueError(
            f"{network.told} reads images of shape {network.shape}, those of {images.name} are "
            f"{tuple(images.shape)}."
        )
    index, number = (process.process_index, process.num_processes) if process else (0, 1)
    found: dict[int, dict[str, Tensor]] = {}
    for start in range(index * CHUNK, len(images), number * CHUNK):
        chunk = images.load(torch.arange(start, min(start + CHUNK, len(images))))
        parts = [network.run(part.to(device)) for part in chunk.split(batch_size)]
        wanted = parts[0].keys() & set(network.layers.values())
        found[start] = {layer: torch.cat([part[layer].cpu() for part in parts]) for layer in wanted}
        if not all(values.isfinite().all() for values in found[start].values()):
            raise ValueError(f"{network.told} gives values that are not finite.")
    if number > 1:
        from accelerate.utils import gather_object

        for theirs, seen in gather_object([(found, getattr(images.stored, "seen", None))]):
            found |= theirs
            if seen:
                images.stored.seen |= seen
    chunks = [found[start] for start in sorted(found)]
    return {layer: torch.cat([chunk[layer] for chunk in chunks]) for layer in chunks[0]}
