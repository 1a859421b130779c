"""What every grid owes: f(process, n, *, ...) -> ts [n + 1], strictly falling, ends exact."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import grids
from jaxgen.processes import augmented, log_snr, scalar

PROCESSES = {
    "vp": scalar.vp,
    "ve": scalar.ve,
    "edm": scalar.edm,
    "cosine": scalar.cosine,
    "linear_flow": scalar.linear_flow,
    "monotone": functools.partial(scalar.monotone, np.array([0.3, -1.0, 0.5])),
    "cld": augmented.cld,
}


def along_sigmoid(process, t):
    """The argument of the sigmoid that the share of signal is a scaled piece of."""
    share = 1 / (1 + np.exp(-log_snr(process, t)))
    lack = 1 / (1 + np.exp(log_snr(process, t)))
    top, bottom = 1 / (1 + np.exp(-2 / 0.9)), 1 / (1 + np.exp(4 / 0.9))
    left, gone = share - share[0], lack - lack[-1]
    left, gone = left / (left[-1] or 1), gone / (gone[0] or 1)
    return np.log(bottom + (top - bottom) * left) - np.log(1 - top + (top - bottom) * gone)


# Each grid with the quantity in which it is evenly spaced.
GRIDS = {
    "uniform": (grids.uniform, lambda process, t: t),
    "power": (grids.power, lambda process, t: t**0.5),
    "power 3": (functools.partial(grids.power, rho=3.0), lambda process, t: t ** (1 / 3)),
    "log_snr": (grids.log_snr, log_snr),
    "karras": (grids.karras, lambda process, t: np.exp(-log_snr(process, t) / 14)),
    "karras 1": (
        functools.partial(grids.karras, rho=1.0),
        lambda process, t: np.exp(-log_snr(process, t) / 2),
    ),
    "cosine": (grids.cosine, lambda process, t: np.arctan(np.exp(-log_snr(process, t) / 2))),
    "sigmoid": (functools.partial(grids.sigmoid, start=-2.0, end=4.0, tau=0.9), along_sigmoid),
    "equidistributed": (
        functools.partial(grids.equidistributed, density=lambda t: 1 / (0.02 + t)),
        lambda process, t: np.log(0.02 + t),
    ),
    "dynamic_programming": (
        # Of 34 even candidates with a convex cost the evenest path is the cheapest.
        functools.partial(
            grids.dynamic_programming, cost=(np.arange(35) - np.arange(35)[:, None]) ** 2.0
        ),
        lambda process, t: t,
    ),
}
of_all = pytest.mark.parametrize("grid", list(GRIDS))
everywhere = pytest.mark.parametrize("process", list(PROCESSES))


@of_all
@everywhere
def test_falls_evenly_between_exact_ends(grid, process):
    process, (build, quantity) = PROCESSES[process](), GRIDS[grid]
    for n in (1, 2, 17):
        for ends in ({}, {"t_min": 0.1, "t_max": 0.6}):
            ts = build(process, n, **ends)
            assert isinstance(ts, np.ndarray)
            assert ts.dtype == np.float64
            assert ts.shape == (n + 1,)
            assert (np.diff(ts) < 0).all()
            lo, hi = ends.get("t_min", process.t_min), ends.get("t_max", process.t_max)
            assert (ts[0], ts[-1]) == (hi, lo)
            at = quantity(process, ts)
            even = np.linspace(at[0], at[-1], n + 1)
            # Where log-SNR is flat in t, t has fewer digits: compare the quantity, not t.
            np.testing.assert_allclose(at, even, rtol=1e-10, atol=1e-10 * np.abs(at).max())


@of_all
@pytest.mark.parametrize("process", ["vp", "cld"])
def test_inside_a_jitted_float32_function_grids_are_float64(grid, process):
    build, _ = GRIDS[grid]
    outside, seen = build(PROCESSES[process](), 7), []

    @jax.jit
    def fn(x):
        seen.append(build(PROCESSES[process](), 7))
        return x

    with jax.enable_x64(False):
        fn(jnp.ones(1))
    assert isinstance(seen[0], np.ndarray)
    np.testing.assert_array_equal(seen[0], outside)


def traced(process):
    """Grids to trace: on blocks, whose log-SNR takes long to compile, one of those in it."""
    shared = ("karras 1", "cosine", "sigmoid") if process == "cld" else ()
    return [build for name, (build, _) in GRIDS.items() if name not in shared]


NUMBERS = {"vp": (0.2, 15.0), "cld": (3.0, 0.3, 0.1)}


@pytest.mark.parametrize("process", list(NUMBERS))
def test_traced_numbers(process):
    traces = []

    @jax.jit
    def fn(numbers, t_max):
        traces.append(1)
        made = PROCESSES[process](*numbers)
        return [build(made, 5, t_max=t_max) for build in traced(process)]

    for scale in (1.0, 1.2):
        numbers = tuple(number * scale for number in NUMBERS[process])
        expected = [build(PROCESSES[process](*numbers), 5, t_max=0.8) for build in traced(process)]
        for ours, exact in zip(fn(numbers, 0.8), expected, strict=True):
            np.testing.assert_allclose(ours, exact, rtol=1e-10)
    assert len(traces) == 1


def test_traced_numbers_have_gradients():
    fn = lambda beta: grids.log_snr(scalar.vp(0.1, beta), 4)[2]
    slope = jax.jit(jax.grad(fn))(20.0)
    exact = (fn(20.001) - fn(19.999)) / 0.002
    assert float(slope) == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.usefixtures("x32")
@pytest.mark.parametrize("process", list(NUMBERS))
def test_traced_in_float32(process):
    fn = lambda numbers: [build(PROCESSES[process](*numbers), 6) for build in traced(process)]
    for ours, exact in zip(jax.jit(fn)(NUMBERS[process]), fn(NUMBERS[process]), strict=True):
        assert ours.dtype == jnp.float32
        assert (jnp.diff(ours) < 0).all()
        np.testing.assert_allclose(ours, exact, rtol=1e-4)


@of_all
def test_what_cannot_be_a_grid_is_refused(grid):
    build, process = GRIDS[grid][0], scalar.vp()
    name = grid.split()[0]
    for wrong in (0, -3, 2.5):
        with pytest.raises(
            ValueError, match=rf"grids.{name}: the number of steps must be an integer"
        ):
            build(process, wrong)
    for ends in ({"t_min": 1e-4}, {"t_max": 1.1}, {"t_min": 0.5, "t_max": 0.5}, {"t_min": np.nan}):
        with pytest.raises(
            ValueError, match=rf"grids.{name}: t_min < t_max must lie in \[0.001, 1.0\]; got"
        ):
            build(process, 4, **ends)


def test_options_are_checked():
    process = scalar.vp()
    for rho in (0.0, -2.0, np.nan):
        with pytest.raises(ValueError, match="grids.power: rho must be positive; got"):
            grids.power(process, 4, rho=rho)
        with pytest.raises(ValueError, match="grids.karras: rho must be positive; got"):
            grids.karras(process, 4, rho=rho)


def test_ends_without_a_signal_to_noise_ratio_are_refused():
    clean, pure = scalar.edm(t_min=0.0), scalar.linear_flow(t_max=1.0)
    for build, name in ((grids.log_snr, "log_snr"), (grids.karras, "karras")):
        for process in (clean, pure):
            with pytest.raises(
                ValueError, match=f"grids.{name}: log-SNR must be finite at both ends"
            ):
                build(process, 4)
    for build in (grids.uniform, grids.power):
        assert build(clean, 4)[-1] == 0
        assert build(pure, 4)[0] == 1
