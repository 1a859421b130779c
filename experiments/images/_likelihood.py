"""Bits per dimension of held-out images by the probability-flow ODE, with each error beside it.

The number is that of the ODE with its prior N(0, alpha^2 + sigma^2): the model itself, not a bound,
apart from four things that are measured here one by one.

- Dequantisation: levels get uniform noise, a bound on the likelihood of the levels; its spread over
  draws of the noise is reported.
- Truncation: the flow ends at noise level noise_min, not 0; how much the number changes if it ended
  at five times that.
- Discretisation: n steps against n/2; with order 4 the error left is (difference) / 15.
- Probes: the divergence is estimated along random directions; their standard error.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from experiments.images._models import Model, process_between
from experiments.images._settings import Settings
from jaxgen import data, likelihoods

ORDER = 4
COARSER = 5.0  # how much further from the data the flow ends to measure truncation
EXACT_DIM = 100  # dimensions up to which the divergence is always exact
EXACT_CHUNK = 196


class Bits(NamedTuple):
    """Bits per dimension and what may be wrong with it, all in bits per dimension."""

    bits: float  # mean over images (and two draws of dequantisation noise)
    images_error: float  # standard error over the images
    dequantisation: float  # standard deviation over draws, of one image
    truncation: float  # ending at noise_min less ending at 5 noise_min
    discretisation: float  # Richardson: (n steps less n/2 steps) / 15
    probe_error: float  # standard error of the mean from the probes; 0 if the divergence is exact
    images: int
    steps: int
    probes: int  # 0: exact
    per_image: np.ndarray


def bits_per_dim(settings: Settings, model: Model, params, key, say) -> Bits | None:
    """Bits/dim of the first held-out images; None if the settings leave it out."""
    count = min(settings.likelihood_images, len(model.images.test_x))
    if count < 2:
        return None
    dim, n = int(np.prod(model.images.event_shape)), settings.likelihood_steps
    probes = None if dim <= EXACT_DIM else settings.probes
    key_first, key_second, key_probes = jax.random.split(key, 3)
    labels = jnp.asarray(model.images.test_labels[:count])
    first, second = (_dequantised(model, k, count) for k in (key_first, key_second))
    keys = jax.random.split(key_probes, count)
    fine, half = (_estimator(settings, model, steps, probes) for steps in (n, n // 2))
    short = _estimator(settings, model, n // 2, probes, settings.noise_min * COARSER)
    parts = []
    for words, estimate, x in (
        (f"{n} steps", fine, first),
        (f"{n // 2} steps", half, first),
        ("another dequantisation", half, second),
        ("another end", short, first),
    ):
        say(f"likelihood: {count} images, {words}")
        parts.append(estimate(params, keys, x, labels))
    levels = model.images.levels
    to_bits = lambda terms: likelihoods.bits_per_dim(np.asarray(terms.log_prob), dim, levels=levels)
    fine, half, other, short = (to_bits(part) for part in parts)
    error = np.asarray(parts[0].probe_error) / dim / np.log(2)
    richardson = (fine - half).mean() / (2**ORDER - 1)
    return Bits(
        float(np.mean(fine + (other - half) / 2)),
        float(fine.std(ddof=1) / count**0.5),
        float(np.sqrt(np.mean((other - half) ** 2 / 2))),
        float((half - short).mean()),
        float(richardson),
        float(np.sqrt(np.sum(error**2)) / count),
        count,
        n,
        0 if probes is None else probes,
        fine,
    )


class Check(NamedTuple):
    """Exact divergence against probes on the same few images and steps, bits per dimension."""

    exact: np.ndarray  # [m]
    estimated: np.ndarray  # [m]
    error: np.ndarray  # [m], standard error of the estimate
    probes: int
    steps: int


def exact_check(settings: Settings, model: Model, params, key, say) -> Check | None:
    """The exact number and the estimated one on a few images; None where all are exact."""
    dim = int(np.prod(model.images.event_shape))
    count = min(settings.exact_images, len(model.images.test_x))
    if dim <= EXACT_DIM or count < 1 or settings.likelihood_images < 2:
        return None
    key_data, key_probes = jax.random.split(key)
    labels = jnp.asarray(model.images.test_labels[:count])
    x, keys = _dequantised(model, key_data, count), jax.random.split(key_probes, count)
    probes, steps = 32, settings.exact_steps
    say(f"likelihood: {count} images with the exact divergence, as a check")
    exact = _estimator(settings, model, steps, None)(params, keys, x, labels)
    estimate = _estimator(settings, model, steps, probes)(params, keys, x, labels)
    to_bits = lambda value: np.asarray(value) / dim / np.log(2)
    return Check(
        likelihoods.bits_per_dim(np.asarray(exact.log_prob), dim, levels=model.images.levels),
        likelihoods.bits_per_dim(np.asarray(estimate.log_prob), dim, levels=model.images.levels),
        to_bits(estimate.probe_error),
        probes,
        steps,
    )


def _dequantised(model, key, count):
    x = model.images.test_x[:count]
    return data.to_unit(jnp.asarray(x), model.images.levels, jax.random.uniform(key, x.shape))


def _estimator(settings, model, steps, probes, noise_min=None):
    """Jitted (params, keys [n], x [n, *event], labels [n]) -> FlowTerms of every image."""
    process = model.process
    if noise_min is not None:
        process = process_between(settings.process, noise_min, settings.noise_max)
    ts = jg.grids.log_snr(process, steps)

    def one(params, key, x, label):
        denoiser = model.denoiser(params, label)
        terms = likelihoods.flow_ode_terms(
            process, denoiser, ts, probes=probes, order=ORDER, chunk=EXACT_CHUNK
        )
        return terms(key, x)

    return jax.jit(jax.vmap(one, (None, 0, 0, 0)))
