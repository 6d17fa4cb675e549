"""Complete experiments by name: networks, data and the numbers of their training.

The three published ones hold the values of the authors' repository, which one of them declares
right where it differs from the arXiv table (its issue 26).
"""

import ast
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ddgan_lite.chain.diffusion import cosine_levels
from ddgan_lite.data.named import hint
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import Config, ConvConfig, MLPConfig, PyramidConfig, UNetConfig
from ddgan_lite.networks.toy import check_least, fitting
from ddgan_lite.training.settings import TrainSettings


@dataclass(frozen=True)
class Preset:
    """An experiment: what decides its outcome, and how often it is written down.

    Attributes:
        data: a name that :func:`~ddgan_lite.data.named.load_data` knows, or a folder of images.
        config: the networks.
        settings: how they are trained.
        step_weights: relative frequency of t = 1..T in training; None: uniform.
        log_every: steps between two lines of the log.
        save_every: steps between two checkpoints, each with a grid of samples.
        save_minutes: at most so many minutes of work are lost by a kill: a checkpoint comes
            earlier if need be. After the first step there is one in any case.

    Example:
        >>> model = PRESETS["gaussians"].build()
        >>> model.config.num_steps, model.sample(5).shape
        (4, torch.Size([5, 2]))
    """

    data: str
    config: Config
    settings: TrainSettings
    step_weights: tuple[float, ...] | None = None
    log_every: int = 100
    save_every: int = 5_000
    save_minutes: float = 10.0

    def __post_init__(self):
        check_least(self, log_every=1, save_every=1)
        if not self.save_minutes > 0:
            raise ValueError(f"save_minutes must be positive, got {self.save_minutes}.")

    def build(self) -> DDGAN:
        """The untrained model, its initial weights drawn from torch's global generator."""
        return DDGAN(self.config, step_weights=self.step_weights)


# Common to the published runs, as far as a run does not differ.
_PAPER = TrainSettings(
    batch_size=256,
    lr_generator=1.6e-4,
    lr_discriminator=1e-4,
    lr_end=1e-5,
    betas=(0.5, 0.9),
    r1_interval=10,
    ema_decay=0.9999,
    fresh_fake=True,
)


_HIGH_RESOLUTION = UNetConfig(
    shape=(3, 256, 256),
    width=64,
    multipliers=(1, 1, 2, 2, 4, 4),
    mapping_depth=3,
    discriminator="large",
)
# Ours for the plane: what it adds to the paper's method is taken apart in chapter 04.
_WAVES = MLPConfig(frequencies=(1, 2, 4, 8), data_std=2**0.5, noise_levels=cosine_levels(4))
# Ours, found on digits, where minutes of one CPU core must do (chapter 06).
OURS = TrainSettings(betas=(0.0, 0.9), r1=0.5, r2=0.5, relativistic=True, reconstruction=10.0)


def _ours(rate: float, **changes: object) -> TrainSettings:
    """Our recipe; a rate that ``changes`` does not name is ``rate``, and falls to 2 % of it."""
    rates = {"lr_generator": rate, "lr_discriminator": rate, "lr_end": rate / 50}
    return replace(OURS, **(rates | changes))


# Ours for images on a CPU, where a fast generator outruns its discriminator.
_AWAKE = TrainSettings(
    batch_size=64,
    lr_generator=1e-4,
    lr_discriminator=1e-3,
    lr_end=1e-5,
    lr_end_discriminator=5e-4,
    r1=0.05,
    r2=0.05,
    relativistic=True,
    ema_decay=0.999,
    mixed_precision="bf16",
)
# Digits, easier to tell apart, bear ten times its penalty and a generator twice as fast.
_FIRM = replace(_AWAKE, lr_generator=2e-4, r1=0.5, r2=0.5, shared_noise=True)
# Photographs of more pixels: faster, the generator blinds its discriminator in a hundred updates,
# and a faster discriminator of a weaker penalty does not last (lab/cifar10-32-on-a-cpu.md).
_SLOW_D = {"lr_discriminator": 5e-4, "lr_end_discriminator": 3e-4, "r1": 0.03, "r2": 0.03}
_SLOW = replace(_AWAKE, lr_generator=1e-5, lr_end=4e-6, shared_noise=True, **_SLOW_D)
_LEVELS, _NOISY = (0.3, 0.9, 2.7, 20.0), (2.5, 6.0, 12.0, 30.0)  # of photographs, of digits
_DOUBLED = tuple(2 * level for level in _LEVELS)  # of 2 x 2 pixels, whose mean has half the noise
_NAMED = {"classes": 10, "classifier_steps": 4, "marginal": True}  # what D names, and is shown
_PHOTOGRAPHS = PyramidConfig(
    shape=(3, 16, 16), width=64, levels=1, blocks=1, data_std=0.5, noise_levels=_LEVELS, **_NAMED
)
_LARGER = replace(_PHOTOGRAPHS, shape=(3, 32, 32), width=48, levels=2, hidden=128)

PRESETS = {
    "gaussians": Preset(
        "gaussian_grid", _WAVES, TrainSettings(r1=0.3, r1_end=0.003), step_weights=(4, 2, 1, 1)
    ),
    "stacked_digits": Preset(  # ours: about nine minutes of one CPU core (chapter 06)
        "stacked_digits",
        ConvConfig(),
        _ours(3e-3, steps=4_500, batch_size=256, ema_decay=0.99),
        step_weights=(4, 3, 2, 1),  # the last steps draw the digits: at t = 4 all is noise
    ),
    "digits": Preset(  # ours: one digit, by its label; about 20 seconds of one CPU core
        "digits",
        MLPConfig(shape=(1, 8, 8), latent_dim=16, width=192, slope=0.2, classes=10),
        _ours(3e-3, steps=2_000, batch_size=64, r1=0.1, r2=0.1, ema_decay=0.99, label_drop=0.2),
        step_weights=(4, 3, 2, 1),
    ),
    "mnist": Preset(  # ours: an hour of one CPU core, by its label (lab/mnist-on-a-cpu.md)
        "mnist",
        PyramidConfig(data_std=0.5, noise_levels=_NOISY, classes=10, classifier_steps=1),
        replace(_FIRM, steps=14_000, denoiser_steps=600, head_start=200, lr_end_discriminator=3e-4),
        step_weights=(3, 2, 1, 1),
        save_every=1_000,
    ),
    "cifar10_16": Preset(  # ours: a quarter of the pixels, by label; an hour of one CPU core
        "cifar10",
        _PHOTOGRAPHS,
        replace(_SLOW, steps=16_500, denoiser_steps=6_000, head_start=1_500),
        step_weights=(2, 2, 1, 1),  # by the distance, the last two steps lose most
    ),
    "cifar10_32": Preset(  # ours: by label; three and a half hours of one CPU core
        "cifar10",
        replace(_LARGER, noise_levels=_DOUBLED),
        replace(_SLOW, steps=19_500, denoiser_steps=8_000, head_start=1_500),
        step_weights=(2, 2, 1, 1),
    ),
    # 1,800 epochs of 195 updates; 4 GPUs with 64 images each.
    "cifar10": Preset(
        "cifar10",
        UNetConfig(),
        replace(_PAPER, steps=351_000, lr_discriminator=1.25e-4, r1=0.02, r1_interval=15),
    ),
    # Ours, 123 epochs for 20 minutes of a data-centre GPU, untried on one (lab/speedrun.md).
    "speedrun": Preset(
        "cifar10",
        UNetConfig(width=64, multipliers=(1, 2, 2), blocks=1, style_dim=64, discriminator_width=32),
        _ours(
            5e-4,
            steps=24_000,
            batch_size=256,
            r1_interval=8,  # 0.5 every eighth step: 0.06 on average
            ema_decay=0.999,
            mixed_precision="bf16",
        ),
        step_weights=(4, 3, 2, 1),
    ),
    # 800 epochs of 30,000 images; 8 GPUs with 4 images each.
    "celeba_hq_256": Preset(
        "celeba_hq_256",
        replace(_HIGH_RESOLUTION, num_steps=2),
        replace(_PAPER, steps=750_000, batch_size=32, lr_generator=2e-4, r1=2.0),
    ),
    # 500 epochs of 1,875 updates; 8 GPUs with 8 images each.
    "lsun_church_256": Preset(
        "lsun_church_256",
        _HIGH_RESOLUTION,
        replace(_PAPER, steps=937_500, batch_size=64, r1=1.0, ema_decay=0.999),
    ),
    # Not published: the networks at half width, with the defaults of the authors' code.
    "stacked_mnist": Preset(
        "stacked_mnist",
        UNetConfig(width=64, mapping_depth=3),
        replace(_PAPER, steps=60_000, lr_generator=1.5e-4, r1=0.05, r1_interval=1, ema_decay=0.999),
    ),
}

_SMALL = UNetConfig(
    shape=(3, 16, 16),
    latent_dim=16,
    width=16,
    multipliers=(1, 2),
    blocks=1,
    attention_size=0,  # in the middle only
    style_dim=32,
    mapping_depth=2,
    discriminator_width=8,
    discriminator_time_dim=32,
)
# Rates for hundreds of updates where the paper has hundreds of thousands.
_SHORT = TrainSettings(
    steps=500,
    batch_size=16,
    lr_generator=1e-3,
    lr_discriminator=1e-3,
    lr_end=2e-4,
    betas=(0.0, 0.9),
    r1=1.0,
    r1_interval=8,
    ema_decay=0.98,
)


def _quick(full: Preset, **changes: object) -> Preset:
    """A minute on a CPU, on images that need no download, with the same number of steps T."""
    config = replace(_SMALL, num_steps=full.config.num_steps)
    made = Preset("photographs", config, _SHORT, log_every=10, save_every=100)
    return replace(made, **changes)


_QUICK_PHOTOGRAPHS = {
    "config": replace(_PHOTOGRAPHS, width=8, hidden=64, style=32),
    "settings": replace(_SHORT, denoiser_steps=100, r2=1.0, relativistic=True),
}
QUICK = {
    "mnist": _quick(
        PRESETS["mnist"],
        config=PyramidConfig(shape=(1, 16, 16), width=8, hidden=64, style=32),
    ),
    "cifar10_16": _quick(PRESETS["cifar10_16"], **_QUICK_PHOTOGRAPHS),
    "cifar10_32": _quick(PRESETS["cifar10_32"], **_QUICK_PHOTOGRAPHS),
    "cifar10": _quick(PRESETS["cifar10"]),
    "speedrun": _quick(
        PRESETS["speedrun"],
        settings=replace(_SHORT, r2=1.0, relativistic=True, reconstruction=10.0),
    ),
    "celeba_hq_256": _quick(PRESETS["celeba_hq_256"]),
    "lsun_church_256": _quick(PRESETS["lsun_church_256"]),
    "stacked_mnist": _quick(
        PRESETS["stacked_mnist"], data="stacked_digits", config=replace(_SMALL, shape=(3, 8, 8))
    ),
}


def preset(name: str, *, quick: bool = False, **changes: object) -> Preset:
    """An experiment by name, with some of its values changed.

    Args:
        name: one of PRESETS.
        quick: the small size for a CPU, where there is one; toy presets are small already.
        changes: new values by name, of the preset itself, its networks or its settings.

    Raises:
        ValueError: if the name, a key or a value is not right; it says what is.

    Example:
        >>> preset("cifar10", width=64, batch_size=128).settings.batch_size
        128
    """
    if name not in PRESETS:
        raise ValueError(_unknown("preset", name, PRESETS))
    chosen = QUICK.get(name, PRESETS[name]) if quick else PRESETS[name]
    parts = {"": chosen, "config": chosen.config, "settings": chosen.settings}
    sorted_changes: dict[str, dict] = {part: {} for part in parts}
    fields = {
        field.name: (part, field)
        for part, values in parts.items()
        for field in dataclasses.fields(values)
        if field.name not in parts
    }
    for key, value in changes.items():
        if key not in fields:
            raise ValueError(_unknown("key", key, fields))
        part, field = fields[key]
        sorted_changes[part][key] = fitting(key, value, field.type, getattr(parts[part], key))
    _check_steps(name, chosen, changes)
    config, settings = (
        replace(parts[part], **sorted_changes[part]) for part in ("config", "settings")
    )
    return replace(chosen, config=config, settings=settings, **sorted_changes[""])


def _check_steps(name: str, chosen: Preset, changes: dict[str, object]) -> None:
    """Refuse another T beside the preset's own numbers for each step."""
    lists = {
        "noise_levels": getattr(chosen.config, "noise_levels", None),
        "step_weights": chosen.step_weights,
    }
    steps, had = changes.get("num_steps"), chosen.config.num_steps
    stale = [key for key, own in lists.items() if own is not None and key not in changes]
    if stale and steps not in (None, had):
        raise ValueError(
            f"the preset {name} has {' and '.join(stale)} for its {had} steps: with num_steps="
            f"{steps} give others, {steps} numbers each, or None for what the paper does: "
            f"{' '.join(f'--set {key}=None' for key in stale)}, in Python "
            f"{', '.join(f'{key}=None' for key in stale)}."
        )


def parse(assignments: list[str]) -> dict[str, object]:
    """``["width=64", "data=my/folder"]`` as a dictionary of Python values.

    Raises:
        ValueError: if one is not of the form key=value.

    Example:
        >>> parse(["width=64", "betas=(0, 0.9)", "data=my/folder"])
        {'width': 64, 'betas': (0, 0.9), 'data': 'my/folder'}
    """
    changes: dict[str, object] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ValueError(f"--set takes key=value, got {assignment!r}.")
        try:
            changes[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            changes[key] = text  # a bare word
    return changes


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"unknown {what} {name!r}: known are {', '.join(known)}.{hint(name, known)}"
