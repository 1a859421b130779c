"""The tables and their splits, which are fixed; and the circle on which likelihood misleads."""

import numpy as np
import pytest

SHAPES = {"flowers": (150, 4), "wines": (178, 13), "patients": (442, 7), "nuclei": (556, 26)}
FIRST_TESTED = {"flowers": 14, "wines": 161, "patients": 246, "nuclei": 274}


@pytest.mark.parametrize("name", SHAPES)
def test_tables_and_splits_are_fixed(name):
    from experiments.tabular import _sets

    x = _sets.table(name)
    assert x.shape == SHAPES[name]
    assert len(np.unique(x, axis=0)) == len(x)
    folds, splits = _sets.folds(name), list(_sets.splits(len(x)))
    assert splits[0][2][0] == FIRST_TESTED[name]
    np.testing.assert_array_equal(np.sort(np.concatenate([f.rows for f in folds])), range(len(x)))
    for fold, parts in zip(folds, splits, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), range(len(x)))
        np.testing.assert_allclose(fold.train.mean(0), 0, atol=0.05)
        np.testing.assert_allclose(fold.train.std(0), 1, atol=0.1)
        train = parts[0]
        back = fold.test * x[train].std(0) + x[train].mean(0)
        np.testing.assert_allclose(back, x[fold.rows], rtol=1e-9)


def test_unknown_tables_are_refused(tmp_path, capsys):
    from experiments.tabular import _run

    assert _run.main(["--run", str(tmp_path), "--sets", "roses"]) == 2
    assert (
        "sets must be among flowers, wines, patients, nuclei; got roses" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_everything_runs_in_its_smallest_size():
    import experiments.tabular

    experiments.tabular.smoke()


@pytest.mark.slow
@pytest.mark.usefixtures("x32", "same_key")
def test_likelihood_without_bound_misleads_on_a_circle():
    from experiments.tabular import _manifold

    rows, _, _ = _manifold.study(2000)
    curve = {
        name: [row for row in rows if row["flow"] == name]
        for name in ("as they are", "mollified", "instance noise")
    }
    plain = [row["nats"] for row in curve["as they are"]]
    assert plain[-1] > plain[2] + 0.5
    assert plain[-1] > curve["instance noise"][-1]["nats"] + 0.5
    for column in ("mmd2", "off"):
        assert curve["mollified"][-1][column] < curve["as they are"][-1][column]
