"""Push: a model goes to a hub on this machine and comes back, by the library's own client."""

import base64
import json
import os
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tiny
import torch

from ddgan_lite.__main__ import main
from ddgan_lite.exchange.hub import push, readme
from ddgan_lite.files.cards import card
from ddgan_lite.files.checkpoints import CheckpointError
from ddgan_lite.method.model import DDGAN


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a push and a download need; ``server.files`` holds what it was given.

    It knows one token, takes files in the commit itself, and keeps one commit.
    """

    def answer(self, body, status=200, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        sent = {"Content-Length": str(len(data)), "X-Repo-Commit": "c" * 40, **headers}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub, here = self.server, f"http://127.0.0.1:{self.server.server_port}"
        if self.headers.get("Authorization") != "Bearer hf_known":
            self.answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            hub.created.append(json.loads(body))
            self.answer({"url": f"{here}/you/model", "name": "you/model"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in names]
            self.answer({"files": modes})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    hub.files[value["path"]] = base64.b64decode(value["content"])
            self.answer({"commitOid": "c" * 40, "commitUrl": f"{here}/you/model/commit/{'c' * 40}"})
        else:  # whether the front matter of a README is in order
            self.answer({"errors": [], "warnings": []})

    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        if "/resolve/" in self.path and name in self.server.files:
            self.answer(self.server.files[name], ETag='"one"')
        else:
            self.answer({"error": "not found"}, 404)

    do_HEAD = do_GET

    def log_message(self, *words):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.created = {}, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def file(tmp_path):
    return tiny.model(tiny.MLP).save(tmp_path / "mine.safetensors", data="25 Gaussians", seed=3)


def command(hub, folder, *words, token="hf_known"):
    """Run a command in a process that takes ``hub`` for the hub."""
    there = f"http://127.0.0.1:{hub.server_port}"
    settings = {"HF_ENDPOINT": there, "HF_TOKEN": token, "HF_HOME": str(folder / "cache")}
    settings |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "*", "no_proxy": "*"}
    line = [sys.executable, "-m", "ddgan_lite", *map(str, words)]
    return subprocess.run(line, env=os.environ | settings, capture_output=True, text=True)


def test_what_is_pushed_comes_back(hub, file, tmp_path):
    done = command(hub, tmp_path, "push", file, "you/model", "--private")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"http://127.0.0.1:{hub.server_port}/you/model\n"
    (created,) = hub.created
    assert (created["organization"], created["name"]) == ("you", "model")
    assert created.get("private") or created.get("visibility") == "private"  # as its version says
    assert hub.files.keys() == {"model.safetensors", "README.md"}
    assert hub.files["model.safetensors"] == file.read_bytes()
    assert hub.files["README.md"].decode() == readme(file, "you/model")

    back = command(hub, tmp_path, "card", "you/model")
    assert back.returncode == 0, back.stderr
    assert back.stdout.splitlines()[1:] == card(file).splitlines()[1:]


def test_without_a_login_there_is_a_sentence(hub, file, tmp_path):
    done = command(hub, tmp_path, "push", file, "you/model", token="hf_other")
    assert done.returncode == 1 and not hub.files and done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: the Hugging Face hub does not take you/model (")
    assert "Log in with `hf auth login`" in sentence


def test_a_dry_run_shows_the_page_and_sends_nothing(hub, file, tmp_path):
    done = command(hub, tmp_path, "push", file, "you/model", "--dry-run", token="")
    assert done.returncode == 0, done.stderr
    assert readme(file, "you/model") in done.stdout
    assert f"{file} would be you/model/model.safetensors" in done.stdout
    assert not hub.files and not hub.created


def test_the_page_is_the_card_between_what_the_hub_and_what_a_reader_needs(file):
    page = readme(file, "you/gaussians")
    head, title, *_ = page.split("\n\n")
    assert head == "---\nlibrary_name: ddgan_lite\ntags:\n- denoising-diffusion-gan\n---"
    assert title == "# gaussians"
    assert card(file).split("\n", 1)[1] in page and "| data | 25 Gaussians |" in page
    assert 'DDGAN.load("you/gaussians")' in page
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())[
        "project"
    ]
    assert f"pip install git+{project['urls']['Repository']}@v{project['version']}\n" in page


@pytest.mark.parametrize("name", ["model", "a/b/c", "you/", "https://there/you/model", "../up"])
def test_a_name_that_is_none_is_refused(file, name):
    with pytest.raises(ValueError, match="is called owner/name, not"):
        push(file, name)


def test_only_a_finished_model_is_pushed(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file"):
        push(tmp_path / "none.safetensors", "you/model")
    (tmp_path / "text.safetensors").write_text("no model")
    with pytest.raises(CheckpointError, match="is not a whole"):
        push(tmp_path / "text.safetensors", "you/model")
    assert main(["push", str(tmp_path / "none.safetensors"), "you/model"]) == 1
    assert capsys.readouterr().err.startswith("error: There is no checkpoint file")


def test_the_code_on_the_page_runs(file, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: str(file))
    code = readme(file, "you/model").split("```python\n")[1].split("```")[0]
    names = {}
    exec(code, names)
    assert names["samples"].shape == (16, 2) and torch.isfinite(names["samples"]).all()
    assert DDGAN.load("you/model").config == tiny.MLP
