"""Examples spread over eight simulated devices, in a process of their own."""

import pytest

TOLERANCE = 1e-6  # relative: of each squared norm, of other arrays relative to their largest entry

START = """
import functools
import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxnoise as jn
from jaxnoise.gradients import (
    growth_ratio,
    noise_profile,
    noise_projections,
    per_example,
    squared_norms,
    squared_norms_and_mean,
)
from jaxnoise.gradients._per_example import prepare_spread

assert len(jax.devices()) == 8
explicit = NamedSharding(jax.make_mesh((8,), ("all",)), PartitionSpec("all"))
rng = np.random.default_rng(0)
found = {}


def difference(alone, spread, by_entry=False):
    leaves = zip(jax.tree.leaves(alone), jax.tree.leaves(spread), strict=True)
    largest = 0.0
    for a, b in leaves:
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, b.shape, a.dtype, b.dtype)
        scale = np.abs(a) if by_entry else np.max(np.abs(a))
        largest = max(largest, float(np.max(np.abs(a - b) / scale)))
    return largest


def compare(name, function, sharding, loss_fn, params, data, held=None, **options):
    alone = function(loss_fn, params, data, **options)
    spread = function(loss_fn, held or params, data, **options, sharding=sharding)
    found[name] = difference(alone, spread, function is squared_norms)


"""

DENSE = """
params = {"w": rng.normal(size=(3, 4)).astype(np.float32), "v": np.ones(4, np.float32)}


def data_of(n):
    return {"x": rng.normal(size=(n, 3)).astype(np.float32), "y": rng.normal(size=n)}


def loss(params, batch):
    return (jnp.tanh(batch["x"] @ params["w"]) @ params["v"] - batch["y"]) ** 2


def alike(params, batch):
    return 100 * jnp.sum(params["w"]) + 0.1 * loss(params, batch)


def growth(loss_fn, params, data, **options):
    iterates = [params, jax.tree.map(lambda w: w / 2, params)]
    return growth_ratio(loss_fn, iterates, jax.tree.map(jnp.zeros_like, params), data, **options)


data = data_of(21)
by_vmap = functools.partial(squared_norms, method="vmap")
project = functools.partial(noise_projections, jax.random.key(0), num_projections=3)
compare("norms", squared_norms, explicit, loss, params, data, chunk_size=2)
compare("norms by vmap", by_vmap, explicit, loss, params, data, chunk_size=2)
compare("gradients", per_example, explicit, loss, params, data, chunk_size=2)
compare("projections", project, explicit, loss, params, data, chunk_size=2)
compare("nearly alike", noise_profile, explicit, alike, params, data, chunk_size=2)
compare("block by block", noise_profile, explicit, loss, params, data_of(1003), chunk_size=5)
compare("growth", growth, explicit, loss, params, data, chunk_size=2)
compare("five", squared_norms, explicit, loss, params, data_of(5))

square = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
part = NamedSharding(square, PartitionSpec("a"))
both = NamedSharding(square, PartitionSpec(("a", "b")))
compare("part of a mesh", squared_norms, part, loss, params, data, chunk_size=2)
compare("two axes", squared_norms_and_mean, both, loss, params, data, chunk_size=2)
held = jax.device_put(params, jax.devices()[3])
compare("held by one", squared_norms_and_mean, both, loss, params, data, held, chunk_size=2)
with jax.set_mesh(explicit.mesh):
    compare("with a mesh set", squared_norms, explicit, loss, params, data, chunk_size=2)

on_host = data_of(16)
placed = jax.device_put(on_host, explicit)
own = per_example(loss, params, placed, sharding=explicit)
found["placed already"] = difference(per_example(loss, params, on_host), own)
assert {part.data.shape for part in own["w"].addressable_shards} == {(2, 3, 4)}
_, _, examples = prepare_spread(loss, params, data, None, "data", both)
assert {part.data.shape for part in examples.data["x"].addressable_shards} == {(3, 3)}

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("jax").addHandler(handler)
with jax.log_compiles():
    other = jax.tree.map(lambda x: 2 * x, params)
    squared_norms_and_mean(loss, other, data, chunk_size=2, sharding=both)
assert not [m for m in messages if m.startswith("Compiling")], messages


def error(function):
    try:
        function()
    except ValueError as raised:
        return str(raised)


def coupled(params, batch):
    return loss(params, batch) - jnp.mean(batch["x"])


nowhere = NamedSharding(square, PartitionSpec())
broken = {"x": np.where(np.arange(21)[:, None] == 19, np.inf, data["x"]), "y": data["y"]}
found["errors"] = [
    error(lambda: squared_norms(loss, params, data, sharding=nowhere)),
    error(lambda: noise_profile(loss, params, data, sharding=square)),
    error(lambda: squared_norms(coupled, params, data, sharding=both)),
    error(lambda: squared_norms_and_mean(alike, params, broken, sharding=both)),
    error(lambda: jax.jit(functools.partial(per_example, loss, sharding=both))(params, data)),
]
"""

CONVOLUTIONS = """
from flax import nnx

digits = {name: leaf[:43] for name, leaf in jn.data.load("digits").train.items()}
for name, network in {
    "SmallCNN": jn.models.SmallCNN(in_channels=1, image_size=8, rngs=nnx.Rngs(0)),
    "ResNet18": jn.models.ResNet18(in_channels=1, width=8, rngs=nnx.Rngs(0)),
}.items():
    params, loss = jn.models.split(network, jn.losses.cross_entropy)
    for function in (squared_norms, noise_profile):
        compare(f"{name} {function.__name__}", function, explicit, loss, params, digits)
"""


END = "\nprint(json.dumps(found))"


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(on_eight_devices):
    found = on_eight_devices(START + DENSE + END)
    without_axis, no_sharding, coupled, not_finite, inside = found.pop("errors")
    assert "names a mesh axis for the examples" in without_axis
    assert "names a mesh axis for the examples" in no_sharding
    assert "couples the examples" in coupled
    assert "the gradient of example 19 is not finite (1 such examples)" in not_finite
    assert "only outside of transformations" in inside
    assert len(found) == 13
    assert (
        found.pop("nearly alike") < 100 * TOLERANCE
    )  # ḡ rounds at its own size, not that of g − ḡ
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.slow
def test_networks_with_convolutions(on_eight_devices):
    found = on_eight_devices(START + CONVOLUTIONS + END)
    assert len(found) == 4
    assert max(found.values()) < 10 * TOLERANCE, found
