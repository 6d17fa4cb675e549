"""Sets of images: bytes that stay what they were, an order that resumes, sentences for mishaps."""

import gzip
import pickle
import shutil
import struct
import sys
from itertools import islice
from pathlib import Path
from urllib.error import URLError

import numpy as np
import PIL
import pytest
import torch
import torchvision
from PIL import Image

from ddgan_lite.data import images
from ddgan_lite.data.images import (
    DataError,
    Images,
    StoredImages,
    load_images,
    photographs,
    to_bytes,
    to_unit,
)

SHARED_MNIST = Path(__file__).resolve().parents[2] / "shared/data/MNIST/raw"
BROUGHT = ("celeba_hq_256", "lsun_church_256")


def numbered(n, shape=(1, 1, 2)):
    """n images that say which they are: every byte of image i is i."""
    pixels = torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1)
    return Images(pixels.repeat(1, *shape), name="numbered")


def some(batches, n):
    """The first pixel of every image of the next n batches."""
    return [batch[:, 0, 0, 0].tolist() for batch in islice(batches, n)]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def folder_of(path, count=3, size=8):
    """A folder of lossless colour images; returns it and the bytes (count, 3, size, size)."""
    path.mkdir()
    pixels = noise(count, size, size, 3)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(path / f"{i}.png")
    return path, torch.from_numpy(pixels).permute(0, 3, 1, 2)


# -- bytes and numbers -----------------------------------------------------------------------


def test_bytes_survive_the_way_to_numbers_and_back():
    every = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    unit = to_unit(every)
    assert (unit.dtype, unit.min(), unit.max()) == (torch.float32, -1, 1)
    torch.testing.assert_close(unit.double(), every.double() / 127.5 - 1, atol=1e-7, rtol=0)
    assert torch.equal(to_bytes(unit), every)
    assert torch.equal(to_bytes(unit.double()), every)


def test_numbers_are_rounded_and_clamped():
    x = torch.tensor([-7.0, -1.0, -1 + 0.6 / 127.5, 0.0, 1 - 0.4 / 127.5, 1.0, 3.0])
    assert to_bytes(x).tolist() == [0, 0, 1, 128, 255, 255, 255]
    assert to_bytes(torch.tensor([-1.0, 1.0], dtype=torch.bfloat16)).tolist() == [0, 255]


# -- the set ---------------------------------------------------------------------------------


def test_a_set_knows_its_size_and_name():
    five = numbered(5, (3, 4, 2))
    assert (len(five), five.shape, five.name, five.flip) == (5, (3, 4, 2), "numbered", False)
    assert five.labels is None
    loaded = five.load(torch.tensor([4, 0, 4]))
    assert loaded.dtype == torch.uint8
    assert loaded.shape == (3, 3, 4, 2)
    assert loaded[:, 0, 0, 0].tolist() == [4, 0, 4]


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (torch.zeros(4, 3, 8, 8), r"faces must be uint8 \(N, C, H, W\), not torch.float32 \(4, 3,"),
        (torch.zeros(4, 8, 8, dtype=torch.uint8), r"not torch.uint8 \(4, 8, 8\)\.$"),
        (torch.zeros(4, 0, 8, 8, dtype=torch.uint8), r"not torch.uint8 \(4, 0, 8, 8\)\.$"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "faces holds too few images: 1, and 2 are"),
    ],
)
def test_what_is_no_set_of_images_is_refused(pixels, sentence):
    with pytest.raises(DataError, match=sentence):
        Images(pixels, name="faces")


def test_samples_are_numbers_drawn_with_replacement(rng):
    ten = numbered(10)
    drawn = ten.sample(4000, rng)
    assert (drawn.dtype, drawn.shape) == (torch.float32, (4000, 1, 1, 2))
    counts = torch.bincount(to_bytes(drawn[:, 0, 0, 0]).long(), minlength=10)
    assert len(counts) == 10
    assert (counts - 400).abs().max() < 5 * 400**0.5
    first, again = (ten.sample(9, torch.Generator().manual_seed(1)) for _ in "ab")
    assert torch.equal(first, again)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        ten.sample(0)


# -- the order of training -------------------------------------------------------------------


def test_every_epoch_is_a_permutation_of_its_own():
    batches = some(numbered(20).batches(8, seed=3), 10)  # 80 images: 4 epochs
    seen = [image for batch in batches for image in batch]
    epochs = [seen[i : i + 20] for i in range(0, 80, 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 4


def test_a_batch_may_be_larger_than_the_set():
    first, second = some(numbered(3).batches(7, seed=0), 2)
    seen = first + second
    assert len(first) == len(second) == 7
    assert all(sorted(seen[i : i + 3]) == [0, 1, 2] for i in range(0, 12, 3))
    assert some(numbered(3).batches(7, seed=0, start=1), 1) == [second]


def test_the_order_depends_on_the_seed_alone():
    first = some(numbered(50).batches(50, seed=0), 1)
    torch.rand(3)
    assert some(numbered(50).batches(50, seed=0), 1) == first
    others = [some(numbered(50).batches(50, seed=seed), 1) for seed in (1, 2**32, 2**32 + 1)]
    assert len(set(map(str, [first, *others]))) == 4
    # The second epoch of one seed is not the first of another.
    assert some(numbered(50).batches(50, seed=0, start=1), 1) not in others


@pytest.mark.parametrize("start", [1, 2, 3, 4, 9, 100])
def test_a_resumed_run_sees_what_it_would_have_seen(start):
    whole = some(numbered(10).batches(4, seed=5), start + 6)
    assert some(numbered(10).batches(4, seed=5, start=start), 6) == whole[start:]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_every_batch(processes):
    whole = some(numbered(10).batches(7, seed=5), 5)
    parts = [
        some(numbered(10).batches(7, seed=5, part=slice(i, None, processes)), 5)
        for i in range(processes)
    ]
    for k, batch in enumerate(whole):
        assert [part[k] for part in parts] == [batch[i::processes] for i in range(processes)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"start": -2}, "start must be at least 0, got -2"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"part": slice(2, None, 3)}, r"slice\(2, None, 3\) leaves nothing of a batch of 2"),
    ],
)
def test_batches_out_of_range_are_refused_at_once(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        numbered(5).batches(**{"batch_size": 2, "seed": 0} | options)


# -- folders ---------------------------------------------------------------------------------


def test_a_folder_is_read_with_its_subfolders_in_order(tmp_path):
    path, pixels = folder_of(tmp_path / "photos", 4)
    (path / "a").mkdir()
    (path / "3.png").rename(path / "a" / "x.PNG")
    for ignored in (".0.png", "notes.txt", ".thumbs/1.png"):
        (path / ignored).parent.mkdir(exist_ok=True)
        (path / ignored).write_text("no image")
    found = load_images(path, size=8, crop="none")
    assert (len(found), found.shape, found.name, found.flip) == (4, (3, 8, 8), "photos", False)
    assert isinstance(found.images, torch.Tensor)
    assert torch.equal(found.load(torch.arange(4)), pixels)
    assert load_images(str(path), size=8, flip=True).flip


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "bmp", "tif", "gif"])
def test_formats_are_read(tmp_path, suffix):
    ramp = np.linspace(0, 255, 16).astype(np.uint8)
    grey = np.broadcast_to(ramp, (16, 16))
    for i in range(2):
        Image.fromarray(np.ascontiguousarray(grey)).save(tmp_path / f"{i}.{suffix}")
    found = load_images(tmp_path, size=16).load(torch.arange(2))
    assert (found.float() - torch.from_numpy(grey.copy())).abs().max() < 12


def test_images_are_scaled_to_their_short_side_and_cut(tmp_path):
    thirds = np.zeros((30, 90), np.uint8)
    thirds[:, 30:60] = 200
    Image.fromarray(thirds).save(tmp_path / "wide.png")
    Image.fromarray(thirds.T).save(tmp_path / "tall.png")
    Image.fromarray(thirds[:, 44:46].repeat(2, 0)).save(tmp_path / "tiny.png")
    found = load_images(tmp_path, size=10, channels=1)
    assert found.shape == (1, 10, 10)
    middle = found.load(torch.arange(3))[..., 1:-1, 1:-1]
    assert (middle.int() - 200).abs().max() <= 4  # Lanczos overshoots a little


def test_grey_palettes_and_transparency_become_colour(tmp_path):
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    red.convert("P").save(tmp_path / "a.png")
    Image.new("L", (4, 4), 7).save(tmp_path / "b.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "c.png")
    Image.new("RGBA", (4, 4), (0, 0, 0, 204)).save(tmp_path / "d.png")
    Image.new("CMYK", (4, 4), (0, 0, 0, 0)).save(tmp_path / "e.jpg")
    Image.new("1", (4, 4), 1).save(tmp_path / "f.png")
    found = load_images(tmp_path, size=4).load(torch.arange(6))
    expected = [(255, 0, 0), (7, 7, 7), (255, 255, 255), (51, 51, 51), (255,) * 3, (255,) * 3]
    assert [tuple(image[:, 0, 0].tolist()) for image in found] == expected
    grey = load_images(tmp_path, size=4, channels=1).load(torch.arange(6))
    assert grey[:, 0, 0, 0].tolist() == [76, 7, 255, 51, 255, 255]


def test_photographs_taken_sideways_are_turned_upright(tmp_path):
    half = np.zeros((8, 8), np.uint8)
    half[:4] = 255
    turned = Image.fromarray(half)
    tag = turned.getexif()
    tag[0x0112] = 6  # the camera's right is up: turn clockwise
    turned.save(tmp_path / "a.png", exif=tag)
    Image.fromarray(half).save(tmp_path / "b.png")
    upright, plain = load_images(tmp_path, size=8, channels=1).load(torch.arange(2))
    assert torch.equal(upright[0], plain[0].rot90(-1))


def refused(sentence, *args, **options):
    with pytest.raises(DataError, match=sentence) as caught:
        load_images(*args, **options)
    assert "\n" not in str(caught.value)


def test_folders_without_images_are_refused(tmp_path):
    refused(
        "is neither a folder nor one of the sets photographs, digits, mnist, ",
        tmp_path / "no",
        size=8,
    )
    refused("cifar is neither a folder", "cifar")
    (tmp_path / "notes.txt").write_text("no image")
    refused(r"holds no images \(\.apng, \.bmp, ", tmp_path, size=8)
    path, _ = folder_of(tmp_path / "photos", 1)
    refused("photos holds too few images: 1, and 2 are the least", path, size=8)
    refused("photos needs a size, the side of its images", path)
    refused("photos has no held-out part: give a folder that is", path, size=8, train=False)


@pytest.mark.parametrize("memory", [0, 2**20])
def test_images_that_cannot_be_read_are_named(tmp_path, memory):
    path, _ = folder_of(tmp_path / "photos")
    whole = (path / "0.png").read_bytes()
    for broken in (whole[:100], b"", b"<html>not an image</html>"):
        (path / "0.png").write_bytes(broken)
        refused(r"0\.png cannot be read: it is no whole PNG, JPEG", path, size=8, memory=memory)
    (path / "0.png").unlink()
    (path / "0.png").mkdir()
    refused(r"0\.png cannot be read: Is a directory\.$", path, size=8, memory=memory)
    (path / "0.png").rmdir()
    Image.fromarray(noise(8, 8).astype(np.uint16)).save(path / "0.png")
    refused(r"0\.png has more than 8 bits per channel", path, size=8, memory=memory)


def test_images_of_the_wrong_size_are_named(tmp_path):
    path, _ = folder_of(tmp_path / "photos")
    Image.new("RGB", (9, 8)).save(path / "1.png")
    sentence = r"1\.png is 9 x 8 pixels, not 8 x 8\.$"
    refused(sentence, path, size=8, crop="none")
    assert len(load_images(path, size=8)) == 3
    later = load_images(path, size=8, crop="none", memory=0)
    with pytest.raises(DataError, match=sentence):
        later.load(torch.arange(3))
    with pytest.raises(DataError, match=sentence):
        later.sample(50)
    for workers in (0, 1):
        with pytest.raises(DataError, match=sentence) as caught:
            next(later.batches(3, seed=0, workers=workers))
        assert "\n" not in str(caught.value)


def test_all_images_that_cannot_be_read_are_named_in_one_sentence(tmp_path):
    path, _ = folder_of(tmp_path / "photos", 15)
    for number in (3, 7):
        (path / f"{number}.png").write_bytes(b"no image")
    both = (
        r"^2 of 15 images in .*photos cannot be used: 3\.png, 7\.png\. The first: .*3\.png cannot"
    )
    refused(both, path, size=8)
    later = load_images(path, size=8, memory=0)
    with pytest.raises(DataError, match=both):
        later.load(torch.arange(15))
    with pytest.raises(DataError, match=r"^2 of 15 images"):
        next(later.batches(15, seed=0, workers=1))
    for file in path.iterdir():
        file.write_bytes(b"no image")
    refused(
        r"^15 of 15 .*: 0\.png, 1\.png, (\d+\.png, ){7}\d+\.png and 5 more\. The first",
        path,
        size=8,
    )


def test_a_folder_is_taken_as_it_is_with_the_size_of_its_first_image(tmp_path):
    path, _ = folder_of(tmp_path / "photos")
    assert load_images(path, crop="none").shape == (3, 8, 8)
    Image.new("RGB", (9, 8)).save(path / "1.png")
    refused(r"1\.png is 9 x 8 pixels, not 8 x 8\.$", path, crop="none")


@pytest.mark.parametrize("memory", [0, 2**20])
def test_a_set_says_what_became_of_its_files(tmp_path, memory):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    Image.new("L", (8, 8)).save(tmp_path / "b.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "c.jpg", format="PNG")  # a name may lie
    images = load_images(tmp_path, size=8, memory=memory)
    images.load(torch.arange(3))
    changed = "JPEG scaled to a short side of 8 by Lanczos and cut to the middle"
    said = f"{changed}, PNG as they are, decoded by Pillow {PIL.__version__}"
    assert images.stored.described() == said


def test_options_out_of_range_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown crop 'random': known are center, none"):
        load_images(tmp_path, size=8, crop="random")
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 4"):
        load_images(tmp_path, size=8, channels=4)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        load_images(tmp_path, size=0)


# -- sets too large for memory ---------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_stored_images_come_as_those_in_memory(tmp_path, workers):
    path, pixels = folder_of(tmp_path / "photos", 5)
    limit = pixels.numel()
    held, stored = (load_images(path, size=8, memory=memory) for memory in (limit, limit - 1))
    assert isinstance(held.images, torch.Tensor)
    assert isinstance(stored.images, StoredImages)
    assert (len(stored), stored.shape) == (len(held), held.shape)
    assert torch.equal(stored.load(torch.tensor([3, 1, 3])), pixels[[3, 1, 3]])
    draws = [found.sample(6, torch.Generator().manual_seed(0)) for found in (held, stored)]
    assert torch.equal(*draws)
    state = torch.get_rng_state()
    options = {"seed": 1, "start": 2, "part": slice(1, None, 2)}
    theirs = islice(stored.batches(4, workers=workers, **options), 6)
    for ours, other in zip(held.batches(4, **options), theirs, strict=False):
        assert torch.equal(ours, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_stored_images_can_be_sent_to_other_processes(tmp_path):
    path, pixels = folder_of(tmp_path / "photos")
    stored = pickle.loads(pickle.dumps(StoredImages(path, 8, 3, "none", None)))
    assert torch.equal(stored[[2, 0]], pixels[[2, 0]])


# -- LMDB ------------------------------------------------------------------------------------


def encoded(image, kind, folder):
    Image.fromarray(image).save(folder / "one", kind, lossless=True)
    return (folder / "one").read_bytes()


def lmdb_of(path, values):
    lmdb = pytest.importorskip("lmdb")
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = lmdb.open(str(path), map_size=2**24, subdir=path.suffix != ".mdb")
    with environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    environment.close()
    return path


def test_an_lmdb_of_bare_pixels_is_read(tmp_path):
    pixels = noise(4, 256, 256, 3)
    values = {str(i).encode(): image.tobytes() for i, image in enumerate(pixels)}
    lmdb_of(tmp_path / "celeba/celeba-lmdb/train.lmdb", values)
    faces = load_images("celeba_hq_256", root=tmp_path)
    assert (len(faces), faces.shape, faces.name, faces.flip) == (
        4,
        (3, 256, 256),
        "celeba_hq_256",
        True,
    )
    assert torch.equal(faces.images, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert load_images("celeba_hq_256", root=tmp_path, size=64).shape == (3, 64, 64)


def test_an_lmdb_of_image_files_is_read_in_the_order_of_its_keys(tmp_path, monkeypatch):
    pixels = noise(5, 256, 341, 3)
    values = {
        bytes([key]) * 40: encoded(image, "WEBP" if key % 2 else "PNG", tmp_path)
        for key, image in zip((7, 1, 255, 3, 9), pixels, strict=True)
    }
    lmdb_of(tmp_path / "church_outdoor_train_lmdb", values)
    place, published, origin = images.PLACES["lsun_church_256"]
    assert published == 120_000
    monkeypatch.setitem(images.PLACES, "lsun_church_256", (place, 4, origin))
    held, stored = (load_images("lsun_church_256", root=tmp_path, memory=m) for m in (2**30, 0))
    middle = torch.from_numpy(pixels[:, :, 42:-43]).permute(0, 3, 1, 2)
    assert torch.equal(held.images, middle[[1, 3, 0, 4]])
    # A process of its own must open the LMDB anew, and leave this one's alone.
    for workers in (0, 1, 2):
        theirs = islice(stored.batches(3, seed=0, workers=workers), 4)
        for ours, other in zip(held.batches(3, seed=0), theirs, strict=False):
            assert torch.equal(ours, other)
    assert torch.equal(stored.load(torch.tensor([2])), middle[[0]])
    again = pickle.loads(pickle.dumps(stored.images))
    assert torch.equal(again[[1]], middle[[3]])


def test_an_lmdb_may_be_one_file_anywhere(tmp_path):
    image = noise(8, 8, 3)
    path = lmdb_of(
        tmp_path / "mine.mdb", dict.fromkeys((b"a", b"b"), encoded(image, "PNG", tmp_path))
    )
    assert load_images(path, size=8).name == "mine.mdb"


def test_a_broken_lmdb_is_refused(tmp_path):
    path = lmdb_of(tmp_path / "mine", {b"a": b"no image", b"b": b"neither"})
    refused(r"mine at key b'a' cannot be read: it is no whole PNG", path, size=8)
    refused(r"empty holds no images", lmdb_of(tmp_path / "empty", {}), size=8)
    cat = tmp_path / "cat.jpg"
    cat.write_bytes(b"not an lmdb" * 1000)
    refused(r"cat\.jpg cannot be read as an LMDB: .*", cat, size=8)


def test_an_lmdb_without_its_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    (tmp_path / "data.mdb").touch()
    refused(r"needs lmdb: pip install 'ddgan-lite\[data\]'", tmp_path, size=8)


@pytest.mark.parametrize("name", BROUGHT)
def test_large_sets_may_be_folders(tmp_path, name):
    refused(
        f"{name} must be a folder .*{name} of images or an LMDB .*: github", name, root=tmp_path
    )
    folder_of(tmp_path / name)
    found = load_images(name, root=tmp_path, size=8)
    assert (len(found), found.name, found.flip) == (3, name, True)
    assert load_images(name, root=tmp_path).shape == (3, 256, 256)
    refused(f"{name} has no held-out part", name, root=tmp_path, train=False)


# -- published sets --------------------------------------------------------------------------


def write_mnist(root, digits, labels, part):
    raw = root / "MNIST/raw"
    raw.mkdir(parents=True, exist_ok=True)
    sizes = struct.pack(">4I", 0x803, *digits.shape)
    (raw / f"{part}-images-idx3-ubyte").write_bytes(sizes + digits.tobytes())
    sizes = struct.pack(">2I", 0x801, len(labels))
    (raw / f"{part}-labels-idx1-ubyte").write_bytes(sizes + bytes(labels))


@pytest.fixture
def tiny_mnist(tmp_path):
    """Six digits to train, four to test, in the files of MNIST."""
    digits = noise(10, 28, 28)
    write_mnist(tmp_path, digits[:6], [5, 0, 4, 1, 9, 2], "train")
    write_mnist(tmp_path, digits[6:], [7, 2, 1, 0], "t10k")
    return tmp_path, torch.from_numpy(digits)


@pytest.mark.parametrize("download", [True, False])
def test_mnist_is_padded_and_grey(tiny_mnist, download):
    root, digits = tiny_mnist
    train = load_images("mnist", root=root, download=download)
    assert (train.name, train.shape, train.flip) == ("mnist", (1, 32, 32), False)
    assert torch.equal(train.images[:, 0, 2:-2, 2:-2], digits[:6])
    assert train.images.long().sum() == digits[:6].long().sum()
    assert train.labels.tolist() == [5, 0, 4, 1, 9, 2]
    test = load_images("mnist", root=root, train=False)
    assert torch.equal(test.images[:, 0, 2:-2, 2:-2], digits[6:])
    assert test.labels.tolist() == [7, 2, 1, 0]


def test_stacked_mnist_holds_every_digit_twice_in_each_channel(tiny_mnist):
    root, digits = tiny_mnist
    stacks = load_images("stacked_mnist", root=root)
    assert (len(stacks), stacks.shape, stacks.flip) == (12, (3, 32, 32), False)
    known = {digit.numpy().tobytes(): i for i, digit in enumerate(digits[:6])}
    inner = stacks.images[..., 2:-2, 2:-2].contiguous().numpy()
    which = torch.tensor([[known[channel.tobytes()] for channel in stack] for stack in inner])
    # Two permutations for each channel, and no two of the six alike.
    orders = which.T.reshape(6, 6)
    assert all(sorted(order) == list(range(6)) for order in orders.tolist())
    assert len(set(map(tuple, orders.tolist()))) == 6
    labels = torch.tensor([5, 0, 4, 1, 9, 2])[which]
    assert stacks.labels.tolist() == [int("".join(map(str, row))) for row in labels.tolist()]
    assert torch.equal(load_images("stacked_mnist", root=root).images, stacks.images)
    assert len(load_images("stacked_mnist", root=root, train=False)) == 8


def the_real_mnist(root):
    """MNIST itself, unpacked below ``root``."""
    if not SHARED_MNIST.is_dir():
        pytest.skip("MNIST itself is not on this machine")
    (root / "MNIST/raw").mkdir(parents=True)
    for packed in SHARED_MNIST.glob("*.gz"):
        with gzip.open(packed) as source, open(root / "MNIST/raw" / packed.stem, "wb") as target:
            shutil.copyfileobj(source, target)


def test_the_real_mnist(tmp_path):
    the_real_mnist(tmp_path)
    digits = load_images("mnist", root=tmp_path, download=False)
    assert (len(digits), digits.shape) == (60_000, (1, 32, 32))
    assert digits.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    stacks = load_images("stacked_mnist", root=tmp_path, download=False)
    assert (len(stacks), stacks.shape) == (120_000, (3, 32, 32))
    counts = torch.bincount(stacks.labels, minlength=1000)
    assert counts.shape == (1000,)
    assert counts.min() > 60
    assert len(load_images("mnist", root=tmp_path, train=False)) == 10_000


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """CIFAR-10's files with two images each; only torchvision's check of their sums is off."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = noise(12, 3, 32, 32)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        batch = {"data": pixels[2 * i : 2 * i + 2].reshape(2, -1), "labels": [i, 9 - i]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    there = torchvision.datasets.cifar.check_integrity
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: there(path))
    return tmp_path, torch.from_numpy(pixels)


def test_cifar10_is_read(tiny_cifar):
    root, pixels = tiny_cifar
    train = load_images("cifar10", root=root)
    assert (train.name, train.shape, train.flip) == ("cifar10", (3, 32, 32), True)
    assert torch.equal(train.images, pixels[:10])
    assert train.images.is_contiguous()
    assert train.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    test = load_images("cifar10", root=root, train=False, flip=False)
    assert torch.equal(test.images, pixels[10:])
    assert not test.flip
    assert load_images("cifar10", root=root, size=32, channels=3).shape == (3, 32, 32)
    refused(r"cifar10 has the shape \(3, 32, 32\): omit size", "cifar10", root=root, size=64)
    refused("omit size and channels", "cifar10", root=root, channels=1)


@pytest.mark.parametrize("name", ["mnist", "stacked_mnist", "cifar10"])
def test_sets_that_are_not_there_say_how_to_get_them(tmp_path, monkeypatch, name):
    def offline(self):
        raise URLError("no route\nto host")

    reader, folder = images.DOWNLOADS[name]
    monkeypatch.setattr(getattr(torchvision.datasets, reader), "download", offline)
    sentence = rf"{name} cannot be read from {tmp_path / folder} \(.*\): give download=True .* http"
    refused(sentence, name, root=tmp_path, download=False)
    refused(r"no route to host>\): give", name, root=tmp_path)


def test_files_cut_short_are_refused(tiny_mnist, tiny_cifar):
    root, _ = tiny_mnist
    for name in ("MNIST/raw/train-images-idx3-ubyte", "cifar-10-batches-py/data_batch_2"):
        (root / name).write_bytes((root / name).read_bytes()[:-100])
    refused("mnist cannot be read from", "mnist", root=root)
    refused("cifar10 cannot be read from", "cifar10", root=root)


# -- photographs -----------------------------------------------------------------------------


def test_photographs_need_no_download():
    found = load_images("photographs")
    assert (len(found), found.shape, found.flip) == (10_000, (3, 32, 32), True)
    assert len(torch.unique(found.images.flatten(1), dim=0)) > 9_990
    # Half a temple in a pale sky, half an orange flower before dark leaves.
    temple, flower = (found.images[i::2].float().mean((0, 2, 3)) for i in (0, 1))
    assert temple.mean() > 120 > flower.mean()
    assert temple[2] > temple[0] - 20
    assert flower[0] > flower[2]


def test_photographs_come_in_sizes():
    assert torch.equal(photographs(16, number=4).images, photographs(16, number=4).images)
    for size, channels in ((8, 1), (64, 3), (256, 3), (427, 1)):
        assert photographs(size, channels, number=4).images.shape == (4, channels, size, size)
    assert load_images("photographs", size=4, channels=1).shape == (1, 4, 4)
    refused("the photographs are 427 pixels high: size 428 is too much", "photographs", size=428)
    refused("photographs has no held-out part", "photographs", train=False)
