"""Denoisers as priors of blackjax's kernels, against exact laws, evidences and posteriors."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from jaxgen import densities, grids, likelihoods, mcmc, processes, smc, solvers
from jaxgen.predictions import score_density, score_integral, score_only

VP = processes.scalar.vp()
APART = processes.diagonal.anisotropic(processes.scalar.vp, 0.1, np.array([20.0, 400.0]))
# N(0, 1) prior and N(2 | x, .25) likelihood on each of two axes, as in tests/smc
LOG_Z, MEAN, VARIANCE, LADDER = -5.261021, 1.6, 0.2, (0.02, 0.1, 0.3, 1.0)
UNIT = densities.gaussian([0.0, 0.0], 1.0)
# A prior of two modes, observed in one coordinate
WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([[-1.5, 0.0], [1.0, 0.5]])
COVS = np.array([[[0.2, 0.05], [0.05, 0.3]], [[0.3, -0.1], [-0.1, 0.2]]])
MIXTURE = densities.gaussian_mixture(WEIGHTS, MEANS, COVS)
Y, NOISE = 0.2, 0.36


def loglikelihood_fn(x):
    return jnp.sum(jax.scipy.stats.norm.logpdf(2.0, x, 0.5))


def seen(x):
    return jax.scipy.stats.norm.logpdf(Y, x[0], NOISE**0.5)


def smoothed(process, t=None):
    """The mixture's law of z_t, by hand."""
    alpha, sigma = process.transition(np.asarray(process.t_min if t is None else t))
    alpha, sigma = np.broadcast_to(alpha, 2), np.broadcast_to(sigma, 2)
    covs = np.outer(alpha, alpha)[None] * COVS + np.diag(sigma**2)[None]
    return densities.gaussian_mixture(WEIGHTS, alpha[None] * MEANS, covs)


POINTS = np.array([[-1.4, 0.3], [0.2, -0.5], [1.3, 0.8], [-4.0, 5.0]])


@pytest.mark.parametrize(
    ("process", "t"),
    [
        (VP, None),
        pytest.param(processes.scalar.edm(), 0.05, marks=pytest.mark.slow),
        pytest.param(processes.scalar.linear_flow(), 0.3, marks=pytest.mark.slow),
        pytest.param(APART, None, marks=pytest.mark.slow),
    ],
)
def test_value_gradient_and_curvature_of_the_smoothed_law(process, t):
    """The gradient is the score of z_t to 1e-10, the value is what was handed in."""
    exact = densities.distribution(smoothed(process, t)).logdensity
    density = score_density(process, densities.denoiser(MIXTURE, process), exact, t=t)
    alone = score_only(process, densities.denoiser(MIXTURE, process), t=t)

    def everything(x):
        seen = [(*jax.value_and_grad(f)(x), jax.hessian(f)(x)) for f in (density, exact)]
        return *seen, jax.value_and_grad(alone)(x)

    found, wanted, (zero, slope) = jax.jit(jax.vmap(everything))(POINTS)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found[2], wanted[2], rtol=1e-8, atol=1e-8)
    assert np.all(zero == 0)
    np.testing.assert_array_equal(slope, found[1])


def test_second_derivatives_are_the_scores_also_when_it_is_no_gradient():
    """Neither does the value's own derivative come in, however often one differentiates."""
    twist = jnp.array([[0.8, 0.3], [-0.1, 0.5]])
    density = score_density(VP, lambda z, t: twist @ z, lambda x: jnp.sin(40 * x[0]))
    alpha, sigma = VP.transition(np.asarray(VP.t_min))
    wanted = (alpha * twist - np.eye(2)) / sigma**2
    x = jnp.array([0.3, -0.4])
    orders = lambda x: (jax.grad(density)(x), jax.hessian(density)(x), jax.jacfwd(twice)(x))
    twice = jax.jacfwd(jax.jacfwd(density))
    first, second, third = jax.jit(orders)(x)
    np.testing.assert_allclose(jax.jacfwd(jax.value_and_grad(density))(x)[0], first, rtol=1e-10)
    np.testing.assert_allclose(first, wanted @ x, rtol=1e-10)
    np.testing.assert_allclose(second, wanted, rtol=1e-10)
    np.testing.assert_allclose(third, 0, atol=1e-9)


def test_the_law_at_t_is_off_the_data_by_what_is_said():
    """(alpha - 1) E[x . grad f] + sigma^2 / 2 E[Laplacian f], for f = x^2, with a rest of order
    sigma^4.
    """
    mean, variance = 0.7, 0.4
    process = processes.scalar.vp(t_min=1e-5)
    denoiser = densities.denoiser(densities.gaussian([mean], variance), process)
    rests = []
    slopes = jax.jit(jax.vmap(lambda t, x: jax.grad(score_only(process, denoiser, t=t))(x)))
    times = np.array([4e-3, 1e-3])
    slopes = [slopes(times, np.full((2, 1), x))[:, 0] for x in (0.0, 1.0)]
    for t, at in zip(times, np.stack(slopes, 1), strict=True):
        spread = -1 / (at[1] - at[0])
        second = spread + (at[0] * spread) ** 2
        alpha, sigma = process.transition(np.asarray(t))
        off = second - (variance + mean**2)
        said = (alpha - 1) * 2 * (variance + mean**2) + sigma**2
        rests.append(abs(off - said) / sigma**4)
        assert abs(off) > 50 * abs(off - said)
    assert max(rests) < 1, rests


def test_the_integral_of_the_score_is_the_difference_of_log_densities():
    exact = densities.distribution(smoothed(VP)).logdensity
    denoiser = densities.denoiser(MIXTURE, VP)
    reference = np.array([0.5, 0.1])

    other = np.array([-2.0, 1.0])

    @jax.jit
    def offs(points):
        found = []
        for nodes, start in ((4, reference), (16, reference), (64, reference), (64, other)):
            line = jax.vmap(score_integral(VP, denoiser, start, nodes=nodes))(points)
            found.append(jnp.abs(line - jax.vmap(exact)(points) + exact(jnp.asarray(start))))
        return found

    few, more, many, moved = offs(POINTS)
    assert few[:3].max() > 0.1  # between modes
    assert more[:3].max() < 2e-3
    assert many.max() < 1e-9
    assert moved.max() < 1e-7
    # What is no gradient has no potential: the answer depends on the way.
    curl = lambda z, t: jnp.stack([-z[1], z[0]])
    x, y = jnp.array([0.0, 1.0]), jnp.array([0.0, -1.0])
    values = [
        score_integral(VP, curl, start, nodes=2) for start in (np.zeros(2), np.array([1.0, 0.0]))
    ]
    first, second = (value(x) - value(y) for value in values)
    assert abs(first - second) > 100


def runs(prior, likelihood, kernel, law, count, n, *, exponents=LADDER, moves=3, seed=0):
    """States of `count` runs with starts [n, 2] drawn from a law."""
    algorithm = smc.tempered(prior, likelihood, kernel, exponents=exponents, moves=moves)

    def one(key):
        key_start, key_run = jax.random.split(key)
        start = jax.vmap(densities.distribution(law).sample)(jax.random.split(key_start, n))
        state, _ = smc.run(key_run, algorithm, start)
        return state.log_normaliser, state.weights, state.particles

    return jax.vmap(one)(jax.random.split(jax.random.key(seed), count))


def within(samples, exact, errors=4):
    """Asserts that the mean of samples [count] is the exact number within standard errors."""
    samples = np.asarray(samples)
    error = samples.std(ddof=1) / len(samples) ** 0.5
    assert abs(samples.mean() - exact) < errors * error, (samples.mean(), exact, error)


def mala(f, exponent):
    return blackjax.mala(f, 0.2 / (1 + 4 * exponent))


def check_unit(prior, count, n):
    log_z, weights, x = jax.jit(lambda: runs(prior, loglikelihood_fn, mala, UNIT, count, n))()
    z = np.exp(log_z - LOG_Z)
    within(z, 1)
    # Z times a weighted mean is without bias, whatever n; a weighted mean is biased by O(1 / n)
    within(z * (jnp.einsum("rn,rnd->r", weights, x) / 2 - MEAN), 0)
    within(z * (jnp.einsum("rn,rnd->r", weights, (x - MEAN) ** 2) / 2 - VARIANCE), 0)


@pytest.mark.usefixtures("same_key")
def test_log_z_with_a_denoiser_as_prior_and_mala():
    """-5.261021 and 1.6 within four standard errors: under vp z_t of N(0, 1) is N(0, 1) itself."""
    denoiser = densities.denoiser(UNIT, VP)
    value = score_integral(VP, denoiser, np.zeros(2), nodes=2)  # exact: the score is linear
    check_unit(score_density(VP, denoiser, value), 40, 150)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("wrong", [False, True])
def test_log_z_with_the_flows_value(wrong):
    """A wrong denoiser under right values costs acceptance, not bias."""
    right = densities.denoiser(UNIT, VP)
    other = densities.denoiser(densities.gaussian([0.5, -0.3], 1.6), VP)
    flow = likelihoods.flow_ode(VP, right, grids.karras(VP, 32))
    value = lambda x: flow(jax.random.key(0), x)
    check_unit(score_density(VP, other if wrong else right, value), 40, 150)


def by_ula(rate, moves):
    """(log Z, mean, variance) of endlessly many particles under `mcmc.ula` at dt = rate / (1 + 4
    b): all of it is Gaussian. Source: derived (linear maps and products of Gaussians).
    """
    mean, variance, log_z, b = 0.0, 1.0, 0.0, 0.0
    for after in LADDER:
        target, dt = 8 * b / (1 + 4 * b), rate / (1 + 4 * b)
        for _ in range(moves):
            mean, variance = mean + rate * (target - mean), (1 - rate) ** 2 * variance + 2 * dt
        gap = after - b
        precision, wide = 1 / variance + 4 * gap, variance + 0.25 / gap
        log_z += -gap * np.log(np.pi / 2) / 2 - np.log(1 + 4 * gap * variance) / 2
        log_z -= (2 - mean) ** 2 / (2 * wide)
        mean, variance, b = (mean / variance + 8 * gap) / precision, 1 / precision, after
    return 2 * log_z, mean, variance


@pytest.mark.usefixtures("same_key")
def test_ula_on_scores_alone_is_biased_by_its_step_and_nothing_else():
    """log Z and the mean are those of the exact recursion of ULA, whose bias is of order dt."""
    moves = 8
    prior = score_only(VP, densities.denoiser(UNIT, VP))

    @jax.jit
    def run(rate):
        kernel = lambda f, b: mcmc.ula(f, rate / (1 + 4 * b))
        return runs(prior, loglikelihood_fn, kernel, UNIT, 60, 100, moves=moves)

    for rate in (0.2, 1.0):
        log_z, weights, x = run(rate)
        biased = by_ula(rate, moves)
        z = np.exp(log_z - biased[0])
        within(z, 1)
        within(z * (jnp.einsum("rn,rnd->r", weights, x) / 2 - biased[1]), 0)
    z = np.exp(np.asarray(log_z) - LOG_Z)
    assert abs(z.mean() - 1) > 4 * z.std(ddof=1) / len(z) ** 0.5  # the bias can be seen
    off = np.array([by_ula(rate, int(20 / rate))[0] - LOG_Z for rate in (0.02, 0.01, 0.005)])
    np.testing.assert_allclose(off[:-1] / off[1:], 2, atol=0.06)


def exact_posterior(prior):
    """(log evidence, share of the left mode, mean) given Y."""
    rows = np.array([[1.0, 0.0]])
    posterior, evidence = densities.linear_posterior(prior, rows, np.array([NOISE]), np.array([Y]))
    shares = np.exp(posterior.log_weights)
    return float(evidence), shares, shares @ posterior.means


def left(x):
    """How probable it is that x [..., 2], of the prior's law at t_min, came of the left mode."""
    alpha, sigma = VP.transition(np.asarray(VP.t_min))
    covs = alpha**2 * COVS + sigma**2 * np.eye(2)[None]
    parts = [
        weight * multivariate_normal.pdf(np.asarray(x), alpha * mean, cov)
        for weight, mean, cov in zip(WEIGHTS, MEANS, covs, strict=True)
    ]
    return parts[0] / (parts[0] + parts[1])


def check_mixture(value, count, n):
    evidence, shares, mean = exact_posterior(smoothed(VP))
    density = score_density(VP, densities.denoiser(MIXTURE, VP), value)
    kernel = lambda f, b: blackjax.mala(f, 0.1)
    log_z, weights, x = jax.jit(
        lambda: runs(density, seen, kernel, smoothed(VP), count, n, exponents=(0.3, 1.0))
    )()
    z = np.exp(log_z - evidence)
    within(z, 1)
    within(z * (jnp.einsum("rn,rn->r", weights, left(x)) - shares[0]), 0)
    for axis in range(2):
        within(z * (jnp.einsum("rn,rn->r", weights, x[..., axis]) - mean[axis]), 0)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("value", ["exact", "integral"])
def test_evidence_and_modes_of_a_mixture_prior(value):
    """Observed in one coordinate: evidence, mean and mode weights within four standard errors."""
    exact = densities.distribution(smoothed(VP)).logdensity
    denoiser = densities.denoiser(MIXTURE, VP)
    line = score_integral(VP, denoiser, np.array([0.0, 0.2]), nodes=24)
    check_mixture(exact if value == "exact" else line, 30, 100)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_evidence_with_the_flows_value_and_what_guidance_misses():
    """Guiding by the likelihood at the denoised point (Chung et al. 2022, arXiv 2209.14687) draws
    from another law; tempered SMC from the posterior.
    """
    denoiser = densities.denoiser(MIXTURE, VP)
    flow = likelihoods.flow_ode(VP, denoiser, grids.karras(VP, 48))
    check_mixture(lambda x: flow(jax.random.key(0), x), 30, 100)

    def guided(z, t):
        alpha, sigma = VP.transition(t)
        return denoiser(z, t) + sigma**2 / alpha * jax.grad(lambda z: seen(denoiser(z, t)))(z)

    def draw(by, key):
        key_start, key_run = jax.random.split(key)
        start = processes.prior(VP, (2,)).sample(key_start)
        solver = solvers.sde.exponential_sde(VP, by)
        return solvers.solve(key_run, solver, start, grids.log_snr(VP, 200))[0]

    keys = jax.random.split(jax.random.key(5), 8000)
    plain, shares = (
        left(jax.jit(jax.vmap(lambda key, by=by: draw(by, key)))(keys)) for by in (denoiser, guided)
    )
    within(plain, WEIGHTS[0])  # the solver is not at fault
    exact = exact_posterior(smoothed(VP))[1][0]
    error = shares.std() / len(shares) ** 0.5
    assert shares.mean() < exact - 10 * error, (shares.mean(), exact, error)


@pytest.mark.usefixtures("x32", "same_key")
def test_float32_and_traced_times():
    law = densities.gaussian([0.3, -0.2], 0.5)
    denoiser, x = densities.denoiser(law, VP), jnp.array([0.4, 0.1])

    def both(t):
        log_prob = score_integral(VP, denoiser, jnp.zeros(2), t=t, nodes=2)
        return jax.value_and_grad(score_density(VP, denoiser, log_prob, t=t))(x)

    value, slope = jax.jit(jax.vmap(both))(jnp.array([0.2, 0.4]))
    assert value.dtype == slope.dtype == jnp.float32
    # By hand: a Gaussian of the same shape in both axes
    for i, t in enumerate((0.2, 0.4)):
        alpha, sigma = VP.transition(np.asarray(t))
        mean, variance = alpha * np.array([0.3, -0.2]), 0.5 * alpha**2 + sigma**2
        np.testing.assert_allclose(slope[i], (mean - x) / variance, rtol=1e-4)
        wanted = (np.sum(mean**2) - np.sum((x - mean) ** 2)) / (2 * variance)
        np.testing.assert_allclose(value[i], wanted, rtol=1e-3, atol=1e-5)


def test_wrong_input():
    denoiser = lambda z, t: z / 2
    zero = lambda x: jnp.zeros(())
    x = jnp.ones(2)
    clean = processes.scalar.from_schedule(lambda t: (1 - t, t), t_min=0.0, t_max=0.9)
    for call, message in [
        (lambda: score_density(processes.augmented.cld(), denoiser, zero), "got blocks"),
        (lambda: score_only(processes.augmented.cld(), denoiser), "got blocks"),
        (lambda: score_density(VP, denoiser, None), "log_prob must be a function.*score_only"),
        (lambda: score_density(VP, denoiser, zero, t=0.0), "within"),
        (lambda: score_only(VP, denoiser, t=1.5), "within"),
        (lambda: score_only(VP, denoiser, t=np.array([0.1, 0.2])), "one number"),
        (lambda: score_only(clean, denoiser), "there must be noise"),
        (lambda: score_density(VP, denoiser, lambda x: x)(x), "one number"),
        (lambda: jax.grad(score_only(VP, lambda z, t: z[:1]))(x), "shape of x"),
        (lambda: score_integral(VP, denoiser, x, nodes=0), "nodes"),
        (lambda: score_integral(VP, denoiser, x, nodes=2.5), "nodes"),
        (lambda: score_integral(VP, denoiser, jnp.ones(3))(x), "shape of the reference"),
        (lambda: score_integral(processes.augmented.cld(), denoiser, x), "got blocks"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_parameters_are_refused_not_wrong():
    """Nothing comes back in silence when one differentiates by the denoiser's parameters."""

    def through(scale):
        return score_density(VP, lambda z, t: scale * z, lambda x: scale * jnp.sum(x))(jnp.ones(2))

    with pytest.raises((TypeError, jax.errors.UnexpectedTracerError), match="[Tt]racer"):
        jax.grad(through)(0.5)
