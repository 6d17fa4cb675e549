"""Stored results: written with their provenance, read back as they are, found or refused."""

import pytest

from ddgan_lite.files import results


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "folder", lambda: tmp_path)
    return tmp_path


def test_numbers_come_back_as_they_were_with_where_they_come_from(empty):
    values = {"kl": 0.1 + 0.2, "runs": [{"seed": 0, "modes": 25}]}
    path = results.store("small", "python x.py", values)
    assert path == empty / "small.json"
    stored = results.load("small")
    assert stored.pop("provenance") == {"command": "python x.py", **results.machine()}
    assert stored == values


def test_a_missing_result_is_named_with_those_there_are(empty):
    with pytest.raises(FileNotFoundError, match=r"no result 'x\.json': known are none"):
        results.load("x")
    results.store("a", "", {})
    with pytest.raises(FileNotFoundError, match=r"known are a\.json"):
        results.find("b.safetensors")


def test_the_checkout_keeps_them_in_the_book():
    assert results.folder().parts[-2:] == ("book", "results")


@pytest.mark.parametrize("path", sorted(results.folder().glob("*.json")), ids=lambda p: p.stem)
def test_every_stored_result_says_where_it_comes_from(path):
    provenance = results.load(path.stem)["provenance"]
    assert all(provenance[key] for key in ("command", "hardware", "torch", "date", "commit"))
