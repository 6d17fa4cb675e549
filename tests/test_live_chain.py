"""The live page of one step back, its second part: the script's sums against the library's.

tests/site/test_live.py operates the page in a browser.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from build_live import LEVELS

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.chain.mixtures import GaussianMixture, best_gaussian_sample
from ddgan_lite.data.toys import gaussian_line
from ddgan_lite.evaluation.metrics import kl_to_uniform

LIVE = Path(__file__).resolve().parent.parent / "book/_static/live"
RUN = """
for (const file of process.argv.slice(1, 3)) require(file);
const { std, spacings, levels } = JSON.parse(process.argv[3]);
const data = ddganLive.lineData(std, spacings);
const { hq3, shares, klModes, klData, grid, truth } = ddganLive.followed(data, levels);
const total = (mass) => mass.reduce((a, b) => a + b);
console.log(JSON.stringify({
  hq3, shares, klModes, klData, ...ddganLive.stepDivergences(data, levels), means: data.means,
  total: [total(grid.mass), total(truth)], paper: ddganLive.paperLevels(levels.length),
}));
"""
ONE, TWO, THREE = (0.05, [1]), (0.005, [1, 0.1]), (0.0005, [1, 0.1, 0.01])
CASES = [
    (ONE, (150.0,)),
    (ONE, (0.957, 3.42, 17.05, 152.0)),
    (ONE, (0.086, 0.15, 0.293, 160.0)),
    (ONE, (0.02, 0.021, 0.3, 0.31, 4.0, 4.1)),  # handles side by side
    (TWO, (0.957, 3.42, 17.05, 152.0)),
    (TWO, (0.005, 0.05, 0.5, 5.0)),
]


def mixture(std, spacings):
    fine = gaussian_line(spacing=spacings[-1]).means
    means = fine if len(spacings) == 1 else (gaussian_line().means[:, None] + fine).reshape(-1, 1)
    return GaussianMixture(means, std)


def mean_divergence(data, chain, t, nodes=801):
    """E KL(q(x_{t-1} | x_t) || its best Gaussian), by brute force in x_t and x_{t-1}."""
    now, before = float(chain.alpha_bar[t]), float(chain.alpha_bar[t - 1])
    marginal = data.noised(now)
    edge = 8 * marginal.std.max() + marginal.means.max()
    x_t = torch.linspace(-float(edge), float(edge), nodes, dtype=torch.float64)[:, None]
    weight = marginal.log_prob(x_t).exp() * (x_t[1] - x_t[0])
    held = weight > 1e-12
    return (weight[held] * data.denoising(x_t[held], before, now).kl_to_gaussian()).sum().item()


def in_node(data, levels):
    """What the page computes of four numbers and a curve, by the page's own scripts."""
    if not shutil.which("node"):
        pytest.skip("needs Node.js")
    given = json.dumps({"std": data[0], "spacings": data[1], "levels": levels})
    scripts = [str(LIVE / "mixture.js"), str(LIVE / "chain.js")]
    ran = subprocess.run(["node", "-e", RUN, *scripts, given], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{len(case[0][1])}-{case[1]}")
def case(request):
    data, levels = request.param
    return mixture(*data), Diffusion(len(levels), noise_levels=levels), in_node(data, levels)


def test_the_density_is_that_of_the_librarys_samples(case):
    data, chain, found = case
    n = 30_000
    x = best_gaussian_sample(data, chain, n, rng=torch.Generator().manual_seed(0))
    distance, nearest = (x - data.means.T).abs().min(1)
    counts = torch.bincount(nearest[distance < 3 * data.std[0]], minlength=len(data.means))
    hits = counts.sum()
    assert found["hq3"] == pytest.approx((hits / n).item(), abs=0.01)  # 3.5 standard errors
    assert found["klModes"] == pytest.approx(kl_to_uniform(counts), abs=0.015)
    shares = torch.tensor(found["shares"], dtype=torch.float64)
    error = (shares * (1 - shares) / hits).sqrt()
    assert ((shares - counts / hits).abs() < 4.5 * error).all()
    assert found["means"] == pytest.approx(data.means.flatten().tolist(), abs=1e-6)
    assert found["total"] == pytest.approx([1, 1], abs=1e-5)


def test_the_divergences_of_the_steps_are_the_librarys(case):
    data, chain, found = case
    if len(data.means) > 5:  # brute force would need a grid a hundred times as fine
        pytest.skip("one scale is enough for the formula")
    expected = [mean_divergence(data, chain, t) for t in range(1, chain.num_steps + 1)]
    assert found["steps"] == pytest.approx(expected, abs=2e-3)
    assert found["klData"] < sum(found["steps"]) + found["start"] + 1e-6  # the chain rule


def test_the_papers_levels_are_the_papers(case):
    _, chain, found = case
    assert found["paper"] == pytest.approx(Diffusion(chain.num_steps).noise_levels, rel=1e-9)


EVEN = tuple(0.05 * 100 ** (k / 3) for k in range(4))
PAGE = {  # levels, and what the page says of them: HQ3, KL of the weights, KL of the density
    "the paper's": (ONE, (0.957, 3.42, 17.05, 152.0), "30 %", None, None),
    "even in log": (ONE, EVEN, "88 %", None, None),
    "one scale, searched": (ONE, LEVELS[1], "99 %", 0.02, 0.03),
    "two scales, searched": (TWO, LEVELS[2], "96 %", None, 0.09),
    "three scales, searched": (THREE, LEVELS[3], "87 %", 0.17, 0.33),
    "three scales, quality": (THREE, (0.00107, 0.0027, 0.0135, 0.501), "98 %", 0.8, None),
}


@pytest.mark.parametrize("name", PAGE)
def test_the_page_says_what_its_levels_reach(name):
    data, levels, hq3, weights, density = PAGE[name]
    found, page = in_node(data, levels), (LIVE / "../../live-denoising.md").read_text()
    assert f"{100 * found['hq3']:.0f} %" == hq3
    assert hq3 in page or (hq3 == "87 %" and "about one in eight samples off" in page)
    for key, said in (("klModes", weights), ("klData", density)):
        if said is not None:
            digits = len(str(said)) - 2
            assert round(found[key], digits) == said and str(said) in page


def test_the_levels_of_the_page_are_best_nearby():
    """No single level of the search's end can be moved by a tenth to any gain that matters."""
    for data, levels in ((ONE, LEVELS[1]), (TWO, LEVELS[2])):
        reached = in_node(data, levels)["klData"]
        for k in range(4):
            for factor in (0.9, 1.1):
                moved = [level * (factor if i == k else 1) for i, level in enumerate(levels)]
                assert in_node(data, moved)["klData"] > reached - 1e-3


def test_the_slides_say_what_the_steps_of_the_papers_chain_add_up_to():
    found = {}
    for num_steps in (1, 2, 4, 8):
        levels = Diffusion(num_steps).noise_levels
        found[num_steps] = sum(in_node(ONE, levels)["steps"])
    assert [f"{found[n]:.2f}" for n in (1, 2, 4, 8)] == ["1.73", "1.73", "1.63", "1.43"]
    slides = (LIVE / "../../slides/slides.md").read_text()
    assert "1.73 and 1.63 nats; 1.43 with eight" in slides
