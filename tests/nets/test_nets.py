"""Networks: one example in, one out; vmap is the batch; labels can be left out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import nets

IMAGE = (8, 12, 2)
SMALL = functools.partial(nets.unet, IMAGE, channels=8, blocks=1, num_classes=3)
BUILDERS = {
    "unet": SMALL,
    "unet-matmul": functools.partial(SMALL, convolution="matmul"),
    "unet-one-level": functools.partial(SMALL, patch=1, multipliers=(1,), attention=False),
    "mlp": functools.partial(nets.mlp, IMAGE, width=16, depth=2, num_classes=3),
}


def made(net, seed=0):
    """Random parameters, away from the zero last layer of init."""
    draw = np.random.default_rng(seed)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    scale = lambda a: 0.1 if a.ndim < 2 else 1 / np.sqrt(np.prod(a.shape[:-1]))
    one = lambda a: jnp.asarray(scale(a) * draw.standard_normal(a.shape), a.dtype)
    return jax.tree.map(one, shapes)


class Built:
    """A network with its compiled forms: for one example, and for a batch."""

    def __init__(self, net):
        self.net, self.params = net, made(net)
        self.single = jax.jit(lambda p, x, t, label: net.apply(p, x, t, label=label))
        self.batched = jax.jit(jax.vmap(self.single, (None, 0, 0, 0)))


@functools.cache
def build(name):
    return Built(BUILDERS[name]())


@pytest.fixture(params=BUILDERS)
def built(request):
    return build(request.param)


def batch(n=5):
    draw = np.random.default_rng(1)
    x, t = draw.standard_normal((n, *IMAGE)), draw.uniform(size=n)
    return jnp.asarray(x, jnp.float32), jnp.asarray(t, jnp.float32), jnp.arange(n) % 4


def test_vmap_equals_a_stack_of_single_calls(built):
    x, t, label = batch()
    together = built.batched(built.params, x, t, label)
    alone = [built.single(built.params, *one) for one in zip(x, t, label, strict=True)]
    assert together.shape == x.shape
    assert float(jnp.abs(together).max()) > 0.1
    np.testing.assert_allclose(together, jnp.stack(alone), atol=1e-5)


def test_an_example_does_not_see_its_neighbours(built):
    x, t, label = batch()
    changed = built.batched(built.params, x.at[1:].add(3.0), t, label)
    np.testing.assert_allclose(changed[0], built.batched(built.params, x, t, label)[0], atol=1e-5)


def test_time_and_label_matter_and_labels_can_be_left_out(built):
    x, t, _ = batch(1)
    call = lambda t, label: built.single(built.params, x[0], t, jnp.asarray(label))
    for label in (-1, -7, 77):
        np.testing.assert_array_equal(call(t[0], label), call(t[0], 3))
    for label in range(3):
        assert float(jnp.abs(call(t[0], label) - call(t[0], 3)).max()) > 1e-2
    assert float(jnp.abs(call(t[0] + 0.3, 0) - call(t[0], 0)).max()) > 1e-2


def test_a_label_left_out_is_no_label():
    built, (x, t, _) = build("mlp"), batch(1)
    left_out = built.net.apply(built.params, x[0], t[0])
    none = built.single(built.params, x[0], t[0], jnp.asarray(3))
    np.testing.assert_allclose(left_out, none, atol=1e-6)


@pytest.mark.parametrize("name", [pytest.param("unet", marks=pytest.mark.slow), "mlp"])
def test_starts_at_zero_and_gradients_reach_every_parameter(name):
    built, (x, t, label) = build(name), batch()
    loss = lambda p: ((built.batched(p, x, t, label) - x) ** 2).mean()
    gradient = jax.jit(jax.grad(loss))
    for path, g in jax.tree_util.tree_leaves_with_path(gradient(built.params)):
        assert bool(jnp.isfinite(g).all()), path
        assert float(jnp.abs(g).max()) > 0, path
    params = built.net.init(jax.random.key(0))
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    np.testing.assert_array_equal(built.batched(params, x, t, label), jnp.zeros_like(x))
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient(params))) > 1e-3


def test_matmul_convolution_is_the_native_one():
    built, (x, t, label) = build("unet"), batch()
    native = built.batched(built.params, x, t, label)
    matmul = build("unet-matmul").batched(built.params, x, t, label)
    np.testing.assert_allclose(matmul, native, atol=1e-5)


@pytest.mark.parametrize("name", ["unet", "unet-one-level"])
def test_orientation_is_kept(name):
    """An impulse near one corner is felt most near it: nothing is flipped or transposed."""
    built, (x, t, label) = build(name), batch(1)
    call = lambda x: built.single(built.params, x, t[0], label[0])
    change = jnp.abs(call(x[0].at[1, 10, 1].add(3.0)) - call(x[0])).max(-1)
    near = change[:4, 7:].max()
    assert float(near) == float(change.max())
    assert float(near) > 2 * float(change[4:, :6].max())


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_the_output_has_the_dtype_of_x(built, dtype):
    x, t, _ = batch(1)
    out = jax.eval_shape(built.net.apply, built.params, x[0].astype(dtype), t[0].astype(dtype))
    assert out.dtype == dtype


@pytest.mark.parametrize("name", [pytest.param("unet", marks=pytest.mark.slow), "mlp"])
def test_dtype_is_that_of_the_arithmetic(name):
    built, (x, t, label) = build(name), batch()
    single = built.batched(built.params, x, t, label)
    exact = Built(BUILDERS[name](dtype=jnp.float64))
    exact = exact.batched(built.params, x.astype(jnp.float64), t, label)
    coarse = Built(BUILDERS[name](dtype=jnp.bfloat16)).batched(built.params, x, t, label)
    scale = float(jnp.abs(exact).max())
    assert 1e-9 < float(jnp.abs(single - exact).max()) / scale < 1e-4
    assert 1e-4 < float(jnp.abs(coarse - exact).max()) / scale < 0.1


def test_noise_features_replace_time():
    mapped = BUILDERS["mlp"](noise_features=lambda t: jnp.log(t) / 8)
    built, (x, t, label) = build("mlp"), batch(1)
    np.testing.assert_allclose(
        mapped.apply(built.params, x[0], t[0], label=label[0]),
        built.single(built.params, x[0], jnp.log(t[0]) / 8, label[0]),
        atol=1e-6,
    )


def test_default_unet_has_the_documented_size():
    params = jax.eval_shape(nets.unet((28, 28, 1), num_classes=10).init, jax.random.key(0))
    assert sum(a.size for a in jax.tree.leaves(params)) == 492_740


def test_energies_are_scalars():
    net = nets.mlp((2,), width=8, depth=1, out_shape=())
    assert net.apply(made(net), jnp.ones(2), jnp.ones(())).shape == ()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: nets.unet((28, 28)), "event_shape"),
        (lambda: nets.unet((9, 8, 1)), "multiples of 4"),
        (lambda: nets.unet((28, 28, 1), multipliers=(1, 2, 2), blocks=1), "multiples of 8"),
        (lambda: nets.unet((28, 28, 1), multipliers=()), "multipliers"),
        (lambda: nets.unet((28, 28, 1), blocks=(1, 2, 3)), "blocks"),
        (lambda: nets.unet((28, 28, 1), channels=0), "channels"),
        (lambda: nets.unet((28, 28, 1), patch=0), "patch"),
        (lambda: nets.unet((28, 28, 1), convolution="fast"), "convolution"),
        (lambda: nets.mlp((2,), width=-3), "width"),
        (lambda: nets.mlp((2,), depth=1.5), "depth"),
        (lambda: nets.mlp((2,), num_classes=-1), "num_classes"),
    ],
)
def test_wrong_options_are_refused_by_name(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_wrong_inputs_are_refused_by_name(built):
    x, t, label = batch()
    call = functools.partial(jax.eval_shape, built.net.apply, built.params)
    with pytest.raises(ValueError, match="event shape"):
        call(x, t[0])
    with pytest.raises(ValueError, match="event shape"):
        call(x[0, ..., 0], t[0])
    with pytest.raises(ValueError, match="scalar"):
        call(x[0], t)
    with pytest.raises(ValueError, match="one integer"):
        call(x[0], t[0], label=label)
    with pytest.raises(ValueError, match="one integer"):
        call(x[0], t[0], label=t[0])


def test_labels_need_classes():
    net, (x, t, label) = nets.mlp(IMAGE, width=8), batch(1)
    with pytest.raises(ValueError, match="num_classes"):
        net.apply(made(net), x[0], t[0], label=label[0])
