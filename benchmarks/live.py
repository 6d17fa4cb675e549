"""How soon the live pages answer, how smoothly they follow a hand, how training in one ends: JSON.

    python benchmarks/live.py [SITE] [--store] [--beside "two training runs"]

(`make site-test` installs what it needs.) The site comes from a server on this machine that
compresses text, and each visit begins with an empty cache. Medians, except of the training:

- ``ready_ms``: from asking for a page to the moment its controls work; in ``ready_slow_ms`` at a
  quarter of the processor, 1.6 Mbit/s and 150 ms a request, as Lighthouse takes a telephone to be;
- ``samples_ms``, ``images_ms``, ``mnist_ms``: one click on "Draw 2,000 samples", "Draw 6 images",
  "Draw 6 MNIST digits";
- ``drag``: of three seconds in which a point is dragged, how many frames a second there were, the
  longest time between two of them, and the share of frames on which the point had moved;
- ``training``: whole runs in the page, without the seconds for showing them.

``cpu`` in a name is processor time of the page's process, which hardly depends on other work.
``--beside`` says what else the machine was doing.
"""

import argparse
import gzip
import itertools
import json
import math
import os
import statistics
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from ddgan_lite.files import results

CHROMIUM = os.environ.get("CHROME_PATH", "/usr/bin/chromium")
REPEATS = 3
PAGES = {  # by the widget that a reader meets first on each
    "live-denoising": "live-denoising",
    "live-plane": "live-plane",
    "live-images": "live-digits",
    "live-training": "live-training",
}
SLOW = {"processor": 1 / 4, "megabits_per_second": 1.6, "latency_ms": 150}
DRAGGED = 3  # seconds
SEEDS = (0, 1)  # of the training
TEXT = {".css", ".html", ".js", ".json", ".svg"}


class Compressing(SimpleHTTPRequestHandler):
    """Files as a web server sends them: text in gzip."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.suffix not in TEXT or not path.is_file():
            return super().do_GET()
        data = gzip.compress(path.read_bytes(), 6)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextmanager
def served(site: Path):
    """The address of a server of this folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Compressing, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def visit(browser: Browser, address: str, name: str, slow: bool = False):
    """A live page whose first widget works, opened with an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    if slow:
        tools = context.new_cdp_session(page)
        tools.send("Emulation.setCPUThrottlingRate", {"rate": 1 / SLOW["processor"]})
        rate = SLOW["megabits_per_second"] * 1e6 / 8
        speed = {"downloadThroughput": rate, "uploadThroughput": rate}
        limits = {"offline": False, "latency": SLOW["latency_ms"], **speed}
        tools.send("Network.emulateNetworkConditions", limits)
    page.goto(f"{address}/book/{name}.html", wait_until="commit")
    page.wait_for_selector(f"#{PAGES[name]}[data-ready=yes]", timeout=60_000)
    yield page
    context.close()


def cpu_ms(page: Page) -> float:
    """Processor time that the page's process has used so far."""
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable")
    found = tools.send("Performance.getMetrics")["metrics"]
    tools.detach()
    return next(1000 * each["value"] for each in found if each["name"] == "ProcessTime")


def ready(browser: Browser, address: str, name: str, slow: bool) -> tuple[int, int]:
    """Milliseconds until the controls work, and those of processor time among them."""
    times = []
    for _ in range(REPEATS):
        with visit(browser, address, name, slow) as page:
            times.append((page.evaluate("ddganLive.readyAt"), cpu_ms(page)))
    return tuple(round(statistics.median(each)) for each in zip(*times, strict=True))


def clicks(page: Page, button: str, state: str) -> float:
    times = []
    for _ in range(REPEATS):
        page.get_by_role("button", name=button).click()
        times.append(page.evaluate(f"ddganLive.{state}.milliseconds"))
    return round(statistics.median(times), 1)


def scroll_to(page: Page, root: str) -> None:
    """The widget in view and at work, the page done with moving: its formulas are set."""
    page.evaluate("ddganLive.formulas.then(() => window.MathJax?.startup.promise.then(() => null))")
    page.locator(f"#{root}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{root}[data-ready=yes]", timeout=60_000)


WATCH = """(name) => {
  const seen = (ddganLive.watched = []);
  const look = (now) => {
    seen.push([now, ddganLive[name]]);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
WATCHED = """() => {
  const seen = ddganLive.watched;
  const moved = seen.map(([, state], k) => k > 0 && state !== seen[k - 1][1]);
  return [seen.map(([now]) => now), moved];
}"""


def drag(page: Page, root: str, state: str, start: tuple[float, float]) -> dict[str, float]:
    """Drag the point at ``start`` (shares of the canvas) about, 60 moves a second."""
    scroll_to(page, root)
    canvas = page.locator(f"#{root} canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(WATCH, state)
    used = cpu_ms(page)
    begin = time.perf_counter()
    for move in itertools.count(1):
        turn = 2 * math.pi * (time.perf_counter() - begin)
        page.mouse.move(x + 60 * math.sin(turn), y + 60 * (1 - math.cos(turn)))
        if (now := time.perf_counter()) > begin + DRAGGED:
            break
        time.sleep(max(0, begin + move / 60 - now))
    times, moved = page.evaluate(WATCHED)
    used = cpu_ms(page) - used
    page.mouse.up()
    gaps = [after - before for before, after in itertools.pairwise(times)]
    return {
        "frames_per_second": round(1000 * len(gaps) / sum(gaps), 1),
        "longest_ms": round(max(gaps), 1),
        "cpu_ms_per_frame": round(used / len(gaps), 1),
        "moved": round(sum(moved[1:]) / len(gaps), 3),
    }


def trained(page: Page, seed: int) -> dict[str, float]:
    """A whole run of the page: it counts its seeds up from 0."""
    used = cpu_ms(page)
    page.get_by_role("button", name="Start anew" if seed else "Train", exact=True).click()
    over = "ddganLive.trainingNow?.step === ddganLive.trainingNow?.steps"
    page.wait_for_function("ddganLive.trainingNow?.step < ddganLive.trainingNow?.steps")
    page.wait_for_function(f"ddganLive.trainingNow && {over}", timeout=600_000)
    seconds, scores = page.evaluate("[ddganLive.trainingNow.seconds, ddganLive.trainingNow.scores]")
    used = (cpu_ms(page) - used) / 1000  # showing it as well
    return {"seed": seed, "seconds": round(seconds), "cpu_seconds": round(used), **scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", default="_build/html", type=Path)
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    parser.add_argument("--beside", default="nothing", help="what else the machine was doing")
    args = parser.parse_args()
    result = {"beside": args.beside, "slow": SLOW, "drag": {}}
    result |= {name: {} for name in ("ready_ms", "ready_cpu_ms", "ready_slow_ms")}
    with served(args.site.resolve()) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        result["chromium"] = browser.version
        for name in PAGES:
            found = ready(browser, address, name, slow=False)
            result["ready_ms"][name], result["ready_cpu_ms"][name] = found
            result["ready_slow_ms"][name], _ = ready(browser, address, name, slow=True)
        with visit(browser, address, "live-denoising") as page:
            point = drag(page, "live-denoising", "denoisingNow", (0.5, 0.2))
            result["drag"]["one step, exactly"] = point
        with visit(browser, address, "live-plane") as page:
            result["samples_ms"] = clicks(page, "Draw 2,000 samples", "planeNow")
        with visit(browser, address, "live-plane") as page:
            result["drag"]["in the plane"] = drag(page, "live-step", "stepNow", (0.5, 0.5))
        with visit(browser, address, "live-images") as page:
            scroll_to(page, "live-images")
            result["images_ms"] = clicks(page, "Draw 6 images", "imagesNow")
            page.get_by_role("button", name="Load the MNIST model").click()
            page.wait_for_selector("#live-mnist[data-ready=yes]", timeout=60_000)
            result["mnist_ms"] = clicks(page, "Draw 6 MNIST digits", "mnistNow")
        with visit(browser, address, "live-training") as page:
            result["training"] = [trained(page, seed) for seed in SEEDS]
        browser.close()
    print(json.dumps(result | results.machine(), indent=1))
    if args.store:
        results.store("bench_live", "python benchmarks/live.py --store", result)


if __name__ == "__main__":
    main()
