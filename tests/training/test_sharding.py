"""Training spread over eight simulated devices, in a process of their own, and over one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import jaxnoise as jn

START = """
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxnoise as jn
from jaxnoise.training import _replicas, _stream

assert len(jax.devices()) == 8
fit = functools.partial(jn.training.fit, jax.random.key(1), progress=False)
mesh = jax.make_mesh((8,), ("batch",))
sharding = NamedSharding(mesh, PartitionSpec("batch"))


def stream_of(data):
    n = len(data["x"])
    return jn.data.Stream(range(n), lambda i: {name: x[i] for name, x in data.items()})


def largest_difference(a, b):
    def plain(result):
        is_key = lambda x: isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        read = lambda x: np.asarray(jax.random.key_data(x) if is_key(x) else x, float)
        state = result.params, result.model_state, result.opt_state, result.best
        return jax.tree.map(read, (state, result.history.train, result.history.test))

    found = jax.tree.map(lambda x, y: np.max(np.abs(x - y), initial=0), plain(a), plain(b))
    return float(max(jax.tree.leaves(found)))


found = {}
"""

# Examples are coupled by batch normalisation; 48 of them are 6 on each of 8 devices.
DENSE = """
rng = np.random.default_rng(0)
train, test = ({"x": rng.normal(size=(n, 3)).astype(np.float32)} for n in (90, 11))
params, stage = {"w": jnp.ones((3, 5)), "b": jnp.zeros(5)}, jn.schedules.NoiseStage(2, 0.1, 48)
tx = optax.sgd(0.1, 0.9)
parts, watched = set(), True


def loss(params, mean, batch, key):
    h = batch["x"] @ params["w"] + params["b"]
    if watched:
        jax.debug.inspect_array_sharding(h, callback=lambda s: parts.add(s.shard_shape(h.shape)))
    noise = jax.random.normal(key, h.shape)
    normalised = (h - h.mean(0)) * jax.lax.rsqrt(h.var(0) + 0.1) + noise
    return jnp.mean((normalised - batch["x"][:, :1]) ** 2, 1), 0.9 * mean + 0.1 * h.mean(0)


def evaluate(params, mean, batch):
    return jnp.mean((batch["x"] @ params["w"] + params["b"] - mean) ** 2, 1)


def run(train=train, test=test, params=params, stages=stage, **options):
    options = {"test_data": test, "evaluate": evaluate, "keep_best": "loss"} | options
    return fit(loss, params, jnp.zeros(5), tx, train, stages, **options)


alone = run()
parts.clear()
spread = run(sharding=sharding)
found["line"] = largest_difference(alone, spread)
found["parts"] = sorted(parts)
with jax.set_mesh(mesh):
    whole = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    found["in a mesh"] = largest_difference(alone, run(params=whole, sharding=sharding))
start, reached = ({"params": r.params, "opt_state": r.opt_state} for r in (alone, spread))
found["further"] = largest_difference(run(**start), run(**reached, sharding=sharding))
_stream._BLOCK_BYTES = 48 * 12
streams = {"train": stream_of(train), "test": stream_of(test)}
found["stream"] = largest_difference(alone, run(**streams, sharding=sharding))

watched = False  # which changes what is fused
replicas = {"replicas": 16, "replica_mode": "map"}
alone, spread = run(**replicas), run(**replicas, sharding=sharding)
found["replicas"] = largest_difference(alone, spread)
found["parts of the replicas"] = sorted(
    {part.data.shape[0] for x in jax.tree.leaves(spread.params) for part in x.addressable_shards}
)
errors = []
for options in (
    {"stages": jn.schedules.NoiseStage(1, 0.1, 12)},
    {"replicas": 6},
    {"sharding": NamedSharding(mesh, PartitionSpec())},
):
    try:
        run(**{"sharding": sharding} | options)
    except ValueError as error:
        errors.append(str(error))
found["errors"] = errors
"""

NETWORK = """
rng = np.random.default_rng(0)
images = rng.normal(size=(64, 8, 8, 1)).astype(np.float32)
data = {"image": images, "label": rng.integers(0, 10, 64)}
model = jn.models.SmallCNN(in_channels=1, image_size=8, rngs=nnx.Rngs(0))
params, model_state, loss = jn.models.split_train(model, jn.losses.cross_entropy)
stage, tx = jn.schedules.NoiseStage(1, 0.01, 16), optax.sgd(0.01, 0.9)


def run(**options):
    return fit(loss, params, model_state, tx, data, stage, test_data=data, **options)


alone = run()
for kind in (AxisType.Auto, AxisType.Explicit):
    square = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind,) * 2)
    for spec in ("a", ("a", "b")):
        spread = run(sharding=NamedSharding(square, PartitionSpec(spec)))
        found[f"{kind} {spec}"] = largest_difference(alone, spread)
alone = run(replicas=8, replica_mode="map")
found["map"] = largest_difference(alone, run(replicas=8, replica_mode="map", sharding=sharding))
_replicas._FEWEST_STEPS = 0
found["timed"] = largest_difference(alone, run(replicas=8, sharding=sharding))
"""


END = "\nprint(json.dumps(found))"


@pytest.mark.parametrize("replicas", [None, 2])
def test_a_mesh_of_one_device_changes_nothing(replicas):
    def loss(params, mean, batch, key):
        h = batch["x"] @ params
        return (h - batch["x"][:, 0]) ** 2, 0.9 * mean + 0.1 * h.mean()

    def run(sharding):
        result = jn.training.fit(
            jax.random.key(0),
            loss,
            jnp.ones(3),
            jnp.zeros(()),
            optax.sgd,
            {"x": np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)},
            jn.schedules.NoiseStage(2, 0.1, 4),
            replicas=replicas,
            progress=False,
            sharding=sharding,
        )
        return result.params, result.model_state, result.history.train

    mesh = jax.make_mesh((1,), ("devices",), devices=jax.devices()[:1])
    spread = NamedSharding(mesh, PartitionSpec("devices"))
    jax.tree.map(np.testing.assert_array_equal, run(None), run(spread))


@pytest.mark.slow
def test_eight_devices_train_as_one_does(on_eight_devices):
    found = on_eight_devices(START + DENSE + END)
    assert found.pop("parts") == [[6, 5]]
    no_batch, no_replicas, no_axis = found.pop("errors")
    assert no_batch == "batch_size 12 must be a multiple of sharding's 8 parts"
    assert no_replicas == "replicas 6 must be a multiple of sharding's 8 parts"
    assert "names a mesh axis for the batch" in no_axis
    assert found.pop("replicas") == 0
    assert found.pop("parts of the replicas") == [2]
    assert len(found) == 4
    assert max(found.values()) < 1e-6, found


@pytest.mark.slow
def test_networks_with_convolutions(on_eight_devices):
    found = on_eight_devices(START + NETWORK + END)
    assert len(found) == 6
    assert max(found.values()) < 2e-5, found
