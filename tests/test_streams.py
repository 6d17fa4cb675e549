"""Shards and streams: every image once an epoch, an order that resumes, sentences for mishaps."""

import gzip
import io
import sys
import tarfile
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import two_streams
from PIL import Image
from test_distributed import launch
from test_images import folder_of, some

from ddgan_lite.data.images import load_images
from ddgan_lite.data.named import is_images, load_data, load_pair
from ddgan_lite.data.shards import expand
from ddgan_lite.data.stored import DataError
from ddgan_lite.data.streams import Stream, stream_images
from ddgan_lite.files.checkpoints import read
from ddgan_lite.training.presets import preset
from ddgan_lite.training.runs import run


def row(number, size=8, label=None):
    """A row whose image says which it is: every byte is 10 times its number."""
    image = {"image": np.full((size, size, 3), 10 * number, np.uint8)}
    return image if label is None else image | {"label": label}


class Forward:
    """n rows that can only be read from the beginning."""

    def __init__(self, n, labelled=True):
        self.n, self.labelled, self.begun = n, labelled, 0

    def __iter__(self):
        self.begun += 1
        return (row(n, label=n % 3 if self.labelled else None) for n in range(self.n))


def png(number, size=8):
    file = io.BytesIO()
    Image.fromarray(row(number, size)["image"]).save(file, "PNG")
    return file.getvalue()


def write_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def shards(folder, counts=(5, 7, 12)):
    """Tar files of numbered images with their labels, as a pattern."""
    number = 0
    for shard, count in enumerate(counts):
        files = {}
        for _ in range(count):
            files[f"in/{number:05d}.png"] = png(number)
            files[f"in/{number:05d}.cls"] = str(number % 3).encode()
            number += 1
        write_tar(folder / f"{shard:03d}.tar", files)
    return f"{folder}/{{000..{len(counts) - 1:03d}}}.tar"


def tens(batches, n):
    return [[value // 10 for value in batch] for batch in some(batches, n)]


def flat(lists):
    return list(chain.from_iterable(lists))


# -- shards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [0, 2**30])
def test_shards_are_read_in_order_with_their_labels(tmp_path, memory):
    images = load_images(shards(tmp_path), size=8, memory=memory)
    assert len(images) == 24 and images.shape == (3, 8, 8)
    assert (images.load(torch.arange(24))[:, 0, 0, 0] // 10).tolist() == list(range(24))
    assert images.labels.tolist() == [n % 3 for n in range(24)]
    assert images.name == f"{tmp_path.name}/{{000..002}}.tar"


def test_shards_are_data_and_a_side_of_a_comparison(tmp_path):
    pattern = shards(tmp_path)
    assert load_data(pattern, (3, 8, 8)).shape == (3, 8, 8)
    assert is_images(pattern)
    pair = load_pair(pattern, pattern)  # as they are: no size is named
    assert [images.shape for images in pair] == [(3, 8, 8)] * 2
    assert pair[0].stored.described().startswith("PNG as they are")
    with pytest.raises(DataError, match=r"there is no tar file no/\*\.tar"):
        load_data("no/*.tar", (3, 8, 8))


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_shuffle_and_resume_as_a_folder_does(tmp_path, workers):
    folder, pixels = folder_of(tmp_path / "folder", 7)
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    write_tar(tmp_path / "a.tar", files)
    how = {"seed": 3, "start": 2, "workers": workers}
    pair = [load_images(p, size=8, memory=0) for p in (folder, tmp_path / "a.tar")]
    for ours, theirs in islice(zip(*(s.batches(3, **how) for s in pair), strict=True), 5):
        assert torch.equal(ours, theirs)
    assert torch.equal(pair[1].load(torch.arange(7)), pixels) and pair[1].labels is None


def test_patterns_name_files_in_order(tmp_path):
    names = [f"{letter}{number:02d}.tar" for letter in "ab" for number in (8, 9, 10)]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in expand(f"{tmp_path}/a{{08..10}}.tar")] == names[:3]
    assert [path.name for path in expand(f"{tmp_path}/*.tar")] == names
    assert list(expand(f"{tmp_path}/b09.tar")) == [tmp_path / "b09.tar"]
    with pytest.raises(DataError, match=r"there is no tar file .*a11\.tar"):
        list(expand(f"{tmp_path}/a{{08..99999999}}.tar"))
    with pytest.raises(DataError, match=r"there is no tar file .*c\*\.tar"):
        list(expand(f"{tmp_path}/c*.tar"))


def test_only_images_count_and_hidden_files_do_not(tmp_path):
    files = {"a.png": png(1), "._a.png": b"mac", "b.JSON": b"{}", "c/b.png": png(2), "a.cls": b"1"}
    images = load_images(write_tar(tmp_path / "a.tar", files), size=8)
    assert (images.load(torch.arange(2))[:, 0, 0, 0] // 10).tolist() == [1, 2]
    assert images.labels is None  # one has none


BAD = {
    "two images of one sample, a.png and a.mask.png": {"a.png": png(1), "a.mask.png": png(2)},
    "a label that is no number in a.cls": {"a.png": png(1), "a.cls": b"cat"},
    "holds no images": {"a.txt": b"text"},
    "at key a.tar/a.png cannot be read": {"a.png": b"no image", "b.png": png(1)},
    "holds too few images": {"a.png": png(1)},
}


@pytest.mark.parametrize("words", BAD)
def test_shards_that_are_not_as_they_should_be_are_named(tmp_path, words):
    write_tar(tmp_path / "a.tar", BAD[words])
    with pytest.raises(DataError, match=words):
        load_images(tmp_path / "a.tar", size=8)


@pytest.mark.parametrize("keep", [0, 300, 700, 5000])
def test_a_tar_file_cut_short_is_refused(tmp_path, keep):
    path = write_tar(tmp_path / "a.tar", {f"{n}.png": bytes(2000) + png(n) for n in range(9)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"a\.tar (cannot be read as a tar file|holds no images)"):
        load_images(path, size=8)


def test_a_mutated_tar_file_is_read_or_refused(tmp_path):
    whole = Path(shards(tmp_path, (4,)).replace("{000..000}", "000")).read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 8):
            data[place] = rng.integers(256)
        (tmp_path / "a.tar").write_bytes(data[: rng.integers(len(data) // 2, len(data) + 1)])
        try:
            load_images(tmp_path / "a.tar", size=8)
        except DataError:
            refused += 1
    assert 0 < refused < 150


def test_a_compressed_tar_file_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a.png": png(1)})
    for name in ("b.tar", "b.tar.gz"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
        with pytest.raises(DataError, match="cannot be read as a tar file without compression"):
            load_images(tmp_path / name, size=8)


def test_shards_of_webdataset_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as tar:
        for number in range(5):
            image = Image.fromarray(row(number)["image"])
            tar.write({"__key__": f"{number:03d}", "png": image, "cls": number % 2, "json": {}})
    images = load_images(tmp_path / "a.tar", size=8)
    assert images.labels.tolist() == [0, 1, 0, 1, 0]
    theirs = webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False).decode("pil")
    stream = stream_images(theirs.rename(image="png", label="cls"), size=8)
    ours, labels = stream.sample_labelled(5)
    assert torch.equal(ours, images.load(torch.arange(5)) / 127.5 - 1)
    assert torch.equal(labels, images.labels)


# -- streams -------------------------------------------------------------------------------------


def stream(n=11, buffer=4, **how):
    return Stream(Forward(n), size=8, name="forward", buffer=buffer, **how)


@pytest.mark.parametrize("buffer", [1, 4, 100])
def test_every_epoch_of_a_stream_holds_every_image_once(buffer):
    found = tens(stream(12, buffer).batches(4, seed=0), 9)
    epochs = [flat(found[k : k + 3]) for k in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    if buffer == 1:
        assert epochs[0] == list(range(12))
    else:
        assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != sorted(epochs[0])


def test_an_image_leaves_the_buffer_no_sooner_than_it_came():
    order = flat(tens(stream(20, 5).batches(20, seed=0), 1))
    assert all(number <= place + 5 for place, number in enumerate(order))


def test_the_order_of_a_stream_depends_on_the_seed_alone():
    first, again, other = (tens(stream().batches(4, seed=s), 8) for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("start", [0, 1, 2, 3, 7, 20])
@pytest.mark.parametrize("known", [False, True])
def test_a_stream_goes_on_with_what_would_have_come(start, known):
    whole, resumed = stream(), stream()
    expected = tens(whole.batches(4, seed=5), 30)
    if known:
        resumed.length = 11
    resumed.rows.begun = 0
    found = tens(resumed.batches(4, seed=5, start=start), 3)
    assert found == expected[start : start + 3]
    assert resumed.rows.begun <= 3 + (not known)  # whole epochs are passed over unread


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_processes_and_threads_share_a_stream(workers):
    whole = tens(stream().batches(6, seed=0), 5)
    parts = [
        tens(stream().batches(6, seed=0, part=slice(r, None, 2), workers=workers), 5)
        for r in (0, 1)
    ]
    assert [batch[::2] for batch in whole] == parts[0]
    assert [batch[1::2] for batch in whole] == parts[1]


def test_labels_come_with_their_images():
    images, labels = next(stream().batches(8, seed=0, labelled=True))
    assert (images[:, 0, 0, 0] // 10 % 3).tolist() == labels.tolist()
    x, y = stream().sample_labelled(13)  # more than there are: from the beginning again
    assert ((x[:, 0, 0, 0] + 1) * 12.75).round().int().tolist() == [*range(11), 0, 1]
    assert y.tolist() == [n % 3 for n in [*range(11), 0, 1]]
    bare = Stream(Forward(3, labelled=False), size=8, name="bare")
    assert bare.labels is None and bare.sample_labelled(2)[1] is None
    assert next(bare.batches(2, seed=0, labelled=True))[1] is None


def test_images_come_in_many_forms():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.save(file, "PNG")
    forms = [image, file.getvalue(), {"bytes": file.getvalue(), "path": None}, pixels]
    images = stream_images([{"image": form} for form in forms], size=8)
    assert all(
        torch.equal(x, images.load(torch.tensor([0]))[0]) for x in images.load(torch.arange(4))
    )
    assert images.load(torch.tensor([0]))[0].permute(1, 2, 0).numpy().tolist() == pixels.tolist()


class Breaking(Forward):
    def __iter__(self):
        yield from islice(super().__iter__(), 5)
        raise ConnectionError("no route\nto host")


class Growing(Forward):
    def __iter__(self):
        self.n += 1
        return super().__iter__()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (iter([row(1)]), "can be read but once"),
        ([{"img": 1}], 'must give dicts with an "image", not dicts with img'),
        ((n for n in ()), "can be read but once"),
        ([], 'must give dicts with an "image", not None'),
        ([row(1), {"label": 1}], "at key 1 cannot be read"),
        (Forward(0), 'must give dicts with an "image", not None'),
        (Forward(1), "has 1 images"),
        (Breaking(9), "mine cannot be read further: ConnectionError, no route to host"),
        (Growing(8), "has 12 images and had 11 before"),
        ([{"image": "cat.png"}] * 2, "at key 0 cannot be read"),
        ([row(1, label="cat")] * 2, "at key 0 has no whole number for a label"),
        ([row(1, label=1), row(2)], "at key 1 has no whole number for a label"),
    ],
)
def test_rows_that_are_not_as_they_should_be_are_refused(rows, words):
    with pytest.raises(DataError, match=words):
        list(islice(stream_images(rows, size=8, name="mine").batches(4, seed=0), 9))


def test_a_buffer_of_nothing_is_refused():
    with pytest.raises(ValueError, match="buffer must be at least 1"):
        stream(buffer=0)


def test_rows_of_the_library_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    images = [Image.fromarray(row(n)["image"]) for n in range(9)]
    table = datasets.Dataset.from_dict(
        {"image": images, "label": [n % 2 for n in range(9)]},
        datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(2)),
    )
    whole, forward = (stream_images(r, size=8) for r in (table, table.to_iterable_dataset(3)))
    assert (whole.load(torch.arange(9))[:, 0, 0, 0] // 10).tolist() == list(range(9))
    assert whole.labels.tolist() == [n % 2 for n in range(9)] and forward.labels
    assert sorted(tens(forward.batches(9, seed=0), 1)[0]) == list(range(9))
    raw = stream_images(table.cast_column("image", datasets.Image(decode=False)), size=8)
    assert torch.equal(raw.load(torch.arange(9)), whole.load(torch.arange(9)))


# -- by name, and in runs ------------------------------------------------------------------------

MODULE = """
import numpy as np

def table():
    return [{"image": np.full((20, 20, 3), n, np.uint8), "label": n % 3} for n in range(12)]

def broken():
    raise OSError("the disk is gone")
"""


def test_rows_have_a_name(tmp_path, monkeypatch):
    (tmp_path / "my_rows.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    data = load_data("my_rows:table", (3, 8, 8), root="data", flip=True)
    assert (len(data), data.shape, data.name, data.flip) == (12, (3, 8, 8), "my_rows:table", True)
    for name, words in (
        ("my_rows:broken", "gives no images: OSError, the disk is gone"),
        ("my_rows:none", "gives no images: AttributeError, .*'none'"),
        ("no_module:table", "gives no images: ModuleNotFoundError"),
    ):
        with pytest.raises(DataError, match=words):
            load_data(name, (3, 8, 8))
    with pytest.raises(DataError, match="is neither a folder nor"):
        load_images("my_rows:table:more", size=8)


@pytest.mark.parametrize("kind", ["shards", "stream"])
def test_a_run_goes_on_where_it_was(tmp_path, kind):
    changes = tiny.as_changes(tiny.UNET, classes=3, batch_size=4, log_every=1, save_every=2)
    chosen = preset("cifar10", quick=True, steps=5, workers=1, **changes)
    made = {
        "shards": lambda: load_images(shards(tmp_path), size=8, memory=0),
        "stream": lambda: stream(11),
    }[kind]
    for _ in run(chosen, tmp_path / "whole", data=made()):
        pass
    list(islice(run(chosen, tmp_path / "stopped", data=made()), 3))
    lines = list(run(chosen, tmp_path / "stopped", data=made()))
    assert [line["step"] for line in lines] == [3, 4, 5]
    whole, stopped = (read(tmp_path / f / "model.safetensors")[0] for f in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What two processes saw and learned: kind -> process -> (undisturbed, resumed)."""
    folder = tmp_path_factory.mktemp("shared")
    shards(folder, (8, 8, 8))
    launch(Path(two_streams.__file__), folder)
    kinds = ("shards", "rows", "rows ahead")
    return {kind: [torch.load(folder / f"{kind} {r}.pt") for r in (0, 1)] for kind in kinds}


@pytest.mark.parametrize("kind", ["shards", "rows", "rows ahead"])
def test_two_processes_see_every_image_once_an_epoch(kind, shared):
    for epoch in (slice(0, 3), slice(3, 6)):
        seen = [flat(process[0]["seen"][epoch]) for process in shared[kind]]
        assert [len(images) for images in seen] == [12, 12]
        assert sorted(flat(seen)) == list(range(two_streams.NUMBER))


@pytest.mark.parametrize("kind", ["shards", "rows", "rows ahead"])
def test_two_processes_go_on_exactly(kind, shared):
    for whole, resumed in shared[kind]:
        assert whole["seen"] == resumed["seen"]
        for network in ("generator", "discriminator", "averaged"):
            assert torch.equal(whole[network], resumed[network])
