"""A small sampler problem in NumPy, for textbook twins of one step after another."""

import numpy as np

import jaxgen as jg

VP, EDM = jg.processes.scalar.vp(), jg.processes.scalar.edm()
X = np.array([1.3, -0.4, 0.2])


def denoise(x, t):
    return np.tanh(x + 0.1) * (1 - t / 2)


def schedule(t):
    alpha, sigma = VP.transition(np.asarray(t))
    return alpha, sigma, np.log(alpha / sigma)


def noise(x, t):
    alpha, sigma, _ = schedule(t)
    return (x - alpha * denoise(x, t)) / sigma
