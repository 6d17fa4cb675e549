"""How soon the live pages answer, and how long 2,000 samples take in a browser: JSON.

    python benchmarks/live.py [SITE] [--store]   (`make site-test` installs what it needs)

``ready_ms`` is the time from asking for a page to the moment its controls work; ``samples_ms`` is
one click on "Draw 2,000 samples"; ``images_ms`` one on "Draw 6 images". Medians. ``training`` is
one whole run in the page, without the seconds for showing it.
"""

import argparse
import json
import os
import statistics
from pathlib import Path

from playwright.sync_api import sync_playwright

from ddgan_lite.files import results

CHROMIUM = os.environ.get("CHROME_PATH", "/usr/bin/chromium")
REPEATS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", default="_build/html", type=Path)
    parser.add_argument("--store", action="store_true", help="keep them in book/results")
    args = parser.parse_args()
    result = {"ready_ms": {}}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        result["chromium"] = browser.version

        def median(page, button: str, state: str) -> float:
            times = []
            for _ in range(REPEATS):
                page.get_by_role("button", name=button).click()
                times.append(page.evaluate(f"ddganLive.{state}.milliseconds"))
            return round(statistics.median(times), 1)

        for name in ("denoising", "plane", "images", "training"):
            page, times = browser.new_page(), []
            for _ in range(REPEATS):
                page.goto((args.site.resolve() / f"book/live-{name}.html").as_uri())
                page.wait_for_selector(f"#live-{name}[data-ready=yes]")
                times.append(page.evaluate("ddganLive.readyAt"))
            result["ready_ms"][f"live-{name}"] = round(statistics.median(times))
            if name == "plane":
                result["samples_ms"] = median(page, "Draw 2,000 samples", "planeNow")
            if name == "images":
                result["images_ms"] = median(page, "Draw 6 images", "imagesNow")
            if name == "training":
                page.get_by_role("button", name="Train", exact=True).click()
                over = "ddganLive.trainingNow?.step === ddganLive.trainingNow?.steps"
                page.wait_for_function(f"ddganLive.trainingNow && {over}", timeout=600_000)
                seconds, scores = page.evaluate(
                    "[ddganLive.trainingNow.seconds, ddganLive.trainingNow.scores]"
                )
                result["training"] = {"seconds": round(seconds), **scores}
            page.close()
        browser.close()
    print(json.dumps(result | results.machine(), indent=1))
    if args.store:
        results.store("bench_live", "python benchmarks/live.py --store", result)


if __name__ == "__main__":
    main()
