import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

import jaxgen as jg
from jaxgen import densities

WEIGHTS = np.array([0.2, 0.5, 0.3])
MEANS = np.array([[-1.0, 0.3, 0.5], [1.2, -0.4, 0.0], [0.1, 0.8, -1.5]])
FACTORS = np.random.default_rng(0).normal(size=(3, 3, 2)) * 0.6
FULL = np.einsum("kir,kjr->kij", FACTORS, FACTORS) + 0.05 * np.eye(3)
ISOTROPIC = np.array([0.3, 0.1, 0.6])
DIAGONAL = np.array([[0.3, 0.1, 0.2], [0.5, 0.6, 0.2], [0.1, 0.1, 0.4]])
FLOORS = np.array([0.05, 0.2, 0.0])
# Each mixture with its dense covariances [k, d, d]; the last one is flat in one direction.
MIXTURES = {
    "isotropic": (
        lambda: densities.gaussian_mixture(WEIGHTS, MEANS, ISOTROPIC),
        ISOTROPIC[:, None, None] * np.eye(3),
    ),
    "diagonal": (
        lambda: densities.gaussian_mixture(WEIGHTS, MEANS, DIAGONAL),
        DIAGONAL[:, None] * np.eye(3),
    ),
    "full": (lambda: densities.gaussian_mixture(2 * WEIGHTS, MEANS, FULL), FULL),
    "low rank": (
        lambda: densities.low_rank_mixture(WEIGHTS, MEANS, FACTORS, FLOORS),
        FULL + (FLOORS[:, None, None] - 0.05) * np.eye(3),
    ),
}
PROCESSES = {
    "vp": jg.processes.scalar.vp(),
    "edm": jg.processes.scalar.edm(),
    "linear_flow": jg.processes.scalar.linear_flow(),
    "cld": jg.processes.augmented.cld(),
}
everywhere = pytest.mark.parametrize("process", list(PROCESSES))
of_all = pytest.mark.parametrize("mixture", list(MIXTURES))


def dense(covs, process, t):
    """Means [k, cd] and covariances [k, cd, cd] of z, and Cov(x0, z) [k, d, cd]."""
    phi, chol = process.transition(np.asarray(t))
    column = np.atleast_1d(phi if np.ndim(phi) == 0 else phi[:, 0])
    sigma = np.atleast_2d(chol @ chol.T if np.ndim(chol) else chol**2)
    means = np.stack([np.kron(column, mean) for mean in MEANS])
    noise = np.kron(sigma, np.eye(3))
    joint = np.stack([np.kron(np.outer(column, column), cov) + noise for cov in covs])
    return means, joint, np.stack([np.kron(column, cov) for cov in covs])


def textbook(covs, process, t, z):
    """log p(z), E[x0 | z] and Cov[x0 | z] by conditioning the joint Gaussian of every component."""
    means, joint, cross = dense(covs, process, t)
    log_p = np.log(WEIGHTS) + [
        scipy.stats.multivariate_normal(mean, cov).logpdf(z.ravel())
        for mean, cov in zip(means, joint, strict=True)
    ]
    shares = np.exp(log_p - scipy.special.logsumexp(log_p))
    gains = [c @ np.linalg.inv(j) for c, j in zip(cross, joint, strict=True)]
    posterior = [m + g @ (z.ravel() - n) for m, g, n in zip(MEANS, gains, means, strict=True)]
    mean = sum(s * p for s, p in zip(shares, posterior, strict=True))
    within = [cov - g @ c.T for cov, g, c in zip(covs, gains, cross, strict=True)]
    covariance = sum(
        s * (w + np.outer(p - mean, p - mean))
        for s, w, p in zip(shares, within, posterior, strict=True)
    )
    return scipy.special.logsumexp(log_p), mean, covariance


@functools.cache
def exact(process):
    """Log-density, denoiser and posterior covariance, compiled once for mixtures of one rank."""
    process = PROCESSES[process]
    return jax.jit(
        lambda mixture, z, t: (
            densities.marginal(mixture, process, t).logdensity(z),
            densities.denoiser(mixture, process)(z, t),
            densities.posterior_covariance(mixture, process)(z, t),
        )
    )


@of_all
@everywhere
def test_marginal_denoiser_and_covariance_are_gaussian_conditioning(process, mixture):
    build, covs = MIXTURES[mixture]
    record = PROCESSES[process]
    shape = jg.processes.noise_shape(record, (3,))
    for t in (record.t_min, 0.05, 0.6, record.t_max):
        for seed in range(2):
            z = np.random.default_rng(seed).normal(size=shape)
            log_p, mean, covariance = exact(process)(build(), z, t)
            truth = textbook(covs, record, t, z)
            # The dense truth inverts covariances as ill-conditioned as 1e6.
            np.testing.assert_allclose(log_p, truth[0], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(mean, truth[1], rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(covariance, truth[2], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("t", "z"), [(0.05, 0.1), (0.4, -0.6), (0.9, 2.0)])
def test_denoiser_is_the_posterior_mean_by_quadrature(t, z):
    process = PROCESSES["vp"]
    normal = lambda x, mean, deviation: (
        np.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
    )
    mixture = densities.gaussian_mixture([0.3, 0.7], [[-0.8], [1.1]], [0.05, 0.2])
    alpha, sigma = process.transition(np.asarray(t))

    def joint(x):
        prior = 0.3 * normal(x, -0.8, 0.05**0.5) + 0.7 * normal(x, 1.1, 0.2**0.5)
        return prior * normal(z, alpha * x, sigma)

    integral = lambda fn: scipy.integrate.quad(fn, -6, 6, points=[-0.8, 1.1, z], epsabs=1e-13)[0]
    mass, first = integral(joint), integral(lambda x: x * joint(x))
    found = densities.denoiser(mixture, process)(jnp.asarray([z]), t)
    assert float(found[0]) == pytest.approx(first / mass, rel=1e-8)
    log_p = densities.marginal(mixture, process, t).logdensity(jnp.asarray([z]))
    assert float(log_p) == pytest.approx(np.log(mass), rel=1e-8, abs=1e-8)


@everywhere
def test_posterior_covariance_is_the_scaled_jacobian_of_the_denoiser(process):
    build, _ = MIXTURES["full"]
    record, mixture, t = PROCESSES[process], build(), 0.4
    z = jnp.asarray(np.random.default_rng(3).normal(size=jg.processes.noise_shape(record, (3,))))
    jacobian = jax.jit(jax.jacfwd(lambda z: densities.denoiser(mixture, record)(z, t)))(z)
    phi, chol = record.transition(np.asarray(t))
    covariance = exact(process)(mixture, z, t)[2]
    if z.ndim == 1:
        np.testing.assert_allclose(jacobian, phi / chol**2 * covariance, rtol=1e-9, atol=1e-12)
    else:
        row = np.linalg.solve(chol @ chol.T, phi[:, 0])
        expected = np.einsum("c,de->dce", row, covariance)
        np.testing.assert_allclose(jacobian, expected, rtol=1e-8, atol=1e-10)


@of_all
def test_samples_have_their_moments(mixture):
    build, covs = MIXTURES[mixture]
    mean = WEIGHTS @ MEANS
    cov = np.einsum(
        "k,kij->ij", WEIGHTS, covs + np.einsum("ki,kj->kij", MEANS - mean, MEANS - mean)
    )
    check(densities.distribution(build()).sample, mean, cov)


@pytest.mark.parametrize("process", ["vp", "cld"])
def test_samples_of_the_marginal_have_its_moments(process):
    build, covs = MIXTURES["full"]
    means, joint, _ = dense(covs, PROCESSES[process], 0.3)
    mean = WEIGHTS @ means
    away = means - mean
    cov = np.einsum("k,kij->ij", WEIGHTS, joint + np.einsum("ki,kj->kij", away, away))
    check(densities.marginal(build(), PROCESSES[process], 0.3).sample, mean, cov)


def check(sample, mean, cov, n=40_000):
    """Means and covariances within five standard errors, estimated from the draws themselves."""
    draws = np.asarray(jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), n)))
    away = draws.reshape(n, -1) - mean
    assert (np.abs(away.mean(0)) < 5 * np.sqrt(np.diag(cov) / n)).all()
    products = away[:, :, None] * away[:, None]
    assert (np.abs(products.mean(0) - cov) < 5 * products.std(0) / np.sqrt(n)).all()


@of_all
def test_log_density_without_noise(mixture):
    build, covs = MIXTURES[mixture]
    if mixture == "low rank":
        record = densities.low_rank_mixture(WEIGHTS, MEANS, FACTORS, FLOORS + 0.1)
        build, covs = lambda: record, covs + 0.1 * np.eye(3)
    x = np.array([0.4, -0.2, 0.3])
    truth = scipy.special.logsumexp(
        [
            np.log(w) + scipy.stats.multivariate_normal(m, c).logpdf(x)
            for w, m, c in zip(WEIGHTS, MEANS, covs, strict=True)
        ]
    )
    assert float(densities.distribution(build()).logdensity(x)) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("cov", [0.3, [0.3, 0.1, 0.2], FULL[0]], ids=["number", "diagonal", "full"])
def test_gaussian(cov):
    x, dense_cov = (
        np.array([0.4, -0.2, 0.3]),
        cov if np.ndim(cov) == 2 else np.eye(3) * np.array(cov),
    )
    found = densities.distribution(densities.gaussian(MEANS[0], cov)).logdensity(x)
    truth = scipy.stats.multivariate_normal(MEANS[0], dense_cov).logpdf(x)
    assert float(found) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("process", ["vp", "cld"])
def test_float32_keeps_its_dtype_and_digits(process):
    build, _ = MIXTURES["full"]
    record, mixture = PROCESSES[process], build()
    shape = jg.processes.noise_shape(record, (3,))
    z = np.random.default_rng(5).normal(size=shape).astype(np.float32) * 0.5
    with jax.enable_x64(False):
        rough = jax.jit(lambda m, z, t: densities.denoiser(m, record)(z, t))
        small = jax.tree.map(np.float32, mixture)
        for t in (record.t_min, 0.3, record.t_max):
            found = rough(small, z, np.float32(t))
            assert found.dtype == jnp.float32
            with jax.enable_x64(True):
                truth = exact(process)(mixture, z.astype(float), np.float32(t).astype(float))[1]
            assert np.max(np.abs(found - np.asarray(truth))) < 1e-4


def test_records_cross_jit_and_have_gradients():
    fn = lambda mixture, x: densities.distribution(mixture).logdensity(x)
    mixture, x = MIXTURES["isotropic"][0](), jnp.asarray([0.4, -0.2, 0.3])
    slope = jax.jit(jax.grad(fn))(mixture, x).means
    step = 1e-6 * jnp.zeros((3, 3)).at[1, 0].set(1)
    up, down = (fn(mixture._replace(means=mixture.means + s * step), x) for s in (1, -1))
    assert float(slope[1, 0]) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: densities.gaussian_mixture([1.0], MEANS, ISOTROPIC),
            r"must fit; got \(1,\), \(3, 3\), \(3,\)",
        ),
        (
            lambda: densities.gaussian_mixture(WEIGHTS, MEANS, np.ones((3, 2))),
            r"must fit; got .*\(3, 2\)",
        ),
        (lambda: densities.gaussian_mixture(WEIGHTS, MEANS[0], ISOTROPIC), r"must fit; got"),
        (
            lambda: densities.gaussian_mixture([1.0, 0.0, 1.0], MEANS, ISOTROPIC),
            "weights must be positive; got",
        ),
        (
            lambda: densities.low_rank_mixture(WEIGHTS, MEANS, FACTORS[0], FLOORS),
            r"low_rank_mixture: .* must fit",
        ),
        (
            lambda: densities.low_rank_mixture(WEIGHTS, MEANS, FACTORS, FLOORS[:2]),
            r"low_rank_mixture: .* must fit",
        ),
        (
            lambda: densities.low_rank_mixture(-WEIGHTS, MEANS, FACTORS, FLOORS),
            "weights must be positive; got",
        ),
    ],
)
def test_records_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
