"""Deterministic samplers beside their papers, beside each other, and beside known errors.

Tables are NumPy rows, so nothing here is compiled.
"""

import functools
import itertools

import jax
import numpy as np
import problems
import pytest
import scipy.integrate
from twins import EDM, VP, X, denoise, noise, schedule

import jaxgen as jg
from jaxgen.solvers import exponential

TS = jg.grids.power(VP, 7, rho=3.0)


def time_of(lam):
    """The time at which log(alpha / sigma) is lam."""
    gap = lambda t: schedule(t)[2] - lam
    return problems.scipy.optimize.brentq(gap, 1e-4, 1.0, xtol=1e-16, rtol=1e-15)


def walk(rows, x, denoise=denoise):
    """Where a scalar table takes x."""
    width = rows.weights.shape[1]
    history = [0 * x] * width
    for i, t in enumerate(rows.t):
        x0 = denoise(x, t)
        held = x0 if rows.read is None else rows.read[0][i] * x + rows.read[1][i] * x0
        history = [held, *history][:width]
        x = rows.propagate[i] * x
        x = x + sum(w * h for w, h in zip(rows.weights[i], history, strict=True))
    return x


def agree(build, expected, ts=TS, process=VP, rtol=1e-11):
    found = walk(build(process, None).plan(ts), X)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)


def same_rows(ours, theirs, since=0, atol=1e-13):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        scale = 1 + np.abs(b[since:]).max()
        np.testing.assert_allclose(a[since:], b[since:], rtol=1e-11, atol=atol * scale)


def front(hold, s, t):
    """(factor on x, factor on the bracket, sign of h) of a step from s to t."""
    (alpha_s, sigma_s, _), (alpha, sigma, _) = schedule(s), schedule(t)
    return (alpha / alpha_s, sigma, 1) if hold == "eps" else (sigma / sigma_s, alpha, -1)


def phi_2(h):
    return np.expm1(h) / h - 1


def leap(hold, x, s, t, terms):
    """The exponential step of a sum of coefficients of h times values."""
    factor, size, sign = front(hold, s, t)
    h = sign * (schedule(t)[2] - schedule(s)[2])
    return factor * x - size * sum(of(h) * value for of, value in terms)


@pytest.mark.parametrize("hold", ["eps", "x0"])
@pytest.mark.parametrize("order", [2, 3])
def test_single_step_dpm_solver(order, hold):
    """Lu et al. 2022, DPM-Solver, algorithms 1 and 2; DPM-Solver++ with h -> -h and x0 for eps."""
    predict, x, (r1, r2) = noise if hold == "eps" else denoise, X, (1 / 3, 2 / 3)
    for s, t in itertools.pairwise(TS):
        h, lam, first = schedule(t)[2] - schedule(s)[2], schedule(s)[2], predict(x, s)
        if order == 2:
            u = time_of(lam + h / 2)
            middle = predict(leap(hold, x, s, u, [(np.expm1, first)]), u)
            x = leap(hold, x, s, t, [(np.expm1, middle)])
        else:
            u1, u2 = time_of(lam + r1 * h), time_of(lam + r2 * h)
            d1 = predict(leap(hold, x, s, u1, [(np.expm1, first)]), u1) - first
            terms = [(np.expm1, first), (phi_2, r2 / r1 * d1)]
            d2 = predict(leap(hold, x, s, u2, terms), u2) - first
            x = leap(hold, x, s, t, [(np.expm1, first), (phi_2, d2 / r2)])
    agree(functools.partial(exponential.dpm_solver, order=order, hold=hold), x, rtol=1e-9)


@pytest.mark.parametrize("hold", ["eps", "x0"])
@pytest.mark.parametrize(("order", "compat"), [(2, False), (3, True), (3, False)])
def test_multistep_dpm_solver(order, compat, hold):
    """Lu et al. 2022, DPM-Solver++, with D_2 as published or twice that."""
    predict, x, past = noise if hold == "eps" else denoise, X, []
    for s, t in itertools.pairwise(TS):
        h = schedule(t)[2] - schedule(s)[2]
        factor, size, sign = front(hold, s, t)
        past = [(schedule(s)[2], predict(x, s)), *past][:order]
        bracket = np.expm1(sign * h) * past[0][1]
        if len(past) > 1:
            r0 = (past[0][0] - past[1][0]) / h
            d1 = (past[0][1] - past[1][1]) / r0
        if len(past) == 2:
            bracket = bracket + np.expm1(sign * h) / 2 * d1
        if len(past) == 3:
            r1 = (past[1][0] - past[2][0]) / h
            d1_1 = (past[1][1] - past[2][1]) / r1
            d2 = (d1 - d1_1) / (r0 + r1)
            d1 = d1 + r0 * d2
            z = sign * h
            bracket = bracket + phi_2(z) * d1
            bracket = bracket + (phi_2(z) / z - 1 / 2) * d2 * (1 if compat else 2)
        x = factor * x - size * bracket
    build = functools.partial(
        exponential.dpm_solver_multistep, order=order, hold=hold, compat=compat
    )
    agree(build, x)


def integral(fn, a, b):
    return scipy.integrate.quad(fn, a, b, epsabs=1e-14, epsrel=1e-12)[0]


def lagrange(nodes, j, u):
    return np.prod([(u - n) / (nodes[j] - n) for i, n in enumerate(nodes) if i != j])


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("order", [1, 3, 4])
def test_ipndm(order, variable):
    """Liu et al. 2022: the transfer of DDIM on a mean of predictions."""
    even = {1: [1], 2: [3 / 2, -1 / 2], 3: [23 / 12, -4 / 3, 5 / 12]}
    even[4] = [55 / 24, -59 / 24, 37 / 24, -3 / 8]
    x, past = X, []
    for s, t in itertools.pairwise(TS):
        past = [(s, noise(x, s)), *past][:order]
        times = [time for time, _ in past]
        weights = even[len(past)]
        if variable:
            share = lambda j, s=s, t=t, times=times: integral(lambda u: lagrange(times, j, u), s, t)
            weights = [share(j) / (t - s) for j in range(len(past))]
        mean = sum(w * value for w, (_, value) in zip(weights, past, strict=True))
        (alpha_s, sigma_s, _), (alpha, sigma, _) = schedule(s), schedule(t)
        x = alpha * (x - sigma_s * mean) / alpha_s + sigma * mean
    agree(functools.partial(exponential.ipndm, order=order, variable=variable), x)


@pytest.mark.parametrize("order", [2, 4])
def test_lms(order):
    """d(x / alpha) = eps d(sigma / alpha), Adams-Bashforth with exact integrals."""
    x, past = X / schedule(TS[0])[0], []
    rho = lambda t: np.exp(-schedule(t)[2])
    for s, t in itertools.pairwise(TS):
        past = [(rho(s), noise(schedule(s)[0] * x, s)), *past][:order]
        nodes = [node for node, _ in past]
        for j, (_, value) in enumerate(past):
            x = x + value * integral(
                lambda u, j=j, nodes=nodes: lagrange(nodes, j, u), rho(s), rho(t)
            )
    agree(functools.partial(exponential.lms, order=order), schedule(TS[-1])[0] * x)


@pytest.mark.parametrize(("hold", "clock"), [("x0", "log_snr"), ("eps", "rho"), ("eps", "t")])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_adams_moulton(order, hold, clock):
    """Predict, evaluate, correct; both by integrals of the interpolating polynomial."""
    predict = noise if hold == "eps" else denoise
    of = {
        "t": lambda t: t,
        "log_snr": lambda t: schedule(t)[2],
        "rho": lambda t: np.exp(-schedule(t)[2]),
    }[clock]
    ratio = lambda t: np.exp((-1 if hold == "eps" else 1) * schedule(t)[2])
    size = lambda t: schedule(t)[0 if hold == "eps" else 1]

    def share(times, j, s, t):
        """int l_j dV, by parts."""
        nodes = [of(time) for time in times]
        ell = lambda time: lagrange(nodes, j, of(time))
        step = 1e-4 * (s - t)
        slope = lambda v: (
            8 * (ell(v + step) - ell(v - step)) - ell(v + 2 * step) + ell(v - 2 * step)
        )
        tail = integral(lambda v: slope(v) / (12 * step) * (ratio(v) - ratio(s)), s, t)
        return ell(t) * (ratio(t) - ratio(s)) - tail

    def advance(x, past, s, t):
        times = [time for time, _ in past]
        added = sum(share(times, j, s, t) * value for j, (_, value) in enumerate(past))
        return size(t) * (x / size(s) + added)

    ts = np.array([0.9, 0.7, 0.55, 0.4, 0.33])
    x, past = X, [(ts[0], predict(X, ts[0]))]
    for s, t in itertools.pairwise(ts):
        guess = advance(x, past[: order - 1], s, t)
        if t == ts[-1]:
            break
        new = (t, predict(guess, t))
        x = advance(x, [new, *past[: order - 1]], s, t)
        past = [new, *past]
    build = functools.partial(exponential.adams_moulton, order=order, hold=hold, clock=clock)
    agree(build, guess, ts, rtol=1e-8)


FIRST = {
    "deis": {"order": 1},
    "lms": {"order": 1},
    "dpm_solver": {"order": 1},
    "dpm_solver x0": {"order": 1, "hold": "x0"},
    "ipndm": {"order": 1},
    "ipndm variable": {"order": 1, "variable": True},
    "unipc": {"predictor_order": 1, "correct": ()},
    "adams_moulton": {"order": 2, "correct": ()},
}


@pytest.mark.parametrize("name", list(FIRST))
def test_the_first_order_of_every_family_is_ddim(name):
    ddim = walk(exponential.ddim(VP, None).plan(TS), X)
    build = getattr(exponential, name.split()[0])
    agree(functools.partial(build, **FIRST[name]), ddim)


def test_dpmpp_2m_is_the_relaxed_taylor_step():
    """x0' multiplied by phi_1(-h) / (2 phi_2(-h))."""
    x, past = X, []
    for s, t in itertools.pairwise(TS):
        h = schedule(t)[2] - schedule(s)[2]
        past = [(schedule(s)[2], denoise(x, s)), *past][:2]
        slope = 0 * x
        if len(past) == 2:
            slope = (past[0][1] - past[1][1]) / (past[0][0] - past[1][0])
        one, two = jg.math.phi(1, np.float64(-h)), jg.math.phi(2, np.float64(-h))
        relaxed = h * one * past[0][1] + h**2 * two * one / (2 * two) * slope
        x = schedule(t)[1] / schedule(s)[1] * x + schedule(t)[0] * relaxed
    agree(exponential.dpmpp_2m, x)
    agree(functools.partial(exponential.dpm_solver_multistep, order=2, hold="x0"), x)


@pytest.mark.parametrize("hold", ["eps", "x0"])
def test_the_third_order_multistep_is_adams_bashforth(hold):
    ours = exponential.dpm_solver_multistep(VP, None, hold=hold).plan(TS)
    theirs = exponential.adams_bashforth(VP, None, hold=hold).plan(TS)
    same_rows(ours, theirs, since=2)


def test_variable_ipndm_is_lms_where_t_is_sigma():
    ts = jg.grids.karras(EDM, 7)
    same_rows(
        exponential.ipndm(EDM, None, variable=True).plan(ts), exponential.lms(EDM, None).plan(ts)
    )


@pytest.mark.parametrize("hold", ["eps", "x0"])
def test_unipc_is_adams_moulton_in_log_snr_once_it_has_a_past(hold):
    unipc = exponential.unipc(VP, None, predictor_order=3, hold=hold).plan(TS)
    same_rows(unipc, exponential.adams_moulton(VP, None, order=4, hold=hold).plan(TS), since=3)


CORRECTED = {
    "adams_moulton": (functools.partial(exponential.adams_moulton, order=4), "adams_bashforth"),
    "unipc": (functools.partial(exponential.unipc, predictor_order=3), None),
}


@pytest.mark.parametrize("name", list(CORRECTED))
def test_the_half_corrector(name):
    build, predictor = CORRECTED[name]
    full, never = build(VP, None), build(VP, None, correct=())
    plain, always = never.plan(TS), build(VP, None, correct=(0.0, 1.0)).plan(TS)
    assert never.order == full.order - 1
    same_rows(always, full.plan(TS))
    np.testing.assert_array_equal(plain.weights[:, -1], 0)
    if predictor:
        rows = getattr(exponential, predictor)(VP, None, order=3).plan(TS)
        same_rows(plain._replace(weights=plain.weights[:, :-1]), rows)
    half = build(VP, None, correct=(0.0, TS[4])).plan(TS)
    same_rows(half, full.plan(TS), since=4)  # row i corrects the arrival at stop i
    np.testing.assert_allclose(half.weights[:4], plain.weights[:4], rtol=1e-13)
    half = build(VP, None, correct=(TS[4], 1.0)).plan(TS)
    same_rows(half, plain, since=5)
    np.testing.assert_allclose(half.weights[:5], full.plan(TS).weights[:5], rtol=1e-13)
    for span in ((0.5, 0.1), (0.1,), 0.3, "all"):
        with pytest.raises(ValueError, match=r"correct must be None, \(\) or \(lo, hi\)"):
            build(VP, None, correct=span)


CONSTANT = {
    "dpm_solver 2": {"order": 2},
    "dpm_solver 3": {"order": 3, "hold": "x0"},
    "dpm_solver_multistep 2": {"order": 2},
    "dpm_solver_multistep 3": {"compat": True},
    "ipndm 4": {},
    "ipndm variable": {"variable": True},
    "lms 4": {},
    "adams_moulton x0": {"order": 5},
    "adams_moulton eps": {"order": 5, "hold": "eps", "clock": "t"},
    "rho_rk x0": {"hold": "x0", "clock": "t"},
    "rho_rk eps": {"method": "kutta3", "clock": "log_snr"},
}


@pytest.mark.parametrize("name", list(CONSTANT))
def test_a_constant_prediction_is_followed_exactly(name):
    """x0hat, which makes eps constant too; every stage must be exact for that."""
    x0, solver = np.array([0.7, -1.4, 0.2]), getattr(exponential, name.split()[0])
    (a, s, _), (b, r, _) = schedule(TS[0]), schedule(TS[-1])
    found = walk(solver(VP, None, **CONSTANT[name]).plan(TS), X, lambda x, t: x0)
    np.testing.assert_allclose(found, b * x0 + r * (X - a * x0) / s, rtol=1e-10)


# Mean distance from the end point on problem A with exact scores: known to the digits printed.
KNOWN = {
    "3M as published": (
        functools.partial(exponential.dpm_solver_multistep, hold="x0", compat=True),
        "log_snr",
        {16: 2.30e-2, 32: 6.06e-3, 64: 1.41e-3, 128: 3.01e-4, 256: 6.49e-5, 512: 1.48e-5},
    ),
    "3M": (
        functools.partial(exponential.dpm_solver_multistep, hold="x0"),
        "log_snr",
        {16: 3.78e-2, 32: 7.75e-3, 64: 1.31e-3, 128: 1.81e-4, 256: 2.29e-5, 512: 2.85e-6},
    ),
    "2M": (
        exponential.dpmpp_2m,
        "log_snr",
        {16: 6.01e-2, 64: 3.05e-3, 512: 5.82e-5},
    ),
    "iPNDM": (
        exponential.ipndm,
        "uniform",
        {16: 3.28e-2, 32: 2.78e-3, 64: 6.15e-4, 128: 2.50e-4, 256: 8.75e-5, 512: 2.52e-5},
    ),
    "rhoRK4": (
        exponential.rho_rk,
        "power",
        {16: 8.21e-4, 32: 5.72e-5, 64: 3.73e-6, 128: 2.39e-7, 256: 1.51e-8, 512: 9.5e-10},
    ),
}


def denoise_a(x, t):
    alpha, sigma = problems.schedule_vp(t)
    return (x + sigma**2 * problems.score_a(x, alpha, sigma)) / alpha


def error_a(build, grid, n):
    process, _, runs = problems.problem("A")
    run = runs["noise to data"]
    ts = getattr(jg.grids, grid)(process, n)
    end = walk(build(process, None).plan(ts), run.x, denoise_a)
    return np.linalg.norm(end - run.end, axis=1).mean()


@pytest.mark.parametrize("most", [64, pytest.param(512, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", list(KNOWN))
def test_known_errors(name, most):
    build, grid, known = KNOWN[name]
    for n, expected in known.items():
        if not most / 8 < n <= most:
            continue
        digits = 0.05 / 9.5 if expected == 9.5e-10 else 0.005 / float(f"{expected:.2e}"[:4])
        assert error_a(build, grid, n) == pytest.approx(expected, rel=1.02 * digits), n
