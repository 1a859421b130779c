"""Local denoising score matching, for processes whose transition nobody knows."""

import chex
import jax
import jax.numpy as jnp

from jaxgen.losses.score._times import uniform_time
from jaxgen.math import is_concrete, working_dtype
from jaxgen.processes import nonlinear


def local(
    process,
    apply,
    *,
    kind="score",
    length=0.02,
    steps=20,
    linearisation="taylor",
    weighting=None,
    time=None,
):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> []: denoising score matching on the last
    increment of a simulated path of a `NonlinearForward`, in at least float32.

    x0 is run to s = t - length in `steps` Heun steps, x_t is drawn from the increment linearised at
    x_s (`processes.nonlinear.increment`), and the target is that increment's score. At each t the
    minimum is the score of x_t's law; the law's own error is of order length^2, the target's
    variance of order 1 / length.
    Args: apply(params, z, t, **cond) -> [*event], a score; length, of the increment, t itself where
        that is less; linearisation, "taylor", "diagonal" or "euler"; weighting: None multiplies the
        mean squared error by the increment's length, a function t [] -> [] by its value;
        "likelihood" is |G^T (s - target)|^2 / 2, whose integral over t is, up to a constant of the
        process, the gap of a likelihood bound; time: as in `denoising`.
    Raises ValueError on a kind other than "score", a linear process, an unknown linearisation or
    weighting, steps < 1, or a length that is not positive.
    Source: Singhal et al. 2024, arXiv 2407.07998; deviation: x_t follows the increment,
    not the path, for a smaller bias.
    """
    _check(process, kind, length, steps, linearisation, weighting)
    law = uniform_time(process) if time is None else time

    def loss_fn(params, key, x0, t=None, **cond):
        key_time, key_path, key_noise = jax.random.split(key, 3)
        dtype = working_dtype(x0)
        t = jnp.asarray(law(jax.random.uniform(key_time, (), dtype)) if t is None else t, dtype)
        eps = jax.random.normal(key_noise, x0.shape, dtype)
        s = t - jnp.minimum(jnp.asarray(length, dtype), t)
        start = _simulate(process, key_path, x0.astype(dtype), s, steps)
        part = nonlinear.increment(process, start, s, t, linearisation=linearisation)
        z = (part.mean + nonlinear.factor_times(part, eps)).astype(x0.dtype)
        score = apply(params, z, t, **cond)
        chex.assert_equal_shape([score, x0])
        error = score.astype(dtype) - nonlinear.increment_score(part, eps)
        if weighting == "likelihood":
            return jnp.sum(nonlinear.unstir(process, z.astype(dtype), t, error) ** 2) / 2
        weight = t - s if weighting is None else jnp.asarray(weighting(t), dtype)
        return weight * jnp.mean(error**2)

    loss_fn.time = law
    return loss_fn


def _simulate(process, key, z, stop, steps):
    """z [*event] at `stop`, from time 0."""

    def body(z, i):
        eps = jax.random.normal(jax.random.fold_in(key, i), z.shape, z.dtype)
        ends = stop * i / steps, stop * (i + 1) / steps
        return nonlinear.advance(process, z, *ends, eps), None

    return jax.lax.stop_gradient(jax.lax.scan(body, z, jnp.arange(steps))[0])


def _check(process, kind, length, steps, linearisation, weighting):
    name = "losses.score.local"
    if not hasattr(process, "prior"):
        raise ValueError(
            f"{name}: the process must be a NonlinearForward; got {type(process).__name__}"
        )
    if kind != "score":
        raise ValueError(f"{name}: kind must be 'score'; got {kind!r}")
    if is_concrete(length) and not length > 0:
        raise ValueError(f"{name}: length must be positive; got {length}")
    if steps < 1:
        raise ValueError(f"{name}: steps must be at least 1; got {steps}")
    nonlinear.check_linearisation(name, linearisation)
    if not (weighting is None or weighting == "likelihood" or callable(weighting)):
        raise ValueError(
            f"{name}: weighting must be None, 'likelihood' or a function of t; got {weighting!r}"
        )
