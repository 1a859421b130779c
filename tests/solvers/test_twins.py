"""The samplers of the papers, written out for vectors, beside their tables."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from twins import EDM, VP, X, denoise, noise, schedule

import jaxgen as jg
from jaxgen.solvers import exponential

TS = jg.grids.log_snr(VP, 7)


def ours(build, ts=TS, process=VP):
    solver = build(process, lambda x, t: jnp.tanh(x + 0.1) * (1 - t / 2))
    return jg.solve(jax.random.key(0), solver, jnp.asarray(X), ts)[0]


def agree(build, expected, ts=TS, process=VP):
    np.testing.assert_allclose(ours(build, ts, process), expected, rtol=1e-11, atol=1e-12)


def ddim():
    """Song et al. 2021, equation 12 with sigma = 0."""
    x = X
    for s, t in itertools.pairwise(TS):
        (alpha, sigma, _), eps = schedule(t), noise(x, s)
        x = alpha * denoise(x, s) + sigma * eps
    return x


def test_ddim():
    agree(exponential.ddim, ddim())


@pytest.mark.parametrize("hold", ["x0", "eps"])
@pytest.mark.parametrize("clock", ["t", "log_snr", "rho"])
def test_order_1_is_ddim_whatever_is_held_in_whichever_clock(hold, clock):
    options = {"order": 1, "hold": hold, "clock": clock}
    agree(lambda p, d: exponential.adams_bashforth(p, d, **options), ddim())
    agree(lambda p, d: exponential.deis(p, d, **options), ddim())


def test_dpmpp_2m():
    """Lu et al. 2022, DPM-Solver++, algorithm 2."""
    x, before, h_before = X, None, None
    for s, t in itertools.pairwise(TS):
        (_, sigma_s, lambda_s), (alpha, sigma, lambda_t) = schedule(s), schedule(t)
        h, x0 = lambda_t - lambda_s, denoise(x, s)
        if before is None:
            direction = x0
        else:
            r = h_before / h
            direction = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before
        x = sigma / sigma_s * x - alpha * np.expm1(-h) * direction
        before, h_before = x0, h
    agree(exponential.dpmpp_2m, x)


def lagrange(nodes, j, u):
    others = [m for m in range(len(nodes)) if m != j]
    return np.prod([(u - nodes[m]) / (nodes[j] - nodes[m]) for m in others])


def integral(fn, a, b):
    return scipy.integrate.quad(fn, a, b, epsabs=1e-14, epsrel=1e-12)[0]


@pytest.mark.parametrize("order", [2, 3])
def test_exponential_adams_bashforth_in_log_snr(order):
    """x_t = sigma_t / sigma_s x_s + sigma_t int e^lambda p(lambda), p through the last x0hat."""
    x, past = X, []
    for s, t in itertools.pairwise(TS):
        (_, sigma_s, lambda_s), (_, sigma, lambda_t) = schedule(s), schedule(t)
        past = [(lambda_s, denoise(x, s)), *past][:order]
        nodes, values = zip(*past, strict=True)
        weights = [
            integral(
                lambda u, j=j, nodes=nodes: np.exp(u) * lagrange(nodes, j, u), lambda_s, lambda_t
            )
            for j in range(len(nodes))
        ]
        x = sigma / sigma_s * x + sigma * sum(w * v for w, v in zip(weights, values, strict=True))
    agree(lambda p, d: exponential.adams_bashforth(p, d, order=order), x)


@pytest.mark.parametrize("order", [2, 3])
def test_deis(order):
    """Zhang and Chen 2023, equations 14 and 15, with their Psi and L_t = sigma_t."""
    alpha = lambda t: schedule(t)[0]
    pull = lambda t: (0.1 + 19.9 * t) / (2 * schedule(t)[1])  # G^2 / 2 sigma
    x, past = X, []
    for s, t in itertools.pairwise(TS):
        past = [(s, noise(x, s)), *past][:order]
        nodes, values = zip(*past, strict=True)
        weights = [
            integral(
                lambda u, j=j, t=t, nodes=nodes: (
                    alpha(t) / alpha(u) * pull(u) * lagrange(nodes, j, u)
                ),
                s,
                t,
            )
            for j in range(len(nodes))
        ]
        x = alpha(t) / alpha(s) * x + sum(w * v for w, v in zip(weights, values, strict=True))
    agree(lambda p, d: exponential.deis(p, d, order=order), x)


def unipc(order, variant, hold):
    """Zhao et al. 2023, algorithms 5-8, with the coefficients of appendix E and their exceptions.

    Where the system for the coefficients has one unknown they fix it at 1/2.
    """
    data = hold == "x0"
    predict = denoise if data else noise
    x, past = X, []  # past: (lambda, prediction), latest first
    past.append((schedule(TS[0])[2], predict(x, TS[0])))
    for i, (s, t) in enumerate(itertools.pairwise(TS)):
        p = min(i + 1, order)
        (alpha_s, sigma_s, lambda_s), (alpha, sigma, lambda_t) = schedule(s), schedule(t)
        h = lambda_t - lambda_s
        signed = -h if data else h
        ratios = [(past[m][0] - lambda_s) / h for m in range(1, p)] + [1.0]
        scale = signed if variant == "bh1" else np.expm1(signed)
        phi, factorial, rights = np.expm1(signed) / signed - 1, 1, []
        for k in range(1, p + 1):
            rights.append(phi * factorial / scale)
            factorial *= k + 1
            phi = phi / signed - 1 / factorial
        rows = np.array([[r**k for r in ratios] for k in range(p)])
        if p == 2:
            predictor = np.array([0.5])
        else:
            predictor = np.linalg.solve(rows[:-1, :-1], np.array(rights[:-1])) if p > 1 else []
        corrector = np.array([0.5]) if p == 1 else np.linalg.solve(rows, rights)
        latest = past[0][1]
        slopes = [(past[m][1] - latest) / ratios[m - 1] for m in range(1, p)]
        front, size = (sigma / sigma_s, alpha) if data else (alpha / alpha_s, sigma)
        base = front * x - size * np.expm1(signed) * latest
        guess = base - size * scale * sum(
            (c * d for c, d in zip(predictor, slopes, strict=True)), 0 * x
        )
        if t == TS[-1]:
            return guess
        arrived = predict(guess, t)
        slopes = [*slopes, arrived - latest]
        x = base - size * scale * sum(c * d for c, d in zip(corrector, slopes, strict=True))
        past = [(lambda_t, arrived), *past][:order]
    return None


@pytest.mark.parametrize("hold", ["x0", "eps"])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_unipc(order, variant, hold):
    options = {"predictor_order": order, "variant": variant, "hold": hold}
    agree(lambda p, d: exponential.unipc(p, d, **options), unipc(order, variant, hold))


def test_edm_heun():
    """Karras et al. 2022, algorithm 1, up to its last Euler step."""
    ts = jg.grids.karras(EDM, 7)
    x = X
    for s, t in itertools.pairwise(ts):
        slope = (x - denoise(x, s)) / s
        guess = x + (t - s) * slope
        x = x + (t - s) * (slope / 2 + (guess - denoise(guess, t)) / (2 * t))
    agree(exponential.edm_heun, x, ts, EDM)
