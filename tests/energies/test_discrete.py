"""Spins, bits and memories against enumeration, closed forms and limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import energies

SPINS = np.array(list(itertools.product([-1.0, 1.0], repeat=16)))


@pytest.mark.parametrize(
    ("beta", "log_z", "magnetisation"),
    [(0.2, 11.771470, 0.342766), (0.4, 14.561093, 0.764712)],
)
def test_the_periodic_grid_by_enumeration(beta, log_z, magnetisation):
    """log Z and E|m| of the 4 x 4 grid, as known to seven digits."""
    grid = energies.ising(energies.periodic_grid((4, 4)), inverse_temperature=beta)
    logs = np.asarray(jax.jit(jax.vmap(grid))(SPINS))
    found = np.logaddexp.reduce(logs)
    assert found == pytest.approx(log_z, abs=5e-7)
    mean = np.exp(logs - found) @ np.abs(np.mean(SPINS, 1))
    assert mean == pytest.approx(magnetisation, abs=5e-7)


def test_couplings_fields_and_diagonal():
    """By hand, on a triangle: bonds 1, 2, -3, fields (1, 0, -2); the diagonal is left out."""
    couplings = np.array([[5.0, 1.0, 2.0], [1.0, 5.0, -3.0], [2.0, -3.0, 5.0]])
    triangle = energies.ising(couplings, np.array([1.0, 0.0, -2.0]), inverse_temperature=0.5)
    # s = (1, -1, -1): -1 - 2 - 3 + 1 + 2
    assert triangle(np.array([1.0, -1.0, -1.0])) == pytest.approx(0.5 * -3)
    np.testing.assert_array_equal(np.diag(energies.periodic_grid((3, 2))), 0)
    assert energies.periodic_grid((3, 2))[0, 1] == 2  # two bonds around an axis of length 2
    np.testing.assert_array_equal(np.sum(energies.periodic_grid((3, 4, 5)), 1), 6)


def test_a_restricted_boltzmann_machine_by_enumeration():
    key = jax.random.key(0)
    weights, a, b = (
        jax.random.normal(jax.random.fold_in(key, i), shape)
        for i, shape in enumerate([(3, 4), 3, 4])
    )
    machine = energies.rbm(weights, a, b)
    bits = lambda n: np.array(list(itertools.product([0.0, 1.0], repeat=n)))
    joint = np.asarray(
        jax.vmap(lambda v: jax.vmap(lambda h: machine.joint(v, h))(bits(4)))(bits(3))
    )
    np.testing.assert_allclose(
        jax.vmap(machine.logdensity)(bits(3)), np.logaddexp.reduce(joint, axis=1), rtol=1e-12
    )
    rows = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    np.testing.assert_allclose(jax.vmap(machine.hidden)(bits(3)), rows @ bits(4), rtol=1e-12)
    columns = np.exp(joint - np.logaddexp.reduce(joint, axis=0))
    np.testing.assert_allclose(jax.vmap(machine.visible)(bits(4)), columns.T @ bits(3), rtol=1e-12)
    v = bits(3)[5]
    crossed = jax.jit(lambda machine, v: machine.logdensity(v))(machine, v)  # a pytree of numbers
    np.testing.assert_allclose(crossed, machine.logdensity(v), rtol=1e-12)


@pytest.mark.parametrize("sink", [True, False])
def test_retrieval_descends_to_a_point_without_gradient(sink):
    patterns = jax.random.normal(jax.random.key(1), (6, 5))
    memory = energies.hopfield(patterns, beta=0.7, sink=sink)

    @jax.jit
    def path(x):
        step = lambda x, _: (memory.retrieve(x), memory.energy(x))
        return jax.lax.scan(step, x, None, length=400)

    for i in range(3):
        x, found = path(3 * jax.random.normal(jax.random.fold_in(jax.random.key(2), i), (5,)))
        falls = np.diff(found)
        assert np.all(falls[:5] < 0)
        assert np.all(falls <= 1e-13)
        assert np.max(np.abs(jax.grad(memory.energy)(x))) < 1e-9
        total = float(jnp.sum(memory.attention(x)))
        assert total < 1 if sink else total == pytest.approx(1)


def test_a_memory_is_attention_and_a_mixture():
    """The step is softmax attention with one zero key; exp(-beta E) a mixture of Gaussians."""
    patterns = jax.random.normal(jax.random.key(3), (4, 3))
    x, beta = jnp.array([0.4, -1.0, 0.3]), 2.5
    keys = np.vstack([patterns, np.zeros(3)])
    weights = np.exp(beta * keys @ x)
    np.testing.assert_allclose(
        energies.hopfield(patterns, beta=beta).retrieve(x),
        weights @ keys / weights.sum(),
        rtol=1e-12,
    )
    distances = np.sum((np.asarray(x) - keys) ** 2, axis=1)
    log_weights = beta * np.sum(keys**2, axis=1) / 2
    expected = np.logaddexp.reduce(log_weights - beta * distances / 2)
    found = energies.hopfield(patterns, beta=beta).logdensity(x)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    cold = energies.hopfield(patterns, beta=1e4, sink=False)
    nearest = int(np.argmax(patterns @ x))
    np.testing.assert_allclose(cold.retrieve(x), patterns[nearest], atol=1e-12)


def test_diluted_patterns_are_retrieved_as_a_hierarchy():
    """m_k = (1 - d) d^(k - 1) from the mean-field equation, and from 40,000 spins."""
    d, n = 0.3, 40_000
    expected = (1 - d) * d ** np.arange(3)
    np.testing.assert_allclose(energies.multitasking_overlaps(d, 3), expected, atol=1e-12)
    key_signs, key_blank, key_rest = jax.random.split(jax.random.key(4), 3)
    signs = jax.random.rademacher(key_signs, (3, n), float)
    patterns = jnp.where(jax.random.bernoulli(key_blank, d, (3, n)), 0.0, signs)
    # From the first pattern, blanks at random, all spins at once
    rest = jax.random.rademacher(key_rest, (n,), float)
    s = jnp.where(patterns[0] == 0, rest, patterns[0])
    logs = [energies.multitasking(patterns)(s)]
    for _ in range(10):
        s = energies.multitasking_step(patterns, s)
        logs.append(energies.multitasking(patterns)(s))
    assert np.all(np.diff(logs) >= 0)
    np.testing.assert_array_equal(energies.multitasking_step(patterns, s), s)
    errors = np.sqrt(expected * (1 - expected) / n) + 1 / np.sqrt(n)
    found = np.sort(np.abs(energies.overlaps(patterns, s)))[::-1]
    np.testing.assert_array_less(np.abs(found - expected), 5 * errors)


def test_overlaps_at_a_temperature():
    """One undiluted pattern: m = tanh(beta m); strong dilution raises equal starts equally."""
    m = float(energies.multitasking_overlaps(0.0, 1, inverse_temperature=1.5)[0])
    assert m == pytest.approx(np.tanh(1.5 * m), abs=1e-12)
    assert m > 0.8
    alike = energies.multitasking_overlaps(0.8, 3, start=jnp.full(3, 0.1))
    np.testing.assert_allclose(alike, alike[0], rtol=1e-12)


def test_multitasking_is_the_hebbian_ising_model():
    patterns = np.array([[1.0, 0.0, -1.0, 1.0], [1.0, 1.0, 0.0, -1.0]])
    hebbian = energies.ising(patterns.T @ patterns / 4, inverse_temperature=0.8)
    direct = energies.multitasking(patterns, inverse_temperature=0.8)
    states = np.array(list(itertools.product([-1.0, 1.0], repeat=4)))
    gaps = jax.vmap(direct)(states) - jax.vmap(hebbian)(states)
    np.testing.assert_allclose(gaps, 0.8 * 6 / 8, rtol=1e-12)  # the diagonal
    whole = energies.multitasking(patterns.astype(int))  # patterns may be integers
    slope = jax.grad(whole)(jnp.full(4, 0.5))
    np.testing.assert_allclose(slope, patterns.T @ (patterns @ np.full(4, 0.5)) / 4, rtol=1e-12)


@pytest.mark.usefixtures("x32")
def test_float32():
    s = jnp.ones(4, jnp.float32)
    patterns = jnp.array([[1.0, 0.0, -1.0, 1.0], [1.0, 1.0, 0.0, -1.0]], jnp.float32)
    values = [
        energies.ising(energies.periodic_grid((2, 2)), np.ones(4), inverse_temperature=0.3)(s),
        energies.multitasking(patterns)(s),
        energies.hopfield(patterns, beta=1e3).logdensity(100 * s),
        energies.rbm(patterns.T, s, s[:2]).logdensity(s),
    ]
    assert all(value.dtype == jnp.float32 and np.isfinite(value) for value in values)
    assert values[0] == pytest.approx(0.3 * (8 + 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energies.ising(np.array([[0.0, 1.0], [2.0, 0.0]])), "must be symmetric"),
        (lambda: energies.ising(np.eye(2), np.ones(3)), r"couplings \[n, n\]"),
        (lambda: energies.ising(np.eye(2))(np.ones(3)), "must have 2 spins"),
        (lambda: energies.periodic_grid((4, 0)), "at least 1"),
        (lambda: energies.rbm(np.ones((2, 3)), np.ones(3), np.ones(3)), "must fit"),
        (lambda: energies.hopfield(np.ones((2, 3)), beta=0.0), "beta must be positive"),
        (lambda: energies.hopfield(np.ones(3), beta=1.0), r"patterns must be \[m, d\]"),
        (lambda: energies.multitasking(np.ones(3)), r"must be \[k, n\]"),
        (lambda: energies.overlaps(np.ones((2, 3)), np.ones(2)), r"s must be \[3\]"),
        (lambda: energies.multitasking_overlaps(1.2, 3), "dilution"),
        (lambda: energies.multitasking_overlaps(0.2, 2, start=np.ones(3)), "start must be"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
