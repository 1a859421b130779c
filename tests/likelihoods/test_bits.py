"""Bits per dimension from nats, and what scaling an image does to them."""

import numpy as np
import pytest

from jaxgen import likelihoods


def test_nats_become_bits():
    assert likelihoods.bits_per_dim(-6 * np.log(2), 3) == pytest.approx(2.0)
    found = likelihoods.bits_per_dim(np.array([0.0, -np.log(16)]), 4)
    np.testing.assert_allclose(found, [0.0, 1.0])


@pytest.mark.parametrize(("levels", "width"), [(256, 2.0), (17, 2.0), (256, 1.0)])
def test_a_uniform_density_on_the_cube_costs_log2_of_the_levels(levels, width):
    """Pixels 0 ... levels - 1, dequantised and scaled to an interval of this width."""
    dim = 28 * 28
    log_prob = -dim * np.log(width)
    found = likelihoods.bits_per_dim(log_prob, dim, levels=levels, width=width)
    assert found == pytest.approx(np.log2(levels))


def test_scaling_the_data_changes_nothing():
    """A density of u = integer + noise, on [0, levels], and of x = 2 u / levels - 1: same bits."""
    levels, dim = 16, 5
    u = np.random.default_rng(0).uniform(0, levels, (7, dim))
    log_u = -((u - 8) ** 2).sum(1) / 32 - dim * np.log(np.sqrt(32 * np.pi))
    log_x = log_u + dim * np.log(levels / 2)
    in_integers = -log_u / dim / np.log(2)
    np.testing.assert_allclose(
        likelihoods.bits_per_dim(log_x, dim, levels=levels), in_integers, rtol=1e-12
    )


def test_refuses_no_dimension():
    with pytest.raises(ValueError, match=r"^likelihoods\.bits_per_dim: dim must .*; got 0"):
        likelihoods.bits_per_dim(0.0, 0)
