"""No mutated file gets more than a sentence out of any border; the script sees it if one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hostile

from ddgan_lite.files import results

SCRIPT = Path(hostile.__file__)


def run(*words):
    """A process of its own: a fork after the training of other tests could not train."""
    paths = (SCRIPT.parent, SCRIPT.parent.parent, os.environ.get("PYTHONPATH", ""))
    more = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, env=os.environ | more
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_200_mutated_files_end_in_a_sentence_or_do_no_harm():
    status, found = run(SCRIPT, "--files", 200, "--first", 50_000)
    assert found["bad"] == [] and status == 0
    assert len(found["kinds"]) == len([*hostile.RAW, *hostile.TABLE, *hostile.WITHIN]) + len(
        [*hostile.RAW, *hostile.PUBLISHED]
    )
    for name in hostile.BORDERS:
        counts = found["borders"][name]
        assert sum(counts.values()) == 200
        assert counts["sentence"] > 100 and counts["accepted"] > 0, name


FAULTS = """
import os, sys, hostile

def end(path):
    while not path.startswith("points"):
        pass
    os.abort()

def say(text):
    raise ValueError(text)

def fill(path):
    kept.append(b"x" * 2**26)

kept = []
hostile.SECONDS, hostile.GIB = 0.1, 2**15  # a tenth of a second, 32 MiB
hostile.BORDERS = {
    "traceback": lambda path: 1 / 0,
    "lines": lambda path: say("one\\ntwo"),
    "sentence": lambda path: say("One."),
    "memory": fill,
    "code": lambda path: open("sprung", "w").close(),
    "flip": lambda path: None,
    "end": end,
}
hostile.plan = lambda paths, number: (paths[number % len(paths)], "flip", hostile.random.Random(1))
sys.argv += ["--files", "8"]
sys.exit(hostile.main())
"""


def test_the_script_sees_every_fault_that_it_looks_for():
    status, found = run("-c", FAULTS)
    assert status == 1
    borders = found["borders"]
    for name in ("traceback", "lines"):
        assert borders[name] == {"traceback": 8}
    assert borders["sentence"] == {"sentence": 8}
    assert borders["memory"] == {"memory": 8}
    assert borders["code"] == {"code run": 8}
    assert borders["flip"] == {"flip unnoticed": 6, "accepted": 2}  # torch files have no checksum
    assert borders["end"] == {"hang": 7, "crash": 1}


def test_the_stored_run_is_whole():
    found = results.load("hostile")
    assert found["bad"] == [] and set(found["borders"]) == set(hostile.BORDERS)
    for counts in found["borders"].values():
        assert set(counts) <= {"sentence", "accepted"} and sum(counts.values()) == found["files"]
