"""Denoising Diffusion GANs: a compact library, and the one behind the book.

What a reader needs is here: ``from ddgan_lite import DDGAN, preset, train``. A name is imported
when it is first asked for, so that ``import ddgan_lite`` costs nothing. Behind it are ten rooms,
from the ground up; each imports from those before it and from its own:

``chain``, ``networks``, ``files``
    the noise levels and their exact posteriors; what is trained; what is kept
``data``, ``figures``, ``method``
    what is learned from; what is drawn; the method itself
``training``, ``evaluation``, ``exchange``
    how it is trained; how it is scored; the formats of others
``baselines``
    what it is compared with
"""

from importlib import import_module

TYPE_CHECKING = False  # type checkers know the name; typing's own costs milliseconds
HOMES = {  # room and file: the names that are found there
    "baselines.ddpm": "DDPM",
    "baselines.flow": "Flow",
    "baselines.gan": "GAN",
    "baselines.vae": "VAE",
    "chain.diffusion": "Diffusion cosine_levels",
    "chain.mixtures": "GaussianMixture best_gaussian_sample",
    "data.images": "Images load_images to_bytes to_unit",
    "data.named": "load_data",
    "data.streams": "stream_images",
    "data.toys": "Digits StackedDigits gaussian_grid gaussian_line gaussian_ring",
    "evaluation.fidelity": "evaluate score",
    "evaluation.judge": "Judge",
    "evaluation.metrics": "frechet_distance mixture_scores mode_scores sliced_wasserstein",
    "exchange.hub": "push",
    "exchange.javascript": "to_javascript",
    "exchange.onnx": "to_onnx",
    "exchange.reference": "load_reference_checkpoint",
    "figures": "plots",
    "figures.notebook": "check_parameters",
    "figures.widgets": "explore_denoising",
    "files": "results",
    "files.cards": "card",
    "method.ema": "EMA",
    "method.model": "DDGAN",
    "method.objectives": "discriminator_loss generator_loss r1_penalty",
    "networks": "ConvConfig MLPConfig PyramidConfig UNetConfig",
    "training.logs": "read_log",
    "training.presets": "PRESETS Preset preset",
    "training.runs": "run",
    "training.settings": "TrainSettings",
    "training.trainer": "Trainer train",
}
_HOME = {name: module for module, names in HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import version

        value = version("ddgan-lite")
    elif name in _HOME:
        module = import_module(f"{__name__}.{_HOME[name]}")
        try:
            value = getattr(module, name)
        except AttributeError:  # a module itself: plots, results
            value = import_module(f"{module.__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next time it is found without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


if TYPE_CHECKING:  # the same for editors and type checkers; "as" says that a name is passed on
    from ddgan_lite.baselines.ddpm import DDPM as DDPM
    from ddgan_lite.baselines.flow import Flow as Flow
    from ddgan_lite.baselines.gan import GAN as GAN
    from ddgan_lite.baselines.vae import VAE as VAE
    from ddgan_lite.chain.diffusion import Diffusion as Diffusion
    from ddgan_lite.chain.diffusion import cosine_levels as cosine_levels
    from ddgan_lite.chain.mixtures import GaussianMixture as GaussianMixture
    from ddgan_lite.chain.mixtures import best_gaussian_sample as best_gaussian_sample
    from ddgan_lite.data.images import Images as Images
    from ddgan_lite.data.images import load_images as load_images
    from ddgan_lite.data.images import to_bytes as to_bytes
    from ddgan_lite.data.images import to_unit as to_unit
    from ddgan_lite.data.named import load_data as load_data
    from ddgan_lite.data.streams import stream_images as stream_images
    from ddgan_lite.data.toys import Digits as Digits
    from ddgan_lite.data.toys import StackedDigits as StackedDigits
    from ddgan_lite.data.toys import gaussian_grid as gaussian_grid
    from ddgan_lite.data.toys import gaussian_line as gaussian_line
    from ddgan_lite.data.toys import gaussian_ring as gaussian_ring
    from ddgan_lite.evaluation.fidelity import evaluate as evaluate
    from ddgan_lite.evaluation.fidelity import score as score
    from ddgan_lite.evaluation.judge import Judge as Judge
    from ddgan_lite.evaluation.metrics import frechet_distance as frechet_distance
    from ddgan_lite.evaluation.metrics import mixture_scores as mixture_scores
    from ddgan_lite.evaluation.metrics import mode_scores as mode_scores
    from ddgan_lite.evaluation.metrics import sliced_wasserstein as sliced_wasserstein
    from ddgan_lite.exchange.hub import push as push
    from ddgan_lite.exchange.javascript import to_javascript as to_javascript
    from ddgan_lite.exchange.onnx import to_onnx as to_onnx
    from ddgan_lite.exchange.reference import load_reference_checkpoint as load_reference_checkpoint
    from ddgan_lite.figures import plots as plots
    from ddgan_lite.figures.notebook import check_parameters as check_parameters
    from ddgan_lite.figures.widgets import explore_denoising as explore_denoising
    from ddgan_lite.files import results as results
    from ddgan_lite.files.cards import card as card
    from ddgan_lite.method.ema import EMA as EMA
    from ddgan_lite.method.model import DDGAN as DDGAN
    from ddgan_lite.method.objectives import discriminator_loss as discriminator_loss
    from ddgan_lite.method.objectives import generator_loss as generator_loss
    from ddgan_lite.method.objectives import r1_penalty as r1_penalty
    from ddgan_lite.networks import ConvConfig as ConvConfig
    from ddgan_lite.networks import MLPConfig as MLPConfig
    from ddgan_lite.networks import PyramidConfig as PyramidConfig
    from ddgan_lite.networks import UNetConfig as UNetConfig
    from ddgan_lite.training.logs import read_log as read_log
    from ddgan_lite.training.presets import PRESETS as PRESETS
    from ddgan_lite.training.presets import Preset as Preset
    from ddgan_lite.training.presets import preset as preset
    from ddgan_lite.training.runs import run as run
    from ddgan_lite.training.settings import TrainSettings as TrainSettings
    from ddgan_lite.training.trainer import Trainer as Trainer
    from ddgan_lite.training.trainer import train as train
