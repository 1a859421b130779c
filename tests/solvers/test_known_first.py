"""At pure noise the prediction is the mean of the data, and its evaluation can be saved."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential, sde

KEY = jax.random.key(0)
VP, FLOW = jg.processes.scalar.vp(), jg.processes.scalar.linear_flow()
MEAN = np.array([0.7, -1.1])
LAW = jg.densities.gaussian(MEAN, np.array([0.3, 0.5]))
known_first = exponential.known_first


def runs(process, make, ts, x, mean, denoiser):
    """(all evaluations, the first one known) and the two Solvers."""
    solvers = make(process, denoiser), known_first(process, denoiser, make=make, mean=mean)
    return [jax.jit(lambda x, s=s: jg.solve(KEY, s, x, ts))(x) for s in solvers], solvers


@pytest.mark.parametrize("order", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_at_pure_noise_nothing_changes(order):
    """alpha is 0 at t = 1 of linear_flow: there E[x0 | z] is the mean whatever z."""
    make = functools.partial(exponential.adams_bashforth, order=order, clock="t")
    ts, x = np.array([1.0, 0.7, 0.4, 0.2, 0.1]), jnp.array([1.3, -0.4])
    denoiser = jg.densities.denoiser(LAW, FLOW)
    ((full, infos), (ours, ours_infos)), (solver, saved) = runs(FLOW, make, ts, x, MEAN, denoiser)
    np.testing.assert_allclose(ours, full, rtol=1e-13)
    np.testing.assert_array_equal(ours_infos.t, infos.t[1:])
    assert saved.evaluations(4) == solver.evaluations(4) - 1 == len(saved.plan(ts).t)
    assert saved.order == solver.order


@pytest.mark.parametrize(
    ("process", "make"),
    [
        (VP, exponential.dpmpp_2m),
        (VP, exponential.dpm_solver),
        pytest.param(VP, exponential.unipc, marks=pytest.mark.slow),
        pytest.param(
            VP, functools.partial(exponential.deis, start="exact"), marks=pytest.mark.slow
        ),
        pytest.param(jg.processes.augmented.cld(), exponential.deis, marks=pytest.mark.slow),
    ],
)
def test_it_is_the_sampler_whose_first_prediction_is_the_mean(process, make):
    ts, shape = jg.grids.log_snr(process, 5), jg.processes.noise_shape(process, (2,))
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    network = lambda z, t: jnp.tanh(jg.data_part(process, z)) * (1 - t / 2)

    def told(z, t):
        return jnp.where(t == ts[0], MEAN, network(z, t))

    (full, _), (ours, _) = runs(process, make, ts, x, MEAN, told)[0]
    np.testing.assert_allclose(ours, full, rtol=1e-11)
    _, (zero, _) = runs(process, make, ts, x, 0.0, network)[0]
    assert np.abs(zero - full).max() > 1e-4


@pytest.mark.slow
def test_trees_and_dtypes():
    x = {"a": jnp.ones(2, jnp.bfloat16), "b": (jnp.ones((3, 1), jnp.bfloat16),)}
    network = lambda z, t: jax.tree.map(lambda leaf: jnp.tanh(leaf) / 2, z)
    ts = jg.grids.log_snr(VP, 4)
    means = {"a": np.array([0.1, 0.2]), "b": (np.array([0.3]),)}
    for mean in (0.5, means):
        end = jg.solve(KEY, known_first(VP, network, make=exponential.dpmpp_2m, mean=mean), x, ts)[
            0
        ]
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), end) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), x
        )


def test_tables_it_cannot_shorten_are_refused():
    one = np.array([1.0, 0.1])
    with pytest.raises(ValueError, match="must have two rows or more; got one"):
        known_first(VP, None, make=exponential.dpmpp_2m).plan(one)
    noisy = known_first(VP, lambda z, t: z, make=sde.ddim_eta)
    with pytest.raises(ValueError, match="the first row must be without noise"):
        noisy.plan(np.array([1.0, 0.5, 0.1]))
    dense = functools.partial(
        exponential.adams_bashforth, order=1, divergence=jg.math.divergence.exact()
    )
    with pytest.raises(ValueError, match="the first row must be without density"):
        known_first(VP, lambda z, t: z, make=dense).plan(np.array([1.0, 0.5, 0.1]))
