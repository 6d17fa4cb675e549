"""Scores of images against real ones: FID, Inception score, KID, precision, recall and others.

torch-fidelity does the arithmetic of the published ones. What goes into it is settled here: both
sets as the bytes they are, nothing resized on the way, and samples that follow from a seed.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ddgan_lite.data.images import Images
from ddgan_lite.evaluation.features import INCEPTION, feature_network, features_of
from ddgan_lite.evaluation.metrics import density_coverage, frechet_bias
from ddgan_lite.evaluation.samples import Drawn
from ddgan_lite.method.model import DDGAN

if TYPE_CHECKING:
    from accelerate import PartialState

# By torch-fidelity's names, and two of our own: the fewest images it works on, and its results
# under our names.
METRICS = {
    "fid": (2, {"fid": "frechet_inception_distance"}),
    "bias": (4, {"fid_bias": "fid_bias"}),
    "isc": (10, {"is": "inception_score_mean"}),
    "kid": (2, {"kid": "kernel_inception_distance_mean"}),
    "prc": (4, {"precision": "precision", "recall": "recall"}),
    "dnc": (6, {"density": "density", "coverage": "coverage"}),
}
ENOUGH = 10_000  # images, from which on the bias of FID is small beside most differences


def score(
    images: Images,
    real: Images,
    *,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
    weights: str | os.PathLike | None = None,
    extractor: str = INCEPTION,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    process: "PartialState | None" = None,
) -> dict[str, float | str]:
    """Score all of ``images`` against all of ``real``, none mirrored.

    Numbers compare only where the protocols agree: FID falls as the sets grow, and moves with
    JPEG, with another resizing, with another half of the data.

    Args:
        images: what to score; its name should say what was done to it.
        real: of the same shape, one or three channels.
        seed: of the subsets of KID and the splits of the Inception score.
        metrics: some of METRICS: ``"fid"`` (Heusel et al. 2017), ``"bias"``, by how much it is
            about too high (:func:`~ddgan_lite.evaluation.metrics.frechet_bias`), ``"isc"``
            (Salimans et al. 2016, 10 splits), ``"kid"`` (Binkowski et al. 2018, 100 subsets),
            ``"prc"``, precision and recall (Kynkäänniemi et al. 2019, 3 neighbours), ``"dnc"``,
            density and coverage (Naeem et al. 2020, 5 neighbours). Left out: all of them, without
            ``"isc"`` where a function gives no logits.
        weights: file with the weights of the feature network. Those of Inception are downloaded
            if it is left out; their SHA-256 begins with 6726825d.
        extractor: the feature network of every metric: a name in torch-fidelity, the file of a
            judge, or ``"module:function"``. See
            :func:`~ddgan_lite.evaluation.features.feature_network`.
        batch_size: images that the feature network sees at once.
        device: where it runs.
        process: one of those that share the work, each of which must make this call.

    Returns:
        ``fid``, ``fid_bias``, ``is``, ``kid``, ``precision``, ``recall``, ``density`` and
        ``coverage``, as far as asked for, and ``protocol``, a sentence that says how they were
        measured. Of several processes the first gets them, the others nothing.

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
    optional = ("isc",) if metrics is None else ()
    metrics, shape = tuple(METRICS) if metrics is None else metrics, tuple(real.shape)
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
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    try:
        import torch_fidelity
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "evaluation needs torch-fidelity: pip install 'ddgan-lite[metrics]'."
        ) from error

    # torch's global generator, which new networks draw from, stays as it is.
    alone = contextlib.nullcontext() if process is None else process.local_main_process_first()
    with torch.random.fork_rng(devices=[]):
        with alone:  # one process of each machine downloads; the others find it done
            how = {"optional": optional, "weights": weights, "device": device}
            network = feature_network(extractor, metrics, **how)
        shared = {"batch_size": batch_size, "device": device, "process": process}
        ours = features_of(images, network, **shared)
        theirs = {} if set(metrics) == {"isc"} else features_of(real, network, **shared)
    if process is not None and not process.is_main_process:
        return {}
    metrics = [metric for metric in metrics if network.layers[metric] in ours]
    subset, found = min(1000, len(images), len(real)), {}
    for metric in set(metrics):
        x, y = ours[network.layers[metric]], theirs.get(network.layers[metric])
        found |= _measured(metric, x, y, seed, subset)
    stored = [each for each in (images, real) if each.stored and each.stored.seen]
    files = [f"{each.name} from {each.stored.described()}" for each in stored]
    protocol = (
        f"{len(images)} samples of {images.name} and the {len(real)} images of {real.name}, "
        f"uint8 {shape}{' repeated to 3 channels' * (shape[0] == 1 and network.colour)}, "
        f"{', '.join(files) or 'no file format in between'}; features of {network.told}; "
        f"{f'KID by 100 subsets of {subset}; ' * ('kid' in metrics)}"
        f"torch-fidelity {torch_fidelity.__version__}"
    )
    names = [METRICS[metric][1] for metric in METRICS if metric in metrics]
    scores = {mine: float(found[name]) for pairs in names for mine, name in pairs.items()}
    return scores | {"protocol": protocol}


def _measured(metric: str, x: Tensor, y: Tensor | None, seed: int, subset: int) -> dict[str, float]:
    """One metric of the features x (n, d) of samples and y (m, d) of real images."""
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    if metric == "isc":
        return metric_isc.isc_features_to_metric(x, rng_seed=seed)
    if metric == "fid":
        statistics = map(metric_fid.fid_features_to_statistics, (x, y))
        return metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    if metric == "kid":
        options = {"kid_subset_size": subset, "rng_seed": seed, "verbose": False}
        return metric_kid.kid_features_to_metric(x, y, **options)
    if metric == "prc":  # part by part: 50,000 x 50,000 distances are many
        return metric_prc.prc_features_to_metric(x, y, save_cpu_ram=True, verbose=False)
    if metric == "dnc":
        return density_coverage(x, y)
    return {"fid_bias": frechet_bias(x, y, seed)}


def evaluate(
    model: DDGAN, data: Images, *, n: int = 50_000, seed: int = 0, averaged: bool = True, **options
) -> dict[str, float | str]:
    """:func:`score` n samples of the model against all images of ``data``.

    Args:
        model: draws the samples, on its device, of its classes in turn; the features are computed
            there too.
        data: the real images, of the model's shape.
        n: number of samples; published numbers use 50,000.
        seed: of the samples too: each follows from ``seed`` and its number
            (:meth:`DDGAN.sample`).
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
    samples = Drawn(model, n, seed, "averaged" if averaged else "raw")
    kind = "EMA" if loaded or (averaged and model.averaged is not None) else "raw"
    samples.name += f" ({kind} weights, seed {seed}{', labels in turn' * (model.classes > 0)})"
    return score(samples, data, seed=seed, device=model.device, **options)
