import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import special
from jax.tree_util import Partial
from scipy import stats

from jaxgen.math import exponential_family as ef

RANDOM = np.random.default_rng(0)
FEATURES = jnp.asarray(RANDOM.standard_normal((7, 3)))
LOG_BASE = jnp.log(jnp.asarray(RANDOM.dirichlet(np.ones(7))))
FACTOR = jnp.asarray([[1.2, 0.0, 0.0], [-0.4, 0.8, 0.0], [0.3, 0.5, 0.6]])


def of_gaussian(mean, covariance):
    """Natural parameters, the slow way."""
    mean, precision = np.asarray(mean), np.linalg.inv(covariance)
    pairs = [-precision[i, j] / (1 + (i == j)) for i in range(3) for j in range(i, 3)]
    return jnp.asarray([*(precision @ mean), *pairs])


COV = np.asarray(FACTOR @ FACTOR.T)
MEAN = np.asarray([0.5, -1.0, 2.0])
# name: (family, natural, another, point, scipy's law of the first, its log-density)
FAMILIES = {
    "normal": (ef.normal(), [0.6, -0.3], [-1.0, -0.8], 0.7, stats.norm(1.0, (1 / 0.6) ** 0.5)),
    "gaussian": (
        ef.gaussian(3),
        of_gaussian(MEAN, COV),
        of_gaussian([0.0, 0.3, 1.0], np.eye(3) * 0.7),
        [0.2, -0.5, 1.1],
        stats.multivariate_normal(MEAN, COV),
    ),
    "bernoulli": (ef.bernoulli(), [0.8], [-1.5], 1, stats.bernoulli(1 / (1 + np.exp(-0.8)))),
    "poisson": (ef.poisson(), [1.3], [0.4], 5, stats.poisson(np.exp(1.3))),
    "exponential": (ef.exponential(), [-2.5], [-0.7], 0.3, stats.expon(scale=1 / 2.5)),
    "gamma": (ef.gamma(), [1.7, -0.9], [-0.4, -2.0], 1.4, stats.gamma(2.7, scale=1 / 0.9)),
    "categorical": (ef.categorical(3), [0.4, -1.1], [1.0, 0.2], 1, None),
    "softmax": (ef.softmax(FEATURES, LOG_BASE), [0.2, -0.5, 0.9], [0.0, 0.0, 0.0], 4, None),
}
CASES = {
    name: (family, *(jnp.asarray(part) for part in parts), law)
    for name, (family, *parts, law) in FAMILIES.items()
}


@jax.jit
def everything(family, p, q, x):
    """A family crosses `jit` as an argument."""
    mean = ef.to_mean(family, p)
    return {
        "logdensity": ef.logdensity(family, p, x),
        "slope": jax.grad(lambda p: ef.logdensity(family, p, x))(p),
        "statistics": family.statistics(x),
        "mean": mean,
        "natural": ef.to_natural(family, mean),
        "inverse": jax.jacobian(lambda mean: ef.to_natural(family, mean))(mean),
        "fisher": ef.fisher_information(family, p),
        "entropy": ef.entropy(family, p),
        "conjugate": ef.conjugate(family, mean),
        "kl": ef.kl_divergence(family, p, q),
        "self": ef.kl_divergence(family, p, p),
        "log_base": family.mean_log_base(p),
    }


FAST = ("gaussian", "poisson", "gamma")
NAMES = [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_a_member_is_what_scipy_says(name):
    family, p, q, x, law = CASES[name]
    found = everything(family, p, q, x)
    if law is not None:
        density = law.logpdf if hasattr(law, "logpdf") else law.logpmf
        if name in ("bernoulli", "poisson"):
            density = law.logpmf
        assert float(found["logdensity"]) == pytest.approx(float(density(np.asarray(x))), rel=1e-12)
        assert float(found["entropy"]) == pytest.approx(float(law.entropy()), rel=1e-11)
    np.testing.assert_allclose(found["natural"], p, rtol=1e-9, atol=1e-9)
    product = found["inverse"] @ found["fisher"]
    np.testing.assert_allclose(product, np.eye(len(p)), atol=1e-8)
    np.testing.assert_allclose(found["slope"], found["statistics"] - found["mean"], atol=1e-12)
    identity = -(found["conjugate"] + found["log_base"])
    assert float(found["entropy"]) == pytest.approx(float(identity), rel=1e-8)
    assert abs(float(found["self"])) < 1e-14
    assert float(found["kl"]) > 1e-3


KL = jax.jit(ef.kl_divergence)


def closed_forms():
    """KL(p | q) from textbooks, in ordinary parameters."""
    m, v, n, w = 1.0, 1 / 0.6, -1.0 / 1.6, 1 / 1.6
    yield "normal", 0.5 * (np.log(w / v) + (v + (m - n) ** 2) / w - 1)
    shift, other = MEAN - [0.0, 0.3, 1.0], np.eye(3) * 0.7
    logs = np.linalg.slogdet(other)[1] - np.linalg.slogdet(COV)[1]
    yield "gaussian", 0.5 * (np.trace(COV) / 0.7 + shift @ shift / 0.7 - 3 + logs)
    a, b = 1 / (1 + np.exp(-0.8)), 1 / (1 + np.exp(1.5))
    yield "bernoulli", a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))
    a, b = np.exp(1.3), np.exp(0.4)
    yield "poisson", a * np.log(a / b) - a + b
    yield "exponential", np.log(2.5 / 0.7) + 0.7 / 2.5 - 1
    a, r, b, s = 2.7, 0.9, 0.6, 2.0
    psi, log_gamma = float(special.digamma(a)), lambda z: float(special.gammaln(z))
    yield "gamma", (a - b) * psi - log_gamma(a) + log_gamma(b) + b * np.log(r / s) + a * (s - r) / r


@pytest.mark.parametrize(("name", "truth"), list(closed_forms()))
def test_kl_is_the_closed_form(name, truth):
    family, p, q, _, _ = CASES[name]
    assert abs(float(KL(family, p, q)) - truth) < 1e-12


@jax.jit
def tabulated(family, h, points):
    logs = jax.vmap(lambda x: ef.logdensity(family, h, x))(points)
    return logs, ef.entropy(family, h), ef.fisher_information(family, h)


@pytest.mark.parametrize("name", ["categorical", "softmax"])
def test_kl_over_a_finite_space_is_the_sum(name):
    family, p, q, _, _ = CASES[name]
    points = jnp.arange(3 if name == "categorical" else 7)
    logs, entropy, fisher = tabulated(family, p, points)
    others, mass = tabulated(family, q, points)[0], jnp.exp(logs)
    assert float(jnp.sum(mass)) == pytest.approx(1, abs=1e-14)
    assert abs(float(KL(family, p, q) - mass @ (logs - others))) < 1e-12
    assert float(entropy) == pytest.approx(float(-mass @ logs), rel=1e-12)
    statistics = np.stack([family.statistics(x) for x in points])
    np.testing.assert_allclose(fisher, np.cov(statistics.T, aweights=mass, ddof=0), atol=1e-13)


def test_information_gain_is_half_the_fisher_norm_to_third_order():
    """KL(p_h | p_0) - ½ h . G h shrinks eightfold for each halving of h."""
    family = ef.softmax(FEATURES, LOG_BASE)
    h, zero = jnp.asarray([0.2, -0.5, 0.9]) / 4, jnp.zeros(3)

    @jax.jit
    def gaps_of(hs):
        fisher = ef.fisher_information(family, zero)
        return jax.vmap(lambda h: ef.kl_divergence(family, h, zero) - 0.5 * h @ fisher @ h)(hs)

    gaps = np.abs(gaps_of(h[None] * 0.5 ** jnp.arange(6.0)[:, None]))
    ratios = gaps[:-1] / gaps[1:]
    assert 6.5 < ratios[0] < 9.5
    assert abs(ratios[-1] - 8) < 0.15
    assert np.all(np.diff(np.abs(ratios - 8)) < 0)


@pytest.mark.parametrize("rate", [1e-3, 0.5, 30.0, 1e4])
def test_the_entropy_of_counts_at_any_rate(rate):
    counts = np.arange(int(rate + 40 * rate**0.5 + 60))
    logs = stats.poisson(rate).logpmf(counts)
    truth = -np.sum(np.exp(logs) * logs)
    found = jax.jit(ef.entropy)(ef.poisson(), jnp.log(jnp.asarray([rate])))
    # The mean of log x! is of size rate log rate, and cancels down to the entropy.
    assert abs(float(found) - truth) < 1e-12 * (1 + rate * abs(np.log(rate)))


@pytest.mark.parametrize("shape", [1e-3, 0.4, 12.0, 1e5])
def test_the_inverse_of_digamma_over_eight_decades(shape):
    natural = jnp.asarray([shape - 1, -3.0])
    family = ef.gamma()
    found = jax.jit(lambda family, p: ef.to_natural(family, ef.to_mean(family, p)))(family, natural)
    tolerance = 1e-14 * max(1e3, shape * np.log(shape) * 10)  # log E x - E log x is about 1/(2a)
    np.testing.assert_allclose(found[0] + 1, shape, rtol=tolerance)


def far_partition(scale, natural):
    """Of the exponential law in other units: Newton's method must stay below 0."""
    return -jnp.log(-scale * natural[0])


def unit(x):
    return x[None]


def test_newton_finds_an_inverse_of_ones_own():
    family = ef.exponential_family(
        Partial(far_partition, 2.0), Partial(unit), start=jnp.asarray([-100.0])
    )
    inverse = jax.jit(ef.to_natural)
    for mean in (1e-3, 1.0, 500.0):
        found = inverse(family, jnp.asarray([mean]))
        np.testing.assert_allclose(found, [-1 / mean], rtol=1e-12)
    assert np.isnan(inverse(family, jnp.asarray([-1.0]))).all()
    outside = ef.to_natural(ef.softmax(FEATURES), jnp.asarray([50.0, 0.0, 0.0]))
    assert np.isnan(outside).all()


def test_outside_of_a_domain_is_nan():
    for family, natural in (
        (ef.normal(), [0.0, 1.0]),
        (ef.exponential(), [1.0]),
        (ef.gamma(), [-2.0, -1.0]),
    ):
        assert np.isnan(family.log_partition(jnp.asarray(natural)))
    assert np.isnan(ef.to_natural(ef.normal(), jnp.asarray([2.0, 3.0]))).any()
    assert np.isnan(ef.to_natural(ef.gamma(), jnp.asarray([1.0, 2.0]))).all()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) for n in ("poisson", "gaussian", "gamma")]
)
def test_single_precision_is_accurate(name):
    family, p, q, x, _ = CASES[name]
    singles = [jnp.asarray(part, jnp.float32) for part in (p, q)]
    found, exact = everything(family, *singles, x), everything(family, p, q, x)
    for part in ("logdensity", "mean", "natural", "fisher", "entropy", "kl"):
        assert found[part].dtype == jnp.float32, part
        np.testing.assert_allclose(found[part], exact[part], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", set(CASES) - {"softmax"})
def test_single_precision_is_kept(name):
    family, p, q, x, _ = CASES[name]
    singles = [jax.ShapeDtypeStruct(part.shape, jnp.float32) for part in (p, q)]
    kinds = [
        jax.eval_shape(lambda p, q: ef.kl_divergence(family, p, q), *singles),
        jax.eval_shape(lambda p: ef.entropy(family, p), singles[0]),
        jax.eval_shape(lambda p: ef.logdensity(family, p, x), singles[0]),
    ]
    assert all(kind.dtype == jnp.float32 for kind in kinds)


def test_options_are_checked():
    for message, build in (
        ("gaussian: d must be at least 1; got 0", lambda: ef.gaussian(0)),
        ("parameters must be [d + d (d + 1) / 2]; got [4]", lambda: four()),
        ("categorical: n must be at least 2; got 1", lambda: ef.categorical(1)),
        ("softmax: features must be [n, p]", lambda: ef.softmax(jnp.ones(3))),
        ("softmax: log_base must be [7]", lambda: ef.softmax(FEATURES, jnp.ones(3))),
        ("to_mean: natural must be [p]; got shape ()", lambda: ef.to_mean(ef.normal(), 1.0)),
        (
            "kl_divergence: both parameters must be of one shape; got (2,) and (3,)",
            lambda: ef.kl_divergence(ef.normal(), jnp.ones(2), jnp.ones(3)),
        ),
        ("an inverse or a start", lambda: ef.exponential_family(jnp.sum, jnp.sin)),
        (
            "log_base and mean_log_base must come together",
            lambda: ef.exponential_family(jnp.sum, jnp.sin, inverse=jnp.sin, log_base=jnp.sum),
        ),
    ):
        with pytest.raises(ValueError, match="exponential_family") as found:
            build()
        assert message in str(found.value)


def four():
    return ef.to_mean(ef.gaussian(2), jnp.ones(4))
