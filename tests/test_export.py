"""Models for web pages: what the script holds, what is refused, what the live pages say.

tests/site/test_live.py runs the scripts in a browser and holds the shipped models against PyTorch.
"""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from build_live import TRAINED_IN_THE_PAGE

from ddgan_lite.__main__ import main
from ddgan_lite.chain.diffusion import Diffusion, cosine_levels
from ddgan_lite.chain.mixtures import best_gaussian_sample
from ddgan_lite.data.toys import gaussian_grid, gaussian_line
from ddgan_lite.evaluation.judge import Judge
from ddgan_lite.evaluation.metrics import mixture_scores, read_digits
from ddgan_lite.exchange.javascript import to_javascript
from ddgan_lite.files import results
from ddgan_lite.method.ema import EMA
from ddgan_lite.method.model import DDGAN
from ddgan_lite.networks import ConvConfig, MLPConfig, PyramidConfig, UNetConfig
from ddgan_lite.training.presets import PRESETS

BOOK = Path(__file__).resolve().parent.parent / "book"


def read(path, name):
    """What the script puts into ddganModels[name]."""
    start = f'(globalThis.ddganModels ??= {{}})["{name}"] = '
    text = path.read_text()
    assert text.startswith(start) and text.endswith(";\n")
    return json.loads(text.removeprefix(start).removesuffix(";\n"))


def decoded(stored):
    """A tensor of the script, as the page reads it."""
    numbers = np.frombuffer(base64.b64decode(stored["data"]), stored["type"])
    numbers = torch.from_numpy(numbers.astype("float32")).reshape(stored["shape"])
    if stored["type"] != "int8":
        return numbers
    scale = torch.from_numpy(np.frombuffer(base64.b64decode(stored["scale"]), "float32").copy())
    return numbers * scale.reshape(-1, *[1] * (numbers.dim() - 1))


@pytest.mark.parametrize("bits", [32, 16])
def test_the_script_holds_the_weights_and_the_chain(tmp_path, bits):
    model = DDGAN(ConvConfig(shape=(1, 8, 8), width=4, hidden=8, levels=2))
    path = to_javascript(model, tmp_path / "deep" / "small.js", bits=bits)
    held = read(path, "small")
    assert held["kind"] == "conv" and held["config"]["levels"] == 2
    for table in ("alpha_bar", "posterior_coef_x0", "posterior_coef_xt", "posterior_variance"):
        expected = getattr(model.diffusion, table).tolist()
        assert held[table][1:] == expected[1:] and len(held[table]) == 5
    weights = model.generator.state_dict()
    assert held["weights"].keys() == weights.keys()
    for name, tensor in weights.items():
        stored = held["weights"][name]
        assert (stored["shape"], stored["type"]) == (list(tensor.shape), f"float{bits}")
        assert torch.equal(decoded(stored), tensor.half().float() if bits == 16 else tensor)


@pytest.mark.parametrize("classes", [0, 10])
def test_eight_bits_are_off_by_half_a_scale_at_most(tmp_path, classes):
    model = DDGAN(PyramidConfig(shape=(1, 16, 16), width=8, blocks=1, classes=classes))
    with torch.no_grad():
        model.generator.stem.weight[3] = 0  # a row without a scale
        model.generator.out.weight[0] *= 100  # costs the other rows nothing
    path = to_javascript(model, tmp_path / "eight.js", bits=8)
    assert path.stat().st_size < 0.4 * to_javascript(model, tmp_path / "whole.js").stat().st_size
    for name, stored in read(path, "eight")["weights"].items():
        tensor = model.generator.state_dict()[name]
        if tensor.dim() == 1:
            assert torch.equal(decoded(stored), tensor)
            continue
        rows, found = tensor.flatten(1), decoded(stored).flatten(1)
        most = rows.abs().amax(1, keepdim=True)
        assert stored["type"] == "int8" and ((rows - found).abs() <= 0.501 / 127 * most).all()
        assert torch.allclose(found.abs().amax(1, keepdim=True), most)


def test_the_script_of_the_mnist_model_is_light(tmp_path):
    assert to_javascript(PRESETS["mnist"].build(), tmp_path / "m.js", bits=8).stat().st_size < 2.6e6


def test_the_averaged_weights_are_the_ones_exported(tmp_path):
    model = DDGAN(MLPConfig(width=4))
    model.averaged = EMA(model.generator, 0.5)
    with torch.no_grad():
        model.generator.net[0].bias += 1  # since then only the raw weights have moved
    held = read(to_javascript(model, tmp_path / "a.js", name="another name"), "another name")
    assert held["config"] == json.loads(json.dumps(MLPConfig(width=4).__dict__))
    data = base64.b64decode(held["weights"]["net.0.bias"]["data"])
    found = torch.from_numpy(np.frombuffer(data, "float32").copy())
    assert torch.equal(found, model.averaged.module.net[0].bias)
    assert not torch.equal(found, model.generator.net[0].bias)


PREDICT = """
for (const file of process.argv.slice(1, 3)) require(file);
const { t, n, x, z, label } = JSON.parse(require("fs").readFileSync(0)); // too long for a word
const model = ddganLive.model("m");
console.log(JSON.stringify(t.map((t, k) =>
  Array.from(model.predict(Float32Array.from(x[k]), Float32Array.from(z[k]), t, n, label)))));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
@pytest.mark.parametrize(
    "config",
    [
        MLPConfig(),
        MLPConfig(frequencies=(0.5, 3)),
        MLPConfig(data_std=0.7),
        MLPConfig(shape=(3,), num_steps=3, latent_dim=0, frequencies=(2,), data_std=2.0),
        MLPConfig(frequencies=(1, 2, 4, 8), data_std=2**0.5, noise_levels=cosine_levels(4)),
        ConvConfig(shape=(2, 8, 8), width=4, hidden=8, levels=2),
        MLPConfig(frequencies=(2,), classes=3),
        ConvConfig(shape=(1, 8, 8), width=4, hidden=8, classes=10),
        PyramidConfig(),
        PRESETS["mnist"].config,
        PyramidConfig(shape=(3, 16, 16), width=16, levels=1, blocks=2, data_std=0.5, classes=10),
        PyramidConfig(shape=(2, 16, 16), width=8, num_steps=3, latent_dim=0, levels=3, hidden=5),
    ],
)
@pytest.mark.parametrize("bits", [32, 8])
def test_javascript_predicts_what_pytorch_does(tmp_path, config, bits):
    """Of weights in 8 bits: what PyTorch makes of the weights that are in the file."""
    torch.manual_seed(0)
    model, n, times = DDGAN(config), 3, list(range(1, config.num_steps + 1))
    x = 2 * torch.randn(len(times), n, *config.shape)
    z = torch.randn(len(times), n, config.latent_dim)
    given = {"t": times, "n": n, "x": x.flatten(1).tolist(), "z": z.flatten(1).tolist()}
    written = to_javascript(model, tmp_path / "m.js", bits=bits)
    rounded = {key: decoded(stored) for key, stored in read(written, "m")["weights"].items()}
    model.generator.load_state_dict(rounded)
    limit = 1e-4 if isinstance(config, PyramidConfig) else 1e-5
    asked = None, config.classes - 1, [0, config.classes - 1, 1]  # for all, or one for each
    for label in asked[: 1 + 2 * bool(config.classes)]:
        command = ["node", "-e", PREDICT, str(BOOK / "_static/live/ddgan.js"), str(written)]
        words = json.dumps(given | {"label": label})
        ran = subprocess.run(command, input=words, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        y = model.label_rows(label, n)
        for t, found, its_x, its_z in zip(times, json.loads(ran.stdout), x, z, strict=True):
            with torch.no_grad():
                expected = model.predict(its_x, torch.full((n,), t), its_z, y)
            assert np.abs(np.array(found) - expected.numpy().ravel()).max() < limit


def test_eight_bits_cost_no_digit():
    """Of MNIST's model, from the same noise and latents: most look the same to the judge."""
    model, looks = DDGAN.load(results.find("mnist.safetensors")), []
    for rounded in (False, True):
        if rounded:
            tiny.in_eight_bits(model.generator)
        rng = torch.Generator().manual_seed(0)
        samples = model.sample(200, labels=torch.arange(200) % 10, rng=rng)
        looks.append(Judge.load().look(samples)[1])
    (sure, read), (sure_8, read_8) = (look.max(1) for look in looks)
    only = ((sure >= 0.9) & (sure_8 < 0.9)).sum(), ((sure < 0.9) & (sure_8 >= 0.9)).sum()
    assert abs(only[0] - only[1]) <= 3 * max(1, (only[0] + only[1]).sqrt())  # chance, three sigma
    assert (read == read_8).double().mean() > 0.9 and not torch.equal(sure, sure_8)


def test_a_page_has_no_u_net(tmp_path):
    model = DDGAN(UNetConfig(shape=(1, 8, 8), width=8, multipliers=(1,), attention_size=0))
    with pytest.raises(ValueError, match="a page runs no network of UNetConfig"):
        to_javascript(model, tmp_path / "large.js")
    with pytest.raises(ValueError, match="bits must be 32, 16 or 8, got 4"):
        to_javascript(DDGAN(MLPConfig()), tmp_path / "small.js", bits=4)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_script(tmp_path, capsys):
    stored = str(results.find("gaussians.safetensors"))
    assert main(["export-js", stored, str(tmp_path / "g.js"), "--name", "g", "--bits", "16"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'g.js'}\n"
    assert read(tmp_path / "g.js", "g")["weights"]["net.0.bias"]["type"] == "float16"


@pytest.mark.parametrize("words", [["nothing.safetensors", "x.js"], ["{stored}", "/proc/x.js"]])
def test_a_command_that_cannot_answers_with_a_sentence(capsys, words):
    stored = str(results.find("gaussians.safetensors"))
    assert main(["export-js", *(word.format(stored=stored) for word in words)]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(("t", "lowest", "highest"), [(1, 0.9, 1), (2, 0.3, 0.6), (3, 0, 0.2)])
def test_when_a_picture_is_decided(t, lowest, highest):
    """The page "four steps to a picture": what six chains that part at x_t have in common."""
    model = DDGAN.load(results.find("stacked_digits.safetensors"))
    rng = torch.Generator().manual_seed(0)
    chain = list(model.sample_steps(100, rng=rng))
    parting = chain[model.config.num_steps - t].repeat_interleave(6, 0)
    *_, images = model.denoise_steps(parting, t, rng=rng)
    digits = read_digits(images).reshape(100, 6, 3)
    same = (digits[:, 1:] == digits[:, :1]).double().mean().item()
    assert lowest < same < highest


@pytest.mark.parametrize(
    ("page", "model", "said", "precision"),
    [
        ("plane", "gaussians", "6,290", 1),
        ("images", "stacked_digits", "350,000", 10_000),
        ("images", "digits", "100,000", 10_000),
    ],
)
def test_the_pages_give_the_size_of_their_networks(page, model, said, precision):
    generator = DDGAN.load(results.find(f"{model}.safetensors")).generator
    size = sum(weight.numel() for weight in generator.parameters())
    assert round(size / precision) * precision == int(said.replace(",", ""))
    assert f"{said} weights" in (BOOK / f"live-{page}.md").read_text()


def test_the_page_of_training_says_what_it_trains():
    page, chosen = (BOOK / "live-training.md").read_text(), PRESETS["gaussians"]
    model, here = chosen.build(), TRAINED_IN_THE_PAGE
    for network, sentence in (
        (model.generator, "A generator of {:,} weights"),
        (model.discriminator, "a discriminator of {:,} start from nothing"),
    ):
        assert sentence.format(sum(weight.numel() for weight in network.parameters())) in page
    assert f"{here['steps']:,} updates in place of {chosen.settings.steps:,}" in page
    assert here["batch_size"] * 4 == chosen.settings.batch_size and "a quarter of the rows" in page
    assert f"R1 ({chosen.settings.r1} at the start, {chosen.settings.r1_end} at the end)" in page


def test_the_page_gives_the_odds_of_the_chain():
    """The page "four steps to 25 clusters": what it says of the preset's noise levels."""
    page, data = (BOOK / "live-plane.md").read_text(), gaussian_grid()
    chain, rng = PRESETS["gaussians"].build().diffusion, torch.Generator().manual_seed(0)
    clean, found = data.sample(4000, rng), []
    for t in range(4, 0, -1):
        alpha_bar = float(chain.alpha_bar[t])
        x_t = chain.q_sample(clean, t, rng)
        likely = data.denoising(x_t, 1.0, alpha_bar).weights > 0.02
        found.append(round(likely.sum(1).double().mean().item()))
    assert found == [25, 16, 9, 3]
    assert "an $x_4$ has on average 25 of them, an $x_3$ 16, an $x_2$ 9 and an $x_1$ 3" in page
    signal, noise = chain.alpha_bar[1].sqrt(), (1 - chain.alpha_bar[1]).sqrt()
    assert f"standard deviation {noise:.2f} fills the gaps between clusters {signal:.2f}" in page
    assert f"the factor is {signal:.2f}" in page
    guess, std = chain.posterior_coef_x0[4], chain.posterior_variance[4].sqrt()
    assert f"{guess:.2f} times the guess under noise of standard deviation {std:.2f}" in page
    odds = data.denoising(torch.zeros(2), 1.0, float(chain.alpha_bar[1])).weights.sort().values
    assert [f"{share:.2f}" for share in odds[-5:]] == ["0.03"] * 4 + ["0.87"]
    drawn = best_gaussian_sample(data, chain, 4000, rng=rng)
    assert 1 / 7 < mixture_scores(drawn, data)["hq3"] < 1 / 5  # "about one in six"


def test_the_page_gives_the_divergence_of_the_last_step():
    alpha_bar = Diffusion(4).alpha_bar[1].item()
    found = [
        gaussian_line().denoising(torch.tensor([x]), 1.0, alpha_bar).kl_to_gaussian().item()
        for x in (0.0, 0.3, 1.0, 2.0)
    ]
    assert {f"{kl:.1f}" for kl in found} == {"1.6"}
    assert (
        "At $t/T = 0.25$, the last step, the KL is 1.6 nats"
        in (BOOK / "live-denoising.md").read_text()
    )
