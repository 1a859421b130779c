"""The energies of digits: the annealing starts and ends where it should, and so do its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm


@pytest.fixture
def ladder():
    from experiments.energy import _digits_models as models

    return models.cooperative(8)


@pytest.mark.usefixtures("x32")
def test_a_path_down_the_ladder_meets_every_level(ladder):
    """Unit noise at 0, the energies of the levels at multiples of 1/6, and straight between."""
    from experiments.energy import _digits_densities as densities

    quadratic = lambda z, level: -jnp.sum(z**2) * (1.0 + level)
    z = jnp.linspace(-1, 1, 64)
    path = jax.jit(lambda exponent: densities.path_of(ladder.rungs, quadratic)[0](exponent)(z))
    top = len(ladder.rungs.keep)
    noise = np.sum(norm.logpdf(z))
    np.testing.assert_allclose(path(0.0), noise, rtol=1e-5)
    nodes = [noise] + [quadratic(z, level) for level in range(top)][::-1]
    for place in (0.25, 1.0, 1.5, 3.0, 4.75, 6.0):
        expected = np.interp(place, np.arange(top + 1), nodes)
        np.testing.assert_allclose(path(place / top), expected, rtol=1e-4)


@pytest.mark.usefixtures("x32")
def test_a_step_is_the_variance_given_the_image(ladder):
    """1 / (1/sigma_k^2 + keep^2/noise^2), by Bayes' rule, in units of which MALA steps."""
    from experiments.energy import _digits_models as models

    rungs, steps = ladder.rungs, []

    def spy(logdensity_fn, step):
        steps.append(float(step))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.blackjax, "mala", spy)
        build = models.kernel(rungs)
        for keep, noise in zip(rungs.keep, rungs.noise, strict=True):
            build(None, noise**2 / (noise**2 + keep**2))
    least = 1 / (1 / rungs.sigma[:-1] ** 2 + rungs.keep**2 / rungs.noise**2)
    np.testing.assert_allclose(steps, models.STEP * least, rtol=1e-4)


@pytest.mark.usefixtures("x32")
def test_energies_of_labels_are_summed(ladder):
    """Weights (1 + w, -w) on a class and none are guidance; an untrained network is Gaussian."""
    from experiments.energy import _digits_models as models

    params = ladder.init(jax.random.key(0))[0]
    z = jnp.linspace(-1, 1, 64)
    alike = lambda *weights: jnp.tile(jnp.array(weights), (len(ladder.rungs.keep), 1))
    energy = jax.jit(lambda p, labels, weights: ladder.energy(p, z, 2, labels, weights))
    labels = jnp.array([3, models.NONE])
    rungs = ladder.rungs
    variance = ((rungs.alpha[2] * models.SCALE) ** 2 + rungs.sigma[2] ** 2) ** 2 / rungs.sigma[
        2
    ] ** 2
    start = energy(params, labels, alike(1.0, 0.0))
    np.testing.assert_allclose(start, -np.sum(z**2) / (2 * variance), rtol=1e-5)
    params = jax.tree.map(lambda a: a + 0.1, params)
    one, none = (energy(params, labels, alike(*w)) for w in ((1.0, 0.0), (0.0, 1.0)))
    assert abs(one - none) > 1e-3
    found = energy(params, labels, alike(3.0, -2.0))
    np.testing.assert_allclose(found, 3 * one - 2 * none, rtol=1e-4)


def test_parameters_are_read_back_under_the_same_stamp(tmp_path):
    from experiments.energy import _digits_models as models

    made = []

    def make():
        made.append(1)
        return {"a": jnp.arange(3.0), "b": jnp.ones((2, 2)) * len(made)}

    like, path = make(), tmp_path / "held.npz"
    first = models.restored(path, ["x", 1], like, make)
    again = models.restored(path, ["x", 1], like, make)
    assert len(made) == 2
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert models.restored(path, ["x", 2], like, make)["b"][0, 0] == 3


@pytest.mark.usefixtures("x32", "same_key")
def test_rung_by_rung_is_exact_on_gaussian_energies():
    """Data N(0, v): true energies and guesses give the log-density, whatever noise is drawn."""
    from experiments.energy import _digits_densities as densities
    from experiments.energy import _digits_models as models

    rungs = models.cooperative(8).rungs
    variance = rungs.alpha**2 * 0.3 + rungs.sigma**2
    energy = lambda params, z, level, *_: -jnp.sum(z**2) / (2 * variance[level])
    gain = rungs.keep * variance[:-1] / variance[1:]
    guess = lambda params, noisy, level, *_: gain[level] * noisy
    exact = models.Ladder(rungs, None, None, energy, guess, None)
    run = densities.rung_by_rung(exact, (None, None), rungs=100, chains=8)
    z = 0.3**0.5 * jnp.linspace(-2, 2, 64)
    value, error = jax.jit(run)(jax.random.key(0), z)
    truth = np.sum(norm.logpdf(z, 0, np.sqrt(variance[0])))
    assert abs(value - truth) < 5 * error < 5


@pytest.mark.slow
@pytest.mark.usefixtures("x32", "same_key")
def test_digits_run_in_their_smallest_size(tmp_path):
    from experiments.energy import _run

    assert _run.main(["--smoke", "--studies", "digits", "--run", str(tmp_path)]) == 0
    assert (tmp_path / "digits.png").exists()
