"""Windows spread over eight simulated devices, in a process of their own."""

import pytest

TOLERANCE = 1e-6  # of numbers between −3 and 3

START = """
import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.tree_util import Partial

import jaxnoise as jn
from jaxnoise.volumes import sliding_window

assert len(jax.devices()) == 8
explicit = NamedSharding(jax.make_mesh((8,), ("all",)), PartitionSpec("all"))
square = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
part = NamedSharding(square, PartitionSpec("a"))
both = NamedSharding(square, PartitionSpec(("a", "b")))
rng = np.random.default_rng(0)
found = {}


def compare(name, apply, volume, sharding, *sizes, held=None, **options):
    alone = sliding_window(apply, volume, *sizes, **options)
    spread = sliding_window(held or apply, volume, *sizes, **options, sharding=sharding)
    assert type(alone) is type(spread), name
    assert alone.shape == spread.shape and alone.dtype == spread.dtype, name
    found[name] = float(np.max(np.abs(np.asarray(alone) - np.asarray(spread))))


"""

TINY = """
def network(scale, windows):
    # Tells each voxel's place in its window, and what else is in it.
    ramp = sum(jnp.arange(4.0).reshape(shape) for shape in ((4, 1, 1), (4, 1), (4,))) / 9
    return scale * windows - windows.mean((1, 2, 3), keepdims=True) + ramp


def of_channels(scale, windows):
    return jnp.stack([network(scale, windows[..., 0]), windows[..., 1]], axis=-1)


apply, held = (Partial(network, jax.device_put(0.5, d)) for d in jax.devices()[2:4])
volume = rng.uniform(-1, 1, (9, 6, 7)).astype(np.float32)  # 60 windows in 5 layers
for sharding, name in ((explicit, "explicit"), (part, "part"), (both, "both")):
    compare(f"{name} host", apply, volume, sharding, 4, 2, batch_size=2)
compare("device", apply, jnp.asarray(volume), explicit, 4, 2, batch_size=2)
compare("device automatic", apply, jnp.asarray(volume), both, 4, 2, padding="reflect")
compare("one window", apply, volume[:2, :2, :2], explicit, 4, 2)
compare("held by one", apply, volume, both, 4, 2, batch_size=2, held=held)
channels = np.stack([volume, -volume, volume], axis=-1)
compare("channels", Partial(of_channels, 0.5), channels, explicit, 4, 2)


def error(function):
    try:
        function()
    except ValueError as raised:
        return str(raised)


nowhere = NamedSharding(square, PartitionSpec())
inside = jax.jit(lambda volume: sliding_window(network, volume, 4, 2, sharding=both))
found["errors"] = [
    error(lambda: sliding_window(apply, volume, 4, 2, sharding=nowhere)),
    error(lambda: inside(volume)),
    error(lambda: sliding_window(lambda x: x[:, 1:], volume, 4, 2, sharding=both)),
]
"""

CONVOLUTIONS = """
from flax import nnx

network = jn.models.UNet(in_channels=1, out_channels=1, width=4, ndim=3, rngs=nnx.Rngs(0))
params, model_state, run = jn.models.split_apply(network)


def outputs(run, params, model_state, windows):
    return run(params, model_state, windows[..., None], None)[0][..., 0]


apply = Partial(outputs, run, params, model_state)
volume = rng.uniform(-1, 1, (40, 33, 50)).astype(np.float32)
compare("UNet", apply, volume, explicit, 32, 16)
"""


END = "\nprint(json.dumps(found))"


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(on_eight_devices):
    found = on_eight_devices(START + TINY + END)
    no_axis, inside, shape = found.pop("errors")
    assert "names a mesh axis for the windows" in no_axis
    assert "only outside of transformations" in inside
    assert "apply must keep the shape" in shape
    assert len(found) == 8
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.slow
def test_network_with_convolutions(on_eight_devices):
    found = on_eight_devices(START + CONVOLUTIONS + END)
    assert found["UNet"] < 10 * TOLERANCE, found
