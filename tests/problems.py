"""Problems with known answers: noised mixtures whose flow is followed by DOP853, or in closed form.

The scores are textbook NumPy, so that no reference is made by the code under test. Each problem is
followed from noise to data, from data to noise, and both ways from the middle, log-SNR 0: a
multistep method that starts badly shows it only where the flow is not smooth.
"""

import functools
import inspect
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.integrate
import scipy.optimize

import jaxgen as jg

# Problem A, a mixture in two dimensions, under vp, edm and cld.
WEIGHTS = np.array([0.3, 0.5, 0.2])
MEANS = np.array([[-2.0, 0.0], [1.5, 1.5], [0.5, -2.0]])
VARIANCES = np.array([0.09, 0.16, 0.04])
DRAWS = np.random.RandomState(0).randn(128, 2)  # noqa: NPY002
STARTS, STARTS_EDM = DRAWS[:64], DRAWS[64:] * 80
STARTS_CLD = np.random.RandomState(1).randn(16, 2, 2) * [[1.0], [0.5]]  # noqa: NPY002
MEAN_LOG_PROB = -1.737986455573  # of the 64 end points at t = 1e-3, in nats

# Problem B, a Gaussian in one dimension under the cosine process, has its flow in closed form.
MEAN_B, VARIANCE_B = 0.7, 0.25
STARTS_B = np.array([[1.3], [-0.4], [2.2], [-1.7]])

# Critically damped Langevin, with its defaults.
BETA, MASS, START_VARIANCE = 4.0, 0.25, 0.04
FRICTION = 2 * np.sqrt(MASS)
DRIFT_CLD = np.array([[0.0, 1 / MASS], [-1.0, -FRICTION / MASS]])
# Third-order critically damped Langevin, with its defaults.
DRIFT_HOLD = np.array([[0, 1, 0], [-1, 0, np.sqrt(8)], [0, -np.sqrt(8), -np.sqrt(27)]])
STARTS_HOLD = np.random.RandomState(2).randn(8, 3, 2)  # noqa: NPY002
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)


class Run(NamedTuple):
    """A piece of the flow: from x [n, ...] at times[0] to end [n, ...] at times[1]."""

    x: Any
    end: Any
    times: tuple[float, float]


class Problem(NamedTuple):
    process: Any
    mixture: Any
    runs: dict[str, Run]  # noise to data, data to noise, middle to data, middle to noise


NAMES = ("A", "A-EDM", "A-CLD", "A-HOLD", "B")
DIRECTIONS = ("noise to data", "data to noise", "middle to data", "middle to noise")


def mixture_a():
    return jg.densities.gaussian_mixture(WEIGHTS, MEANS, VARIANCES)


def behind(door):
    """{name: f} of all f(process, denoiser, *, ...) -> Solver of a door that need nothing else."""
    found = {}
    for name in door.__all__:
        f = getattr(door, name)
        if callable(f) and not isinstance(f, type):
            first, *rest = inspect.signature(f).parameters.values()
            needed = [first.name, *(each.name for each in rest if each.default is each.empty)]
            if needed == ["process", "denoiser"]:
                found[name] = f
    return found


@functools.cache
def problem(name):
    """One of the NAMES, with its references."""
    if name == "B":
        process = jg.processes.scalar.cosine(t_min=1e-3, t_max=0.99)
        return _problem(process, jg.densities.gaussian([MEAN_B], [VARIANCE_B]), STARTS_B, flow_b)
    process, start, field = {
        "A": (jg.processes.scalar.vp(), STARTS, field_vp),
        "A-EDM": (jg.processes.scalar.edm(), STARTS_EDM, field_edm),
        "A-CLD": (jg.processes.augmented.cld(), STARTS_CLD, field_cld),
        "A-HOLD": (jg.processes.augmented.hold(), STARTS_HOLD, field_hold),
    }[name]
    return _problem(process, mixture_a(), start, functools.partial(integrate, field))


def _problem(process, mixture, start, follow):
    middle = middle_of(process)
    ends = (process.t_max, process.t_min)
    data = follow(start, *ends)
    centre = follow(start, process.t_max, middle)
    pieces = {
        "noise to data": (start, data, ends),
        "data to noise": (data, follow(data, *ends[::-1]), ends[::-1]),
        "middle to data": (centre, data, (middle, process.t_min)),
        "middle to noise": (centre, follow(centre, middle, process.t_max), (middle, process.t_max)),
    }
    return Problem(process, mixture, {name: Run(*piece) for name, piece in pieces.items()})


def middle_of(process):
    """The time at which log-SNR is 0."""
    return scipy.optimize.brentq(
        lambda t: float(jg.processes.log_snr(process, np.float64(t))),
        process.t_min,
        process.t_max,
        xtol=1e-15,
    )


def integrate(field, x, start, stop):
    """Where the flow of field(x, t) takes x [n, ...] from time start to time stop."""
    found = scipy.integrate.solve_ivp(
        lambda t, flat: field(flat.reshape(x.shape), t).ravel(),
        (start, stop),
        x.ravel(),
        method="DOP853",
        rtol=1e-12,
        atol=1e-12,
    )
    return found.y[:, -1].reshape(x.shape)


def schedule_vp(t):
    """alpha and sigma of the variance preserving process, beta from 0.1 to 20."""
    integral = 0.1 * t + 19.9 * t**2 / 2
    return np.exp(-integral / 2), np.sqrt(-np.expm1(-integral))


def score_a(x, alpha, sigma):
    """The score of alpha x0 + sigma eps at x [n, 2]."""
    variances = alpha**2 * VARIANCES + sigma**2
    away = x[:, None] - alpha * MEANS
    pull = away / variances[:, None]
    shares = _softmax(np.log(WEIGHTS) - np.log(variances) - (away * pull).sum(-1) / 2)
    return -(shares[..., None] * pull).sum(1)


def field_vp(x, t):
    return -(0.1 + 19.9 * t) / 2 * (x + score_a(x, *schedule_vp(t)))


def field_edm(x, t):
    return -t * score_a(x, 1.0, t)


def transition_blocks(drift, clock, impulse, start):
    """Phi and Sigma, by e^(A s) = e^(-a s) (1 + N s + N^2 s^2 / 2) and quadrature of impulses on a
    last block; the other blocks start independently.
    """
    c = len(drift)
    rate = -np.trace(drift) / c
    first = drift + rate * np.eye(c)
    second = first @ first / 2
    phi = np.exp(-rate * clock) * (np.eye(c) + first * clock + second * clock**2)
    ages = clock * (NODES + 1) / 2
    impulses = np.eye(c)[:, -1:] + first[:, -1:] * ages + second[:, -1:] * ages**2
    impulses = np.exp(-rate * ages) * impulses
    begun = phi[:, 1:] @ phi[:, 1:].T * start
    return phi, (impulses * clock * NODE_WEIGHTS / 2 * impulse) @ impulses.T + begun


def transition_cld(t):
    return transition_blocks(DRIFT_CLD, BETA * t, 2 * FRICTION, START_VARIANCE * MASS)


def transition_hold(t):
    return transition_blocks(DRIFT_HOLD, 6.0 * t, 2 * np.sqrt(27), 0.04)


def score_blocks(z, phi, sigma):
    """The score [n, c, 2] of all blocks at z [n, c, 2]."""
    column = phi[:, 0]
    precisions = np.linalg.inv(np.outer(column, column) * VARIANCES[:, None, None] + sigma)
    away = z[:, None] - column[:, None] * MEANS[:, None]
    pull = precisions @ away
    # The determinant to the power 1/2, and twice: the event has two entries.
    log_det = np.linalg.slogdet(precisions)[1]
    shares = _softmax(np.log(WEIGHTS) + log_det - (away * pull).sum((2, 3)) / 2)
    return -(shares[..., None, None] * pull).sum(1)


def field_blocks(z, phi, sigma, drift, rate, friction):
    score = score_blocks(z, phi, sigma)
    noise = np.concatenate([0 * score[:, :-1], friction * score[:, -1:]], 1)
    return rate * (drift @ z - noise)


def field_cld(z, t):
    return field_blocks(z, *transition_cld(t), DRIFT_CLD, BETA, FRICTION)


def field_hold(z, t):
    return field_blocks(z, *transition_hold(t), DRIFT_HOLD, 6.0, np.sqrt(27))


def flow_b(x, start, stop):
    """The flow keeps (x - mean) / deviation."""

    def moments(t):
        step, s = np.pi / 2 / 1.008, 0.008
        alpha = np.cos((t + s) * step) / np.cos(s * step)
        return alpha * MEAN_B, np.sqrt(alpha**2 * VARIANCE_B + 1 - alpha**2)

    (mean, deviation), (mean_stop, deviation_stop) = moments(start), moments(stop)
    return mean_stop + deviation_stop * (x - mean) / deviation


def _softmax(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@functools.cache
def grid(name, direction, steps):
    """Stops [steps + 1] of a run of a problem, evenly spaced in log-SNR."""
    start, stop = problem(name).runs[direction].times
    ts = jg.grids.log_snr(
        problem(name).process, steps, t_min=min(start, stop), t_max=max(start, stop)
    )
    return ts if start > stop else ts[::-1]


def runner(solver, capacity):
    """end(x [n, ...], rows): where `solve` takes x along the rows of any plan of up to `capacity`
    steps.

    A sampler is a table, so one compilation serves all of them: rows are padded with copies of the
    last one, and the trajectory is read where the table ends.
    """

    @jax.jit
    def run(x, rows):
        tabled, ts = solver._replace(plan=lambda ts: rows), np.array([1.0, 0.0])
        one = lambda x: jg.solve(jax.random.key(0), tabled, x, ts, trajectory=True)
        return jax.vmap(one)(x)

    def pad(leaf):
        return np.concatenate([leaf, np.repeat(leaf[-1:], capacity - len(leaf), 0)])

    def end(x, rows):
        path, infos = run(x, jax.tree.map(pad, rows))
        steps = len(rows.t)
        return np.asarray(path[:, steps]), jax.tree.map(lambda leaf: leaf[:, :steps], infos)

    return end
