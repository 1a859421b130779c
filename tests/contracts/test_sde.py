"""The door solvers.sde: f(process, denoiser) -> Solver of the reverse SDE, on scalars and blocks.

For Gaussian data every step is affine, so the mean and covariance of the state and of the
predictions that it remembers pass through the table exactly, and weak errors are read without Monte
Carlo noise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import textbook
from propagation import MEAN, VARIANCE, gaussian_denoiser, moments, propagate
from scipy.stats import norm

from jaxgen import grids, processes
from jaxgen.solvers import exponential, sde, solve

DOOR = {
    "ancestral": sde.ancestral,
    "ddim_eta": functools.partial(sde.ddim_eta, eta=0.5),
    "edm_churn": sde.edm_churn,
    "euler_maruyama": sde.euler_maruyama,
    "exponential_sde": sde.exponential_sde,
    "sa_solver": sde.sa_solver,
    "sde_dpmpp_2m": sde.sde_dpmpp_2m,
    "seeds": sde.seeds,
    "stochastic_heun": sde.stochastic_heun,
}
# All are tables of one engine: the others are compiled in slow tests only.
QUICK = {"ancestral": sde.ancestral, "sa_solver": sde.sa_solver}
# Errors so small, or of two signs, that the order shows late only.
LATE = {
    ("exponential_sde 2 eps rho", "ve"): 2048,
    ("exponential_sde 3 x0 log_snr", "vp"): 2048,
    ("exponential_sde 3 eps t", "edm"): 2048,
    ("exponential_sde 3 eps rho", "edm"): 2048,
    ("stochastic_heun eps rho", "vp"): 4096,
    ("sa_solver 3 4 0.5", "cld"): 512,
}
EVALUATIONS = {"edm_churn": 2, "seeds": 3, "stochastic_heun": 2}
WITHOUT_WEIGHTS = {"edm_churn", "seeds", "stochastic_heun"}
# Every option whose weak order is claimed.
ORDERS = {name: (name, {}) for name in DOOR}
for order in (1, 2, 3):
    ORDERS[f"seeds {order}"] = ("seeds", {"order": order})
    for hold in ("x0", "eps"):
        for clock in ("log_snr", "t", "rho"):
            options = {"order": order, "hold": hold, "clock": clock}
            ORDERS[f"exponential_sde {order} {hold} {clock}"] = ("exponential_sde", options)
for churn in (0.0, 5.0):
    ORDERS[f"edm_churn {churn}"] = ("edm_churn", {"churn": churn})
for tau in (0.5, lambda t: 1.2 if 0.01 < t < 0.6 else 0.0):
    for hold in ("x0", "eps"):
        options = {"hold": hold, "tau": tau}
        ORDERS[f"exponential_sde {hold} {tau}"] = ("exponential_sde", options)
    ORDERS[f"stochastic_heun {tau}"] = ("stochastic_heun", {"tau": tau})
    for p, q in ((1, 2), (2, 0), (2, 3), (3, 4)):
        options = {"predictor_order": p, "corrector_order": q, "tau": tau}
        ORDERS[f"sa_solver {p} {q} {tau}"] = ("sa_solver", options)
for hold, clock in (("x0", "t"), ("eps", "log_snr"), ("eps", "rho")):
    ORDERS[f"stochastic_heun {hold} {clock}"] = ("stochastic_heun", {"hold": hold, "clock": clock})
GRIDS = {"vp": grids.power, "ve": grids.power, "edm": grids.log_snr, "cld": grids.power}
MIXTURE = (np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.04, 0.16]))


def make(name):
    return getattr(processes.augmented if name == "cld" else processes.scalar, name)()


@functools.cache
def errors(method, name, n):
    process, (maker, options) = make(name), ORDERS[method]
    ts = GRIDS[name](process, n)
    mean, cov = propagate(DOOR[maker](process, None, **options), name, ts)
    true_mean, true_cov = moments(name, ts[-1])
    return np.max(np.abs(mean - true_mean)), np.max(np.abs(cov - true_cov))


def check_order(method, name, n, tolerance=0.15, at_most=True):
    (mean, cov), (finer_mean, finer_cov) = errors(method, name, n), errors(method, name, 2 * n)
    maker, options = ORDERS[method]
    order = DOOR[maker](make(name), None, **options).order
    assert finer_cov < 0.006
    measured = np.log2(cov / finer_cov)
    assert measured > order - tolerance, (cov, finer_cov)
    assert measured < order + tolerance or not at_most, (cov, finer_cov)
    if method != "euler_maruyama" or name in {"ve", "edm"}:  # nothing moves the mean
        assert finer_mean < 1e-11
    else:
        assert np.log2(mean / finer_mean) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in DOOR for name in GRIDS if (method, name) != ("seeds", "cld")],
)
def test_weak_order_on_gaussian_data(method, name):
    if name == "cld" and method not in {"ancestral", "ddim_eta", "euler_maruyama"}:
        check_order(method, name, 128, tolerance=0.5, at_most=False)  # far from asymptotic
    else:
        check_order(method, name, 512 if name == "ve" else 256)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize("method", list(ORDERS))
def test_weak_order_of_everything(method, name):
    n, tolerance = (256, 0.3) if name == "cld" else (512, 0.1)
    check_order(method, name, LATE.get((method, name), n), tolerance, at_most=False)


@pytest.mark.parametrize("name", list(GRIDS))
def test_ancestral_is_exact_for_known_data(name):
    """With all data at one point x0hat is right, and the posterior steps are exact on any grid."""
    process = make(name)
    ts = GRIDS[name](process, 7)
    true_mean, true_cov = moments(name, ts[-1], variance=0.0)
    exact = [sde.ancestral(process, None), DOOR["ddim_eta"](process, None)]
    exact += [sde.exponential_sde(process, None, order=3, tau=tau) for tau in (0.3, 1.0, 3.0)]
    for solver in exact:
        mean, cov = propagate(solver, name, ts, variance=0.0)
        np.testing.assert_allclose(mean, true_mean, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(cov, true_cov, rtol=1e-7, atol=1e-12 * np.max(true_cov))


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_steps_solve_the_reverse_equation(name):
    """With a constant x0hat or eps, the mean and covariance of dz = (F z - (1 + tau^2) / 2 G G^T s)
    dt + tau G dw between two times, by DOP853.
    """
    process, tau, ts = make(name), 0.6, np.array([0.5, 0.2])
    x0, c = 0.4, len(moments(name, 0.5)[0])
    matrix = lambda leaf: np.reshape(leaf, (c, c))
    beta = lambda t: np.array([[0.1 + 19.9 * t]])
    equation = {  # F and G G^T
        "vp": lambda t: (-beta(t) / 2, beta(t)),
        "cld": lambda t: (4 * np.array([[0.0, 4.0], [-1.0, -4.0]]), np.diag([0.0, 8.0])),
    }[name]

    def slopes(t, flat, held):
        mean, cov = flat[:c], flat[c:].reshape(c, c)
        column, spread = textbook.channel(name, float(t))
        drift, noise = equation(t)
        push = (1 + tau**2) / 2 * noise @ np.linalg.inv(spread)
        if held == "x0":
            drift, away = drift + push, -push @ column * x0
        else:
            away = push[:, 0] * np.sqrt(spread[0]) * x0  # scalars only
        moved = drift @ cov + cov @ drift.T - tau**2 * noise
        return np.concatenate([drift @ mean + away, moved.ravel()])

    start = np.concatenate([np.linspace(-0.7, 1.1, c), 0.3 * np.eye(c).ravel()])
    for held in ("x0", "eps") if name == "vp" else ("x0",):
        rows = sde.exponential_sde(process, None, order=1, tau=tau, hold=held).plan(ts)
        step, noise = matrix(rows.propagate), matrix(rows.noise)
        mean = step @ start[:c] + np.reshape(rows.weights, c) * x0
        cov = step @ start[c:].reshape(c, c) @ step.T + noise @ noise.T
        end = scipy.integrate.solve_ivp(
            slopes, ts, start, method="DOP853", args=(held,), rtol=1e-9, atol=1e-11
        ).y[:, -1]
        np.testing.assert_allclose(mean, end[:c], rtol=1e-6)
        np.testing.assert_allclose(cov.ravel(), end[c:], rtol=1e-6)


@pytest.mark.parametrize("name", ["vp", "ve", "cld", "linear_flow"])
def test_ddim_eta_runs_from_ddim_to_ancestral(name):
    process = make(name)
    ts = grids.power(process, 9) if name != "linear_flow" else np.array([1.0, 0.6, 0.3, 0.01])
    for eta, other in ((0.0, exponential.ddim), (1.0, sde.ancestral)):
        ours, theirs = sde.ddim_eta(process, None, eta=eta).plan(ts), other(process, None).plan(ts)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
        jax.tree.map(close, ours[:5], theirs[:5])
        assert (ours.noise is None) == (theirs.noise is None)
        if ours.noise is not None:
            square = lambda noise: noise @ noise.mT if noise.ndim > 1 else noise**2
            close(square(ours.noise), square(theirs.noise))


def test_ddim_eta_is_the_papers():
    """Song et al. 2021, equations 12 and 16, in their variables: alpha there is alpha^2 here."""
    process, eta = make("vp"), 0.6
    ts = grids.power(process, 5)
    rows = sde.ddim_eta(process, None, eta=eta).plan(ts)
    alphas = np.array([textbook.SCHEDULES["vp"](t)[0] ** 2 for t in ts])
    noisy, clean = alphas[:-1], alphas[1:]
    sigma = eta * np.sqrt((1 - clean) / (1 - noisy)) * np.sqrt(1 - noisy / clean)
    turn = np.sqrt(1 - clean - sigma**2) / np.sqrt(1 - noisy)
    np.testing.assert_allclose(rows.noise, sigma, rtol=1e-10)
    np.testing.assert_allclose(rows.propagate, turn, rtol=1e-10)
    np.testing.assert_allclose(
        rows.weights[:, 0], np.sqrt(clean) - turn * np.sqrt(noisy), rtol=1e-10
    )


@pytest.mark.parametrize("hold", ["x0", "eps"])
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_without_noise_they_are_the_exponential_integrators(name, hold):
    process, same = make(name), functools.partial(np.testing.assert_allclose, atol=1e-12)
    ts = grids.power(process, 6)
    sa = lambda q: sde.sa_solver(process, None, corrector_order=q, tau=0.0, hold=hold).plan(ts)
    adams = exponential.adams_bashforth(process, None, hold=hold).plan(ts)
    jax.tree.map(same, sa(0), adams)
    jax.tree.map(
        same, sde.exponential_sde(process, None, order=3, tau=0, hold=hold).plan(ts), adams
    )
    # From the first corrector with all its nodes on there is no coefficient that UniPC fixes.
    unipc = exponential.unipc(process, None, hold=hold).plan(ts)
    jax.tree.map(lambda ours, theirs: same(ours[3:], theirs[3:]), sa(4), unipc)
    heun = lambda f, **options: f(process, None, hold=hold, **options).plan(ts)
    if (name, hold) == ("vp", "eps"):
        theirs = heun(exponential.rho_rk, method="heun")
        jax.tree.map(same, heun(sde.stochastic_heun, tau=0.0, clock="rho")[:5], theirs[:5])


@functools.cache
def sampler(name, law, n, dtype=float):
    """Compiled (keys [m]) -> ends of the methods, z [m, c, 1] from the exact law at t_max."""
    process = make(name)
    ts = GRIDS[name](process, n)
    lead = () if name != "cld" else (2,)

    def denoise(z, t):
        if law == "gaussian":
            table = [gaussian_denoiser(name, s) for s in ts]
            row = jnp.argmin(jnp.abs(jnp.asarray(ts, z.dtype) - t))
            pull, shift = (
                jnp.asarray(np.stack(part), z.dtype)[row] for part in zip(*table, strict=True)
            )
            return jnp.tensordot(pull, z.reshape(-1, 1), 1) + shift
        phi, chol = process.transition(t)
        chol = jnp.atleast_2d(chol)
        column = jnp.reshape(phi, chol.shape)[:, 0]
        return textbook.posterior(z.reshape(-1, 1), column, chol @ chol.T, *MIXTURE)[1]

    def draw(key, start):
        return {
            method: solve(key, f(process, denoise), start.reshape(*lead, 1), ts)[0].reshape(-1)
            for method, f in QUICK.items()
        }

    return jax.jit(jax.vmap(draw)), ts


def starts(name, t, m, data, seed=1):
    """m draws [m, c] of z_t for data [m]."""
    column, cov = textbook.channel(name, float(t))
    noise = np.random.default_rng(seed).standard_normal((m, len(column)))
    return data[:, None] * column + noise @ np.linalg.cholesky(cov).T


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_samples_have_the_moments_of_the_table(name):
    m, n = 4000, 12
    draw, ts = sampler(name, "gaussian", n)
    data = MEAN + np.sqrt(VARIANCE) * np.random.default_rng(2).standard_normal(m)
    ends = draw(jax.random.split(jax.random.key(0), m), starts(name, ts[0], m, data))
    for method, f in QUICK.items():
        mean, cov = propagate(f(make(name), None), name, ts)
        z = np.asarray(ends[method])
        textbook.within(*swap(textbook.mean_and_error(z), mean), method)
        products = (z - mean)[:, :, None] * (z - mean)[:, None, :]
        textbook.within(*swap(textbook.mean_and_error(products), cov), method)


def swap(estimate, truth):
    return estimate[0], truth, estimate[1]


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_marginals_of_a_mixture(name):
    """The distribution function of the samples at nine points, against the mixture's own."""
    m, (weights, means, variances) = 4000, MIXTURE
    draw, ts = sampler(name, "mixture", 300)
    data = textbook.draw(m, 3, *MIXTURE)[:, 0]
    ends = draw(jax.random.split(jax.random.key(4), m), starts(name, ts[0], m, data))
    column, cov = textbook.channel(name, float(ts[-1]))
    points = np.linspace(-1.5, 1.5, 9)
    deviations = np.sqrt(column[0] ** 2 * variances + cov[0, 0])
    truth = norm.cdf((points[:, None] - column[0] * means[:, 0]) / deviations) @ weights
    for method in QUICK:
        below = np.asarray(ends[method])[:, :1] < points
        textbook.within(*swap(textbook.mean_and_error(below), truth), method)


everybody = pytest.mark.parametrize(
    ("name", "door"),
    [
        pytest.param("vp", QUICK, id="vp"),
        pytest.param("cld", QUICK, id="cld"),
        pytest.param("vp", DOOR, id="vp-all", marks=pytest.mark.slow),
        pytest.param("cld", DOOR, id="cld-all", marks=pytest.mark.slow),
    ],
)


@pytest.mark.usefixtures("same_key")
@everybody
def test_eager_jit_vmap_pmap_and_a_loop_agree(name, door):
    process = make(name)
    ts, keys = GRIDS[name](process, 4), jax.random.split(jax.random.key(5), 4)
    zs = np.random.default_rng(0).standard_normal((4, *processes.noise_shape(process, (3,))))
    denoise = lambda z, t: jnp.tanh(processes.data_part(process, z)) * (1 - t)

    def everything(key, z):
        return {method: solve(key, f(process, denoise), z, ts) for method, f in door.items()}

    mapped = jax.jit(jax.vmap(everything))(keys, zs)
    others = [jax.tree.map(lambda leaf: leaf[1], jax.pmap(everything)(keys, zs))]
    if name == "vp":
        others += [everything(keys[1], zs[1]), jax.jit(everything)(keys[1], zs[1])]
    for method, f in door.items():
        solver = f(process, denoise)
        state, rows = solver.init(jnp.asarray(zs[1]), ts), solver.plan(ts)
        step, times, weights = jax.jit(solver.step), [], []
        for i in range(len(rows.t)):
            row = jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), rows)
            state, info = step(jax.random.fold_in(keys[1], i), state, row)
            times.append(float(info.t))
            assert times[-1] == rows.t_next[i]
            weights.append(info.log_weight)
        assert solver.evaluations(4) == EVALUATIONS.get(method, 1) * 4
        assert set(ts[1:]) <= set(times)
        for end, infos in (*(other[method] for other in others), (mapped[method][0][1], None)):
            np.testing.assert_allclose(end, state.x, rtol=1e-9, atol=1e-11, err_msg=method)
            assert infos is None or infos.t.tolist() == times
        reported = mapped[method][1].log_weight
        if method in WITHOUT_WEIGHTS or (method, name) == ("euler_maruyama", "cld"):
            assert reported is None
        else:
            np.testing.assert_allclose(reported[1], weights, rtol=1e-9)
        apart = np.asarray(mapped[method][0])
        assert np.min(np.abs(apart[0] - apart[1])) > 1e-3  # split keys, split noise


def quiet(rows):
    if hasattr(rows, "stages"):
        return rows._replace(kick=0 * rows.kick)
    return rows._replace(noise=0 * rows.noise)


def halfway(name, door):
    """(z, run): a start, and the compiled ends of the methods, with noise or without."""
    process = make(name)
    ts = GRIDS[name](process, 40)
    z = np.random.default_rng(0).standard_normal(processes.noise_shape(process, (3,)))

    def run(z, noisy):
        found = {}
        for method, f in door.items():
            solver = f(process, lambda z, t: 0.5 * processes.data_part(process, z))
            if not noisy:
                solver = solver._replace(plan=lambda ts, plan=solver.plan: quiet(plan(ts)))
            found[method] = solve(jax.random.key(0), solver, z, ts)
        return found

    return z, jax.jit(run, static_argnums=1)


@pytest.mark.usefixtures("same_key")
@everybody
def test_dtype_is_kept_and_tables_are_float64s(name, door):
    """Without the noise, float32 follows the float64 path; bfloat16 stays itself."""
    z, run = halfway(name, door)
    want = run(jnp.asarray(z), False)
    for method, (still, infos) in run(jnp.asarray(z, jnp.float32), False).items():
        assert still.dtype == infos.t.dtype == jnp.float32
        np.testing.assert_allclose(still, want[method][0], atol=1e-5, err_msg=method)
    for method, (noisy, infos) in run(jnp.asarray(z, jnp.bfloat16), True).items():
        assert (noisy.dtype, infos.t.dtype) == (jnp.bfloat16, jnp.float32)
        finite = [bool(np.all(np.isfinite(leaf))) for leaf in jax.tree.leaves((noisy, infos))]
        assert all(finite), method


@pytest.mark.usefixtures("x32", "same_key")
def test_without_x64():
    z, run = halfway("cld", QUICK)
    for method, (noisy, infos) in run(jnp.asarray(z, jnp.float32), True).items():
        assert noisy.dtype == jnp.float32
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((noisy, infos)))
        rows = QUICK[method](make("cld"), None).plan(grids.power(make("cld"), 40))
        assert {leaf.dtype for leaf in jax.tree.leaves(rows)} == {np.dtype(float)}


def test_leaves_of_a_tree_get_noise_of_their_own():
    process = make("vp")

    def ends(start):
        none = lambda z, t: jax.tree.map(jnp.zeros_like, z)
        ts = grids.power(process, 3)
        return [solve(jax.random.key(0), f(process, none), start, ts)[0] for f in QUICK.values()]

    for end in jax.jit(ends)({"a": jnp.ones(4), "b": jnp.ones(4)}):
        assert np.min(np.abs(end["a"] - end["b"])) > 1e-6


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize(
    ("name", "door"),
    [
        pytest.param("vp", ("ancestral", "euler_maruyama"), id="vp"),
        pytest.param("vp", tuple(DOOR), id="vp-all", marks=pytest.mark.slow),
        pytest.param("cld", tuple(QUICK), id="cld", marks=pytest.mark.slow),
    ],
)
def test_traced_processes_give_the_same_path_and_its_gradient(name, door):
    """One compiled function for several numbers; its derivative against central differences."""
    build = processes.scalar.vp if name == "vp" else processes.augmented.cld
    numbers, ts = (0.1, 20.0) if name == "vp" else (4.0, 0.25), np.linspace(0.5, 0.2, 5)
    traces = []

    def ends(number):
        process = build(numbers[0], number)
        z = 0.3 * jnp.ones(processes.noise_shape(process, (2,)))
        denoise = lambda z, t: jnp.sin(processes.data_part(process, z))
        run = lambda f: jnp.sum(solve(jax.random.key(1), f(process, denoise), z, ts)[0])
        return jnp.stack([run(DOOR[method]) for method in door])

    @jax.jit
    def both(number):
        traces.append(None)
        return jax.jvp(ends, (number,), (1.0,))

    h = 1e-5
    low, (middle, slope), high = both(numbers[1] - h)[0], both(numbers[1]), both(numbers[1] + h)[0]
    assert len(traces) == 1
    np.testing.assert_allclose(middle, jax.jit(lambda: ends(numbers[1]))(), rtol=1e-8)
    np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["vp", "cld"])
@pytest.mark.parametrize("method", list(DOOR))
def test_refuses_rising_stops_and_strange_times(method, name):
    process = make(name)
    solver = DOOR[method](process, lambda z, t: z)
    z = jnp.zeros(processes.noise_shape(process, (2,)))
    ts = grids.uniform(process, 4)
    with pytest.raises(ValueError, match=rf"^solvers\.sde\.{method}: stops must fall .*; got"):
        solve(jax.random.key(0), solver, z, ts[::-1])
    for wrong in (np.array([1.5, 0.5]), np.array([1.0, 1e-4])):
        with pytest.raises(
            ValueError, match=rf"^solvers\.sde\.{method}: stops must lie in .*; got"
        ):
            solve(jax.random.key(0), solver, z, wrong)
