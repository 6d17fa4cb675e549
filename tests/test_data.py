"""The data sets: shapes, ranges, splits, labels that tell the truth."""

import pytest
import torch

from ddgan_lite.data import toys as data
from ddgan_lite.data.toys import Digits, StackedDigits, gaussian_grid, gaussian_line, gaussian_ring


@pytest.fixture(scope="module")
def digits():
    return {split: Digits(split) for split in ("train", "test", "all")}


def pixels(images):
    """One sortable tuple per image."""
    return sorted(map(tuple, images.flatten(1).tolist()))


# -- toy mixtures ----------------------------------------------------------------------------


def test_the_25_gaussians_stand_on_the_integers():
    grid = gaussian_grid()
    expected = {(float(x), float(y)) for x in range(-2, 3) for y in range(-2, 3)}
    assert set(map(tuple, grid.means.tolist())) == expected
    assert (grid.std == 0.05).all()
    assert torch.equal(grid.weights, torch.full((25,), 0.04, dtype=torch.float64))


def test_the_line_is_a_row_and_the_ring_a_circle():
    torch.testing.assert_close(
        gaussian_line(4, spacing=2.0).means.flatten(),
        torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=torch.float64),
    )
    ring = gaussian_ring(6, radius=3.0)
    torch.testing.assert_close(ring.means.norm(dim=1), torch.full((6,), 3.0, dtype=torch.float64))
    # Neighbours on a hexagon are one radius apart.
    gaps = (ring.means - ring.means.roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(gaps, torch.full((6,), 3.0, dtype=torch.float64))


def test_one_gaussian_is_centred():
    for mixture in (gaussian_grid(1), gaussian_line(1)):
        assert (mixture.means == 0).all()
        assert mixture.num_components == 1


@pytest.mark.parametrize("make", [gaussian_grid, gaussian_line, gaussian_ring])
def test_a_mixture_of_nothing_is_refused(make):
    with pytest.raises(ValueError, match=r"(side|count) must be at least 1, got 0"):
        make(0)


def test_an_unknown_mixture_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown data set 'spiral': known are ") as caught:
        data.mixture("spiral")
    assert all(name in str(caught.value) for name in data.MIXTURES)


# -- digits ----------------------------------------------------------------------------------


def test_digits_are_grey_images_between_minus_one_and_one(digits):
    whole = digits["all"]
    assert whole.images.shape == (1797, 8, 8)
    assert whole.images.dtype == torch.float32
    assert whole.images.min() == -1
    assert whole.images.max() == 1
    assert whole.labels.dtype == torch.int64
    assert whole.labels.unique().tolist() == list(range(10))


def test_the_splits_part_the_digits_without_overlap(digits):
    train, test, whole = (digits[split].images for split in ("train", "test", "all"))
    assert (len(train), len(test)) == (1198, 599)
    assert not set(pixels(train)) & set(pixels(test))
    assert pixels(torch.cat([train, test])) == pixels(whole)


def test_the_splits_hold_every_digit_in_proportion(digits):
    shares = [
        torch.bincount(digits[split].labels, minlength=10) / len(digits[split].labels)
        for split in ("train", "test")
    ]
    assert (shares[0] - shares[1]).abs().max() < 0.002


def test_the_split_is_always_the_same(digits):
    assert torch.equal(Digits().images, digits["train"].images)


def test_labels_belong_to_their_images(digits):
    train, test = digits["train"], digits["test"]
    nearest = torch.cdist(test.images.flatten(1), train.images.flatten(1)).argmin(1)
    assert (train.labels[nearest] == test.labels).float().mean() > 0.97


def test_an_unknown_split_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown split 'valid': known are train, test, all"):
        Digits("valid")


# -- stacked digits --------------------------------------------------------------------------


def test_stacks_are_three_digits_as_channels(digits, rng):
    stacks, modes = StackedDigits(digits["train"]).sample_labelled(200, rng)
    assert stacks.shape == (200, *StackedDigits.shape)
    assert stacks.dtype == torch.float32
    assert stacks.min() == -1
    assert stacks.max() == 1
    train = digits["train"]
    pools = [set(pixels(train.images[train.labels == label])) for label in range(10)]
    for stack, mode in zip(stacks, modes.tolist(), strict=True):
        for channel, digit in zip(stack, f"{mode:03d}", strict=True):
            assert tuple(channel.flatten().tolist()) in pools[int(digit)]


def test_all_thousand_modes_are_equally_likely(rng):
    n = 50_000
    _, modes = StackedDigits().sample_labelled(n, rng)
    counts = torch.bincount(modes, minlength=StackedDigits.num_modes).double()
    assert len(counts) == 1000
    # Chi-squared with 999 degrees of freedom: mean 999, standard deviation 44.7.
    chi_squared = ((counts - n / 1000) ** 2 / (n / 1000)).sum().item()
    assert abs(chi_squared - 999) < 4 * 44.7


def test_every_image_of_a_digit_is_used(digits, rng):
    train = digits["train"]
    stacks = StackedDigits(train).sample(6000, rng)
    assert set(pixels(stacks.reshape(-1, 8, 8))) == set(pixels(train.images))


def test_stacks_repeat_with_their_generator():
    source = StackedDigits()
    first, again = (source.sample(9, torch.Generator().manual_seed(1)) for _ in "ab")
    assert torch.equal(first, again)
    assert not torch.equal(first, source.sample(9, torch.Generator().manual_seed(2)))


def test_stacks_of_no_size_or_of_missing_digits_are_refused():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        StackedDigits().sample(0)
    partial = Digits()
    keep = partial.labels != 3
    partial.images, partial.labels = partial.images[keep], partial.labels[keep]
    with pytest.raises(ValueError, match="at least one image of each of the ten digits"):
        StackedDigits(partial)
