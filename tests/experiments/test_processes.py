"""experiments.processes: the learned process, mixing in closed form, and what it refuses."""

import re

import jax
import numpy as np
import pytest

import jaxgen as jg
from experiments.processes import _learn_process, _mixing, _processes
from experiments.processes._run import main

MEANS = np.array([[-2.0, 0.0], [1.5, 0.5], [0.5, -0.6]])
VARIANCES = np.array([[0.5, 0.01], [0.02, 0.2], [0.3, 0.02]])
ENDS = (0.01, 40.0)


@pytest.mark.slow
def test_a_learned_process():
    """An anisotropic mixture: all bounds tie; the learned estimate has half the variance of those
    of the fixed block processes, and its chain of ten steps the highest bound.
    """
    law = jg.densities.gaussian_mixture([0.3, 0.5, 0.2], MEANS, VARIANCES)
    curve = _learn_process.error_curve(jax.random.key(0), law, 4096, low=-8, high=10)
    process, merits = _learn_process.learn(curve, *ENDS, steps=200)
    learned = _learn_process.merit(process, curve)
    fixed = {
        name: _learn_process.merit(_processes.named(name, *ENDS), curve)
        for name in ("vp", "cld", "psld", "hold-3", "hold-4")
    }
    for merit in fixed.values():
        assert float(merit.bound) == pytest.approx(float(learned.bound), abs=2e-3)
        assert float(learned.chain) < 0.5 * float(merit.chain)
    for name in ("cld", "psld", "hold-3"):
        assert float(learned.deviation) ** 2 < 0.5 * float(fixed[name].deviation) ** 2
    assert merits[-1].deviation < 0.5 * merits[0].deviation


def test_mixing_of_one_block():
    """A = -1: KL = (v + m^2 - 1 - log v) / 2 with m = 3 e^-t, v = 1 + (0.01 - 1) e^-2t."""
    ts = np.linspace(0.1, 4.0, 9)
    mean, variance = 3 * np.exp(-ts), 1 - 0.99 * np.exp(-2 * ts)
    exact = (variance + mean**2 - 1 - np.log(variance)) / 2
    np.testing.assert_allclose(_mixing.divergence(np.array([[-1.0]]), ts), exact, rtol=1e-9)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--data", "moons"], "data must be among checkerboard, .*; got moons"),
        (["--processes", "cld"], "processes must begin with vp; got cld"),
        (["--budgets", "2"], "budgets must be at least 5"),
        (["--noise-min", "50"], "0 < noise_min < noise_max must hold; got 50.0, 40.0"),
        (["--steps", "0"], "steps must be at least 2; got 0"),
    ],
)
def test_what_it_refuses(words, line, capsys, tmp_path):
    assert main([*words, "--run", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert re.search(line, error)
