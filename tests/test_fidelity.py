"""Scores through torch-fidelity, offline: a small feature network stands in for Inception.

Every score is computed a second time here: by torch-fidelity called directly, and from its formula.
"""

import hashlib
import json
import math
import re
import sys
from dataclasses import replace
from urllib.error import URLError

import PIL
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch.nn import functional as F

from ddgan_lite.__main__ import main
from ddgan_lite.data.images import Images, load_images, photographs, to_bytes, to_unit
from ddgan_lite.evaluation import commands, features
from ddgan_lite.evaluation.fidelity import METRICS, evaluate, score
from ddgan_lite.evaluation.judge import Judge
from ddgan_lite.evaluation.metrics import frechet_distance
from ddgan_lite.evaluation.samples import Drawn
from ddgan_lite.files import results
from ddgan_lite.method.ema import EMA
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import MLPConfig

SHAPE = (3, 8, 8)
THEIRS = ("fid", "isc", "kid", "prc")  # what torch-fidelity computes
ALL = ["fid", "fid_bias", "is", "kid", "precision", "recall", "density", "coverage", "protocol"]
DATA = photographs(8, 3, 300)


class Small(torch_fidelity.FeatureExtractorBase):
    """12 features: the image at 2 x 2 pixels, mixed by a matrix; 5 of them, enlarged, as logits."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None, **kwargs):
        super().__init__(name, features_list)
        self.mix = torch.nn.Linear(12, 12, bias=False)
        state = {"mix.weight": torch.eye(12)}
        if feature_extractor_weights_path is not None:
            state = torch.load(feature_extractor_weights_path, weights_only=False)
        self.load_state_dict(state)

    def forward(self, images):
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        features = self.mix(F.adaptive_avg_pool2d(images.float() / 64, 2).flatten(1))
        outputs = {"features": features, "logits": 4 * features[:, :5]}
        return tuple(outputs[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "logits" if metric == "isc" else "features"


torch_fidelity.register_feature_extractor("small", Small)


def small(images, layer="features"):
    with torch.no_grad():
        return Small("small", [layer])(images)[0].double()


def small_model(shape=SHAPE):
    torch.manual_seed(1)
    return DDGAN(MLPConfig(shape=shape, num_steps=2, width=16))


def scores(model, data=DATA, **options):
    return evaluate(model, data, **{"n": 200, "extractor": "small", **options})


def recorded(model):
    """The model, and a list that fills with what it draws."""
    drawn, sample = [], model.sample
    model.sample = lambda *args, **options: drawn.append(sample(*args, **options)) or drawn[-1]
    return model, drawn


def showing(images):
    """A model that draws these images (n, C, H, W), as bytes, one after the other."""
    model, rest = small_model(tuple(images.shape[1:])), list(images)
    model.sample = lambda n, **_: to_unit(torch.stack([rest.pop(0) for _ in range(n)]))
    return model


# -- the scores ------------------------------------------------------------------------------


REAL = Images(DATA.images[:160], name="real")
# Blends of two photographs: some are like none, and some photographs are like no blend.
BLENDS = to_bytes((to_unit(DATA.images[100:]) + to_unit(DATA.images[:200])) / 2)


@pytest.fixture(scope="module")
def blended():
    return scores(showing(BLENDS), REAL)


def test_the_numbers_are_torch_fidelitys_own():
    # Called directly, on the same arrays: equal to the last digit.
    with torch.random.fork_rng():
        theirs = torch_fidelity.calculate_metrics(
            input1=torch.utils.data.Subset(BLENDS, range(200)),
            input2=torch.utils.data.Subset(REAL.images, range(160)),
            **dict.fromkeys(THEIRS, True),
            feature_extractor="small",
            kid_subset_size=160,
            rng_seed=3,
            cuda=False,
            save_cpu_ram=True,
            cache=False,
            verbose=False,
        )
    ours = score(Images(BLENDS, name="blends"), REAL, extractor="small", seed=3)
    for metric in THEIRS:
        for name, their_name in METRICS[metric][1].items():
            assert ours[name] == theirs[their_name], name
    assert ours["protocol"].startswith("200 samples of blends and the 160 images of real, uint8")


def test_a_model_is_scored_as_the_images_it_draws():
    drawn = evaluate(showing(BLENDS), REAL, n=200, seed=3, extractor="small")
    stored = score(Images(BLENDS, name="blends"), REAL, extractor="small", seed=3)
    drawn.pop("protocol"), stored.pop("protocol")
    assert drawn == stored


def test_halves_of_one_set_are_near_and_noise_is_far():
    def against(images, name):
        return score(Images(images, name=name), other, extractor="small", metrics=["fid"])

    rng = torch.Generator().manual_seed(0)
    first, second = DATA.images[torch.randperm(300, generator=rng)].chunk(2)
    other = Images(second, name="the other half")
    half = against(first, "half of the photographs")
    noise = against(torch.randint(256, first.shape, generator=rng).to(torch.uint8), "noise")
    assert 0 < half["fid"] < 0.02 * noise["fid"]
    assert "150 samples of noise and the 150 images of the other half" in noise["protocol"]


def test_the_fid_is_the_frechet_distance_of_the_features(blended):
    expected = frechet_distance(small(BLENDS), small(REAL.images))
    assert blended["fid"] == pytest.approx(expected, rel=1e-4)
    assert expected > 0.1


def test_the_inception_score_is_its_formula(blended):
    # torch-fidelity shuffles before it splits: any ten parts of 20 give about the same.
    p = small(BLENDS, "logits").softmax(1).unflatten(0, (10, 20))
    kl = torch.special.xlogy(p, p / p.mean(1, keepdim=True)).sum(2).mean(1)
    assert blended["is"] == pytest.approx(kl.exp().mean().item(), rel=0.05)
    assert blended["is"] > 1.5


def test_the_kid_is_the_unbiased_distance_of_the_cubic_kernel():
    fake, real = DATA.images[:150], DATA.images[150:]
    x, y = small(fake), small(real)
    # As many samples as the subsets are large: all 100 subsets are the whole sets.
    xx, yy, xy = ((a @ b.T / 12 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    pairs = 150 * 149
    expected = ((xx.sum() - xx.trace()) / pairs + (yy.sum() - yy.trace()) / pairs) - 2 * xy.mean()
    found = scores(showing(fake), Images(real, name="rest"), n=150, metrics=["kid"])
    assert found["kid"] == pytest.approx(expected.item(), rel=1e-3)


def test_precision_and_recall_are_counts_of_neighbours(blended):
    def share(points, others):
        radius = torch.cdist(others, others).kthvalue(4).values  # itself and 3 neighbours
        return (torch.cdist(points, others) <= radius).any(1).double().mean().item()

    x, y = small(BLENDS), small(REAL.images)
    assert blended["precision"] == pytest.approx(share(x, y), abs=0.006)
    assert blended["recall"] == pytest.approx(share(y, x), abs=0.006)
    assert 0.7 < blended["recall"] + 0.05 < blended["precision"] < 1


def test_a_set_against_itself_is_perfect():
    found = scores(showing(DATA.images), n=300)
    assert found["fid"] == pytest.approx(0, abs=1e-4)
    assert found["precision"] == found["recall"] == 1
    assert found["kid"] < 0.01


def test_missing_modes_cost_recall_and_not_precision():
    # torch-fidelity had the two exchanged before 0.4.
    found = scores(showing(DATA.images[:8].repeat(25, 1, 1, 1)), metrics=["prc"])
    assert found["precision"] == 1
    assert found["recall"] < 0.1


def test_only_what_was_asked_for_comes_back(blended):
    assert list(blended) == ALL
    assert json.loads(json.dumps(blended)) == blended
    assert all(type(value) is float for name, value in blended.items() if name != "protocol")
    found = scores(small_model(), metrics=("prc", "fid"))
    assert set(found) == {"fid", "precision", "recall", "protocol"}
    assert list(scores(small_model(), metrics=["isc"])) == ["is", "protocol"]


# -- what decides them -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured():
    """The scores of one model, and its samples as bytes."""
    model, drawn = recorded(small_model())
    return scores(model), to_bytes(torch.cat(drawn))


def test_the_seed_decides_the_numbers(measured):
    assert scores(small_model()) == measured[0]
    other = scores(small_model(), seed=1)
    assert all(other[name] != measured[0][name] for name in ("fid", "is", "kid"))
    # torch's generators heed 32 bits of a seed, and so does this.
    assert scores(small_model(), seed=2**32 - 1)["fid"] != other["fid"]


def test_the_seed_decides_the_splits_of_the_same_images(blended):
    other = scores(showing(BLENDS), REAL, seed=1)
    assert (other["fid"], other["recall"]) == (blended["fid"], blended["recall"])
    assert other["is"] != blended["is"]


@pytest.mark.parametrize("batch_size", [1, 77, 1000])
def test_the_batch_size_does_not(measured, batch_size):
    model, drawn = recorded(small_model())
    found = scores(model, batch_size=batch_size)
    assert torch.equal(to_bytes(torch.cat(drawn)), measured[1])
    assert found.pop("protocol") == measured[0]["protocol"]
    assert all(measured[0][name] == pytest.approx(found[name], rel=1e-5) for name in found)


def test_a_sample_follows_from_the_seed_and_its_number(monkeypatch, measured):
    monkeypatch.setattr(features, "CHUNK", 16)
    model, drawn = recorded(small_model())
    scores(model, n=40, metrics=["fid"])
    assert [len(chunk) for chunk in drawn] == [16, 16, 8]
    assert len(torch.cat(drawn).unique(dim=0)) == 40
    assert torch.equal(to_bytes(torch.cat(drawn)), measured[1][:40])  # however many are drawn
    assert torch.equal(Drawn(small_model(), 40, 0).load(torch.tensor([39])), measured[1][39:40])


def test_all_real_images_count_once_in_memory_or_not(tmp_path, measured):
    for i, image in enumerate(DATA.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{i:03d}.png")
    stored = load_images(tmp_path, size=8, memory=0)
    found = scores(small_model(), stored)
    assert found == {**measured[0], "protocol": found["protocol"]}
    (tmp_path / "222.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"222\.png cannot be read: it is no whole"):
        scores(small_model(), stored)


def test_averaged_weights_are_the_default():
    model = small_model()
    raw = scores(model, metrics=["fid"])
    model.averaged = EMA(model.generator, 0.5)
    with torch.no_grad():
        for parameter in model.averaged.module.parameters():
            parameter.mul_(1.5)
    averaged = scores(model, metrics=["fid"])
    assert averaged["fid"] != raw["fid"]
    assert scores(model, metrics=["fid"], averaged=False) == raw
    assert "(EMA weights, seed 0)" in averaged["protocol"]
    assert "(raw weights, seed 0)" in raw["protocol"]


def test_a_model_with_classes_is_scored_on_all_of_them_and_says_so():
    torch.manual_seed(0)
    model = DDGAN(replace(small_model().config, classes=3))
    found = scores(model, n=50, metrics=["fid"])
    assert "50 samples of the model (raw weights, seed 0, labels in turn) and" in found["protocol"]


def test_a_model_from_a_file_has_averaged_weights(tmp_path):
    model = small_model()
    loaded = DDGAN.load(model.save(tmp_path / "model.safetensors"))
    found = scores(loaded, metrics=["fid"])
    assert found["fid"] == scores(model, metrics=["fid"])["fid"]
    assert "(EMA weights, seed 0)" in found["protocol"]
    with pytest.raises(ValueError, match="a file, which holds averaged weights only"):
        scores(loaded, averaged=False)


def test_grey_images_are_three_equal_channels():
    grey = Images(DATA.images[:, :1], name="grey")
    colour = Images(DATA.images[:, :1].repeat(1, 3, 1, 1), name="colour")
    fake = DATA.images[:200, 1:2]
    found = scores(showing(fake), grey)
    expected = scores(showing(fake.repeat(1, 3, 1, 1)), colour)
    assert {**found, "protocol": ""} == {**expected, "protocol": ""}
    assert "uint8 (1, 8, 8) repeated to 3 channels, no file" in found["protocol"]


def test_nothing_else_changes_and_nothing_is_printed(capfd):
    model, before = small_model(), torch.get_rng_state()
    scores(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


# -- the protocol ----------------------------------------------------------------------------


def test_the_protocol_says_how_it_was_measured(tmp_path):
    path = tmp_path / "mix.pth"
    torch.save({"mix.weight": 2 * torch.eye(12)}, path)
    found = scores(small_model(), seed=7, weights=path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert found["protocol"] == (
        "200 samples of the model (raw weights, seed 7) and the 300 images of photographs, "
        f"uint8 (3, 8, 8), no file format in between; features of small (sha256 {checksum}); "
        f"KID by 100 subsets of 200; torch-fidelity {torch_fidelity.__version__}"
    )
    assert found["fid"] == pytest.approx(4 * scores(small_model(), seed=7)["fid"], rel=1e-4)
    told = r"of small \(its own weights, sha256 [0-9a-f]{12}\); torch"
    assert re.search(told, scores(small_model(), metrics=["fid"])["protocol"])


# -- mishaps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"metrics": ["fid", "lpips"]},
            r"must be some of fid, bias, isc, kid, prc, dnc, got \['fid', 'l",
        ),
        ({"metrics": "fid"}, "must be some of fid, bias, isc, kid, prc, dnc, got 'fid'"),
        ({"metrics": ()}, r"must be some of fid, bias, isc, kid, prc, dnc, got \(\)"),
        ({"n": 9}, "isc needs at least 10 samples .* got n = 9 and 300 in photographs"),
        ({"n": 3, "metrics": ["kid", "prc"]}, "prc needs at least 4 samples"),
        ({"n": 1, "metrics": ["fid"]}, "fid needs at least 2 samples"),
        ({"n": 0, "metrics": ["kid"]}, "kid needs at least 2 samples"),
        ({"seed": -1}, r"seed must be in 0\.\.4294967295, got -1"),
        ({"seed": 2**32}, r"seed must be in 0\.\.4294967295, got 4294967296"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"extractor": "none"}, "unknown extractor 'none': known are inception-v3-compat, .*small"),
    ],
)
def test_bad_options_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        scores(small_model(), **options)


@pytest.mark.parametrize("shape", [(3, 8, 4), (1, 8, 8), (192,)])
def test_a_model_of_another_shape_is_refused(shape):
    sentence = re.escape(f"samples of shape {shape}, photographs holds images of shape (3, 8, 8)")
    with pytest.raises(ValueError, match=sentence):
        scores(small_model(shape))


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match="must be the same, with 1 or 3 channels"):
        scores(small_model((2, 8, 8)), Images(DATA.images[:, :2], name="two"))


def test_samples_that_are_not_finite_are_refused():
    model = small_model()
    model.sample = lambda n, **_: torch.full((n, *SHAPE), math.nan)
    with pytest.raises(FloatingPointError, match="draws values that are not finite"):
        scores(model)


def test_few_images_make_the_subsets_of_kid_small():
    found = scores(small_model(), Images(DATA.images[:20], name="few"), n=30, metrics=["kid"])
    assert "KID by 100 subsets of 20;" in found["protocol"]
    assert math.isfinite(found["kid"])


@pytest.mark.parametrize("metric", METRICS)
def test_the_fewest_images_are_enough(metric):
    least = METRICS[metric][0]
    few = Images(DATA.images[:least], name="few")
    found = scores(small_model(), few, n=least, metrics=[metric])
    assert all(math.isfinite(value) for name, value in found.items() if name != "protocol")


def test_without_torch_fidelity_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ddgan-lite\[metrics\]'\.$"):
        scores(small_model())


class Bomb:
    """Pickled bytes that call a function when they are unpickled without care."""

    def __reduce__(self):
        return sys.exit, ("this code must not run",)


@pytest.mark.parametrize("extractor", ["small", features.INCEPTION])
@pytest.mark.parametrize("contents", ["nothing", "folder", "garbage", "code", "tensors", "list"])
def test_weights_that_do_not_fit_are_refused(tmp_path, contents, extractor):
    path = tmp_path / "weights.pth"
    if contents == "folder":
        path.mkdir()
    elif contents == "garbage":
        path.write_bytes(b"<html>404</html>")
    elif contents == "code":
        torch.save(Bomb(), path)
    elif contents == "tensors":
        torch.save({"other.weight": torch.zeros(2)}, path)
    elif contents == "list":
        torch.save([1, 2], path)
    reason = {"nothing": "No such file or directory", "folder": "Is a directory"}
    reason = reason.get(contents, "it is no whole torch file of its tensors")
    sentence = re.escape(f"{path} cannot be the weights of {extractor}: {reason}.")
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        scores(small_model(), weights=path, extractor=extractor)


def cut_short(url, path, *args, **kwargs):
    with open(path, "w") as file:
        file.write("cut short")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache for torch's downloads, and what stands in for the network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    asked = []

    def download(url, path, hash_prefix, progress):
        asked.append((url, hash_prefix, progress))
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return asked


def test_inception_weights_are_downloaded_with_their_checksum(hub, tmp_path, monkeypatch):
    file = tmp_path / "torch/hub/checkpoints/weights-inception-2015-12-05-6726825d.pth"
    with pytest.raises(FileNotFoundError, match=r"cannot be downloaded .*: get https://"):
        evaluate(small_model(), DATA, n=10)
    ((url, checksum, progress),) = hub
    assert url.endswith(f"/{file.name}") and checksum == "6726825d" and not progress
    # One download is enough, and what is in the cache is looked at as any other file is.
    monkeypatch.setattr(torch.hub, "download_url_to_file", cut_short)
    with pytest.raises(ValueError, match=f"{file.name} cannot be the weights of inception-v3"):
        evaluate(small_model(), DATA, n=10)
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    with pytest.raises(ValueError, match=f"{file.name} cannot be the weights of inception-v3"):
        evaluate(small_model(), DATA, n=10)


# -- the command line ------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path):
    """Evaluates a saved model on a folder of 40 images, unless the arguments name another."""
    (tmp_path / "real").mkdir()
    for i, image in enumerate(DATA.images[:40]):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"real/{i:02d}.png")
    path = str(small_model().save(tmp_path / "model.safetensors"))
    usual = ["--data", str(tmp_path / "real"), "--device", "cpu"]
    return lambda *arguments, model=path: main(["evaluate", model, *usual, *arguments])


def test_the_command_prints_the_scores(command, capsys):
    line = ("--n", "50", "--seed", "3", "--extractor", "small")
    assert command(*line, "--metrics", "fid", "prc") == 0
    expected = scores(
        small_model(),
        Images(DATA.images[:40], name="real"),
        n=50,
        seed=3,
        metrics=["fid", "prc", "bias"],
    )
    files = f"real from PNG as they are, decoded by Pillow {PIL.__version__}"
    told = expected["protocol"].replace("raw", "EMA").replace("no file format in between", files)
    expected["protocol"] = told
    printed = capsys.readouterr()
    assert json.loads(printed.out) == expected
    bias = (
        f"FID is too high with fewer than 10,000 images, here by about {expected['fid_bias']:.3g} "
    )
    assert f"warning: {bias}" in printed.err
    assert command("--n", "10", "--extractor", "small") == 0
    assert list(json.loads(capsys.readouterr().out)) == ALL


def test_only_a_biased_fid_is_warned_of(command, monkeypatch, capsys):
    assert command("--n", "10", "--extractor", "small", "--metrics", "prc", "kid") == 0
    assert "warning" not in capsys.readouterr().err
    monkeypatch.setattr(commands, "ENOUGH", 40)
    assert command("--n", "50", "--extractor", "small", "--metrics", "fid") == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    assert list(json.loads(printed.out)) == ["fid", "protocol"]


def test_a_folder_of_samples_scores_as_the_model_does(command, tmp_path, capsys):
    assert command("--n", "50", "--seed", "3", "--extractor", "small") == 0
    drawn = json.loads(capsys.readouterr().out)
    model, folder = str(tmp_path / "model.safetensors"), str(tmp_path / "samples")
    words = ["--n", "50", "--seed", "3", "--device", "cpu", "--out", folder]
    assert main(["sample", model, *words]) == 0
    capsys.readouterr()
    line = ["evaluate", folder, str(tmp_path / "real"), "--device", "cpu", "--seed", "3"]
    assert main([*line, "--extractor", "small"]) == 0
    stored = json.loads(capsys.readouterr().out)
    told, _ = stored.pop("protocol"), drawn.pop("protocol")
    assert stored == pytest.approx(drawn, rel=1e-3)
    assert told.startswith(
        "50 samples of samples and the 40 images of real, uint8 (3, 8, 8), samples"
    )


def test_folders_of_mixed_sizes_are_scaled_and_the_protocol_says_so(command, tmp_path, capsys):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for i in range(12):
        image = Image.new("RGB", (20 + i, 16), (20 * i, 200 - 10 * i, 9 * i))
        image.save(mixed / f"{i:02d}.{'jpg' if i % 3 else 'png'}")
    line = ["evaluate", str(mixed), str(tmp_path / "real"), "--device", "cpu"]
    line += ["--extractor", "small", "--metrics", "fid"]
    assert main(line) == 1
    sentence = capsys.readouterr().err
    assert "12 of 12 images in" in sentence
    assert "00.png is 20 x 16 pixels, not 8 x 8. With a size (--size) all are scaled" in sentence
    assert main([*line, "--size", "8"]) == 0
    told = json.loads(capsys.readouterr().out)["protocol"]
    changed = "scaled to a short side of 8 by Lanczos and cut to the middle"
    pillow = f"decoded by Pillow {PIL.__version__}"
    files = (
        f"mixed from JPEG {changed}, PNG {changed}, {pillow}, real from PNG as they are, {pillow}"
    )
    assert f"uint8 (3, 8, 8), {files}; features of small" in told
    assert "no file format" not in told


def test_a_published_set_may_stand_in_either_place(tmp_path, capsys):
    for i, image in enumerate(load_images("digits").images[:20, 0]):
        Image.fromarray(image.numpy()).save(tmp_path / f"{i}.png")
    found = []
    for pair in ([str(tmp_path), "digits"], ["digits", str(tmp_path)]):
        line = ["evaluate", *pair, "--device", "cpu", "--extractor", "small", "--metrics", "fid"]
        assert main(line) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["fid"] == pytest.approx(found[1]["fid"], rel=1e-4)
    assert "uint8 (1, 8, 8) repeated to 3 channels" in found[0]["protocol"]
    assert "the 1198 images of digits" in found[0]["protocol"]


# -- feature networks of one's own -----------------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of a user, found from the folder that it lies in; returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    number = iter(range(9))

    def write(text):
        name = f"own_{tmp_path.name}_{next(number)}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


MEANS = """
import torch
def embed(images):
    assert images.dtype == torch.uint8
    return torch.nn.functional.adaptive_avg_pool2d(images.float() / 64, 2).flatten(1)
def both(images):
    return embed(images), 4 * embed(images)[:, :5]
def flat(images):
    return embed(images).flatten()
def broken(images):
    return embed(images) / 0
number = 3
"""


def test_a_function_of_ones_own_makes_the_features(own):
    module = own(MEANS)
    found = scores(small_model(), extractor=f"{module}:both")
    expected = scores(small_model())  # the same features, as a network of torch-fidelity
    told, _ = found.pop("protocol"), expected.pop("protocol")
    assert found == pytest.approx(expected, rel=1e-4)
    checksum = hashlib.sha256(MEANS.encode()).hexdigest()[:12]
    assert f"features of {module}:both (sha256 {checksum}); KID" in told
    fid = scores(small_model(), extractor=f"{module}:embed", metrics=["fid"])
    assert fid["fid"] == pytest.approx(found["fid"], rel=1e-4)


def test_the_inception_score_is_left_out_where_there_are_no_logits(own, command, capsys):
    name = f"{own(MEANS)}:embed"
    found = scores(small_model(), extractor=name)
    assert {"fid", "kid", "recall", "coverage"} < found.keys() and "is" not in found
    capsys.readouterr()
    assert command("--n", "10", "--extractor", name) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() == found.keys()


def test_the_weights_of_ones_own_network_are_in_the_checksum(own, tmp_path):
    text = """
import torch
torch.manual_seed(int(open("seed").read()))
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
def embed(images):
    return net(images / 255)
"""
    told = []
    for seed in (0, 1, 1):
        (tmp_path / "seed").write_text(str(seed))
        found = scores(small_model(), extractor=f"{own(text)}:embed", metrics=["fid"])
        told.append(re.search(r"\(sha256 (\w{12})\)", found["protocol"]).group(1))
    assert told[0] != told[1] == told[2]


def test_a_judge_makes_features_of_what_it_reads(rng):
    pixels = torch.randint(256, (2, 70, 1, 32, 32), generator=rng, dtype=torch.uint8)
    path = results.find("mnist_judge.safetensors")
    x, y = (Images(part, name=name) for part, name in zip(pixels, "xy", strict=True))
    found = score(x, y, extractor=str(path), metrics=["fid", "isc", "dnc"])
    a, b = (Judge.load().look(to_unit(part))[0] for part in pixels)
    assert found["fid"] == pytest.approx(frechet_distance(a, b), rel=1e-3)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert f"features of mnist_judge.safetensors (sha256 {checksum}); torch" in found["protocol"]
    with pytest.raises(ValueError, match=r"reads images of shape \(1, 32, 32\), those of real are"):
        score(REAL, REAL, extractor=str(path), metrics=["fid"])


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        ("embed", {"metrics": ["isc"]}, r"no logits, which isc needs: leave .* \(--metrics\), or"),
        (
            "flat",
            {"metrics": ["fid"]},
            r"features of shape \(768,\) for 64 images: give \(64, d\)",
        ),
        ("broken", {"metrics": ["fid"]}, "gives values that are not finite"),
        ("number", {}, "has no function 'number'"),
        ("nothing", {}, "has no function 'nothing'"),
        ("embed", {"weights": "file.pth"}, "weights are for a network of torch-fidelity"),
    ],
)
def test_a_function_that_does_not_fit_is_refused(function, options, sentence, own):
    with pytest.raises(ValueError, match=sentence):
        scores(small_model(), extractor=f"{own(MEANS)}:{function}", **options)


def test_a_module_that_cannot_be_imported_is_refused(own):
    for name, sentence in (("nowhere", "No module named"), (own("import ("), "invalid syntax")):
        with pytest.raises(ValueError, match=f"{name} cannot be imported: {sentence}"):
            scores(small_model(), extractor=f"{name}:embed")


def test_the_command_without_inception_weights_is_one_sentence(hub, command, capsys):
    assert command("--n", "10") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(
        r"error: the Inception weights cannot be downloaded \(.*Name or service not known.*\): "
        r"get https://\S+\.pth on another machine and name the file with --weights\.\n",
        printed.err,
    )
    assert command("--n", "10", "--weights", "nowhere.pth") == 1
    assert capsys.readouterr().err == (
        "error: nowhere.pth cannot be the weights of inception-v3-compat: No such file or "
        "directory.\n"
    )


def test_the_command_refuses_what_is_no_set_of_images(command, tmp_path, capsys):
    assert command("--data", "stacked_digits") == 1
    assert "stacked_digits is no fixed set of images: give photographs," in capsys.readouterr().err
    points = str(small_model((2,)).save(tmp_path / "points.safetensors"))
    assert command(model=points) == 1
    assert "holds images, but these networks work on (2,)." in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command("--metrics", "lpips")
    assert "invalid choice: 'lpips'" in capsys.readouterr().err
