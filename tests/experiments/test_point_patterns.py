"""The comparison on point patterns runs and refuses nonsense; its truth is the one of the sums, and
its criticism of models a test of the size it claims.
"""

import sys

import numpy as np
import pytest


def test_nonsense_is_refused(tmp_path, capsys):
    from experiments.point_patterns import _run

    assert _run.main(["--run", str(tmp_path), "--patterns", "grid"]) == 2
    assert "patterns must be among whole, short, towns" in capsys.readouterr().err
    for words, message in {
        "--keep 7000": "keep must be at most simulations",
        "--gamma 1.2": "gamma must lie in [0, 1]; got 1.2",
        "--gamma nan": "gamma must lie in [0, 1]; got nan",
        "--beta 0": "beta must lie in (0, inf); got 0.0",
        "--beta -3": "beta must lie in (0, inf); got -3.0",
        "--radius -0.1": "radius must lie in [0, 1]; got -0.1",
        "--seed -1": "seed must lie in 0 ... 2^31 - 1; got -1",
        "--seed 4294967296": "seed must lie in",
        "--criticised 3": "criticised must be at least 19; got 3",
    }.items():
        assert _run.main(["--run", str(tmp_path), *words.split()]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["towns", "juvenile"])
def test_a_missing_package_is_said_in_one_line(name, tmp_path, capsys, monkeypatch):
    from experiments.point_patterns import _run, _settings

    for package in ("libpysal", "geopandas", "bokeh_sampledata"):
        monkeypatch.setitem(sys.modules, package, None)
    assert _run.main(["--run", str(tmp_path), "--patterns", name]) == 2
    error = capsys.readouterr().err
    assert f"{name} needs" in error
    assert "pip install 'jaxgen[patterns]'" in error
    assert error.count("\n") == 1
    monkeypatch.setattr(_settings, "DEFAULT", ("towns", "juvenile"))
    assert list(_run.installed(_settings.parse([]))) == []
    assert capsys.readouterr().err.count("left out") == 2


def hard_core(n, radius, seed=0):
    rng, kept = np.random.default_rng(seed), []
    while len(kept) < n:
        x = rng.random(2)
        if all(np.linalg.norm(x - y) > radius for y in kept):
            kept.append(x)
    return np.array(kept)


def test_the_radius_of_a_hard_core_is_found():
    from experiments.point_patterns import _real

    radii = np.linspace(0.02, 0.14, 25)
    values, gammas, betas = _real.profile(hard_core(60, 0.08), 1.0, radii)
    assert betas[values.argmax()] > 90  # as many points as would be there without the core
    assert gammas[values.argmax()] == 0
    np.testing.assert_allclose(radii[values.argmax()], 0.08, atol=0.011)
    twins = np.random.default_rng(1).random((30, 2)).repeat(2, axis=0)
    values, gammas, betas = _real.profile(twins, 1.0, radii)
    np.testing.assert_allclose(gammas, 1)
    np.testing.assert_allclose(betas, 60)
    np.testing.assert_allclose(values, 60 * np.log(60) - 60)


def test_a_box_around_points_and_points_that_have_none():
    from experiments.point_patterns import _real

    x = np.array([[2.0, 1.0], [6.0, 3.0], [3.0, 2.0]])
    given = _real.boxed("three", x)
    assert given.unit == 8.0
    assert given.height == 0.5
    np.testing.assert_allclose(given.points, (x - [0, 0]) / 8)
    for bad in (x[:2], x * [1, np.nan], x * [1, 0]):
        with pytest.raises(ValueError, match="three: points must be at least 3, finite"):
            _real.boxed("three", bad)


def test_curves_and_the_size_of_their_test():
    from experiments.point_patterns import _criticism

    x = np.array([[0.1, 0.1], [0.1, 0.4], [0.9, 0.1], [0.9, 0.2]])
    radii = np.array([0.05, 0.15, 0.35, 2.0])
    pairs = np.array([0, 1, 2, 6])
    np.testing.assert_allclose(
        _criticism.pair_curve(x, 1.5, radii), np.sqrt(2 * pairs * 1.5 / 12 / np.pi)
    )
    np.testing.assert_allclose(_criticism.nearest_curve(x, 1.5, radii), [0, 0.5, 1, 1])
    np.testing.assert_array_equal(_criticism.nearest_curve(x[:1], 1.5, radii), 0)
    rng = np.random.default_rng(2)
    curves = rng.standard_normal((400, 40, 6)).cumsum(2)
    p = np.array([_criticism.global_test(each)[0] for each in curves])
    assert abs(np.mean(p <= 0.1) - 0.1) < 5 * np.sqrt(0.09 / 400)
    assert p.min() == 1 / 40
    p, low, high = _criticism.global_test(curves[0] + 30 * (np.arange(40) == 0)[:, None])
    assert p == 1 / 40
    assert np.all(low < high)


@pytest.mark.slow
def test_criticism_tells_repulsion_from_none():
    import jax
    import jax.numpy as jnp

    import jaxgen as jg
    from experiments.point_patterns import _criticism, _problems, _settings

    settings = _settings.parse(["--criticised", "39", "--no-with-determinantal"])
    window = _problems.window()
    simulate = _problems.simulator(0.08, window, 90, 1200)
    x = jg.points.pattern(jnp.asarray(hard_core(50, 0.07)), 90)
    problem = _problems.Problem("hard", x, 0.08, simulate, None, None, window)
    thetas = np.tile([np.log(85.0), 0.05], (4, 1))
    (poisson, strauss), _ = _criticism.criticised(jax.random.key(0), settings, problem, thetas)
    assert max(poisson[2]["L"][0], poisson[2]["G"][0]) < 0.02
    assert min(strauss[2]["L"][0], strauss[2]["G"][0]) > 1 / 40
    waves, p = _criticism.spectrum(75, 2, 0.9)
    np.testing.assert_allclose(p.sum(), 75)
    assert len(waves) == len(p)
    assert 0.7 < p.max() <= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("name", ["towns", "juvenile", "burkitt", "crimes"])
def test_real_patterns_lie_in_their_windows(name):
    pytest.importorskip("bokeh_sampledata" if name == "towns" else "geopandas")
    pytest.importorskip("libpysal")
    from experiments.point_patterns import _problems, _real, _settings

    given = _real.load(name)
    counts = {"towns": 75, "juvenile": 168, "burkitt": 188, "crimes": 287}
    assert given.points.shape == (counts[name], 2)
    assert np.all((given.points >= 0) & (given.points <= [1, given.height]))
    problem = _problems.make(name, _settings.parse([]))
    assert (problem.radius * given.unit < 9) == (name != "crimes")


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
