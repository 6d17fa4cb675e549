"""Files that are damaged, foreign or lying are refused; files being written never half exist."""

import errno
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from ddgan_lite import checkpoints
from ddgan_lite.checkpoints import CheckpointError
from ddgan_lite.model import DDGAN
from ddgan_lite.networks import MLPConfig

SMALL = MLPConfig(num_steps=2, latent_dim=3, width=8, depth=2)


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def good(tmp_path):
    return DDGAN(SMALL).save(tmp_path / "model.safetensors")


def rewrite(path, **changes):
    """The same weights under a header changed in one place."""
    tensors, header = checkpoints.read(path)
    return checkpoints.write(path, tensors, header | changes)


def assert_refused(path, sentence):
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=sentence):
        DDGAN.load(path)
    assert path.read_bytes() == before


# -- reading ---------------------------------------------------------------------------------


def test_tensors_and_header_come_back_as_written(tmp_path):
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(4), "c": torch.randn(3, 2).T}
    header = {"text": 'ü "quoted"\n', "list": [1, 2.5, None], "nested": {"deep": True}}
    path = checkpoints.write(tmp_path / "new" / "folder" / "file", tensors, header)
    read, found = checkpoints.read(path)
    assert found == header
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file at "):
        DDGAN.load(tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError, match=r"The folder .* holds no model and no checkpoint"):
        DDGAN.load(tmp_path)


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    trap = Trap(tmp_path / "sprung")
    plain, zipped = tmp_path / "plain.pt", tmp_path / "zipped.pt"
    plain.write_bytes(pickle.dumps(trap))
    torch.save({"weights": trap}, zipped)
    for path in (plain, zipped):
        assert_refused(path, "is not a whole ddgan_lite checkpoint")
    assert not trap.path.exists()


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    for metadata in (None, {"format": "pt"}):
        path = tmp_path / "foreign.safetensors"
        save_file({"a": torch.zeros(2)}, path, metadata=metadata)
        assert_refused(path, "is a safetensors file, but not a ddgan_lite checkpoint")


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1])
def test_a_truncated_file_is_refused(good, keep):
    whole = good.read_bytes()
    good.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    assert_refused(good, "is not a whole ddgan_lite checkpoint")


@pytest.mark.parametrize("metadata", [{}, {"header": "{broken"}])
def test_a_header_that_is_missing_or_no_json_is_refused(tmp_path, metadata):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata={"format": checkpoints.FORMAT, **metadata})
    assert_refused(path, "is not a whole ddgan_lite checkpoint")


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "unheard-of"},
        {"config": {"width": 0}},
        {"config": {"no_such_size": 3}},
        {"config": {"width": "wide"}},
        {"config": {"shape": [2.5]}},
        {"config": None},
        {"config": {"width": 10**12}},  # more memory than any machine has
        {"config": {"width": 10**30}},
    ],
)
def test_a_model_this_version_cannot_build_is_refused(good, header):
    rewrite(good, **header)
    assert_refused(good, "describes a model that this version of ddgan_lite cannot build")


@pytest.mark.parametrize("header", [[], "text", 3, {}])
def test_a_header_without_a_model_is_refused(good, header):
    tensors, _ = checkpoints.read(good)
    checkpoints.write(good, tensors, header)
    assert_refused(good, "describes a model that this version of ddgan_lite cannot build")


def test_a_header_that_lies_about_the_width_is_refused(good):
    _, header = checkpoints.read(good)
    rewrite(good, config=header["config"] | {"width": 9})
    assert_refused(good, r"does not fit its own header: net\.0\.bias is \(8,\), not \(9,\)")


def test_missing_and_surplus_tensors_are_refused(good):
    tensors, header = checkpoints.read(good)
    checkpoints.write(good, {k: v for k, v in tensors.items() if k != "net.2.bias"}, header)
    assert_refused(good, r"net\.2\.bias is nothing, not \(2,\)")
    checkpoints.write(good, tensors | {"net.9.bias": torch.zeros(3)}, header)
    assert_refused(good, r"net\.9\.bias is \(3,\), not nothing")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(good, value):
    tensors, header = checkpoints.read(good)
    tensors["net.0.weight"][1, 2] = value
    checkpoints.write(good, tensors, header)
    assert_refused(good, r"holds values that are not finite in net\.0\.weight")


# -- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_what_stood_there(good, monkeypatch, function, error):
    before = good.read_bytes()

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(type(error)):
            DDGAN(MLPConfig()).save(good)
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_a_header_that_is_no_json_leaves_what_stood_there(good):
    before = good.read_bytes()
    with pytest.raises(TypeError):
        DDGAN(SMALL).save(good, note=object())
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_the_file_is_complete_on_disk_before_it_gets_its_name(good, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b))[1])
    DDGAN(SMALL).save(good)
    assert events == ["fsync", "replace"]
    assert list(good.parent.iterdir()) == [good]


def test_the_header_is_plain_text_in_the_file(good):
    size = int.from_bytes(good.read_bytes()[:8], "little")
    metadata = json.loads(good.read_bytes()[8 : 8 + size])["__metadata__"]
    assert json.loads(metadata["header"])["config"]["width"] == 8


# -- where a model may come from -----------------------------------------------------------------


def test_a_name_that_is_no_file_is_looked_up_on_the_hub(good, monkeypatch):
    asked = []

    def download(repo, name):
        asked.append((repo, name))
        return str(good)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    loaded = DDGAN.load("someone/ddgan-cifar10")
    assert asked == [("someone/ddgan-cifar10", "model.safetensors")]
    assert loaded.config == DDGAN.load(good).config


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch):
    def offline(*_):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(
        FileNotFoundError, match=r"someone/model is neither a file here nor"
    ) as caught:
        DDGAN.load("someone/model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent/model.safetensors", "/no/such", "a/b/c", "model"])
def test_what_looks_like_a_file_is_not_asked_of_the_hub(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: pytest.fail("asked"))
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file at"):
        DDGAN.load(name)
