"""How soon the live pages answer, and how long 2,000 samples take in a browser: JSON.

    python benchmarks/live.py [SITE]   (after `make site-test`, which installs what it needs)

``ready_ms`` is the time from asking for a page to the moment its controls work; ``samples_ms`` is
one click on "Draw 2,000 samples"; ``images_ms`` one on "Draw 6 images". Medians.
"""

import json
import os
import statistics
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from ddgan_lite.results import machine

SITE = Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html").resolve()
CHROMIUM = os.environ.get("CHROME_PATH", "/usr/bin/chromium")
REPEATS = 7


def main() -> None:
    result = {"machine": machine(), "ready_ms": {}}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        result["chromium"] = browser.version

        def median(page, button: str, state: str) -> float:
            times = []
            for _ in range(REPEATS):
                page.get_by_role("button", name=button).click()
                times.append(page.evaluate(f"ddganLive.{state}.milliseconds"))
            return round(statistics.median(times), 1)

        for name, last in (("denoising", "denoising"), ("plane", "step"), ("images", "images")):
            page, times = browser.new_page(), []
            for _ in range(REPEATS):
                page.goto((SITE / f"book/live-{name}.html").as_uri())
                page.wait_for_selector(f"#live-{last}[data-ready=yes]")
                times.append(page.evaluate("ddganLive.readyAt"))
            result["ready_ms"][f"live-{name}"] = round(statistics.median(times))
            if name == "plane":
                result["samples_ms"] = median(page, "Draw 2,000 samples", "planeNow")
            if name == "images":
                result["images_ms"] = median(page, "Draw 6 images", "imagesNow")
            page.close()
        browser.close()
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
