"""The chapters under another processor and seed: what is asked for, printed and returned."""

import foreign
import pytest

HELD = {
    "x < 1": {"margin": 0.5, "left": 0.5, "op": "<", "right": 1},
    "y > 100": {"margin": 1.0, "left": 101, "op": ">", "right": 100},
    "n == 25": {"margin": 0.0, "left": 25, "op": "==", "right": 25},
    "ok": {"margin": float("inf")},
}
MISSED = {"z > 2": {"margin": -1, "left": 1, "op": ">", "right": 2, "words": "`z` is 1"}}


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    for name in ("00_a", "01_b"):
        (tmp_path / f"notebooks/{name}.ipynb").write_text("{}")
    monkeypatch.setattr(foreign, "ROOT", tmp_path)
    monkeypatch.setattr(foreign, "FOREIGN", tmp_path / "foreign")

    def answer(claims=HELD, crash=""):
        asked = []

        def execute(path, target, parameters, environment, first_line, timeout):
            asked.append((path.stem, parameters, environment, first_line))
            return foreign.Outcome(path.stem, 12.3, claims, crash, "a log")

        monkeypatch.setattr(foreign, "execute", execute)
        return asked

    return answer


def test_all_claims_hold_and_the_tightest_is_named(project, capsys):
    asked = project()
    assert foreign.main([]) == 0
    assert [name for name, *_ in sorted(asked, key=lambda each: each[0])] == ["00_a", "01_b"]
    assert all(parameters == {"seed": 1} for _, parameters, *_ in asked)
    # All four matter: the first alone changes no digit of a small network.
    assert (
        asked[0][2].items()
        >= {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "MKL_CBWR": "AVX2",
        }.items()
    )
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("00_a"))
    assert row.split() == ["00_a", "12", "4", "0", "101", ">", "100", "in", "y", ">", "100"]


def test_a_miss_or_a_crash_fails_and_is_named(project, capsys, tmp_path):
    project({**HELD, **MISSED})
    assert foreign.main(["--chapters", "01", "--seed", "2", "--setting", "two threads"]) == 1
    assert "MISSED: `z` is 1" in capsys.readouterr().out
    asked = project(crash="cell 2 raised ValueError")
    assert foreign.main(["--chapters", "01", "--setting", "two threads"]) == 1
    assert "STOPPED: cell 2 raised ValueError" in capsys.readouterr().out
    assert (tmp_path / "foreign/01_b.log").read_text() == "a log"
    assert [name for name, *_ in asked] == ["01_b"] and "set_num_threads(2)" in asked[0][3]


def test_an_unknown_chapter_gets_a_sentence(project):
    project()
    with pytest.raises(SystemExit, match="No chapter is called 77"):
        foreign.main(["--chapters", "77"])
