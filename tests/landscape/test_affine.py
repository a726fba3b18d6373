"""The affine part of a loss, done once for all points, against the loss itself at each of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise.landscape import loss_grid
from jaxnoise.landscape._affine import around

WIDE = 80  # enough numbers for a product to be done beforehand


def normal(seed, *shape, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), shape, dtype)


FROZEN = normal(9, 5, WIDE)
SHAPES = {"w": (WIDE, 5), "b": (5,), "v": (5, 3), "s": ()}


def params_of(seed, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(seed), len(SHAPES))
    drawn = zip(SHAPES.items(), keys, strict=True)
    return {name: 0.3 * jax.random.normal(key, shape, dtype) for (name, shape), key in drawn}


def batch_of(dtype=jnp.float32):
    return {"x": normal(1, 7, WIDE, dtype=dtype), "y": normal(2, 7, 3, dtype=dtype)}


def dense(p, batch):
    hidden = jnp.tanh(batch["x"] @ p["w"] + p["b"])
    return jnp.sum((hidden @ p["v"] - batch["y"]) ** 2, 1)


def scaled(p, batch):
    """Sums and differences, factors and divisors, a transposition, and a layer that is frozen."""
    first = 2.0 * (batch["x"] @ p["w"]) / 3.0 - p["b"]
    second = -(FROZEN.T @ first.T).T.reshape(7, WIDE) - batch["x"] + 1.0
    return jnp.sum(jnp.sin(second[:, 1:]), 1) / (1 + jnp.sum(p["v"] ** 2))


def twice(p, batch):
    """Products of two things that move: one stays a product at every point."""
    return jnp.sum((batch["x"] @ p["w"] @ p["v"]) * jnp.exp(p["s"]), 1) + p["s"] * p["s"]


def inverse(p, batch):
    """A quotient by what moves; and a comparison, whose result has no slope."""
    return 1.0 / (500.0 + jnp.sum(batch["x"] @ p["w"], 1)) * 1e3 + (p["s"] > 0)


def called(p, batch):
    """Calls within calls, and a choice by what moves."""
    inner = jax.jit(lambda w, x: jax.checkpoint(jnp.dot)(x, w))
    hidden = jax.nn.relu(inner(p["w"], batch["x"]))
    return jax.jit(lambda h: jnp.where(h.sum(1) > p["s"], h.max(1), -p["b"].sum()))(hidden)


def looped(p, batch):
    def step(carry, _):
        return jnp.tanh(carry @ p["w"] @ FROZEN + batch["x"]), None

    return jax.lax.scan(step, batch["x"], length=2)[0].sum(1)


def of_data(p, batch):
    return jnp.sum(batch["x"], 1)


def regular(p, batch):
    """The outputs themselves are affine; a sum of squares that no example bears on is not."""
    decay = sum(jnp.vdot(w, w) for w in jax.tree.leaves(p))
    return {
        "out": (batch["x"] @ p["w"])[:, 0],
        "one": jnp.ones(7),
        "all": of_data(p, batch) + decay,
    }


LOSSES = [dense, scaled, twice, inverse, called, looped, of_data, regular]


@pytest.mark.parametrize("loss_fn", LOSSES)
def test_as_the_loss_itself(loss_fn):
    params, directions, batch = params_of(3), (params_of(4), params_of(5)), batch_of()
    points = np.random.default_rng(0).uniform(-2, 2, (6, 2)).astype(np.float32)
    found = jax.jit(lambda points: jax.lax.map(around(loss_fn, params, directions, batch), points))
    with jax.enable_x64():
        exact, u, v = (params_of(seed, jnp.float32) for seed in (3, 4, 5))
        wide = jax.tree.map(lambda x: x.astype(jnp.float64), (exact, u, v, batch))
        for point, metrics in zip(points, _rows(found(points)), strict=True):
            a, b = point.astype(float)
            at = jax.tree.map(lambda w, u, v, a=a, b=b: w + a * u + b * v, *wide[:3])
            expected = loss_fn(at, wide[3])
            jax.tree.map(
                lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4),
                metrics,
                expected,
            )


def _rows(metrics):
    return [jax.tree.map(lambda x, i=i: np.asarray(x[i]), metrics) for i in range(6)]


def products_in_the_loop(loss_fn, params, batch=None):
    """The first operands' shapes of the products that are done for every point."""
    directions, batch = (params, params), batch or batch_of()

    def run(points):
        return jax.lax.map(around(loss_fn, params, directions, batch), points)

    (scan,) = (e for e in jax.make_jaxpr(run)(jnp.zeros((6, 2))).eqns if e.primitive.name == "scan")
    body = scan.params["jaxpr"].eqns
    return [e.invars[0].aval.shape for e in body if e.primitive.name == "dot_general"]


def test_the_first_layer_is_done_beforehand():
    assert products_in_the_loop(dense, params_of(3)) == [(7, 5)]
    assert products_in_the_loop(scaled, params_of(3)) == []
    assert products_in_the_loop(called, params_of(3)) == []


def test_products_of_two_that_move_stay():
    assert products_in_the_loop(twice, params_of(3)) == [(7, 5)]


def test_short_products_stay():
    """What would stand for them takes as long to read."""
    params = params_of(3) | {"w": normal(1, 4, 5)}
    batch = batch_of() | {"x": normal(2, 7, 4)}
    assert products_in_the_loop(dense, params, batch) == [(7, 4), (7, 5)]


def test_half_precision_is_not_reordered():
    """The parameters are rounded where they are shifted, as they are in training."""
    params, batch = params_of(3, jnp.bfloat16), batch_of(jnp.bfloat16)
    assert products_in_the_loop(dense, params, batch) == [(7, WIDE), (7, 5)]
    point = jnp.array([0.3, -0.7])
    found = around(dense, params, (params, params), batch)(point)
    c = point.astype(jnp.bfloat16)
    at = jax.tree.map(lambda w: w + c[0] * w + c[1] * w, params)
    np.testing.assert_array_equal(found, dense(at, batch))


def test_a_loss_that_speaks_does_so_at_every_point():
    said = []

    def loss_fn(w, batch):
        losses = batch @ w
        jax.debug.callback(lambda total: said.append(float(total)), losses.sum())
        return losses

    plane = (jnp.ones(WIDE), jnp.zeros(WIDE))
    loss_grid(loss_fn, jnp.zeros(WIDE), plane, jnp.ones((2, WIDE)), radius=1.0, resolution=3)
    jax.effects_barrier()
    assert sorted(said) == sorted([-2.0 * WIDE] * 3 + [0.0] * 4 + [2.0 * WIDE] * 3)
