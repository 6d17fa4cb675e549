"""Scores of images against real ones: FID, Inception score, KID, precision, recall.

torch-fidelity does the arithmetic. What goes into it is settled here: both sets as the bytes they
are, no file format and no resizing in between, and samples that follow from a seed.
"""

import hashlib
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ddgan_lite.data.images import Images, to_bytes
from ddgan_lite.method.model import DDGAN

# By torch-fidelity's names: the fewest images it works on, and its results under our names.
METRICS = {
    "fid": (2, {"fid": "frechet_inception_distance"}),
    "isc": (10, {"is": "inception_score_mean"}),
    "kid": (2, {"kid": "kernel_inception_distance_mean"}),
    "prc": (4, {"precision": "precision", "recall": "recall"}),
}
INCEPTION = "inception-v3-compat"
CHUNK = 128  # images made at once; with another number a seed means other samples


class _Drawn(Images):
    """n samples of a model, made when they are asked for: chunk k by a generator of its own.

    A chunk is CHUNK images in a row. ``load`` wants indices of one chunk, all of them.
    """

    def __init__(self, model: DDGAN, n: int, seed: int, weights: str):
        self.shape, self.name = model.config.shape, "the model"
        self.model, self.n, self.seed, self.weights = model, n, seed, weights

    def __len__(self) -> int:
        return self.n

    def load(self, indices: Tensor) -> Tensor:
        chunk = int(indices[0]) // CHUNK
        mixed = np.random.SeedSequence(self.seed, spawn_key=(chunk,)).generate_state(1).item()
        rng = torch.Generator(self.model.device).manual_seed(mixed)
        images = self.model.sample(len(indices), weights=self.weights, rng=rng)
        if not images.isfinite().all():
            raise FloatingPointError("the model draws values that are not finite.")
        return to_bytes(images)


class _Colour(Dataset):
    """Images in colour, as torch-fidelity wants them, loaded CHUNK at a time."""

    def __init__(self, images: Images):
        self.images, self.held, self.chunk = images, range(0), torch.empty(0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        if index not in self.held:
            start = index - index % CHUNK
            self.held = range(start, min(start + CHUNK, len(self)))
            self.chunk = self.images.load(torch.tensor(self.held)).cpu()
        return self.chunk[index - self.held.start].expand(3, -1, -1)


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
    return hashlib.sha256(contents).hexdigest()[:12]


def score(
    images: Images,
    real: Images,
    *,
    seed: int = 0,
    metrics: Sequence[str] = tuple(METRICS),
    weights: str | os.PathLike | None = None,
    extractor: str = INCEPTION,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> dict[str, float | str]:
    """Score all of ``images`` against all of ``real``, none mirrored.

    Numbers compare only where the protocols agree: FID falls as the sets grow, and moves with
    JPEG, with another resizing, with another half of the data.

    Args:
        images: what to score; its name should say what was done to it.
        real: of the same shape, one or three channels.
        seed: of the subsets of KID and the splits of the Inception score.
        metrics: some of METRICS: ``"fid"`` (Heusel et al. 2017), ``"isc"`` (Salimans et al. 2016,
            10 splits), ``"kid"`` (Binkowski et al. 2018, 100 subsets), ``"prc"``, precision and
            recall (Kynkäänniemi et al. 2019, 3 neighbours).
        weights: file with the weights of the feature network. Those of Inception are downloaded
            if it is left out; their SHA-256 begins with 6726825d.
        extractor: the feature network of every metric, by its name in torch-fidelity:
            ``torch_fidelity.register_feature_extractor`` adds one.
        batch_size: images that the feature network sees at once.
        device: where it runs.

    Returns:
        ``fid``, ``is``, ``kid``, ``precision`` and ``recall``, as far as asked for, and
        ``protocol``, a sentence that says how they were measured.

    Raises:
        ModuleNotFoundError: without torch-fidelity.
        ValueError: if an argument is out of range, the shapes differ, or the weights do not fit.
        FileNotFoundError: if the Inception weights cannot be downloaded.
        DataError: if a stored image cannot be read.

    Example:
        >>> dark = Images(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), name="dark")
        >>> score(dark, dark, metrics=["isc"])
        Traceback (most recent call last):
            ...
        ValueError: isc needs at least 10 samples and as many real images, got n = 9 and 9 in dark.
    """
    shape = tuple(real.shape)
    if not metrics or not set(metrics) <= set(METRICS):
        raise ValueError(f"metrics must be some of {', '.join(METRICS)}, got {metrics!r}.")
    if shape != tuple(images.shape) or shape[0] not in (1, 3):
        raise ValueError(
            f"{images.name} has samples of shape {tuple(images.shape)}, {real.name} holds images "
            f"of shape {shape}: both must be the same, with 1 or 3 channels."
        )
    for metric, (least, _) in METRICS.items():
        if metric in metrics and min(len(images), len(real)) < least:
            raise ValueError(
                f"{metric} needs at least {least} samples and as many real images, got "
                f"n = {len(images)} and {len(real)} in {real.name}."
            )
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be in 0..{2**32 - 1}, got {seed}.")
    try:
        import torch_fidelity
        from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as EXTRACTORS
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "evaluation needs torch-fidelity: pip install 'ddgan-lite[metrics]'."
        ) from error
    if extractor not in EXTRACTORS:
        raise ValueError(f"unknown extractor {extractor!r}: known are {', '.join(EXTRACTORS)}.")

    subset, there = min(1000, len(images), len(real)), torch.empty(0, device=device)
    # torch's global generator, which new networks and loaders draw from, stays as it is.
    with torch.random.fork_rng(devices=[]), torch.cuda.device_of(there):
        if weights is None and extractor == INCEPTION:
            weights = _inception()
        checksum = weights and _checksum(weights, EXTRACTORS[extractor], extractor)
        found = torch_fidelity.calculate_metrics(
            input1=_Colour(images),
            input2=None if set(metrics) == {"isc"} else _Colour(real),
            **dict.fromkeys(metrics, True),
            feature_extractor=extractor,
            feature_extractor_weights_path=weights,
            kid_subset_size=subset,
            rng_seed=seed,
            batch_size=batch_size,
            cuda=there.is_cuda,
            save_cpu_ram=True,  # loads in this process; 50,000 x 50,000 distances part by part
            cache=False,  # it knows images and weights by name only
            verbose=False,
        )
    protocol = (
        f"{len(images)} samples of {images.name} and the {len(real)} images of {real.name}, "
        f"uint8 {shape}{' repeated to 3 channels' * (shape[0] == 1)}, no file format in between; "
        f"features of {extractor} ({f'sha256 {checksum}' if checksum else 'its own weights'}); "
        f"{f'KID by 100 subsets of {subset}; ' * ('kid' in metrics)}"
        f"torch-fidelity {torch_fidelity.__version__}"
    )
    names = {ours: theirs for metric in metrics for ours, theirs in METRICS[metric][1].items()}
    return {ours: float(found[theirs]) for ours, theirs in names.items()} | {"protocol": protocol}


def evaluate(
    model: DDGAN, data: Images, *, n: int = 50_000, seed: int = 0, averaged: bool = True, **options
) -> dict[str, float | str]:
    """:func:`score` n samples of the model against all images of ``data``.

    Args:
        model: draws the samples, on its device; the features are computed there too.
        data: the real images, of the model's shape.
        n: number of samples; published numbers use 50,000.
        seed: of the samples too. Their number and ``seed`` decide them.
        averaged: False for the weights being trained instead of their moving average.
        options: of :func:`score`.

    Raises:
        FloatingPointError: if a sample is not finite; and what :func:`score` raises.

    Example:
        >>> from ddgan_lite import ConvConfig, load_images
        >>> model, cifar10 = DDGAN.load("runs/cifar10"), load_images("cifar10")  # doctest: +SKIP
        >>> evaluate(model, cifar10, metrics=["fid"])["fid"]  # doctest: +SKIP
        >>> dark = Images(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), name="dark")
        >>> evaluate(DDGAN(ConvConfig(shape=(3, 16, 16))), dark)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: the model (raw weights, seed 0) has samples of shape (3, 16, 16), dark holds ...
    """
    loaded = model.discriminator is None and model.averaged is None
    if loaded and not averaged:
        raise ValueError("this model came from a file, which holds averaged weights only.")
    samples = _Drawn(model, n, seed, "averaged" if averaged else "raw")
    kind = "EMA" if loaded or (averaged and model.averaged is not None) else "raw"
    samples.name += f" ({kind} weights, seed {seed})"
    return score(samples, data, seed=seed, device=model.device, **options)
