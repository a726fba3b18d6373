"""Parameters that are shared, transformed, half hidden or unused: gradients are what they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxnoise.gradients import _reduce
from jaxnoise.gradients._per_example import example_gradients
from jaxnoise.gradients._taps import taps_of
from jaxnoise.models import convolution


@jax.jit
def reductions(loss_fn, params, other, weights, data):
    """Norms and sums, of the gradients and of what is left of them; and the gradients."""
    reduce = functools.partial(
        _reduce.reduce_gradients, taps_of(loss_fn, params, data), params, data, weights=weights
    )
    ours = reduce(), reduce(center=other), reduce(minus=other)
    return ours, [example_gradients(loss_fn, w, data) for w in (params, other)]


def wide_leaves(tree):
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def slow_norms(leaves):
    return [np.sum(leaf.reshape(len(leaf), -1) ** 2, axis=1) for leaf in leaves]


def total_norms(gradients):
    return sum(slow_norms(wide_leaves(gradients)))


def less(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def assert_close(ours, twin, rtol=1e-10):
    for mine, other in zip(ours, twin, strict=True):
        scale = np.abs(other).max(initial=0)
        np.testing.assert_allclose(mine, other, rtol=rtol, atol=rtol * scale + 1e-300)


def drawn(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


X, IMAGES = drawn(4, 3), drawn(4, 5, 4, 2)
TOKENS = np.array([[0, 2, 2], [6, 6, 6], [1, 0, 1], [5, 3, 4]])
W, SQUARE, STACK = {"w": drawn(3, 2)}, {"w": drawn(3, 3)}, {"w": drawn(4, 3, 3)}
PAIR = {"w": drawn(3, 3), "v": drawn(3, 3) + 0.5}
CASES = {}


def case(params, **data):
    def add(loss_of_one):
        CASES[loss_of_one.__name__] = (jax.vmap(loss_of_one, (None, 0)), params, data)
        return loss_of_one

    return add


@case(SQUARE, x=X)
def used_twice(p, e):
    return jnp.sum(jnp.sin(jnp.tanh(e["x"] @ p["w"]) @ p["w"]))


@case(W, x=X)
def transposed(p, e):
    return jnp.sum(jnp.sin(jnp.tanh(e["x"] @ p["w"]) @ p["w"].T))


@case({"table": drawn(7, 3)}, i=TOKENS)
def embedding_and_scores(p, e):
    return jnp.sum(jnp.sin(jnp.cumsum(p["table"][e["i"]]) @ jnp.tile(p["table"].T, (3, 1))))


@case(W, x=X)
def weight_decay(p, e):
    return jnp.sum(jnp.sin(e["x"] @ p["w"])) + 0.1 * jnp.sum(p["w"] ** 2)


@case({"w": drawn(3, 2), "scale": drawn(2)}, x=X)
def weight_normalised(p, e):
    return jnp.sum(jnp.sin(e["x"] @ (p["w"] / jnp.linalg.norm(p["w"], axis=0) * p["scale"])))


@case(PAIR, x=X)
def stopped(p, e):
    return jnp.sum(jnp.sin(e["x"] @ p["w"] @ lax.stop_gradient(p["v"])))


@case(SQUARE, x=X)
def straight_through(p, e):
    rounded = p["w"] + lax.stop_gradient(jnp.round(p["w"]) - p["w"])
    return jnp.sum(jnp.sin(e["x"] @ rounded))


@jax.custom_vjp
def clipped_product(w, x):
    return x @ w


clipped_product.defvjp(
    lambda w, x: (x @ w, (w, x)),
    lambda kept, c: (jnp.clip(jnp.outer(kept[1], c), -0.5, 0.5), kept[0] @ c),
)


@case(W, x=X)
def own_backward_rule(p, e):
    return jnp.sum(jnp.sin(clipped_product(2 * p["w"], jnp.sin(e["x"]))))


@jax.custom_jvp
def tripled_product(w, x):
    return x @ w


tripled_product.defjvp(
    lambda at, along: (tripled_product(*at), 3 * at[1] @ along[0] + along[1] @ at[0])
)


@case(W, x=X)
def own_forward_rule(p, e):
    return jnp.sum(jnp.sin(tripled_product(2 * p["w"], jnp.sin(e["x"]))))


@case(STACK, x=X)
def stacked_layers(p, e):
    layer = jax.checkpoint(lambda x, w: (jnp.tanh(x @ w), jnp.sum(x)))
    x, sums = lax.scan(layer, e["x"], p["w"])
    return jnp.sum(x) + sums[1]


@case(SQUARE, x=drawn(4, 5, 3))
def recurrent(p, e):
    return jnp.sum(lax.scan(lambda h, x: (jnp.tanh(h @ p["w"] + x), None), jnp.ones(3), e["x"])[0])


@case(PAIR, x=X)
def branches_on_the_example(p, e):
    return lax.cond(
        e["x"][0] > 0,
        lambda x: jnp.sum(jnp.sin(x @ p["w"])),
        lambda x: jnp.sum(jnp.cos(x @ p["v"])),
        e["x"],
    )


@case(PAIR, x=X)
def branches_on_the_parameters(p, e):
    return jnp.sum(jnp.sin(e["x"] @ lax.cond(p["w"][0, 0] > 0, lambda: p["w"], lambda: p["v"])))


@case(PAIR, x=X)
def chosen_entries(p, e):
    return jnp.sum(jnp.sin(e["x"] @ jnp.where(p["w"] > 0, p["w"], 2 * p["v"])))


@case(W, x=X)
def loop_without_gradient(p, e):
    y = e["x"] @ p["w"]
    size = lax.while_loop(
        lambda s: s > 1, lambda s: s / (1 + jnp.sum(p["w"] ** 2)), jnp.sum(jnp.abs(y))
    )
    return jnp.sum(jnp.sin(y)) * lax.stop_gradient(size)


@case(W, x=X)
def loop_over_stopped_values(p, e):
    y, factor = e["x"] @ p["w"], lax.stop_gradient(1 + jnp.sum(p["w"] ** 2))
    start = lax.stop_gradient(jnp.sum(jnp.abs(y)))
    return jnp.sum(jnp.sin(y)) * lax.while_loop(lambda s: s > 1, lambda s: s / factor, start)


@case(W, x=X)
def fixed_loop(p, e):
    return jnp.sum(lax.fori_loop(0, 3, lambda _, y: jnp.sin(y + e["x"] @ p["w"]), jnp.ones(2)))


@case(SQUARE, x=X)
def solved(p, e):
    return jnp.sum(jnp.sin(jnp.linalg.solve(p["w"], e["x"])))


@case(W, x=X)
def gradient_penalty(p, e):
    return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.tanh(x @ p["w"])))(e["x"]) ** 2)


@case(W, x=X)
def step_inside(p, e):
    loss = lambda w: jnp.sum(jnp.tanh(e["x"] @ w))  # noqa: E731
    return loss(p["w"] - 0.1 * jax.grad(loss)(p["w"]))


@case(W, x=X)
def spectrum(p, e):
    return jnp.sum(jnp.abs(jnp.fft.fft(e["x"]) @ p["w"]) ** 2)


@case({"image": drawn(5, 4, 2)}, k=drawn(4, 3, 3, 2, 3))
def image_of_parameters(p, e):
    y = lax.conv_general_dilated(
        p["image"][None], e["k"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.sum(jnp.sin(y))


@case({"first": drawn(2, 3, 3, 8, 8), "second": drawn(2, 3, 3, 8, 8)}, x=drawn(4, 2, 2, 8))
def kernels_side_by_side(p, e):
    """An ensemble's layer: each kernel meets the same image, and then images of its own."""

    def convolved(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return convolution(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)

    y = jax.vmap(convolved, (None, 0))(e["x"][None], p["first"])
    return jnp.sum(jnp.sin(jax.vmap(convolved)(jnp.tanh(y), p["second"])))


@case({"k": drawn(3, 3, 2, 2)}, x=IMAGES)
def convolved_twice_and_pooled(p, e):
    numbers = ("NHWC", "HWIO", "NHWC")
    y = e["x"][None]
    for _ in range(2):
        y = lax.conv_general_dilated(y, p["k"], (1, 1), "SAME", dimension_numbers=numbers)
        y = lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jnp.sum(jnp.sin(y))


@case({"table": drawn(7, 2)}, i=np.array([[0, -1, 9], [7, 7, 7], [3, 3, -9], [6, 2, 1]]))
def lookups_outside(p, e):
    y = jnp.take(p["table"], e["i"], axis=0, mode="fill", fill_value=0)
    return jnp.sum(jnp.sin(y + jnp.arange(6).reshape(3, 2)))


@case({"table": drawn(7, 2)}, i=np.array([[0, -1, 9], [7, 7, 7], [3, 3, -9], [6, 2, 1]]))
def lookups_clipped(p, e):
    y = jnp.take(p["table"], e["i"], axis=0, mode="clip")
    return jnp.sum(jnp.sin(y + jnp.arange(6).reshape(3, 2)))


@case({"table": drawn(300, 2)}, i=TOKENS.astype(np.int8))
def small_integers_in_a_large_table(p, e):
    return jnp.sum(jnp.sin(jnp.take(p["table"], e["i"], axis=0, mode="clip")))


@case(W, i=TOKENS.astype(np.int8))
def integers(p, e):
    return jnp.sum(jnp.sin(e["i"] @ p["w"]))


@case(W, x=X, unused=TOKENS)
def callback_and_sort(p, e):
    y = jnp.sort(e["x"] @ p["w"])
    jax.debug.callback(lambda y: None, y)
    return jnp.sum(y * jnp.arange(2))


@case({"w": np.float64(2), "none": None, "empty": {}, "idle": drawn(2, 0), "rest": drawn(3)}, x=X)
def scalars_and_unused(p, e):
    return jnp.sum(e["x"]) * p["w"] ** 2


@case(W, x=X)
def independent_of_parameters(p, e):
    return jnp.sum(e["x"])


@case(W, x=X)
def independent_of_the_example(p, e):
    return jnp.sum(p["w"] ** 2)


SLOW = {
    "branches_on_the_example",
    "callback_and_sort",
    "convolved_twice_and_pooled",
    "fixed_loop",
    "image_of_parameters",
    "integers",
    "kernels_side_by_side",
    "lookups_outside",
    "solved",
}
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_every_reduction(name, monkeypatch, x64):
    monkeypatch.setattr(_reduce, "_AT_ONCE", 0)
    loss_fn, params, data = CASES[name]
    params, data = jax.tree.map(jnp.asarray, (params, data))
    other = jax.tree.map(lambda w: 1.2 * w + 0.1, params)
    weights = np.array([0.5, 0, 1, 2])
    loss_fn = jax.tree_util.Partial(loss_fn)
    ours, gradients = reductions(loss_fn, params, other, weights, data)
    (g, h), center = map(wide_leaves, gradients), wide_leaves(other)
    sums = [np.tensordot(weights, leaf, 1) for leaf in g]
    for (norms, mine), left in zip(ours, (g, less(g, center), less(g, h)), strict=True):
        assert_close(norms, slow_norms(left))
        assert_close(mine, sums)
