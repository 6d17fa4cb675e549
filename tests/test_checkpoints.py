"""Files that are damaged, foreign or lying are refused; files being written never half exist."""

import errno
import hashlib
import json
import os
import pickle
import random
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import tiny
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ddgan_lite.files import cards, checkpoints
from ddgan_lite.files.checkpoints import CheckpointError
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import MLPConfig

SMALL = MLPConfig(num_steps=2, latent_dim=3, width=8, depth=2)


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
    trap = tiny.Trap(tmp_path / "sprung")
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


BURDENS = ["[" * 10**5, '{"a":' * 40 + "1" + "}" * 40, "9" * 5_000, '{"a": -' + "1" * 40 + "}"]


@pytest.mark.parametrize(
    "metadata", [{}, *({"header": text} for text in ("{broken", "[]", '"text"', "3", *BURDENS))]
)
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


def test_a_header_without_a_model_is_refused(good):
    tensors, _ = checkpoints.read(good)
    checkpoints.write(good, tensors, {})
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


# -- files from strangers ------------------------------------------------------------------------


def test_no_flipped_bit_goes_unnoticed(good):
    whole, rng = good.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged, at = bytearray(whole), rng.randrange(len(whole))
        damaged[at] ^= 1 << rng.randrange(8)
        good.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            DDGAN.load(good)
    good.write_bytes(whole)
    DDGAN.load(good)


def test_a_file_from_before_there_was_a_checksum_loads(good):
    tensors, header = checkpoints.read(good)
    metadata = {"format": checkpoints.FORMAT, "header": json.dumps(header)}
    save_file(tensors, good, metadata)
    read, found = checkpoints.read(good)
    assert found == header and all(torch.equal(read[name], tensors[name]) for name in tensors)
    save_file(tensors, good, metadata | {"sha257": "0"})
    assert_refused(good, "its header is not one of ours")


def test_the_weights_of_the_book_load_as_they_always_did():
    summed = []  # files from before there was a checksum in them have none
    for path in cards.shipped():
        with safe_open(path, framework="pt") as file:
            summed.append("sha256" in file.metadata())
            theirs = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        ours, _ = checkpoints.read(path)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert set(summed) == {True, False}


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "n" * 9_999, "\u202egnp"])
def test_what_a_file_says_is_shown_on_one_line_and_cut(name, good):
    tensors, header = checkpoints.read(good)
    for lie in (
        lambda: checkpoints.write(good, tensors | {name: torch.ones(2)}, header),
        lambda: checkpoints.write(good, tensors, header | {"kind": name}),
        lambda: checkpoints.write(good, tensors, header | {"config": {name: 3}}),
        lambda: checkpoints.write(good, tensors, header | {"config": {"width": name}}),
        lambda: checkpoints.write(good, tensors, header | {"config": {"shape": [name]}}),
    ):
        lie()
        with pytest.raises(CheckpointError) as caught:
            DDGAN.load(good)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_of_another_kind_of_number_are_refused(dtype, good):
    tensors, header = checkpoints.read(good)
    tensors["net.0.bias"] = tensors["net.0.bias"].to(dtype)
    checkpoints.write(good, tensors, header)
    assert_refused(
        good, rf"does not fit its own header: net\.0\.bias is {dtype}, not torch.float32"
    )


def test_a_header_decides_nothing_about_memory(good, monkeypatch):
    """Networks of terabytes, within all bounds, are compared with the file and never built."""
    for kind, config in (
        ("mlp", {"width": 65_536, "depth": 256}),
        ("conv", {"width": 65_536, "levels": 3}),
        ("pyramid", {"width": 65_536}),
        ("unet", {"width": 65_536, "discriminator_width": 65_536}),
    ):
        rewrite(good, kind=kind, config=config)
        assert_refused(good, "does not fit its own header")


def test_the_discriminator_of_a_file_for_sampling_is_never_built(tmp_path, monkeypatch):
    path = DDGAN(tiny.UNET).save(tmp_path / "model.safetensors")
    _, header = checkpoints.read(path)
    rewrite(path, config=header["config"] | {"discriminator_width": 65_536})
    assert DDGAN.load(path).discriminator is None


def test_a_header_too_long_or_too_deep_is_not_written(good):
    deep = [[]]
    for _ in range(40):
        deep = [deep]
    for value in ("x" * 2**20, deep, 10**50):
        with pytest.raises(ValueError, match="keep what is longer in a file beside it"):
            DDGAN(SMALL).save(good, note=value)
    DDGAN.load(good)


def test_a_torch_file_is_sent_to_convert(tmp_path):
    for name, zipped in (("netG_1200.pth", True), ("old.pth", False)):
        torch.save({"x": torch.zeros(2)}, tmp_path / name, _use_new_zipfile_serialization=zipped)
        assert_refused(tmp_path / name, f"python -m ddgan_lite convert {name} OUT.safetensors")


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


def test_a_mistyped_file_is_answered_with_the_one_that_is_there(good):
    with pytest.raises(FileNotFoundError, match=f"Did you mean {good}"):
        DDGAN.load(good.with_name("mdel.safetensors"))


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch):
    def offline(*_):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(
        FileNotFoundError, match=r"someone/model is neither a file here nor"
    ) as caught:
        DDGAN.load("someone/model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "absent/model.safetensors",
        "/no/such",
        "a/b/c",
        "model",
        "runs/cifra10",
        "rusn/x",
        "my/a.pth",
    ],
)
def test_what_looks_like_a_file_is_not_asked_of_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: pytest.fail("asked"))
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file at"):
        DDGAN.load(name)


# -- from an address, and by checksum ---------------------------------------------------------


@pytest.fixture
def served(good, tmp_path, monkeypatch):
    """An address on this machine that serves the model, and what was asked of it so far."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=good.parent)

        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_):
            pass

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{good.name}", asked
        server.shutdown()


def checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_model_comes_from_an_address(good, served):
    url, asked = served
    loaded = DDGAN.load(url)
    theirs = DDGAN.load(good).generator.state_dict()
    for name, weight in loaded.generator.state_dict().items():
        assert torch.equal(weight, theirs[name])
    DDGAN.load(url)
    assert len(asked) == 2  # without a checksum nobody knows whether it is still the same


def test_with_a_checksum_it_is_fetched_once(good, served):
    url, asked = served
    for spelled in (checksum(good), checksum(good).upper()):
        DDGAN.load(url, sha256=spelled)
    assert len(asked) == 1
    (kept,) = good.parent.glob("cache/**/*.safetensors")
    kept.write_bytes(b"damaged")
    DDGAN.load(url, sha256=checksum(good))
    assert len(asked) == 2


def test_another_file_than_the_one_asked_for_is_refused(good, served):
    url, _ = served
    wrong = "0" * 64
    for source in (url, good, good.parent):
        with pytest.raises(CheckpointError, match=f"its SHA-256 is {checksum(good)}, not 0000"):
            DDGAN.load(source, sha256=wrong)
    DDGAN.load(good, sha256=checksum(good))


def test_a_checksum_of_the_hub_counts_as_well(good, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: str(good))
    DDGAN.load("someone/model", sha256=checksum(good))
    with pytest.raises(CheckpointError, match="someone/model is not the file that was asked for"):
        DDGAN.load("someone/model", sha256="f" * 64)


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, "0" * 63])
def test_a_checksum_that_is_none_is_refused(sha256, good):
    with pytest.raises(ValueError, match="sha256 must be 64 hexadecimal digits"):
        DDGAN.load(good, sha256=sha256)


def test_an_address_that_serves_nothing_is_one_sentence(served):
    url, _ = served
    for address in (f"{url}.absent", "http://127.0.0.1:9/model.safetensors"):
        with pytest.raises(FileNotFoundError, match="cannot be downloaded") as caught:
            DDGAN.load(address)
        assert "\n" not in str(caught.value)


# -- half precision -----------------------------------------------------------------------------


def test_half_precision_rounds_the_weights_and_halves_the_file(tmp_path):
    model = DDGAN(MLPConfig(width=64))
    whole, half = (model.save(tmp_path / f"{h}.safetensors", half=h) for h in (False, True))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = DDGAN.load(half).generator.state_dict()
    for name, weight in model.generator.state_dict().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], weight.half().float())


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    model = DDGAN(SMALL)
    next(model.generator.parameters()).data[0] = 1e6
    with pytest.raises(ValueError, match="too large for half precision"):
        model.save(tmp_path / "model.safetensors", half=True)
    assert not list(tmp_path.iterdir())
