"""Points spread over eight simulated devices, in a process of their own."""

import pytest

SCRIPT = """
import json
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxnoise.landscape import loss_grid, loss_line

assert len(jax.devices()) == 8
rng = np.random.default_rng(0)
params = {"w": rng.normal(size=3).astype(np.float32)}
u, v = ({"w": rng.normal(size=3).astype(np.float32)} for _ in range(2))
data = {"x": rng.normal(size=(11, 3)).astype(np.float32)}
options = {"resolution": 5, "chunk_size": 4, "vmap_points": 2}

def loss_fn(params, batch):
    return jnp.tanh(batch["x"] @ params["w"]) ** 2

def largest_difference(sharding, params=params, **more):
    alone = loss_grid(loss_fn, params, (u, v), data, **options)
    spread = loss_grid(loss_fn, params, (u, v), data, **options, sharding=sharding, **more)
    differences = jax.tree.map(lambda a, b: np.max(np.abs(a - b)), alone, spread)
    return float(max(jax.tree.leaves(differences)))

found = {}
for kind in (AxisType.Auto, AxisType.Explicit):
    line = jax.make_mesh((8,), ("points",), axis_types=(kind,))
    square = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind,) * 2)
    found[f"{kind} line"] = largest_difference(NamedSharding(line, PartitionSpec("points")))
    found[f"{kind} part"] = largest_difference(NamedSharding(square, PartitionSpec("a")))
    found[f"{kind} both"] = largest_difference(NamedSharding(square, PartitionSpec(("a", "b"))))
on_points = NamedSharding(jax.make_mesh((8,), ("points",)), PartitionSpec("points"))
held = jax.device_put(params, jax.devices()[3])
found["parameters held by one device"] = largest_difference(on_points, held)
with tempfile.TemporaryDirectory() as folder:
    found["in a file"] = largest_difference(on_points, path=f"{folder}/grid.npz")
alone = loss_line(loss_fn, params, u, data, resolution=5)
spread = loss_line(loss_fn, params, u, data, resolution=5, sharding=on_points)
found["line"] = float(np.max(np.abs(alone.values - spread.values)))
try:
    loss_line(loss_fn, params, u, data, sharding=NamedSharding(on_points.mesh, PartitionSpec()))
except ValueError as error:
    found["error"] = str(error)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(on_eight_devices):
    found = on_eight_devices(SCRIPT)
    assert "names a mesh axis for the points" in found.pop("error")
    assert len(found) == 9
    assert max(found.values()) < 1e-6, found
