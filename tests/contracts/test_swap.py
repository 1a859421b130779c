"""Swap the process: every loss, solver and likelihood runs under every process where it is defined,
and says why where it is not.

Nothing is computed: shapes and types are, by `jax.eval_shape`. What the numbers must be is in the
other contracts.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen import likelihoods, losses, predictions, solvers
from jaxgen.processes import augmented, diagonal, nonlinear, scalar

EVENT = (2, 2)
ROOT = np.array([[0.1, 0.0, 0.0], [0.2, 0.3, 0.0], [0.5, -0.2, 1.2]])
CURL = np.array([[0.0, -1.0, 0.3], [0.2, 0.0, -1.4], [0.0, 0.4, 0.0]])
PROCESSES = {
    "vp": scalar.vp,
    "ve": scalar.ve,
    "subvp": scalar.subvp,
    "cosine": scalar.cosine,
    "edm": scalar.edm,
    "linear_flow": scalar.linear_flow,
    "monotone": lambda: scalar.monotone(np.array([0.3, -1.0, 0.5])),
    "cld": augmented.cld,
    "psld": augmented.psld,
    "hold-2": lambda: augmented.hold(2),
    "hold-3": augmented.hold,
    "hold-4": lambda: augmented.hold(4),
    "mdm": lambda: augmented.mdm(ROOT, CURL, beta_min=3.0),
    "one block": lambda: augmented.linear([[-0.5]], [[1.0]], beta_min=0.1, beta_max=20.0),
    "anisotropic": lambda: diagonal.anisotropic(
        scalar.vp, 0.1, np.array([[5.0, 8.0], [10.0, 20.0]])
    ),
    "blurring": lambda: diagonal.blurring(EVENT),
}
FAST = ("psld", "anisotropic")
names = [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in PROCESSES]
everybody = pytest.mark.parametrize("name", names)
KEY = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
X = jax.ShapeDtypeStruct(EVENT, jnp.float32)
SAYS_WHY = re.compile(r"^[a-z_]+(\.[a-z_0-9]+)*: .+")


@functools.cache
def make(name):
    return PROCESSES[name]()


def family(name):
    """scalar, blocks or diagonal."""
    if isinstance(make(name), jg.types.DiagonalForward):
        return "diagonal"
    return "scalar" if jg.processes.num_blocks(make(name)) is None else "blocks"


def start(name):
    shape = jg.processes.noise_shape(make(name), EVENT)
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def read(name, z):
    return 0.3 * (z if family(name) != "blocks" else z.sum(0))


def outcome(work, *args):
    """The shapes of work(*args), or the reason why it is not defined."""
    try:
        return jax.eval_shape(work, *args)
    except ValueError as error:
        return "undefined" if SAYS_WHY.match(str(error)) else f"undefined, and unclear: {error}"


def compare(found, undefined):
    """Exactly the undefined ones are undefined; all others gave the shape they should."""
    assert {name for name, shape in found.items() if shape == "undefined"} == set(undefined)


@everybody
def test_losses(name):
    process = make(name)
    apply = lambda params, z, t: params * read(name, z)
    kinds = {kind: kind for kind in ("x0", "eps", "score", "v", "velocity")}
    kinds["edm"] = predictions.edm(0.5)
    made = {
        f"denoising {label}": functools.partial(losses.score.denoising, kind=kind)
        for label, kind in kinds.items()
    }
    weights = {
        w.__name__: w(process)
        for w in (losses.score.snr_weight, losses.score.edm_weight, losses.score.likelihood_weight)
    }
    for label, weight in weights.items():
        made[label] = functools.partial(losses.score.denoising, kind="v", weighting=weight)
    laws = (losses.score.log_normal_noise, losses.score.likelihood_time)
    for law in laws:
        made[law.__name__] = functools.partial(losses.score.denoising, kind="v", time=law(process))
    made |= {
        "implicit": functools.partial(losses.score.implicit, kind="eps"),
        "sliced": functools.partial(losses.score.sliced, kind="eps"),
        "flow": lambda process, apply: losses.flow.conditional_matching(apply, process=process),
    }

    def run(build):
        return lambda params, key, x0: jax.value_and_grad(build(process, apply))(params, key, x0)

    params = jax.ShapeDtypeStruct((), jnp.float32)
    found = {label: outcome(run(build), params, KEY, X) for label, build in made.items()}
    compare(found, ["denoising velocity", "flow"] if family(name) == "blocks" else [])
    for shape in found.values():
        assert shape == "undefined" or [leaf.shape for leaf in shape] == [(), ()]


# Splitting needs a velocity, two of them a pair; stages placed in log-SNR need one log-SNR.
SPLITTING = {"sscs", "verlet", "conjugate"}
STAGES = {"seeds", "refined", "edm_churn", "rho_rk", "dpm_solver"}
SCALAR = {"frozen_score"}  # its linear part is a number


def undefined_solvers(name):
    if family(name) == "blocks":
        pair = jg.processes.num_blocks(make(name)) == 2 and name != "psld"
        return SCALAR if pair else SCALAR | {"verlet"}
    return SPLITTING | STAGES | SCALAR if family(name) == "diagonal" else SPLITTING


@everybody
def test_solvers(name):
    process = make(name)
    denoiser = lambda z, t: read(name, z)
    doors = (solvers.exponential, solvers.sde, solvers.splitting)
    made = {k: f for door in doors for k, f in problems.behind(door).items()}
    del made["langevin"]  # a kernel, not a solver
    made |= {
        f"ode.{method}": lambda process, denoiser, f=f: f(predictions.as_field(process, denoiser))
        for method, f in {"euler": solvers.ode.euler, "heun": solvers.ode.heun}.items()
    }
    ts = jg.grids.uniform(process, 8)

    def run(build):
        return lambda key, z: jg.solve(key, build(process, denoiser), z, ts)[0]

    found = {label: outcome(run(build), KEY, start(name)) for label, build in made.items()}
    compare(found, undefined_solvers(name))
    for shape in found.values():
        assert shape == "undefined" or shape == start(name)
    assert len(found) > 25


@everybody
def test_likelihoods(name):
    process = make(name)
    denoiser = lambda z, t: read(name, z)
    ts = jg.grids.uniform(process, 6)
    flow = functools.partial(likelihoods.flow_ode, process, denoiser, ts)
    made = {
        "exact": flow,
        "probes": functools.partial(flow, probes=2),
        "x0": functools.partial(flow, hold="x0", order=2),
        "adaptive": functools.partial(flow, rtol=1e-3),
        "elbo": lambda: likelihoods.elbo(process, denoiser),
        "chain": lambda: likelihoods.elbo(process, denoiser, ts),
        "importance": lambda: likelihoods.importance(flow(), 2),
        "path weight": lambda: likelihoods.path_weight(process, denoiser, ts),
    }

    def run(build):
        return lambda key, x: build()(key, x)

    found = {label: outcome(run(build), KEY, X) for label, build in made.items()}
    compare(found, [])
    for shape in found.values():
        assert (shape.shape, shape.dtype) == ((), jnp.float32)


def test_nonlinear_processes_are_refused():
    """They have no transition: what needs one says so; what does not is `solvers.sde.reverse`."""
    process = nonlinear.langevin(jg.types.Distribution(draw, quartic))
    denoiser = lambda z, t: z
    loss_fn = losses.score.denoising(process, lambda params, z, t: z, kind="eps")
    works = {
        "corrupt": lambda: jg.corrupt(process, jnp.ones(EVENT), jnp.ones(EVENT), 0.5),
        "denoising": lambda: loss_fn(None, jax.random.key(0), jnp.ones(EVENT)),
        "deis": lambda: solvers.exponential.deis(process, denoiser),
        "ancestral": lambda: solvers.sde.ancestral(process, denoiser),
        "flow_ode": lambda: likelihoods.flow_ode(process, denoiser, np.array([1.0, 0.5])),
        "elbo": lambda: likelihoods.elbo(process, denoiser)(jax.random.key(0), jnp.ones(EVENT)),
        "grid": lambda: jg.grids.log_snr(process, 4),
        "as_score": lambda: jg.as_score(process, denoiser, kind="x0")(jnp.ones(EVENT), 0.5),
    }
    for work in works.values():
        with pytest.raises(ValueError, match="needs a linear process with a transition"):
            work()


def draw(key):
    return jax.random.normal(key, EVENT)


def quartic(x):
    return -jnp.sum(x**4)
