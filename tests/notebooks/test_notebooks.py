"""Every notebook and the README's code run as written, in their smallest size."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_of(notebook):
    """The notebook's code cells as one program."""
    cells = json.loads(notebook.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def run(program):
    """Runs a program in a fresh process, smoke-sized, and shows what it printed if it fails."""
    env = {**os.environ, "JAXGEN_SMOKE": "1", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:jaxgen", "-c", program],
        capture_output=True,
        text=True,
        env=env,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Half a minute for each: the others are left to `make notebooks` and `make test-slow`.
QUICK = ("1_train_and_sample",)
CASES = [
    pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow)
    for path in NOTEBOOKS
]


@pytest.mark.parametrize("notebook", CASES)
def test_notebook_runs(notebook):
    run(code_of(notebook))


def test_there_are_seven_lessons():
    assert len(NOTEBOOKS) == 7


def test_readme_code_runs_as_written():
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert len(blocks) >= 7  # the four cells, and a process, a solver and a loss of one's own
    run("\n".join(blocks))
