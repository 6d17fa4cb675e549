"""A model behind the interface of diffusers, for programs that know pipelines."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ddgan_lite.exchange.hub import FILE
from ddgan_lite.files import checkpoints
from ddgan_lite.method.model import DDGAN

try:
    from diffusers import DiffusionPipeline, ImagePipelineOutput
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "DDGANPipeline needs diffusers: pip install 'ddgan-lite[diffusers]'."
    ) from error


class DDGANPipeline(DiffusionPipeline):
    """A DDGAN of images as a pipeline: ``DDGANPipeline.from_pretrained("runs/mine")(8).images``.

    Args:
        model: of images; its averaged weights draw.
        provenance: what the card of a saved pipeline says.

    Raises:
        ValueError: if the model's samples are no images of one or three channels.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from ddgan_lite import ConvConfig
        >>> pipe = DDGANPipeline(DDGAN(ConvConfig(shape=(3, 8, 8), classes=10)))
        >>> with TemporaryDirectory() as folder:
        ...     pipe.save_pretrained(folder)
        ...     pipe = DDGANPipeline.from_pretrained(folder)
        >>> pipe(batch_size=2, class_labels=3).images[0].size
        (8, 8)
    """

    def __init__(self, model: DDGAN, provenance: dict | None = None):
        shape = model.config.shape
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(f"a pipeline draws grey or colour images, not samples of {shape}.")
        super().__init__()
        self.register_modules(model=model)
        self.provenance = provenance or {}

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, *, sha256: str | None = None
    ) -> "DDGANPipeline":
        """From a file, a folder, an address or ``owner/name``.

        Args:
            pretrained_model_name_or_path, sha256: as for
                :meth:`~ddgan_lite.method.model.DDGAN.load`.

        Raises:
            FileNotFoundError, CheckpointError, ValueError: as there.
        """
        path = checkpoints.locate(pretrained_model_name_or_path, sha256)
        return cls(DDGAN.load(path), checkpoints.read(path)[1].get("provenance"))

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write ``model.safetensors`` into a folder; the library's own file, card included.

        Raises:
            OSError: if it cannot be written.
        """
        self.model.save(Path(save_directory, FILE), **self.provenance)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_inference_steps: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        *,
        class_labels: int | Sequence[int] | Tensor | None = None,
        guidance_scale: float = 1.0,
    ) -> ImagePipelineOutput | tuple:
        """Draw images: those of :meth:`~ddgan_lite.method.model.DDGAN.sample`, drawn alike.

        Args:
            batch_size: how many.
            generator: on the model's device; or one for each image, which then does not depend on
                the others.
            num_inference_steps: T of the model or left out: a DDGAN knows no other.
            output_type: ``"pil"``, ``"np"`` (n, H, W, C) or ``"pt"`` (n, C, H, W), both in [0, 1].
            return_dict: False returns the tuple ``(images,)``.
            class_labels: one for all or one for each, of a model with classes.
            guidance_scale: how strongly they are followed, see
                :meth:`~ddgan_lite.method.model.DDGAN.predict`.

        Raises:
            ValueError: if a value does not fit the model.
        """
        steps, device = self.model.config.num_steps, self.model.device
        if num_inference_steps not in (None, steps):
            raise ValueError(f"this model takes {steps} steps and no other number of them.")
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f'output_type must be "pil", "np" or "pt", got {output_type!r}.')
        each = isinstance(generator, Sequence)
        if each and len(generator) != batch_size:
            raise ValueError(f"{len(generator)} generators do not make {batch_size} images.")
        for rng in generator if each else [generator]:
            if rng is not None and rng.device.type != device.type:
                raise ValueError(f"the generator is on {rng.device}, the model on {device}.")
        y = self.model.label_rows(class_labels, batch_size)
        if each:
            rows = [None] * batch_size if y is None else y.split(1)
            images = torch.cat(
                [
                    self.model.sample(1, labels=row, guidance=guidance_scale, rng=rng)
                    for row, rng in zip(rows, generator, strict=True)
                ]
            )
        else:
            images = self.model.sample(batch_size, labels=y, guidance=guidance_scale, rng=generator)
        images = (images / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            images = images.permute(0, 2, 3, 1).cpu().numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        return ImagePipelineOutput(images=images) if return_dict else (images,)
