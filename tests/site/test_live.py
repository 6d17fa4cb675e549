"""The live pages: operated like a reader would, and every number held against PyTorch.

How long they take is measured by benchmarks/live.py.
"""

import math

import numpy as np
import pytest
import tiny
import torch
from build_live import DRAWINGS, sheet

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.data.toys import gaussian_grid, gaussian_line
from ddgan_lite.evaluation.judge import Judge
from ddgan_lite.evaluation.metrics import mixture_scores, read_digits
from ddgan_lite.files import results
from ddgan_lite.method.model import DDGAN

PAGES = {
    "live-denoising": ["live-denoising", "live-levels"],
    "live-plane": ["live-plane", "live-step"],
}
PAGES["live-images"] = ["live-digits", "live-strokes", "live-images"]
PAGES["live-training"] = ["live-training"]
CHAPTERS = {
    "03_multimodal_denoising": "live-denoising",
    "04_denoising_diffusion_gan": "live-plane",
    "06_mode_coverage": "live-digits",
}


FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def open_live(open_page):
    """open_live(name, ...): a live page, all its widgets scrolled to, back at its top."""

    def open_live(name, **how):
        page = open_page(f"book/{name}.html", **how)
        scroll_to_widgets(page, PAGES[name])
        return page

    return open_live


def scroll_to_widgets(page, roots):
    for root in roots:
        page.locator(f"#{root}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{root}[data-ready=yes]")
    page.evaluate("scrollTo(0, 0)")


def model(name, bits=32):
    """A shipped model, its weights rounded as export-js rounds them."""
    loaded = DDGAN.load(results.find(f"{name}.safetensors"))
    if bits == 16:
        loaded.generator.half().float()
    if bits == 8:
        tiny.in_eight_bits(loaded.generator)
    return loaded


def slide(page, label, value):
    """Move the slider with this label, as a keyboard or a finger would."""
    slider = page.get_by_label(label)
    slider.evaluate(
        """(input, value) => {
          input.value = value;
          input.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        value,
    )


# -- every live page -----------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_runs_and_draws(open_live, name, width, theme):
    page = open_live(name, theme=theme, width=width)
    for root in PAGES[name]:
        colours = page.eval_on_selector(
            f"#{root} canvas",
            """canvas => {
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              return new Set(new Uint32Array(data.buffer)).size;
            }""",
        )
        assert colours > 20, "nothing is drawn"
    assert page.errors == []


@pytest.mark.parametrize("name", PAGES)
def test_a_reader_without_javascript_has_a_picture_and_a_text(open_page, name):
    page = open_page(f"book/{name}.html", javascript=False)
    for root in PAGES[name]:
        picture = page.locator(f"#{root} img")
        assert len(picture.get_attribute("alt")) > 80
        assert picture.evaluate("image => image.naturalWidth") > 300
        assert "needs JavaScript" in page.locator(f"#{root} p").inner_text()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_its_widget_and_loads_it_only_when_it_is_near(open_page, name):
    page, root = open_page(f"notebooks/{name}.html"), CHAPTERS[name]
    assert page.locator(f"#{root}").get_attribute("data-ready") is None
    assert not [address for address in page.requests if address.endswith("live/ui.js")]
    scroll_to_widgets(page, [root])
    assert page.locator(f"#{root} canvas").is_visible()
    assert page.get_by_text("appear here on the book's page").count() == 0
    assert page.errors == []


def test_the_state_is_in_the_address(open_page):
    """Of a widget far down the page, too: the address leads to it."""
    page = open_page("book/live-plane.html")
    page.goto(f"{page.url}#live-step&t=3&x=-1.5&y=0.25")
    page.reload()
    page.wait_for_selector("#live-step[data-ready=yes]")
    assert page.evaluate("[ddganLive.stepNow.t, ...ddganLive.stepNow.x]") == [3, -1.5, 0.25]
    assert page.locator("#live-step").is_visible()
    page.locator("#live-step").get_by_label("Noise level t").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("location.hash === '#live-step&t=2&x=-1.5&y=0.25'")


SWIPE = """([selector, x, y]) => {
  const canvas = document.querySelector(selector), box = canvas.getBoundingClientRect();
  const at = { identifier: 1, target: canvas };
  const place = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
  const touch = new Touch({ ...at, ...place });
  const event = new TouchEvent("touchstart", { touches: [touch], bubbles: true, cancelable: true });
  return canvas.dispatchEvent(event); // true: the page may scroll
}"""


def test_a_finger_beside_the_point_scrolls_the_page(browser, site):
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto((site / "book/live-plane.html").as_uri())
    scroll_to_widgets(page, PAGES["live-plane"])
    assert page.evaluate(SWIPE, ["#live-step canvas", 0.1, 0.9])
    x, y = page.evaluate("ddganLive.stepNow.x")
    box = page.locator("#live-step canvas").first.bounding_box()
    beside = (box["height"] - box["width"]) / box["height"]  # the title over the square
    point = [(1 + x / 3) / 2, beside + (1 - beside) * (1 - y / 3) / 2]
    assert not page.evaluate(SWIPE, ["#live-step canvas", *point])
    touch = "[...document.querySelectorAll('.live canvas')].map((c) => c.style.touchAction)"
    assert "none" not in page.evaluate(touch)
    context.close()


# -- one step back, exactly ----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1000, 16, 4, 3, 1])
@pytest.mark.parametrize("time", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("x_t", [-1.5, 0.3, 2.0])
def test_the_denoising_distribution_is_the_librarys(live_denoising, steps, time, x_t):
    state = live_denoising.evaluate(
        "([steps, time, x]) => ddganLive.denoisingState(steps, Math.max(time, 1 / steps), x)",
        [steps, time, x_t],
    )
    time = max(time, 1 / steps)
    chain = Diffusion(4 * steps)  # has both times of the step among its own
    now = round(4 * steps * time)
    alpha_bar, alpha_bar_prev = (float(chain.alpha_bar[k]) for k in (now, now - 4))
    exact = gaussian_line().denoising(torch.tensor([x_t]), alpha_bar_prev, alpha_bar)
    found = [state[key] for key in ("alphaBar", "alphaBarPrev", "mean", "std", "kl")]
    std, kl = exact.covariance().sqrt().item(), exact.kl_to_gaussian().item()
    expected = [alpha_bar, alpha_bar_prev, exact.mean().item(), std, kl]
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)
    # A shoulder that is too flat to see, or a bump of a thousandth, is not counted on the page.
    assert 1 <= state["bumps"] <= len(exact.modes())


@pytest.fixture(scope="module")
def live_denoising(browser, site):
    page = browser.new_page()
    page.goto((site / "book/live-denoising.html").as_uri())
    scroll_to_widgets(page, PAGES["live-denoising"])
    yield page
    page.close()


def test_one_bump_becomes_many_and_the_divergence_says_so(open_live):
    page = open_live("live-denoising")
    status = page.locator("#live-denoising [role=status]")
    slide(page, "Steps in the chain", 12)
    assert page.get_by_text("T = 200", exact=True).is_visible()
    assert "one bump" in status.inner_text() and "0.000 nats" in status.inner_text()
    page.get_by_role("button", name="Show: As it opens").click()
    assert page.get_by_text("T = 4", exact=True).is_visible()
    state = page.evaluate("ddganLive.denoisingNow")
    assert state["bumps"] >= 3 and state["kl"] > 0.1
    assert f"{state['bumps']} bumps" in status.inner_text()
    assert f"{state['kl']:.3f} nats" in status.inner_text()
    assert f"{state['bumps']} bumps" in page.locator("#live-denoising canvas").get_attribute(
        "aria-label"
    )


def test_the_point_can_be_dragged_and_moved_by_keys(open_live):
    page = open_live("live-denoising")
    canvas = page.locator("#live-denoising canvas")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 40, steps=4)
    page.mouse.up()
    assert page.evaluate("ddganLive.denoisingNow.x") == pytest.approx(1.6, abs=0.03)
    page.get_by_label("Where xₜ is").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("ddganLive.denoisingNow.x") == pytest.approx(1.59, abs=0.03)


def test_a_finger_drags_the_point(browser, site):
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto((site / "book/live-denoising.html").as_uri())
    scroll_to_widgets(page, PAGES["live-denoising"])
    canvas = page.locator("#live-denoising canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 60)
    assert page.evaluate("ddganLive.denoisingNow.x") == pytest.approx(-1.6, abs=0.05)
    context.close()


# -- N Gaussian steps and their noise levels -----------------------------------------------------


def levels_now(page):
    """What the page shows, once it has caught up with the controls."""
    page.evaluate(FRAMES)
    return page.evaluate(
        "(({ levels, hq3, klModes, klData, sum, data }) => "
        "({ levels, hq3, klModes, klData, sum, modes: data.means.length }))(ddganLive.levelsNow)"
    )


def test_levels_are_chosen_by_buttons(open_live):
    page = open_live("live-denoising")
    opened = levels_now(page)
    assert opened["levels"] == pytest.approx(Diffusion(4).noise_levels)
    page.get_by_role("button", name="Even in log", exact=True).click()
    even = levels_now(page)
    assert even["levels"] == pytest.approx([0.05 * 100 ** (k / 3) for k in range(4)])
    assert even["hq3"] > 0.85 > 0.35 > opened["hq3"]
    slide(page, "Gaussian steps", 7)
    page.get_by_role("radio", name="two scales").check()
    seven = levels_now(page)
    assert len(seven["levels"]) == 7 == page.get_by_role("slider", name="Noise level").count()
    assert seven["modes"] == 25 and seven["klData"] < seven["sum"]
    status = page.locator("#live-levels [role=status]").inner_text()
    assert f"HQ3 {100 * seven['hq3']:.1f} %" in status and f"{seven['klModes']:.3f}" in status
    described = page.locator("#live-levels canvas").get_attribute("aria-label")
    assert f"{seven['klData']:.3f}" in described


def test_a_search_lowers_the_divergence_and_says_so_once(open_live):
    page = open_live("live-denoising")
    page.get_by_role("button", name="Even in log", exact=True).click()
    before = levels_now(page)["klData"]
    page.get_by_role("button", name="Search from here").click()
    page.wait_for_function("ddganLive.levelsSearching === false")
    found = levels_now(page)
    assert found["klData"] < 0.2 * before and found["hq3"] > 0.97
    assert page.locator("#live-levels [role=status]").get_attribute("aria-busy") is None


def test_handles_are_moved_by_hand_and_by_keys_and_never_cross(open_live):
    page = open_live("live-denoising", width=390)
    handle = page.get_by_role("slider", name="Noise level of x2")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    levels = levels_now(page)["levels"]
    assert levels[1] < 3.42 and levels[0] == pytest.approx(Diffusion(4).noise_levels[0])
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(levels[1], rel=0.02)
    page.keyboard.press("Home")
    levels = levels_now(page)["levels"]
    assert levels[0] < levels[1] < 1.03 * levels[0]
    page.get_by_role("slider", name="Noise level of x4").scroll_into_view_if_needed()
    box = page.get_by_role("slider", name="Noise level of x4").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(0, box["y"], steps=5)
    page.mouse.up()
    levels = levels_now(page)["levels"]
    assert levels == sorted(levels) and levels[3] < 1.03 * levels[2]


# -- the networks --------------------------------------------------------------------------------


def rows(array):
    return np.asarray(array, dtype=np.float32).ravel().tolist()


@pytest.mark.parametrize(
    ("page", "name", "bits", "limit"),
    [
        ("live-plane", "gaussians", 32, 1e-5),
        ("live-images", "stacked_digits", 16, 1e-5),
        ("live-images", "digits", 16, 1e-5),
        ("live-images", "mnist", 8, 1e-4),
    ],
)
def test_the_network_and_the_step_are_pytorchs(open_live, page, name, bits, limit):
    """Other networks than the shipped ones: tests/test_export.py, in Node.js."""
    opened, ours, n = open_live(page), model(name, bits), 5
    if name == "mnist":
        opened.evaluate("ddganLive.load('mnist-model').then(() => null)")
    rng = torch.Generator().manual_seed(0)
    for t in range(1, ours.config.num_steps + 1):
        x = torch.randn(n, *ours.config.shape, generator=rng)
        z, noise = ours.draw_latent(n, rng), torch.randn(x.shape, generator=rng)
        guess, back = opened.evaluate(
            """([name, x, z, t, n, noise]) => {
              const model = ddganLive.model(name);
              [x, z, noise] = [x, z, noise].map((values) => Float32Array.from(values));
              const guess = model.predict(x, z, t, n);
              return [guess, model.posterior(guess, x, t, noise)].map((a) => Array.from(a));
            }""",
            [name, rows(x), rows(z), t, n, rows(noise)],
        )
        with torch.no_grad():
            expected = ours.predict(x, torch.full((n,), t), z)
        mean, variance = ours.diffusion.posterior(expected, x, t)
        std = torch.as_tensor(variance).sqrt()
        assert np.abs(np.array(guess) - expected.numpy().ravel()).max() < limit
        assert np.abs(np.array(back) - (mean + std * noise).numpy().ravel()).max() < limit


def test_the_random_numbers_are_normal(open_live):
    numbers = open_live("live-plane").evaluate(
        "Array.from(ddganLive.normalArray(200000, ddganLive.normals(5)))"
    )
    x = np.array(numbers)
    moments = [x.mean(), x.var(), (x**3).mean(), (x**4).mean(), (x[1:] * x[:-1]).mean()]
    assert np.allclose(moments, [0, 1, 0, 3, 0], atol=0.05)
    assert len(set(numbers)) > 199_000


# -- four steps to 25 clusters -------------------------------------------------------------------


def test_two_thousand_samples_are_drawn_and_scored(open_live):
    page = open_live("live-plane")
    before = page.evaluate("Array.from(ddganLive.planeNow.chains[0][4])")
    page.get_by_role("button", name="Draw 2,000 samples").click()
    ours, gaussian = page.evaluate("ddganLive.planeNow.chains.map((c) => Array.from(c[4]))")
    scores = page.evaluate("ddganLive.planeNow.scores")
    assert before != ours
    for points, found in zip((ours, gaussian), scores, strict=True):
        expected = mixture_scores(torch.tensor(points).reshape(2000, 2), gaussian_grid())
        assert found["hq3"] == pytest.approx(expected["hq3"], abs=1e-3)
        assert found["modes"] == expected["modes20"]
    assert scores[0]["hq3"] > 0.93 and scores[0]["modes"] == 25
    assert scores[1]["hq3"] < 0.25
    page.wait_for_selector("text=4 of 4: x₀", timeout=8000)
    text = page.locator("#live-plane [role=status]").inner_text()
    assert f"DDGAN {100 * scores[0]['hq3']:.0f} %" in text


def test_the_four_steps_can_be_watched_and_stepped(open_live):
    page = open_live("live-plane")
    page.get_by_role("button", name="Draw 2,000 samples").click()
    assert page.get_by_text("0 of 4: x₄").is_visible()
    page.wait_for_selector("text=4 of 4: x₀", timeout=8000)
    page.get_by_label("Denoising steps taken").focus()
    page.keyboard.press("ArrowLeft")
    assert page.get_by_text("3 of 4: x₁").is_visible()


def test_the_best_gaussian_step_has_the_exact_moments(open_live):
    found = open_live("live-plane").evaluate(
        """() => {
          const data = { weights: Array(25).fill(1 / 25), std: 0.05, means: [] };
          for (let x = -2; x < 3; x++) for (let y = -2; y < 3; y++) data.means.push([x, y]);
          const { alphaBar } = ddganLive.model("gaussians");
          const step = ddganLive.denoising(data, [0.46, 0.36], alphaBar[1], alphaBar[2]);
          return [...ddganLive.mean(step), ...ddganLive.covariance(step).flat()];
        }"""
    )
    alpha_bar = model("gaussians").diffusion.alpha_bar
    x = torch.tensor([0.46, 0.36])
    exact = gaussian_grid().denoising(x, float(alpha_bar[1]), float(alpha_bar[2]))
    expected = torch.cat([exact.mean(), exact.covariance().flatten()])
    assert np.allclose(found, expected.numpy(), rtol=1e-5, atol=1e-7)


def test_one_step_by_hand(open_live):
    page = open_live("live-plane")
    canvas = page.locator("#live-step canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])
    moved = page.evaluate("ddganLive.stepNow.x")
    assert moved[0] > 1 and moved[1] > 0.5
    slide(page, "z, first of eight", 1.25)
    slide(page, "Noise level t", 2)
    state = page.evaluate(
        "({ ...ddganLive.stepNow, z: Array.from(ddganLive.stepNow.z), "
        "guess: Array.from(ddganLive.stepNow.guess) })"
    )
    assert state["t"] == 2 and state["z"][0] == 1.25
    ours = model("gaussians")
    with torch.no_grad():
        inputs = torch.tensor([state["x"]]), torch.tensor([2]), torch.tensor([state["z"]])
        expected = ours.predict(*inputs)
    assert np.abs(np.array(state["guess"]) - expected.numpy()[0]).max() < 1e-5
    exact = gaussian_grid().denoising(
        torch.tensor(state["x"]), 1.0, float(ours.diffusion.alpha_bar[2])
    )
    assert np.allclose(state["exact"]["weights"], exact.weights.numpy(), atol=1e-6)
    page.get_by_role("button", name="Draw another z").click()
    assert page.evaluate("ddganLive.stepNow.z[0]") != 1.25


def test_a_point_can_be_followed(open_live):
    page = open_live("live-plane")
    page.locator("#live-plane canvas").scroll_into_view_if_needed()
    box = page.locator("#live-plane canvas").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    k = page.evaluate("ddganLive.planeNow.followed")
    x = page.evaluate("(k) => [...ddganLive.planeNow.chains[0][4].slice(2 * k, 2 * k + 2)]", k)
    assert np.hypot(*x) < 0.6  # the nearest one to the middle of the left square
    assert "followed" in page.locator("#live-plane canvas").get_attribute("aria-label")


def test_who_wants_less_motion_gets_the_end_at_once(browser, site):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto((site / "book/live-plane.html").as_uri())
    scroll_to_widgets(page, ["live-plane"])
    page.get_by_role("button", name="Draw 2,000 samples").click()
    assert page.get_by_text("4 of 4: x₀").is_visible()
    context.close()


# -- training in the page --------------------------------------------------------------------------


def test_it_trains_pauses_and_finds_all_the_clusters(open_live):
    page = open_live("live-training")
    root = page.locator("#live-training")
    root.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function("ddganLive.trainingNow?.step > 20")
    root.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(500)
    paused = page.evaluate("ddganLive.trainingNow.step")
    page.wait_for_timeout(1000)
    assert page.evaluate("ddganLive.trainingNow.step") == paused
    before = page.evaluate("[...ddganLive.trainingNow.surface]")
    slide(root, "Noise level t", 4)  # the map is asked for while it rests
    page.wait_for_function("(before) => ddganLive.trainingNow.surface[0] !== before", arg=before[0])
    root.get_by_role("button", name="Go on").click()
    page.wait_for_function(
        "ddganLive.trainingNow.step === ddganLive.trainingNow.steps", timeout=600_000
    )
    points = page.evaluate("[...ddganLive.trainingNow.points]")
    scores = mixture_scores(torch.tensor(points).reshape(-1, 2), gaussian_grid())
    assert scores["hq3"] >= 0.9 and scores["modes20"] == 25
    assert f"HQ3 {100 * scores['hq3']:.0f} %" in root.locator(".live-count").inner_text()
    assert root.get_by_role("button", name="Train again").is_visible()


# -- four steps to a picture ---------------------------------------------------------------------


def test_images_share_the_chain_as_far_as_asked(open_live):
    page = open_live("live-images")
    page.get_by_role("button", name="Draw 6 images").click()
    for shared in range(5):
        slide(page.locator("#live-images"), "Share the chain", shared)
        chain = page.evaluate("ddganLive.imagesNow.chain.map((x) => Array.from(x))")
        for k, x in enumerate(chain):
            images = np.array(x).reshape(6, -1)
            assert np.allclose(images, images[0]) == (k < shared)
        final = np.array(chain[-1]).reshape(6, -1)
        assert np.abs(final).max() < 1.06 and final.std() > 0.5  # pictures, not noise


def test_the_digit_that_is_asked_for_is_drawn(open_live):
    page = open_live("live-images")
    drawn = {}
    for label in range(-1, 10):
        slide(page.locator("#live-digits"), "Ask for", label)
        found = page.evaluate("({ ...ddganLive.digitsNow, x: [...ddganLive.digitsNow.chain[4]] })")
        assert found["label"] == (None if label < 0 else label)
        drawn[label] = torch.tensor(found["x"]).reshape(6, 1, 8, 8)
    right = [(read_digits(drawn[label]) == label).double().mean().item() for label in range(10)]
    assert sum(right) / 10 > 0.9
    assert len({tuple(x.flatten().tolist()) for x in drawn.values()}) == 11


def test_mnist_comes_when_it_is_asked_for(open_live):
    page = open_live("live-images")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    button = page.get_by_role("button", name="Load the MNIST model")
    assert button.is_visible() and page.locator("#live-mnist img").is_visible()
    assert not page.locator("#live-mnist").get_by_text("needs JavaScript").count()
    assert not [address for address in page.requests if "mnist-model" in address]
    button.click()
    page.wait_for_selector("#live-mnist[data-ready=yes]")
    assert page.evaluate("document.activeElement.textContent") == "Draw 6 MNIST digits"
    page.keyboard.press("Enter")
    for shared in (0, 2):
        slide(page.locator("#live-mnist"), "Share the chain", shared)
        chain = page.evaluate("ddganLive.mnistNow.chain.map((x) => Array.from(x))")
        for k, x in enumerate(chain):
            images = np.array(x).reshape(6, -1)
            assert np.allclose(images, images[0]) == (k < shared)
        _, probabilities = Judge.load().look(torch.tensor(chain[-1]).reshape(6, 1, 32, 32))
        assert (probabilities.amax(1) >= 0.9).sum() >= 3  # noise is hardly ever read
        asked = page.evaluate("ddganLive.mnistNow.label")
        assert len(set(asked)) == 6 and (probabilities.argmax(1) == torch.tensor(asked)).sum() >= 3
    assert page.errors == []


def test_an_address_with_its_state_loads_mnist(open_page):
    page = open_page("book/live-images.html")
    page.goto(f"{page.url}#live-mnist&seed=4&shared=1")
    page.reload()
    page.wait_for_selector("#live-mnist[data-ready=yes]")
    assert "share the chain down to x₄" in page.locator("#live-mnist [role=status]").inner_text()


# -- a drawing becomes a digit -------------------------------------------------------------------

STROKES = """() => {
  const { ink, chain, t, label } = ddganLive.strokesNow;
  const [sheet, images] = [[...ddganLive.seen(ink)], chain.map((x) => [...x])];
  return { ink: [...ink], sheet, chain: images, t, label };
}"""


@pytest.mark.parametrize("digit", [0, 1, 8])
def test_the_pen_draws_as_the_library_would(open_live, digit):
    page = open_live("live-images")
    page.get_by_role("button", name=str(digit), exact=True).click()
    expected = sheet(DRAWINGS[digit]).flatten()
    assert page.evaluate(STROKES)["sheet"] == pytest.approx(expected.tolist(), abs=1e-6)


def test_mnist_answers_to_the_same_ink_when_the_line_ends(open_live):
    page = open_live("live-images")
    slide(page.locator("#live-strokes"), "Ask for", 3)
    page.get_by_label("MNIST, 32").check()
    page.wait_for_function("ddganLive.strokesNow.chain[0].length === 4 * 32 * 32")
    assert page.evaluate("ddganLive.strokesNow.label") == 3
    page.locator("#live-strokes").get_by_role("button", name="7", exact=True).click()
    seen = page.evaluate("[...ddganLive.seen(ddganLive.strokesNow.ink, 32, 4)]")
    expected = sheet(DRAWINGS[7], 32, 4)
    assert seen == pytest.approx(expected.flatten().tolist(), abs=1e-6)
    assert expected[:, 4:-4, 4:-4].max() == 1 and (expected[0, :4] == -1).all()
    answers = torch.tensor(page.evaluate("[...ddganLive.strokesNow.chain.at(-1)]"))
    assert answers.std() > 0.3 and answers.reshape(4, 1024).mean(1).max() < -0.4  # ink on paper
    before = page.evaluate("ddganLive.strokesNow.chain[0][0]")
    pad = page.get_by_role("application")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] - 20, steps=3)
    page.mouse.up()
    after = page.evaluate("ddganLive.strokesNow.chain[0][0]")
    ink = np.array(page.evaluate("[...ddganLive.strokesNow.ink]")).reshape(32, 32)
    assert ink[6:-6, 2:4].all() and after == pytest.approx(before)  # the same noise, on no ink
    page.wait_for_function("location.hash.includes('model=1')")
    page.reload()
    page.wait_for_function("ddganLive.strokesNow?.chain[0].length === 4 * 32 * 32")
    assert page.get_by_label("MNIST, 32").is_checked()


def test_a_drawing_is_noised_and_denoised_from_there(open_live):
    page, alpha_bar = open_live("live-images"), model("digits").diffusion.alpha_bar
    for t in (1, 2, 3, 4):
        slide(page, "Enter the chain at", t)
        found = page.evaluate(STROKES)
        assert found["t"] == t == len(found["chain"]) - 1 and found["label"] is None
        x_t = np.array(found["chain"][0]).reshape(4, 64)
        noise = (x_t - math.sqrt(alpha_bar[t]) * np.array(found["sheet"])) / math.sqrt(
            1 - alpha_bar[t]
        )
        assert abs(noise.mean()) < 0.25 and noise.std() == pytest.approx(1, abs=0.2)
        assert 0.5 < np.std(found["chain"][-1]) < 1  # ink and paper, not noise


def test_what_the_page_says_of_entries_and_labels(open_live):
    """From 40 answers to each of the ten drawings, as the digits' judge reads them."""
    page = open_live("live-images")

    def read(t, ask):
        answers = page.evaluate(
            """([t, asked]) => {
              const model = ddganLive.model("digits");
              const sheets = ddganDrawings.map((c) => ddganLive.seen(ddganLive.drawing(c)));
              return sheets.map((sheet, k) => [...ddganLive.fromDrawing(
                model, sheet, t, 40, ddganLive.normals(k), asked[k],
              ).at(-1)]);
            }""",
            [t, ask],
        )
        return read_digits(torch.tensor(answers).reshape(400, 1, 8, 8)).reshape(10, 40)

    meant = torch.arange(10)
    share = {t: (read(t, [None] * 10) == meant[:, None]).double().mean() for t in (1, 2)}
    assert 0.4 < share[1] < 0.7 and share[2] < 0.25  # chance is 0.1
    others = (meant + 3) % 10
    assert (read(1, others.tolist()) == others[:, None]).double().mean() > 0.8
    assert (read(1, [8] * 10)[3] == 8).double().mean() > 0.8  # the one on the page


def test_a_sheet_is_drawn_on_by_mouse_and_the_address_keeps_it(open_live):
    page = open_live("live-images")
    page.get_by_role("button", name="Clear the sheet").click()
    assert "empty" in page.locator("#live-strokes [role=status]").inner_text()
    pad = page.get_by_role("application")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    across, down = (box["x"], box["width"]), (box["y"], box["height"])
    page.mouse.move(across[0] + across[1] / 2, down[0] + 5)
    page.mouse.move(across[0] + across[1] / 2, down[0] + 30)  # above the paper: no ink
    assert 1 not in page.evaluate(STROKES)["ink"]
    page.mouse.down()
    page.mouse.move(across[0] + across[1] / 2, down[0] + down[1] - 15, steps=6)
    page.mouse.up()
    ink = np.array(page.evaluate("[...ddganLive.strokesNow.ink]")).reshape(32, 32)
    assert ink[8:28, 15:17].all() and not ink[:, :11].any() and not ink[:, 21:].any()
    assert "72 %" in page.locator("#live-strokes [role=status]").inner_text()
    page.wait_for_function("location.hash.includes('sheet=0')")
    page.reload()
    page.wait_for_selector("#live-strokes[data-ready=yes]")
    assert np.array_equal(np.array(page.evaluate(STROKES)["ink"]).reshape(32, 32), ink)


def test_a_sheet_is_drawn_on_by_keys(open_live):
    page = open_live("live-images")
    page.get_by_role("button", name="Clear the sheet").click()
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowUp")
    page.evaluate(FRAMES)
    assert 1 not in page.evaluate(STROKES)["ink"]  # the pen is up
    for key in ["Space", *["ArrowDown"] * 8, "Space", *["ArrowRight"] * 8]:
        page.keyboard.press(key)
    page.evaluate(FRAMES)
    ink = np.array(page.evaluate(STROKES)["ink"]).reshape(32, 32)
    assert ink[15:23, 15:17].all() and not ink[:, 19:].any() and not ink[:12].any()
    page.wait_for_function("location.hash.includes('sheet=0')")


def test_a_finger_draws_on_the_sheet_and_scrolls_beside_it(browser, site):
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto((site / "book/live-images.html").as_uri())
    scroll_to_widgets(page, ["live-strokes"])
    page.get_by_role("button", name="Clear the sheet").click()
    pad = page.get_by_role("application")
    pad.scroll_into_view_if_needed()
    box, touch = pad.bounding_box(), context.new_cdp_session(page)

    def swipe(x, y, down):
        """A finger from (x, y) ``down`` pixels down, as the browser itself would hear it."""
        at = [{"x": x, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": at})
        for k in range(1, 11):
            at = [{"x": x, "y": y + k * down / 10}]
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": at})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.evaluate(FRAMES)

    before = page.evaluate("scrollY")
    swipe(box["x"] + box["width"] / 2, box["y"] + 20, box["height"] - 40)
    assert page.evaluate("scrollY") == before
    ink = np.array(page.evaluate(STROKES)["ink"]).reshape(32, 32)
    assert ink[6:26, 15:17].all() and not ink[:, :11].any()
    page.wait_for_function("location.hash.includes('sheet=0')")
    assert box["x"] + box["width"] < 300  # room for a thumb beside it
    swipe(345, box["y"] + box["height"] - 20, -150)
    page.wait_for_function("(before) => scrollY > before + 50", arg=before)
    assert np.array_equal(np.array(page.evaluate(STROKES)["ink"]).reshape(32, 32), ink)
    others = "[...document.querySelectorAll('.live canvas:not([tabindex])')]"
    assert "none" not in page.evaluate(f"{others}.map((c) => c.style.touchAction)")
    context.close()
