"""A Denoising Diffusion GAN: generator, discriminator and the chain between them."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ddgan_lite.chain.diffusion import chain_of
from ddgan_lite.chain.randomness import Numbered, own_rows, randn
from ddgan_lite.files import checkpoints
from ddgan_lite.method.ema import EMA
from ddgan_lite.networks import Config, describe, described
from ddgan_lite.networks.toy import fitting

Labels = int | Sequence[int] | Tensor | str | None  # of a batch; the one str is "in turn"


class DDGAN(nn.Module):
    """The implicit denoising model p(x_{t-1} | x_t) (Xiao et al. 2022, eq. 5).

    The generator guesses x_0 from (x_t, t, z); the Gaussian posterior q(x_{t-1} | x_t, x_0)
    then puts back the noise that belongs at x_{t-1}. Different latents z give different
    guesses, so one step can have many modes.

    With ``classes`` in its configuration both networks are given a label as well, and sampling can
    ask for one (:meth:`predict` says how strongly).

    Args:
        config: the networks, for example :class:`ddgan_lite.networks.MLPConfig`.
        step_weights: relative frequency of t = 1..T in training; uniform, as in the paper,
            when left out.

    Attributes:
        classes: of the labels, 0 without.
        diffusion: the chain that ``config`` names. A model that is given another one cannot be
            saved: a file holds the configuration.
        generator, discriminator: the two networks being trained. A model loaded for sampling has
            ``discriminator`` None.
        averaged: the moving average of the generator (:class:`ddgan_lite.method.ema.EMA`), or None
            before training and after loading.

    Raises:
        ValueError: if step_weights is not one non-negative number per step.

    Example:
        >>> from ddgan_lite import MLPConfig
        >>> model = DDGAN(MLPConfig(shape=(2,), num_steps=4))
        >>> model.sample(5).shape, [tuple(x.shape) for x in model.sample_steps(5)]  # x_4, .., x_0
        (torch.Size([5, 2]), [(5, 2), (5, 2), (5, 2), (5, 2), (5, 2)])
    """

    def __init__(self, config: Config, *, step_weights: Sequence[float] | None = None):
        super().__init__()
        self.config = config
        self.classes: int = getattr(config, "classes", 0)
        self.diffusion = chain_of(config)
        self.generator = config.build_generator()
        self.discriminator: nn.Module | None = config.build_discriminator()
        self.averaged: EMA | None = None
        given = [1.0] * config.num_steps if step_weights is None else step_weights
        weights = torch.tensor(given, dtype=torch.float32, device="cpu")
        valid = torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0
        if len(weights) != config.num_steps or not valid:
            raise ValueError(
                f"step_weights must hold one non-negative number for each of the "
                f"{config.num_steps} steps, got {step_weights}; step_weights=None is uniform."
            )
        self.step_weights = weights

    @property
    def device(self) -> torch.device:
        """Where the generator's weights are.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> DDGAN(MLPConfig()).device
            device(type='cpu')
        """
        return next(self.generator.parameters()).device

    @property
    def batch_size(self) -> int:
        """Samples drawn at once unless told: as many numbers as in 128 images of 32 x 32 pixels.

        Example:
            >>> from ddgan_lite import UNetConfig
            >>> DDGAN(UNetConfig(shape=(3, 64, 64), width=8)).batch_size
            32
        """
        return max(1, 128 * 3 * 32 * 32 // math.prod(self.config.shape))

    @property
    def dtype(self) -> torch.dtype:
        """What the generator's weights are made of.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> DDGAN(MLPConfig()).dtype
            torch.float32
        """
        return next(self.generator.parameters()).dtype

    # -- what training asks of an adversarial model ------------------------------------------

    def real_pair(
        self, x_0: Tensor, rng: torch.Generator | None = None, y: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A true x_{t-1} and its condition (x_t, t), with t drawn by ``step_weights``.

        With the labels y (n,) of x_0 the condition is (x_t, t, y).

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> model = DDGAN(MLPConfig(num_steps=4), step_weights=(0, 0, 0, 1))
            >>> x_prev, (x_t, t) = model.real_pair(torch.zeros(3, 2))
            >>> x_prev.shape, x_t.shape, t
            (torch.Size([3, 2]), torch.Size([3, 2]), tensor([4, 4, 4]))
        """
        weights, how = self.step_weights.to(x_0.device), {"replacement": True, "generator": rng}
        t = 1 + own_rows(lambda rows: torch.multinomial(weights, rows, **how), len(x_0), rng)
        x_prev, x_t = self.diffusion.q_sample_pair(x_0, t, rng)
        return x_prev, (x_t, t) if y is None else (x_t, t, y)

    def fake_like(
        self,
        real: Tensor,
        condition: tuple[Tensor, ...],
        rng: torch.Generator | None = None,
        guess: Tensor | None = None,
    ) -> Tensor:
        """A generated x_{t-1} for the same x_t: what the discriminator must tell apart.

        It is drawn around ``guess``, which is the generator's guess of x_0 when left out.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> model = DDGAN(MLPConfig())
            >>> x_prev, condition = model.real_pair(torch.zeros(3, 2))
            >>> fake = model.fake_like(x_prev, condition)
            >>> model.discriminator(fake, *condition).shape
            torch.Size([3])
        """
        x_t, t, *y = condition
        guess = self.predict(x_t, t, None, *y, rng=rng) if guess is None else guess
        return self.diffusion.posterior_sample(guess, x_t, t, rng)

    # -- sampling ----------------------------------------------------------------------------

    def draw_latent(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """z ~ N(0, I), shape (n, latent_dim).

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> DDGAN(MLPConfig(latent_dim=8)).draw_latent(5).shape
            torch.Size([5, 8])
        """
        return randn((n, self.config.latent_dim), rng, torch.float32, self.device)

    def predict(
        self,
        x_t: Tensor,
        t: Tensor,
        z: Tensor | None = None,
        y: Tensor | None = None,
        *,
        guidance: float = 1.0,
        weights: str = "raw",
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """The generator's guess of x_0: x_t (n, *shape), t (n,), z (n, latent_dim) or drawn.

        With labels y (n,) and ``guidance`` w it is G(z) + w (G(z, y) - G(z)), both with the same
        z: 0 ignores the label, 1 is the guess for it, more goes beyond. In a diffusion model, where
        this comes from (Ho and Salimans 2021), what is extrapolated is a score, or a mean of x_0:
        one number for each x_t. Here it is the difference of two *draws*, paired by their latent.
        Nothing in training asks that one z mean the same with and without a label, so a guess
        for w > 1 is a draw from no distribution that anything names; what it does to quality and
        variety is an empirical matter (``book/results/guidance.json`` for digits).

        Raises:
            ValueError: if x_t has another shape than the model's samples, or there is no label for
                the guidance to follow.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> model = DDGAN(MLPConfig())
            >>> x_t, t = torch.zeros(5, 2), torch.full((5,), 4)
            >>> len(model.predict(x_t, t).unique(dim=0))  # one x_4, five latents: five guesses
            5
        """
        if tuple(x_t.shape[1:]) != self.config.shape:
            raise ValueError(
                f"this model works on samples of shape {self.config.shape}, "
                f"got {tuple(x_t.shape[1:])}."
            )
        z = self.draw_latent(len(x_t), rng) if z is None else z
        if guidance != 1 and (y is None or not math.isfinite(guidance)):
            raise ValueError(f"guidance is a finite number and needs labels, got {guidance}.")
        network = self.network(weights)
        if y is None or guidance == 1:
            return network(x_t, t, z) if y is None else network(x_t, t, z, y)
        free = network(x_t, t, z)
        return free + guidance * (network(x_t, t, z, y) - free)

    def network(self, weights: str = "averaged") -> nn.Module:
        """The generator with these weights; ``weights`` as in :meth:`sample_steps`.

        Raises:
            ValueError: if ``weights`` is neither.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> model = DDGAN(MLPConfig())
            >>> model.network("averaged") is model.generator  # no average before training
            True
        """
        if weights not in ("averaged", "raw"):
            raise ValueError(f'weights must be "averaged" or "raw", got {weights!r}.')
        averaged = weights == "averaged" and self.averaged is not None
        return self.averaged.module if averaged else self.generator

    def label_rows(self, labels: Labels, n: int, first: int = 0) -> Tensor | None:
        """One label for all of n samples, or one for each, as y (n,); None stays None.

        ``"in turn"``: one class after the other, sample ``first`` of a longer row being the first;
        None for a model without classes. Among several the number of classes stands for no label.

        Raises:
            ValueError: if the model knows no such labels, or they are not n.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> DDGAN(MLPConfig(classes=10)).label_rows(3, n=2)
            tensor([3, 3])
            >>> DDGAN(MLPConfig(classes=3)).label_rows("in turn", n=4)
            tensor([0, 1, 2, 0])
            >>> DDGAN(MLPConfig()).label_rows(3, n=2)
            Traceback (most recent call last):
                ...
            ValueError: this model was trained without labels: none can be asked for.
        """
        last, turns = self.classes - 1, isinstance(labels, str) and labels == "in turn"
        if labels is None or (turns and last < 0):
            return None
        if last < 0:
            raise ValueError("this model was trained without labels: none can be asked for.")
        rows = torch.arange(first, first + n) % self.classes if turns else labels
        y = torch.as_tensor(-1 if isinstance(rows, str) else rows, device=self.device)
        whole = y.dtype == torch.long and y.shape in ((), (n,))
        if not whole or y.min() < 0 or y.max() > last + y.ndim:
            raise ValueError(f"labels must be one of 0..{last} or {n} of them, got {labels!r}.")
        return y.expand(n)

    @torch.no_grad()
    def sample_steps(
        self,
        n: int,
        *,
        x_T: Tensor | None = None,
        labels: Labels = None,
        guidance: float = 1.0,
        weights: str = "averaged",
        rng: torch.Generator | Numbered | None = None,
    ) -> Iterator[Tensor]:
        """Yield x_T, x_{T-1}, .., x_0, each (n, *shape): T network evaluations.

        Args:
            n: number of samples, at least 1.
            x_T: where to start; drawn from N(0, I) when left out.
            labels: of a model with classes: one for all, or one for each sample, where the
                number of classes stands for none; or ``"in turn"``. Left out: none.
            guidance: how strongly the label is followed, see :meth:`predict`.
            weights: ``"averaged"`` for the moving average (the plain weights of a model that
                has none), ``"raw"`` for the weights being trained.
            rng: random generator, on the model's device; or
                :class:`~ddgan_lite.chain.randomness.Numbered`, one for each sample.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> start = torch.ones(5, 2)
            >>> x_T, *_, x_0 = DDGAN(MLPConfig()).sample_steps(5, x_T=start)
            >>> torch.equal(x_T, start), x_0.shape
            (True, torch.Size([5, 2]))
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        shape = (n, *self.config.shape)
        x = randn(shape, rng, torch.float32, self.device) if x_T is None else x_T
        if tuple(x.shape) != shape:
            raise ValueError(f"x_T must have shape {shape}, got {tuple(x.shape)}.")
        how = {"labels": labels, "guidance": guidance, "weights": weights, "rng": rng}
        yield from self.denoise_steps(x, self.diffusion.num_steps, **how)

    @torch.no_grad()
    def denoise_steps(
        self,
        x_t: Tensor,
        t: int,
        *,
        labels: Labels = None,
        guidance: float = 1.0,
        weights: str = "averaged",
        rng: torch.Generator | Numbered | None = None,
    ) -> Iterator[Tensor]:
        """Yield x_t, x_{t-1}, .., x_0, each (n, *shape): the last t steps of sampling.

        Noise an image with ``diffusion.q_sample`` and denoise it from here: a small t varies
        it, a large one keeps its rough plan (SDEdit, Meng et al. 2022).

        Args:
            x_t: where to start (n, *shape).
            t: its noise level, 1..T.
            labels, guidance, weights, rng: as in :meth:`sample_steps`.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> model = DDGAN(MLPConfig())
            >>> x_2 = model.diffusion.q_sample(torch.ones(5, 2), t=2)
            >>> len(list(model.denoise_steps(x_2, t=2)))  # x_2, x_1, x_0
            3
        """
        self.diffusion.check_t(t)
        y = self.label_rows(labels, len(x_t))
        yield x_t
        for step in range(t, 0, -1):
            steps = torch.full((len(x_t),), step, device=x_t.device)
            x_0 = self.predict(x_t, steps, y=y, guidance=guidance, weights=weights, rng=rng)
            x_t = self.diffusion.posterior_sample(x_0, x_t, step, rng)
            yield x_t

    def sample(
        self,
        n: int,
        *,
        labels: Labels = None,
        guidance: float = 1.0,
        weights: str = "averaged",
        rng: torch.Generator | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
        first: int = 0,
    ) -> Tensor:
        """Draw n samples (n, *shape) by T denoising steps; arguments as in sample_steps.

        They are drawn ``batch_size`` at a time, so that memory does not grow with n; left out,
        a batch is about as many numbers as 128 images of 32 x 32 pixels.

        From ``rng`` a sample depends on all those before it, on n and on the size of the batches.
        With ``seed`` in its place the samples have numbers, from ``first`` on, and each follows
        from the seed and its number alone: the same on every device, up to the rounding of the
        networks. The command line and :func:`~ddgan_lite.evaluation.fidelity.evaluate` draw so.

        Raises:
            ValueError: if a number is out of range, or there are both ``rng`` and ``seed``.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> model = DDGAN(MLPConfig())
            >>> a, b = (model.sample(5, rng=torch.Generator().manual_seed(1)) for _ in range(2))
            >>> torch.equal(a, b)  # a seed decides the samples
            True
            >>> torch.allclose(model.sample(1, seed=0, first=3), model.sample(5, seed=0)[3:4])
            True
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        if seed is not None and rng is not None:
            raise ValueError("give either rng or seed: both decide the samples.")
        at_once = batch_size or self.batch_size
        y, how = self.label_rows(labels, n, first), {"guidance": guidance, "weights": weights}
        batches = []
        for start in range(0, n, at_once):
            some, own = min(at_once, n - start), None if y is None else y[start : start + at_once]
            if seed is not None:
                rng = Numbered(seed, range(first + start, first + start + some))
            for x in self.sample_steps(some, labels=own, rng=rng, **how):
                x_0 = x  # the earlier steps are let go
            batches.append(x_0)
        return torch.cat(batches)

    # -- files -------------------------------------------------------------------------------

    def save(
        self,
        path: str | os.PathLike,
        *,
        half: bool = False,
        keep: str = "sampling",
        **provenance: object,
    ) -> Path:
        """Write what sampling needs, the averaged generator and its configuration, to ``path``.

        Args:
            path: the file to write.
            half: round the weights to half precision, which halves the file.
            keep: ``"training"`` writes the generator that was being trained and the discriminator
                as well, so that another training can begin with them. The state of the optimisers
                belongs to a run, and stays in its checkpoints
                (:func:`ddgan_lite.training.resume.save`).
            provenance: data, seed, hardware, ...: it goes into the file's header, where
                :func:`ddgan_lite.files.cards.card` finds it.

        Raises:
            ValueError: if a weight is too large for half precision, ``keep`` is neither, there is
                no discriminator to keep, or the file would not bring this model back
                (:meth:`check_chain`).

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from ddgan_lite import MLPConfig
            >>> with TemporaryDirectory() as folder:
            ...     path = DDGAN(MLPConfig()).save(f"{folder}/my.safetensors", data="mine", seed=0)
            ...     checkpoints.read(path)[1]["provenance"]
            {'data': 'mine', 'seed': 0}
        """
        self.check_chain()
        header = {**describe(self.config), "provenance": provenance}
        tensors = self.network("averaged").state_dict()
        if _for_training(keep):
            if self.discriminator is None:
                raise ValueError("this model has no discriminator that could be kept for training.")
            header["step_weights"] = self.step_weights.tolist()
            networks = {"generator": self.generator, "discriminator": self.discriminator}
            networks["averaged"] = self.network("averaged")
            tensors = {  # cloned: before any training the average is the generator itself
                f"{name}/{key}": weight.clone()
                for name, network in networks.items()
                for key, weight in network.state_dict().items()
            }
        if half:
            tensors = {name: weight.half() for name, weight in tensors.items()}
            if not all(weight.isfinite().all() for weight in tensors.values()):
                raise ValueError("a weight is too large for half precision: save with half=False.")
        return checkpoints.write(path, tensors, header)

    def check_chain(self) -> None:
        """Refuse a chain, or a generator, that a file of this model would not bring back.

        Raises:
            ValueError: if ``diffusion`` or ``generator`` is another than the configuration names.

        Example:
            >>> from ddgan_lite import MLPConfig
            >>> model = DDGAN(MLPConfig(num_steps=2))
            >>> model.diffusion = chain_of(MLPConfig(num_steps=2, noise_levels=(1, 3)))
            >>> model.check_chain()  # doctest: +ELLIPSIS
            Traceback (most recent call last):
                ...
            ValueError: the model runs on Diffusion(2, noise_levels=(1, 3)), its configuration ...
        """
        named = chain_of(self.config)
        if self.diffusion != named:
            raise ValueError(
                f"the model runs on {self.diffusion}, its configuration names {named}, and a file "
                "keeps the configuration only. Give the chain to the configuration, as "
                "noise_levels, and build the model from that."
            )
        with torch.device("meta"):
            same = str(self.config.build_generator()) == str(self.generator)
        if not same:
            raise ValueError(
                "the generator is not the one that the configuration builds, and a file keeps the "
                "configuration only. Save the weights of a network of your own with safetensors."
            )

    @classmethod
    def load(
        cls, source: str | os.PathLike, *, sha256: str | None = None, keep: str = "sampling"
    ) -> "DDGAN":
        """A model ready to sample.

        Args:
            source: a file written by :meth:`save`, a training checkpoint (its averaged weights
                are taken), the folder of a run, an address, ``"https://..."``, or a name on the
                Hugging Face hub, ``"owner/name"``, whose ``model.safetensors`` is downloaded.
            sha256: refuse any other file than the one with this checksum.
            keep: ``"training"`` gives the generator that was being trained, the discriminator and
                the average, ready for :func:`ddgan_lite.training.trainer.train`; the source is then
                a training checkpoint or a file saved with ``keep="training"``.

        Raises:
            FileNotFoundError: if there is no such file, or no way to download it.
            CheckpointError: if it is not such a file, or not a whole one, or not that one.
            ValueError: if ``sha256`` is no checksum, or ``keep`` is neither.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from ddgan_lite import MLPConfig
            >>> with TemporaryDirectory() as folder:
            ...     file = DDGAN(MLPConfig(num_steps=2)).save(f"{folder}/model.safetensors", seed=0)
            ...     DDGAN.load(file).config.num_steps
            2
        """
        training, path = _for_training(keep), checkpoints.locate(source, sha256)
        tensors, header = checkpoints.read(path)
        parts = {"generator": checkpoints.section(tensors, "averaged") or tensors}
        if training:
            checkpoints.check_trainable(path, tensors)
            names = ("generator", "discriminator", "averaged")
            parts = {name: checkpoints.section(tensors, name) for name in names}
        try:
            record = header.get("training", header)
            known = training and isinstance(record, dict)
            weights = record.get("step_weights") if known else None
            fitting("step_weights", weights, tuple[float, ...] | None)
            with torch.device("meta"):  # shapes only: the file is compared before there is memory
                model = cls(described(header), step_weights=weights)
        except (ValueError, RuntimeError) as error:
            raise checkpoints.CheckpointError(
                f"{path} describes a model that this version of ddgan_lite cannot build: "
                f"{checkpoints.plain(error)}"
            ) from error
        for name, part in parts.items():
            same = "generator" if name == "averaged" else name
            checkpoints.check_names(path, part, getattr(model, same).state_dict())
        model.generator = model.config.build_generator()
        model.generator.load_state_dict(parts["generator"])
        if not training:
            model.discriminator = None
            return model.requires_grad_(False).eval()
        model.discriminator = model.config.build_discriminator()
        model.discriminator.load_state_dict(parts["discriminator"])
        model.averaged = EMA(model.generator, decay=0)
        model.averaged.module.load_state_dict(parts["averaged"])
        return model


def _for_training(keep: str) -> bool:
    if keep not in ("sampling", "training"):
        raise ValueError(f'keep must be "sampling" or "training", got {keep!r}.')
    return keep == "training"
