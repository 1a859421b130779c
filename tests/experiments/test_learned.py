"""The study of learned tables in its smallest size: it learns, and leaves tables that load."""

import csv

import numpy as np
import pytest

import jaxgen as jg

SMALL = {
    "dims": 2,
    "budgets": 3,
    "targets": 16,
    "unseen": 4,
    "batch": 8,
    "starts": 8,
    "steps": 6,
    "samples": 0,
    "population": 8,
    "rounds": 1,
}


@pytest.mark.slow
def test_a_small_study(tmp_path):
    from experiments.samplers import _learned

    words = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    families = ["--families", "known mean", "grid only (LD3)"]
    assert _learned.main(["--run", str(tmp_path), *words, *families]) == 0
    with open(tmp_path / "learned.csv") as file:
        rows = {row["family"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"known mean", "grid only (LD3)", "searched (S3)"}
    assert float(rows["known mean"]["ratio of medians"]) < 0.6
    process = jg.processes.scalar.vp()
    files = sorted((tmp_path / "tables").iterdir())
    assert len(files) == 3
    for path in files:
        table = jg.solvers.search.load(path, process)
        assert jg.solvers.search.evaluations(table) == 3
        assert (np.diff(jg.solvers.search.stops(table)) < 0).all()


def test_unknown_families_are_refused(tmp_path, capsys):
    from experiments.samplers import _learned

    assert _learned.main(["--run", str(tmp_path), "--families", "magic"]) == 2
    assert "families must be among known mean," in capsys.readouterr().err
