"""Estimators that need noise inside a solver: fresh noise at every step."""

import jax

from jaxgen.types import Solver


def refreshed(make_solver, estimator, draw):
    """The Solver make_solver(denoiser) whose denoiser is estimator(z, t, noise) -> [*event] with
    noise = draw(key) drawn afresh at every step, from the step's key.

    With `predictions.from_density` it is reverse diffusion Monte Carlo: a sampler that needs a
    log-density alone. All evaluations of one step share their noise. The noise of the estimator is
    drawn apart from the path, so the path weights that infos report still are weights: the mean of
    exp(target(z_0) + sum - prior(z_n)) is the normaliser, whatever the estimator. A multistep
    method remembers predictions under earlier noise.
    Args: make_solver, such as `lambda f: sde.frozen_score(process, f)`, or `foellmer` with a drift;
    draw(key) -> any tree. Source: Huang et al. 2024, arXiv 2307.02037, algorithm 1; weights derived
    (Andrieu and Roberts 2009, auxiliary variables).
    """
    # Only the shape of what the estimator returns is read from this one.
    shaped = make_solver(lambda z, t: estimator(z, t, draw(jax.random.key(0))))

    def step(key, state, row):
        key_noise, key_step = jax.random.split(key)
        noise = draw(key_noise)
        return make_solver(lambda z, t: estimator(z, t, noise)).step(key_step, state, row)

    return Solver(shaped.plan, shaped.init, step, shaped.order, shaped.evaluations)
