"""Parameter averages against their closed-form weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.training import averages

GAMMAS = {0.05: 16.972, 0.10: 6.937, 0.15: 3.558, 0.20: 1.826, 0.25: 0.720}


def run(average, path):
    """The average after each row of path [n, d], started at zero."""
    state = average.init(jnp.zeros_like(path[0]))
    update = jax.jit(average.update)
    out = []
    for step, row in enumerate(path, 1):
        state = update(state, row, step)
        out.append(state)
    return jnp.stack(out)


@pytest.mark.parametrize("sigma_rel", GAMMAS)
def test_the_exponent_of_a_width(sigma_rel):
    """Karras et al. 2024: 0.05, 0.10, 0.25 have gamma 16.97, 6.94, 0.72; the width is pinned."""
    gamma = averages.power_exponent(sigma_rel)
    np.testing.assert_allclose(gamma, GAMMAS[sigma_rel], atol=5e-4)
    width = np.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)))
    np.testing.assert_allclose(width, sigma_rel, rtol=1e-12)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.10, 0.25])
def test_power_average_has_its_closed_form_weights(sigma_rel):
    n, gamma = 60, averages.power_exponent(sigma_rel)
    weights = run(averages.power(sigma_rel), jnp.eye(n))[-1]
    k = np.arange(1, n + 1)
    expected = (k ** (gamma + 1) - (k - 1.0) ** (gamma + 1)) / n ** (gamma + 1)
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_power_average_forgets_where_it_started():
    average = averages.power(0.1)
    state = average.init(jnp.full(2, 1e6))
    np.testing.assert_array_equal(average.update(state, jnp.ones(2), 1), jnp.ones(2))


def test_ema_has_its_closed_form_weights():
    n, decay = 40, 0.9
    weights = run(averages.ema(decay), jnp.eye(n))[-1]
    np.testing.assert_allclose(weights, (1 - decay) * decay ** np.arange(n)[::-1], atol=1e-14)


def test_averages_keep_float32_and_widen_bfloat16():
    for average in (averages.ema(0.9), averages.power(0.1)):
        for dtype, kept in ((jnp.float32, jnp.float32), (jnp.bfloat16, jnp.float32)):
            params = {"a": jnp.ones(3, dtype), "b": jnp.zeros((), dtype)}
            state = average.init(params)
            state = average.update(state, params, jnp.int32(1))
            assert {a.dtype for a in jax.tree.leaves(state)} == {jnp.dtype(kept)}


def test_scaled_ema_follows_the_base_run():
    """Busbridge et al. 2023 on a quadratic: 0.0898, 0.0887, 0.0865, 0.0823 for 1, 2, 4, 8."""

    def end(factor, decay):
        theta, steps = jnp.ones(()), 400 // factor
        path = [theta := theta * (1 - 0.01 * factor) for _ in range(steps)]
        state = jnp.ones(())
        update = jax.jit(averages.ema(decay).update)
        for step, row in enumerate(path, 1):
            state = update(state, row, step)
        return float(state)

    expected = {1: 0.0898, 2: 0.0887, 4: 0.0865, 8: 0.0823}
    for factor, value in expected.items():
        assert abs(end(factor, averages.scale_ema(0.99, factor)) - value) < 5e-5
    assert abs(end(8, 0.99) - expected[1]) > 0.4


def profile(sigma_rel, t, tau):
    gamma = averages.power_exponent(sigma_rel)
    return (gamma + 1) * np.where(tau <= t, tau, 0) ** gamma / t ** (gamma + 1)


@pytest.mark.parametrize(
    ("count", "sigma_rel", "percent"),
    [(8, 0.075, 1.3), (8, 0.15, 3.3), (8, 0.03, 10), (8, 0.2, 7.8)]
    + [(32, 0.075, 0.1), (32, 0.15, 0.2), (32, 0.03, 1.1), (32, 0.2, 0.6)],
)
def test_posthoc_profile_errors(count, sigma_rel, percent):
    """Relative L2 error of the profile from snapshots of widths 0.05 and 0.10."""
    steps = [1000 * (i + 1) for i in range(count)] * 2
    widths = [0.05] * count + [0.10] * count
    weights = averages.posthoc_weights(steps, widths, max(steps), sigma_rel)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)
    tau = (np.arange(100_000) + 0.5) / 100_000 * max(steps)
    made = sum(w * profile(s, t, tau) for w, s, t in zip(weights, widths, steps, strict=True))
    wanted = profile(sigma_rel, max(steps), tau)
    error = 100 * np.sqrt(((made - wanted) ** 2).sum() / (wanted**2).sum())
    assert abs(error - percent) < max(0.06, 0.04 * percent)


def test_posthoc_equals_a_tracked_average():
    n, widths, wanted = 400, (0.05, 0.10), 0.075
    draw = np.random.default_rng(0)
    path = jnp.asarray(np.cumsum(draw.standard_normal((n, 3)), 0) / 10)
    tracked = {s: run(averages.power(s), path) for s in (*widths, wanted)}
    taken = range(n // 16, n + 1, n // 16)
    snapshots = [
        averages.Snapshot({"w": tracked[s][step - 1]}, step, s) for s in widths for step in taken
    ]
    made = averages.posthoc(snapshots, wanted)["w"]
    spread = float(jnp.abs(tracked[0.05][-1] - tracked[0.10][-1]).max())
    assert float(jnp.abs(made - tracked[wanted][-1]).max()) < 0.05 * spread
    assert made.dtype == path.dtype


def test_posthoc_returns_what_was_tracked():
    snapshots = [
        averages.Snapshot(jnp.full(2, float(i), jnp.float32), 100 * (i + 1), 0.1) for i in range(5)
    ]
    np.testing.assert_allclose(averages.posthoc(snapshots, 0.1), [4.0, 4.0], atol=1e-4)
    earlier = averages.posthoc_weights([100, 200], [0.1, 0.1], 250, 0.1)
    assert earlier.shape == (2,)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: averages.ema(1.0), "decay"),
        (lambda: averages.ema(-0.1), "decay"),
        (lambda: averages.power(0.0), "sigma_rel"),
        (lambda: averages.power(0.3), "sigma_rel"),
        (lambda: averages.scale_ema(0.9, 0), "factor"),
        (lambda: averages.posthoc([], 0.1), "snapshots"),
        (lambda: averages.posthoc_weights([0], [0.1], 5, 0.1), "step >= 1"),
        (lambda: averages.posthoc_weights([5, 5], [0.1, 0.1], 5, 0.1), "distinct"),
        (lambda: averages.posthoc_weights([5, 9], [0.1, 0.1], 8, 0.1), "precede"),
    ],
)
def test_wrong_options_are_refused_by_name(build, words):
    with pytest.raises(ValueError, match=words):
        build()
