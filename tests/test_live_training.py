"""Training in the page: losses, gradients and whole steps of trainer.js against the library's.

tests/site/test_live.py watches it in a browser.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from build_live import recipe

from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.evaluation.metrics import mixture_scores
from ddgan_lite.training.presets import preset
from ddgan_lite.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")

LIVE = Path(__file__).resolve().parent.parent / "book/_static/live"
RUN = """
for (const file of process.argv.slice(1, 3)) require(file);
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const { recipe, data, weights, batches, gammas } = given;
const run = ddganLive.trainer(recipe, data, 0);
for (const batch of batches)
  for (const key of ["previous", "x", "z", "noise"]) batch[key] = Float32Array.from(batch[key]);
const put = ([generator, discriminator]) => {
  run.G.values.set(generator);
  run.D.values.set(discriminator);
};
const gradients = batches.map((batch, step) => { // at PyTorch's weights, not at our own
  put(weights[step]);
  run.discriminatorLoss(batch, gammas[step]);
  const found = Array.from(run.D.gradient);
  put([weights[step][0], weights[step + 1][1]]);
  run.generatorLoss(batch);
  return [Array.from(run.G.gradient), found];
});
put(weights[0]);
const steps = batches.map((batch) => {
  const losses = run.advance(batch);
  return { losses, values: [run.G, run.D, run.averaged].map((net) => Array.from(net.values)) };
});
put(weights.at(-1));
const surface = run.surface([0.3, -1], 2, 4, 3);
console.log(JSON.stringify({ steps, gradients, surface: Array.from(surface) }));
"""


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


class Recorded:
    """The library's trainer, its random numbers and its gradients written down."""

    def __init__(self, steps):
        torch.manual_seed(0)
        chosen = preset("gaussians", steps=8, batch_size=66, ema_decay=0.5)  # 66: tiles have edges
        self.recipe, self.model = recipe(chosen), chosen.build()
        real_pair, fake_like, draw = (
            self.model.real_pair, self.model.fake_like, self.model.draw_latent,
        )  # fmt: skip
        self.batches, self.steps = [], []

        def pair(*given):
            previous, (x, t) = real_pair(*given)
            self.batches.append({"previous": previous, "x": x, "t": t})
            return previous, (x, t)

        def latent(*given, **named):
            self.batches[-1]["z"] = draw(*given, **named)
            return self.batches[-1]["z"]

        def fake(real, condition, rng):
            guess = self.model.predict(*condition, rng=rng)
            made = fake_like(real, condition, rng, guess)
            mean, variance = self.model.diffusion.posterior(guess, *condition)
            noise = torch.where(variance > 0, (made - mean) / variance.sqrt(), 0.0)
            self.batches[-1]["noise"] = noise.detach()
            return made

        self.model.real_pair, self.model.draw_latent, self.model.fake_like = pair, latent, fake
        networks = (self.model.generator, self.model.discriminator)
        self.weights = [[flat(network.parameters()) for network in networks]]
        self.gammas = [0 if step % 4 else chosen.settings.r1_at(step) for step in range(steps)]
        trainer = Trainer(self.model, gaussian_grid(), chosen.settings)
        for _, losses in zip(range(steps), trainer, strict=False):
            averaged = self.model.averaged.module
            self.steps.append({
                "losses": losses,
                "gradients": [flat(w.grad for w in net.parameters()) for net in networks],
                "values": [flat(net.parameters()) for net in (*networks, averaged)],
            })  # fmt: skip
            self.weights.append(self.steps[-1]["values"][:2])

    def in_node(self):
        data = {"means": gaussian_grid().means.tolist(), "std": 0.05}
        batches = [
            {key: x.detach().flatten().tolist() for key, x in b.items()} for b in self.batches
        ]
        given = {"recipe": self.recipe, "data": data, "batches": batches}
        given["weights"] = [[w.tolist() for w in pair] for pair in self.weights]
        given["gammas"] = self.gammas
        scripts = [str(LIVE / "ddgan.js"), str(LIVE / "trainer.js")]
        ran = subprocess.run(
            ["node", "-e", RUN, *scripts], input=json.dumps(given), capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def both():
    recorded = Recorded(steps=6)
    return recorded, recorded.in_node()


def test_losses_are_pytorchs(both):
    recorded, found = both
    assert len(found["steps"]) == 6
    for ours, theirs in zip(found["steps"], recorded.steps, strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], abs=2e-4)
    r1 = ["r1" in step["losses"] for step in found["steps"]]
    assert r1 == [True, False, False, False, True, False]


def test_gradients_are_pytorchs(both):
    """Of D with R1, differentiated twice, at steps 0 and 4; of D without it and of G."""
    recorded, found = both
    for ours, theirs in zip(found["gradients"], recorded.steps, strict=True):
        for gradient, expected in zip(ours, theirs["gradients"], strict=True):
            largest = expected.abs().max()
            assert (torch.tensor(gradient) - expected).abs().max() < 1e-4 * largest


def test_steps_are_pytorchs(both):
    """Adam, the falling rate and the average. Where a gradient is near zero, Adam's first step
    turns its rounding into a sign, so a few weights may differ."""
    recorded, found = both
    for ours, theirs in zip(found["steps"], recorded.steps, strict=True):
        for values, expected in zip(ours["values"], theirs["values"], strict=True):
            assert ((torch.tensor(values) - expected).abs() < 1e-4).double().mean() > 0.99


def test_the_surface_is_the_discriminators(both):
    recorded, found = both
    at = torch.tensor([-2.25, -0.75, 0.75, 2.25])
    grid = torch.stack([at.repeat(4), at.flip(0).repeat_interleave(4)], 1)
    with torch.no_grad():
        condition = torch.tensor([0.3, -1.0]).expand(16, 2), torch.full((16,), 2)
        expected = recorded.model.discriminator(grid, *condition).sigmoid()
    assert torch.tensor(found["surface"]) == pytest.approx(expected, abs=1e-5)


TRAIN = """
for (const file of process.argv.slice(1, 3)) require(file);
const { recipe, data } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const run = ddganLive.trainer(recipe, data, 0);
while (run.step < 500) run.advance();
console.log(JSON.stringify(Array.from(run.samples(4000))));
"""


def test_five_hundred_steps_find_the_clusters():
    """A fifth of the page's run, at the rates of a run of 500: most of the way."""
    given = {"recipe": recipe(preset("gaussians", steps=500, batch_size=128))}
    given["data"] = {"means": gaussian_grid().means.tolist(), "std": 0.05}
    scripts = [str(LIVE / "ddgan.js"), str(LIVE / "trainer.js")]
    ran = subprocess.run(
        ["node", "-e", TRAIN, *scripts], input=json.dumps(given), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    samples = torch.tensor(json.loads(ran.stdout)).reshape(4000, 2)
    scores = mixture_scores(samples, gaussian_grid())
    assert scores["hq3"] > 0.4 and scores["modes20"] >= 22
