"""The comparison on point patterns runs, refuses nonsense, and its truth is the one of the sums."""

import numpy as np
import pytest


def test_nonsense_is_refused(tmp_path, capsys):
    from experiments.point_patterns import _run

    assert _run.main(["--run", str(tmp_path), "--patterns", "grid"]) == 2
    assert "patterns must be among whole, short; got grid" in capsys.readouterr().err
    assert _run.main(["--run", str(tmp_path), "--keep", "7000"]) == 2
    assert "keep must be at most simulations" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("x32", "same_key")
def test_everything_runs_in_its_smallest_size():
    import experiments.point_patterns

    experiments.point_patterns.smoke()


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_exchange_and_noisy_find_the_known_posterior():
    import jax

    from experiments.point_patterns import _methods, _problems, _settings

    settings = _settings.parse(["--chains", "40", "--steps", "200", "--noisy-budget", "1200"])
    problem = _problems.whole(settings)
    for method in (_methods.exchange, _methods.noisy):
        x, _, _ = method(jax.random.key(0), settings, problem)
        means = x.mean(1)
        errors = means.std(0, ddof=1) / len(means) ** 0.5
        assert np.all(np.abs(means.mean(0) - problem.truth[0]) < 5 * errors)
