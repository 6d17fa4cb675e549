"""The executor: what it measures and reports of one notebook, without a cell of its own in it."""

from pathlib import Path

import execute
import nbformat
import pytest

new = nbformat.v4
PARAMETERS = new.new_code_cell("seed = 0", metadata={"tags": ["parameters"]})


def notebook(path: Path, *sources: str, **tags: str) -> Path:
    cells = [PARAMETERS, *map(new.new_code_cell, sources)]
    for number, tag in tags.items():
        cells[int(number.strip("_"))].metadata["tags"] = [tag]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new.new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def test_a_missed_claim_leaves_a_box_and_the_chapter_goes_on(tmp_path):
    cells = (
        "before = set(dir())\nquality = 0.7\nassert quality > 0.8 + seed, 'a message'\nquality",
        "raise ValueError('on purpose')",
        "import os\nassert quality < 1 and os.environ['SETTING'] == 'x'\n{'claims'} & before",
    )
    path = notebook(tmp_path / "00_small.ipynb", *cells, _2="raises-exception")
    target = tmp_path / "done.ipynb"
    environment = {"SETTING": "x"}
    done = execute.execute(path, target, {"sede": 1}, environment, "import claims as hidden")
    assert done.crash == "" and not done.passed and done.name == "00_small" and done.seconds > 0
    margins = {claim: each["margin"] for claim, each in done.claims.items()}
    expected = {"quality > 0.8 + seed": -0.1, "quality < 1": 0.3}
    assert margins.pop("os.environ['SETTING'] == 'x'") == float("inf")
    assert margins == pytest.approx(expected)
    assert list(done.missed) == ["quality > 0.8 + seed"]

    executed = nbformat.read(target, as_version=4).cells
    # Nothing of ours among the cells, in their numbers or among the names.
    assert [cell.source for cell in executed] == [PARAMETERS.source, *cells]
    assert [cell.execution_count for cell in executed] == [1, 2, 3, 4]
    box, value = executed[1].outputs
    assert box.metadata == {"claim": "missed"} and "On this machine" in box.data["text/html"]
    assert box.data["text/plain"].endswith("above `0.8 + seed`, which is 0.8: a message")
    assert value.data["text/plain"] == "0.7"
    assert executed[3].outputs[0].data["text/plain"] == "set()"


def test_another_exception_is_a_crash_with_a_sentence_and_a_log(tmp_path):
    path = notebook(tmp_path / "bad.ipynb", "assert seed == 3", "nowhere", "assert seed > 5")
    done = execute.execute(path, tmp_path / "done.ipynb", {"seed": 3})
    assert done.crash == "cell 4 raised NameError: name 'nowhere' is not defined"
    assert list(done.claims) == ["seed == 3"] and not done.missed and not done.passed
    assert "Traceback" in done.log


def test_what_takes_too_long_or_dies_gets_a_sentence():
    book = new.new_notebook(cells=[new.new_code_cell("loop()", execution_count=1)])
    book.cells[0].outputs = [new.new_output("error", ename="KeyboardInterrupt", evalue="")]
    assert execute.crash_of(book, "... CellTimeoutError: ...") == "cell 1 took too long"
    book = new.new_notebook(cells=[new.new_code_cell("os._exit(1)")])
    assert execute.crash_of(book, "x\nDeadKernelError: Kernel died\n") == (
        "the kernel did not get to the end (DeadKernelError: Kernel died)"
    )
    assert "killed" in execute.crash_of(new.new_notebook(), "")


def test_only_what_the_parameters_cell_assigns_is_a_parameter(tmp_path):
    path = notebook(tmp_path / "x.ipynb", "other = print")
    assert execute.parameters_of(path) == {"seed"}
