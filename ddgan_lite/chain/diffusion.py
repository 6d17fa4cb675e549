"""The forward chain, its marginals and its Gaussian posterior: the fixed half of the method.

Time runs as in the paper: x_0 is data, x_T is almost pure noise, and a denoising step goes
from x_t to x_{t-1} with t = 1..T. Every table has T + 1 entries, so that ``table[t]`` belongs
to x_t.
"""

import math
import numbers
from collections.abc import Sequence

import torch
from torch import Tensor

from ddgan_lite.chain.randomness import randn_like


def cosine_levels(num_steps: int, end: float = 0.94) -> tuple[float, ...]:
    """Noise levels tan(``end`` pi / 2 t / T) for t = 1..T: alpha_bar_t is the cosine, squared.

    The shape of Nichol and Dhariwal (2021), who use it for thousands of small steps. ``end``, below
    1, keeps a trace of x_0 in x_T, here 1 part in 113 of its variance: ours, for few large ones.

    Example:
        >>> [round(level, 3) for level in cosine_levels(4)]
        [0.387, 0.91, 2.001, 10.579]
    """
    if not 0 < end < 1:
        raise ValueError(f"end must lie between 0 and 1, got {end}.")
    _check_num_steps(num_steps)
    return tuple(math.tan(end * math.pi / 2 * t / num_steps) for t in range(1, num_steps + 1))


def _check_num_steps(num_steps: int) -> None:
    if isinstance(num_steps, bool) or not isinstance(num_steps, int) or num_steps < 1:
        raise ValueError(f"num_steps must be a whole number of at least 1, got {num_steps!r}.")


class Diffusion:
    """The variance-preserving chain q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I).

    The paper's schedule: alpha_bar(s) = exp(-s^2 (beta_max - beta_min) / 2 - s beta_min) is
    read off at T + 1 equally spaced times s_0 = ``time_min`` .. s_T = 1, and normalised so that
    x_0 carries no noise at all (Song et al. 2021, eq. 33; Xiao et al. 2022, appendix C). Any other
    one: a list of ``noise_levels``.

    Args:
        num_steps: T, the number of denoising steps, at least 1.
        beta_min, beta_max: rates of the continuous schedule at its two ends.
        time_min: the time that x_0 stands for, in [0, 1).
        noise_levels: in place of the rates, one for each of x_1 .. x_T: the standard deviation of
            the noise in units of the signal, sqrt((1 - alpha_bar_t) / alpha_bar_t), which is the
            sigma of Karras et al. (2022). Positive and rising.

    The tables ``beta``, ``alpha_bar``, ``posterior_coef_x0``, ``posterior_coef_xt`` and
    ``posterior_variance`` are float64 tensors of shape (T + 1,) on the CPU; posterior entries
    at index 0 are nan, because no step starts from x_0. Two chains are equal (``==``) if they are
    of one class and have the same ``alpha_bar``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> chain = Diffusion(4)
        >>> [round(share, 5) for share in chain.alpha_bar.tolist()]
        [1.0, 0.52174, 0.07868, 0.00343, 4e-05]
        >>> chain.q_sample(torch.ones(5, 2), t=4).shape
        torch.Size([5, 2])
        >>> chain == Diffusion(4, noise_levels=chain.noise_levels)
        True
        >>> [round(share, 2) for share in Diffusion(2, noise_levels=(1, 3)).alpha_bar.tolist()]
        [1.0, 0.5, 0.1]
    """

    def __init__(
        self,
        num_steps: int,
        *,
        beta_min: float = 0.1,
        beta_max: float = 20.0,
        time_min: float = 1e-3,
        noise_levels: Sequence[float] | None = None,
    ):
        _check_num_steps(num_steps)
        if not 0 < beta_min <= beta_max:
            raise ValueError(f"need 0 < beta_min <= beta_max, got {beta_min} and {beta_max}.")
        if not 0 <= time_min < 1:
            raise ValueError(f"time_min must lie in [0, 1), got {time_min}.")
        self.num_steps = num_steps

        if noise_levels is None:
            fractions = torch.arange(num_steps + 1, dtype=torch.float64, device="cpu") / num_steps
            s = time_min + (1 - time_min) * fractions
            log_alpha_bar = -0.5 * s**2 * (beta_max - beta_min) - s * beta_min
            log_alpha_bar = log_alpha_bar - log_alpha_bar[0]
        else:
            levels = torch.tensor([0.0, *noise_levels], dtype=torch.float64, device="cpu")
            rising = (levels.diff() > 0).all() and levels.isfinite().all()
            if len(levels) != num_steps + 1 or not rising:
                raise ValueError(
                    f"noise_levels must hold one positive number for each of the {num_steps} "
                    f"steps, every one larger than the one before, got "
                    f"{tuple(noise_levels)}. noise_levels=None is the paper's schedule."
                )
            log_alpha_bar = -torch.log1p(levels**2)
        self.alpha_bar = log_alpha_bar.exp()
        # expm1 keeps all the digits of a small beta: at T = 1000 the first is about 1e-4.
        self.beta = -torch.expm1(torch.diff(log_alpha_bar, prepend=log_alpha_bar[:1]))
        noise = -torch.expm1(log_alpha_bar)  # 1 - alpha_bar
        noise_prev = noise.roll(1)  # 1 - alpha_bar_{t-1}, at index t

        # q(x_{t-1} | x_t, x_0) = N(c_x0 x_0 + c_xt x_t, v): Ho et al. 2020, eq. 6 and 7.
        self.posterior_coef_x0 = self.alpha_bar.roll(1).sqrt() * self.beta / noise
        self.posterior_coef_xt = (1 - self.beta).sqrt() * noise_prev / noise
        self.posterior_variance = self.beta * noise_prev / noise
        for table in (self.posterior_coef_x0, self.posterior_coef_xt, self.posterior_variance):
            table[0] = math.nan
        self._tables = {
            "sqrt_alpha_bar": self.alpha_bar.sqrt(),
            "sigma_bar": noise.sqrt(),
            "sqrt_alpha": (1 - self.beta).sqrt(),
            "sqrt_beta": self.beta.sqrt(),
            "posterior_coef_x0": self.posterior_coef_x0,
            "posterior_coef_xt": self.posterior_coef_xt,
            "posterior_std": self.posterior_variance.sqrt(),
        }
        self._cast: dict[tuple, Tensor] = {}

    @property
    def noise_levels(self) -> tuple[float, ...]:
        """sqrt((1 - alpha_bar_t) / alpha_bar_t) of x_1 .. x_T.

        Example:
            >>> [round(level, 2) for level in Diffusion(4).noise_levels]
            [0.96, 3.42, 17.05, 152.16]
        """
        return tuple(((1 - self.alpha_bar) / self.alpha_bar).sqrt()[1:].tolist())

    def __eq__(self, other: object) -> bool:
        same = type(other) is type(self) and other.num_steps == self.num_steps
        # Levels that went through a file or a logarithm may differ in their last digit.
        return same and torch.allclose(self.alpha_bar, other.alpha_bar, rtol=1e-9, atol=0)

    __hash__ = None

    def __repr__(self) -> str:
        levels = ", ".join(f"{level:.4g}" for level in self.noise_levels[:8])
        return (
            f"Diffusion({self.num_steps}, noise_levels=({levels}{', ..' * (self.num_steps > 8)}))"
        )

    def check_t(self, t: int | Tensor, lowest: int = 1) -> None:
        """Refuse a t outside ``lowest``..T. Tensors on an accelerator are not read back.

        Example:
            >>> Diffusion(4).check_t(torch.tensor([1, 5]))
            Traceback (most recent call last):
                ...
            ValueError: t must lie in 1..4 (x_t with T = 4), got 5.
        """
        if isinstance(t, Tensor):
            if t.dtype not in (torch.int64, torch.int32):  # torch takes bytes for a mask
                raise ValueError(f"t must hold whole numbers (int64), got a tensor of {t.dtype}.")
            if t.device.type != "cpu" or t.numel() == 0:
                return
            low, high = (int(end) for end in t.aminmax())
        elif not isinstance(t, numbers.Integral):
            raise ValueError(f"t must be a whole number or a tensor of them, got {t!r}.")
        else:
            low = high = t
        if low < lowest or high > self.num_steps:
            raise ValueError(
                f"t must lie in {lowest}..{self.num_steps} (x_t with T = {self.num_steps}), "
                f"got {low if low < lowest else high}."
            )

    def _at(self, name: str, t: int | Tensor, like: Tensor) -> Tensor:
        """Entry t of a table in the dtype and on the device of ``like``, shaped to broadcast."""
        key = (name, like.dtype, like.device)
        if key not in self._cast:
            self._cast[key] = self._tables[name].to(like.device, like.dtype)
        entry = self._cast[key][t]
        if entry.ndim:
            if t.shape != like.shape[:1]:
                raise ValueError(
                    f"t must be one number or one per sample: got shape {tuple(t.shape)} "
                    f"for samples of shape {tuple(like.shape)}."
                )
            entry = entry.reshape(-1, *[1] * (like.ndim - 1))
        return entry

    def q_sample(self, x_0: Tensor, t: int | Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Draw x_t ~ q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I).

        Args:
            x_0: clean samples (n, ...).
            t: 0..T, one number or a tensor of shape (n,). t = 0 returns x_0 itself.
            rng: the random generator, on the device of ``x_0``.

        Example:
            >>> x_0, rng = torch.ones(100_000, 2), torch.Generator().manual_seed(0)
            >>> round(Diffusion(4).q_sample(x_0, 1, rng).mean().item(), 1)  # sqrt(alpha_bar_1)
            0.7
        """
        self.check_t(t, lowest=0)
        noise = randn_like(x_0, rng)
        return self._at("sqrt_alpha_bar", t, x_0) * x_0 + self._at("sigma_bar", t, x_0) * noise

    def q_step(self, x_prev: Tensor, t: int | Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Draw x_t ~ q(x_t | x_{t-1}) for t = 1..T; shapes as in :meth:`q_sample`.

        Example:
            >>> t = torch.tensor([1, 4])  # one for each sample
            >>> Diffusion(4).q_step(torch.zeros(2, 3), t).shape
            torch.Size([2, 3])
        """
        self.check_t(t)
        noise = randn_like(x_prev, rng)
        return self._at("sqrt_alpha", t, x_prev) * x_prev + self._at("sqrt_beta", t, x_prev) * noise

    def q_sample_pair(
        self, x_0: Tensor, t: int | Tensor, rng: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw a true pair (x_{t-1}, x_t): what the discriminator must take for real.

        Example:
            >>> x_0 = torch.ones(5, 2)
            >>> x_prev, x_t = Diffusion(4).q_sample_pair(x_0, 1)
            >>> torch.equal(x_prev, x_0), torch.equal(x_t, x_0)  # below t = 1 there is x_0
            (True, False)
        """
        self.check_t(t)
        x_prev = self.q_sample(x_0, t - 1, rng)
        return x_prev, self.q_step(x_prev, t, rng)

    def posterior(self, x_0: Tensor, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """Mean (n, ...) and variance (broadcastable) of q(x_{t-1} | x_t, x_0), t = 1..T.

        Gaussian for every step size, however large: only the *denoising* distribution
        q(x_{t-1} | x_t), which has to guess x_0, is not.

        Example:
            >>> mean, variance = Diffusion(4).posterior(torch.ones(5, 2), torch.zeros(5, 2), t=4)
            >>> mean.shape, round(variance.item(), 3)
            (torch.Size([5, 2]), 0.984)
        """
        mean, std = self._posterior(x_0, x_t, t)
        return mean, std**2

    def posterior_sample(
        self, x_0: Tensor, x_t: Tensor, t: int | Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        """Draw x_{t-1} ~ q(x_{t-1} | x_t, x_0). At t = 1 this is x_0 itself.

        Example:
            >>> x_0, x_t = torch.ones(5, 2), torch.zeros(5, 2)
            >>> torch.equal(Diffusion(4).posterior_sample(x_0, x_t, t=1), x_0)
            True
        """
        mean, std = self._posterior(x_0, x_t, t)
        return mean + std * randn_like(mean, rng)

    def moved(self, x_prev: Tensor, shift: Tensor, t: int | Tensor) -> Tensor:
        """x_{t-1} as it would be had x_0 been x_0 + ``shift``: the same x_t, and the same noise.

        A posterior sample of (x_0, x_t), moved so, is one of (x_0 + shift, x_t): only the mean
        depends on x_0.

        Example:
            >>> x_0, x_t = torch.ones(5, 2), torch.zeros(5, 2)
            >>> rngs = [torch.Generator().manual_seed(0) for _ in range(2)]
            >>> chain = Diffusion(4)
            >>> ours, theirs = (chain.posterior_sample(k * x_0, x_t, 3, rngs[k]) for k in (0, 1))
            >>> torch.allclose(chain.moved(ours, x_0, 3), theirs)
            True
        """
        return x_prev + self._at("posterior_coef_x0", t, x_prev) * shift

    def _posterior(self, x_0: Tensor, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        self.check_t(t)
        if x_0.shape != x_t.shape:
            raise ValueError(
                f"x_0 and x_t must have one shape, got {tuple(x_0.shape)} and {tuple(x_t.shape)}."
            )
        mean = (
            self._at("posterior_coef_x0", t, x_t) * x_0
            + self._at("posterior_coef_xt", t, x_t) * x_t
        )
        return mean, self._at("posterior_std", t, x_t)


def chain_of(config: object) -> Diffusion:
    """The chain that a configuration of networks names by its noise levels, or else its rates.

    Args:
        config: has ``num_steps``; ``beta_min``, ``beta_max`` and ``noise_levels`` if it cares.

    Raises:
        ValueError: if they are no chain.

    Example:
        >>> from ddgan_lite import MLPConfig
        >>> chain_of(MLPConfig()) == Diffusion(4)  # left alone: the paper's
        True
        >>> chain_of(MLPConfig(num_steps=2, noise_levels=(1, 3)))
        Diffusion(2, noise_levels=(1, 3))
    """
    names = ("beta_min", "beta_max", "noise_levels")
    return Diffusion(
        config.num_steps, **{n: getattr(config, n) for n in names if hasattr(config, n)}
    )
