"""Lighthouse's accessibility score. It needs http: a server of this machine, for it alone."""

import functools
import json
import os
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import visits

LEAST = 0.95
LIGHTHOUSE = visits.NODE / "lighthouse/cli/index.js"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    """The site's address on this machine."""
    handler = functools.partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "name",
    [
        "book/intro.html",
        "notebooks/04_denoising_diffusion_gan.html",
        "book/live-denoising.html",
        "book/live-training.html",
    ],
)
def test_accessibility(address, site, name, tmp_path):
    node = shutil.which("node")
    assert node, "no node: install Node.js 20 or newer, then `make site-test`"
    assert LIGHTHOUSE.exists(), f"no {LIGHTHOUSE}: `make site-test` installs it"
    assert (site / name).exists(), f"the site has no page {name}"
    report = tmp_path / "report.json"
    command = [node, LIGHTHOUSE, f"{address}/{name}", "--only-categories=accessibility", "--quiet"]
    command += ["--output=json", f"--output-path={report}"]
    command += ["--chrome-flags=--headless=new --no-sandbox --disable-gpu"]
    environment = os.environ | {"CHROME_PATH": str(visits.CHROMIUM)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(report.read_text())
    assert not result.get("runtimeError"), result["runtimeError"]
    failed = [audit for audit in result["audits"].values() if audit["score"] == 0]
    told = "\n".join(f"{audit['id']}: {audit['title']}" for audit in failed)
    assert result["categories"]["accessibility"]["score"] >= LEAST, told
