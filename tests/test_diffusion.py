"""The chain's tables against published numbers and exact arithmetic, its draws against moments."""

import json
import math
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
import torch

from ddgan_lite.chain.diffusion import Diffusion, cosine_levels

REFERENCE = json.loads((Path(__file__).parent / "data" / "schedule.json").read_text())
N = 100_000


def standard_errors(samples, mean, std):
    """How many standard errors the mean and the std of normal samples are off."""
    n = len(samples)
    off_mean = abs(samples.mean().item() - mean) / (std / math.sqrt(n))
    off_std = abs(samples.std().item() - std) / (std / math.sqrt(2 * n))
    return max(off_mean, off_std)


def exact_tables(num_steps):
    """The schedule in 50 decimal digits: lists indexed by t, straight from the closed form."""
    with localcontext() as context:
        context.prec = 50
        rise, floor, start = Decimal("19.9"), Decimal("0.1"), Decimal("0.001")
        times = [start + (1 - start) * k / num_steps for k in range(num_steps + 1)]
        curve = [(-(s * s) * rise / 2 - s * floor).exp() for s in times]
        tables = {name: [math.nan] for name in ("beta", "coef_x0", "coef_xt", "variance")}
        tables["alpha_bar"] = [a / curve[0] for a in curve]
        for before, after in zip(tables["alpha_bar"], tables["alpha_bar"][1:], strict=False):
            beta = 1 - after / before
            tables["beta"].append(beta)
            tables["coef_x0"].append(before.sqrt() * beta / (1 - after))
            tables["coef_xt"].append((1 - beta).sqrt() * (1 - before) / (1 - after))
            tables["variance"].append(beta * (1 - before) / (1 - after))
        return {name: torch.tensor([float(v) for v in table]) for name, table in tables.items()}


# -- tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("num_steps", REFERENCE)
def test_tables_equal_those_of_the_published_runs(num_steps):
    reference = {
        name: torch.tensor(values, dtype=torch.float64)
        for name, values in REFERENCE[num_steps].items()
    }
    ours = Diffusion(int(num_steps))
    # The reference puts a dummy in front of its betas, and its posterior index t is our t + 1.
    for table, expected in (
        (ours.beta[1:], reference["betas"][1:]),
        (ours.alpha_bar, reference["sqrt_alpha_bar"] ** 2),
        ((1 - ours.alpha_bar).sqrt(), reference["sigma_bar"]),
        (ours.posterior_coef_x0[1:], reference["posterior_mean_coef_x0"]),
        (ours.posterior_coef_xt[1:], reference["posterior_mean_coef_xt"]),
        (ours.posterior_variance[1:], reference["posterior_variance"]),
    ):
        torch.testing.assert_close(table, expected, rtol=0, atol=1e-6)
    # 2e-6: the reference rounds 1 - beta to float32, which at T = 1 leaves it three digits.
    torch.testing.assert_close(
        ours.alpha_bar.sqrt(), reference["sqrt_alpha_bar"], rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("num_steps", [1, 4, 1000])
def test_tables_keep_twelve_digits_of_the_closed_form(num_steps):
    torch.set_default_dtype(torch.float64)
    try:
        exact = exact_tables(num_steps)
    finally:
        torch.set_default_dtype(torch.float32)
    ours = Diffusion(num_steps)
    for table, expected in (
        (ours.alpha_bar, exact["alpha_bar"]),
        (ours.beta[1:], exact["beta"][1:]),
        (ours.posterior_coef_x0[1:], exact["coef_x0"][1:]),
        (ours.posterior_coef_xt[1:], exact["coef_xt"][1:]),
        (ours.posterior_variance[1:], exact["variance"][1:]),
    ):
        torch.testing.assert_close(table, expected, rtol=1e-12, atol=1e-12)
    # The small first betas keep all their digits; computed as 1 - exp(..) they would not.
    torch.testing.assert_close(ours.beta[1:11], exact["beta"][1:11], rtol=2e-14, atol=0)


def test_the_schedule_follows_its_arguments():
    constant_rate = Diffusion(5, beta_min=2.0, beta_max=2.0, time_min=0.0)
    expected = torch.exp(-2.0 * torch.arange(6, dtype=torch.float64) / 5)
    torch.testing.assert_close(constant_rate.alpha_bar, expected, rtol=1e-14, atol=0)


def test_x_0_carries_no_noise_and_no_step_starts_from_it():
    diffusion = Diffusion(4)
    assert diffusion.alpha_bar[0] == 1
    assert diffusion.beta[0] == 0
    assert diffusion.posterior_variance[0].isnan()


# -- forward draws ---------------------------------------------------------------------------


@pytest.mark.parametrize("t", [1, 2, 4])
def test_q_sample_has_the_moments_of_the_closed_form(t, rng):
    alpha_bar = Diffusion(4).alpha_bar[t].item()
    x_t = Diffusion(4).q_sample(torch.full((N,), 1.5, dtype=torch.float64), t, rng)
    assert standard_errors(x_t, 1.5 * math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)) < 4


def test_q_steps_compose_to_the_closed_form_marginals(rng):
    diffusion = Diffusion(4)
    x = torch.full((N,), 1.5, dtype=torch.float64)
    for t in range(1, 5):
        x = diffusion.q_step(x, t, rng)
        alpha_bar = diffusion.alpha_bar[t].item()
        assert standard_errors(x, 1.5 * math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)) < 4


@pytest.mark.parametrize("t", [1, 2, 3])
def test_a_pair_is_one_step_apart(t, rng):
    diffusion = Diffusion(4)
    x_0 = torch.full((N,), 0.5, dtype=torch.float64)
    x_prev, x_t = diffusion.q_sample_pair(x_0, t, rng)
    before, after = diffusion.alpha_bar[t - 1].item(), diffusion.alpha_bar[t].item()
    beta = diffusion.beta[t].item()
    if t > 1:
        assert standard_errors(x_prev, 0.5 * math.sqrt(before), math.sqrt(1 - before)) < 4
    assert standard_errors(x_t, 0.5 * math.sqrt(after), math.sqrt(1 - after)) < 4
    # The noise of the step alone: independent draws of x_{t-1} and x_t would have more.
    assert standard_errors(x_t - math.sqrt(1 - beta) * x_prev, 0, math.sqrt(beta)) < 4


def test_the_pair_at_t_1_starts_from_the_data_themselves(rng):
    x_0 = torch.randn(7, 3, 2, generator=rng)
    x_prev, _ = Diffusion(4).q_sample_pair(x_0, 1, rng)
    assert torch.equal(x_prev, x_0)


def test_q_sample_at_t_0_returns_x_0(rng):
    x_0 = torch.randn(5, 2, generator=rng)
    assert torch.equal(Diffusion(4).q_sample(x_0, 0, rng), x_0)


# -- posterior -------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [2, 3, 4])
def test_the_posterior_is_bayes_rule(t):
    diffusion = Diffusion(4)
    x_0, x_t = 0.7, -0.4
    before, beta = diffusion.alpha_bar[t - 1].item(), diffusion.beta[t].item()
    x_prev = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    likelihood = -((x_t - math.sqrt(1 - beta) * x_prev) ** 2) / (2 * beta)
    prior = -((x_prev - math.sqrt(before) * x_0) ** 2) / (2 * (1 - before))
    density = (likelihood + prior).exp()
    density = density / torch.trapezoid(density, x_prev)
    mean = torch.trapezoid(x_prev * density, x_prev)
    variance = torch.trapezoid((x_prev - mean) ** 2 * density, x_prev)

    wide = torch.ones(1, dtype=torch.float64)
    ours = diffusion.posterior(x_0 * wide, x_t * wide, t)
    torch.testing.assert_close(ours[0].item(), mean.item(), rtol=0, atol=1e-10)
    torch.testing.assert_close(ours[1].item(), variance.item(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_steps", [1, 2, 4, 7, 1000])
def test_the_last_posterior_sample_is_x_0_exactly(num_steps, rng):
    x_0, x_t = torch.randn(2, 64, 2, generator=rng)
    assert torch.equal(Diffusion(num_steps).posterior_sample(x_0, x_t, 1, rng), x_0)


def test_only_the_rows_at_t_1_are_without_noise(rng):
    x_0, x_t = torch.randn(2, 4, 3, generator=rng)
    x_prev = Diffusion(4).posterior_sample(x_0, x_t, torch.tensor([1, 2, 1, 4]), rng)
    assert torch.equal(x_prev[[0, 2]], x_0[[0, 2]])
    assert (x_prev[[1, 3]] != x_0[[1, 3]]).all()


def test_posterior_samples_have_the_posterior_moments(rng):
    diffusion = Diffusion(4)
    x_0, x_t = torch.full((2, N), 0.3, dtype=torch.float64)
    mean, variance = diffusion.posterior(x_0, x_t, 3)
    x_prev = diffusion.posterior_sample(x_0, x_t, 3, rng)
    assert standard_errors(x_prev, mean[0].item(), math.sqrt(variance.item())) < 4


# -- arguments -------------------------------------------------------------------------------


def all_draws(diffusion, x, t):
    """Every public function of (x, t), each from the same seed."""
    other = 2 * x
    yield diffusion.q_sample(x, t, torch.Generator().manual_seed(1))
    yield diffusion.q_step(x, t, torch.Generator().manual_seed(1))
    yield from diffusion.q_sample_pair(x, t, torch.Generator().manual_seed(1))
    yield diffusion.posterior_sample(x, other, t, torch.Generator().manual_seed(1))
    yield diffusion.posterior(x, other, t)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("t", [1, 3])
def test_one_t_and_a_tensor_of_it_agree_and_keep_the_dtype(t, dtype):
    x = torch.linspace(-1, 1, 24, dtype=dtype).reshape(4, 3, 2)
    diffusion = Diffusion(4)
    one, many = all_draws(diffusion, x, t), all_draws(diffusion, x, torch.full((4,), t))
    for a, b in zip(one, many, strict=True):
        assert a.dtype == dtype
        assert a.shape == x.shape
        assert torch.equal(a, b)


def test_every_sample_uses_its_own_t():
    diffusion = Diffusion(4)
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    mean, variance = diffusion.posterior(x, 2 * x, torch.arange(1, 5))
    for t in range(1, 5):
        row = slice(t - 1, t)
        alone = diffusion.posterior(x[row], 2 * x[row], t)
        assert torch.equal(mean[row], alone[0])
        assert torch.equal(variance[row].squeeze(), alone[1])


def test_draws_follow_their_generator():
    x = torch.zeros(5, 2)
    first, again = (Diffusion(4).q_sample(x, 2, torch.Generator().manual_seed(3)) for _ in "ab")
    other = Diffusion(4).q_sample(x, 2, torch.Generator().manual_seed(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("num_steps", [0, -1, 2.0, "4", True, None])
def test_a_bad_number_of_steps_is_refused(num_steps):
    with pytest.raises(ValueError, match="num_steps must be a whole number of at least 1, got"):
        Diffusion(num_steps)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"beta_min": 0.0}, "need 0 < beta_min <= beta_max"),
        ({"beta_min": 3.0, "beta_max": 2.0}, "need 0 < beta_min <= beta_max"),
        ({"beta_max": math.nan}, "need 0 < beta_min <= beta_max"),
        ({"time_min": 1.0}, r"time_min must lie in \[0, 1\)"),
        ({"time_min": -0.1}, r"time_min must lie in \[0, 1\)"),
    ],
)
def test_a_bad_schedule_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Diffusion(4, **arguments)


# -- noise levels ----------------------------------------------------------------------------


@pytest.mark.parametrize("num_steps", [1, 4, 1000])
def test_a_chain_given_by_its_noise_levels_is_the_chain(num_steps):
    by_rates = Diffusion(num_steps)
    by_levels = Diffusion(num_steps, noise_levels=by_rates.noise_levels)
    assert by_levels == by_rates
    for table in ("beta", "posterior_coef_x0", "posterior_coef_xt", "posterior_variance"):
        ours, theirs = (getattr(chain, table)[1:] for chain in (by_levels, by_rates))
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-12)


def test_a_noise_level_is_noise_over_signal():
    levels = (0.4, 1.0, 9.0)
    chain = Diffusion(3, noise_levels=levels)
    for t, level in enumerate(levels, start=1):
        share = 1 / (1 + level**2)
        assert chain.alpha_bar[t].item() == pytest.approx(share, rel=1e-12)
    x_0 = torch.full((200_000, 1), 2.0)
    x_2 = chain.q_sample(x_0, 2, torch.Generator().manual_seed(0)) * 2**0.5  # in units of x_0
    assert x_2.mean().item() == pytest.approx(2, abs=0.01)
    assert x_2.std().item() == pytest.approx(1.0, abs=0.01)


def test_the_squared_cosine_is_the_signal():
    for num_steps in (1, 2, 8):
        alpha_bar = Diffusion(num_steps, noise_levels=cosine_levels(num_steps)).alpha_bar
        times = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
        torch.testing.assert_close(alpha_bar, (0.94 * math.pi / 2 * times).cos() ** 2)
    assert cosine_levels(2)[-1] == cosine_levels(8)[-1]  # every T starts from the same noise


def test_chains_are_equal_if_their_levels_and_their_class_are():
    class Other(Diffusion):
        pass

    assert Diffusion(4) == Diffusion(4) != Diffusion(4, beta_max=19.0)
    assert Diffusion(4) != Diffusion(2)
    assert Other(4) != Diffusion(4) and Diffusion(4) != "Diffusion(4)"


@pytest.mark.parametrize(
    "levels", [(), (1, 2), (1, 2, 3, 4, 5), (0, 1, 2, 3), (1, 1, 2, 3), (4, 3, 2, 1),
               (1, 2, 3, math.inf), (1, 2, math.nan, 3)],
)  # fmt: skip
def test_levels_that_are_no_chain_are_refused(levels):
    with pytest.raises(ValueError, match=r"noise_levels must hold one positive number for each of"):
        Diffusion(4, noise_levels=levels)


@pytest.mark.parametrize("end", [0.0, 1.0, math.nan])
def test_a_cosine_that_does_not_end_in_between_is_refused(end):
    with pytest.raises(ValueError, match="end must lie between 0 and 1, got"):
        cosine_levels(4, end)


@pytest.mark.parametrize("t", [0, 5, -1, torch.tensor([1, 0, 2]), torch.tensor([1, 5, 2])])
def test_a_t_outside_the_chain_is_refused(t):
    x = torch.zeros(3, 2)
    diffusion = Diffusion(4)
    for call in (
        lambda: diffusion.q_step(x, t),
        lambda: diffusion.q_sample_pair(x, t),
        lambda: diffusion.posterior(x, x, t),
        lambda: diffusion.posterior_sample(x, x, t),
    ):
        with pytest.raises(ValueError, match=r"t must lie in 1\.\.4 .* got (0|5|-1)\."):
            call()


def test_q_sample_takes_t_0_but_nothing_below_or_beyond():
    with pytest.raises(ValueError, match=r"t must lie in 0\.\.4"):
        Diffusion(4).q_sample(torch.zeros(3, 2), -1)
    with pytest.raises(ValueError, match=r"t must lie in 0\.\.4"):
        Diffusion(4).q_sample(torch.zeros(3, 2), 5)


@pytest.mark.parametrize(
    "t",
    [
        1.5,
        "2",
        None,
        torch.tensor([1.0, 2.0, 3.0]),
        torch.tensor([True, False, True]),
        torch.tensor([1, 2, 3], dtype=torch.uint8),  # torch would take it for a mask
    ],
)
def test_a_t_that_is_no_whole_number_is_refused(t):
    with pytest.raises(ValueError, match=r"t must (be a whole number|hold whole numbers)"):
        Diffusion(4).q_step(torch.zeros(3, 2), t)


@pytest.mark.parametrize("t", [torch.tensor([1, 2]), torch.tensor([[1], [2], [3]])])
def test_a_t_of_the_wrong_shape_is_refused(t):
    with pytest.raises(ValueError, match="t must be one number or one per sample: got shape"):
        Diffusion(4).q_sample(torch.zeros(3, 2), t)


def test_a_posterior_of_two_shapes_is_refused():
    with pytest.raises(ValueError, match=r"x_0 and x_t must have one shape, got \(3, 2\) and"):
        Diffusion(4).posterior(torch.zeros(3, 2), torch.zeros(3, 1), 2)
