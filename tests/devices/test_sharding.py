"""One sampler and one likelihood, placed on several devices in every way, are the same function."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxgen as jg

pytestmark = pytest.mark.devices

MIXTURE = jg.densities.gaussian_mixture(
    [0.3, 0.7], [[-2.0, 0.0], [1.5, 1.0]], np.array([0.09, 0.16])
)
PROCESSES = {"vp": jg.processes.scalar.vp(), "cld": jg.processes.augmented.cld()}


def sampler(process, key):
    """A stochastic sample z [*event] or [c, *event]."""
    solver = jg.solvers.sde.ancestral(process, jg.densities.denoiser(MIXTURE, process))
    key_start, key_solve = jax.random.split(key)
    z = jg.prior(process, (2,)).sample(key_start)
    return jg.solve(key_solve, solver, z, jg.grids.log_snr(process, 6))[0]


def log_prob(process, key):
    """The likelihood [] of a point drawn from the mixture."""
    key_point, key_prob = jax.random.split(key)
    x = jg.densities.distribution(MIXTURE).sample(key_point)
    denoiser = jg.densities.denoiser(MIXTURE, process)
    ts = jg.grids.log_snr(process, 8)
    return jg.likelihoods.flow_ode(process, denoiser, ts, probes=2, order=2)(key_prob, x)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("function", [sampler, log_prob])
def test_sharded_jit_shard_map_and_pmap_agree_with_vmap(name, function):
    one = functools.partial(function, PROCESSES[name])
    many = jax.vmap(one)
    keys = jax.random.split(jax.random.key(0), 8)
    expected = jax.jit(many)(jax.random.clone(keys))
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2], axis_types=(AxisType.Auto,))
    split = PartitionSpec("data")

    placed = jax.device_put(jax.random.clone(keys), NamedSharding(mesh, split))
    sharded = jax.jit(many)(placed)
    assert len(sharded.sharding.device_set) == 2
    mapped = jax.shard_map(many, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
    by_hand = jax.jit(mapped)(jax.random.clone(keys))
    by_pmap = jax.pmap(many, devices=jax.devices()[:2])(jax.random.clone(keys).reshape(2, 4))
    for actual in (sharded, by_hand, by_pmap.reshape(expected.shape)):
        np.testing.assert_allclose(jnp.asarray(actual), expected, rtol=1e-10, atol=1e-12)
