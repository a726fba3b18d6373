"""Two processes of two simulated devices each train together, as one device does alone."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import functools
import json
import sys

import jax

number, count, port, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if count > 1:
    jax.distributed.initialize(f"localhost:{port}", num_processes=count, process_id=number)

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import NamedSharding, PartitionSpec

import jaxnoise as jn
from jaxnoise.training import _stream


class Network(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(4, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.readout = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.readout(self.dropout(nnx.relu(self.norm(self.dense(x)))))


rng = np.random.default_rng(0)
whole = {"image": rng.normal(size=(35, 4)), "label": rng.integers(0, 3, 35)}
train, test = ({k: x[part] for k, x in whole.items()} for part in (slice(24), slice(24, 35)))
params, model_state, loss = jn.models.split_train(Network(nnx.Rngs(0)), jn.losses.cross_entropy)
tx = optax.chain(optax.sgd(0.1, 0.9), optax.add_noise(1e-4, 0.5, jax.random.key(3)))
mesh = jax.make_mesh((len(jax.devices()),), ("batch",))
assert mesh.size == (4 if count > 1 else 1)
sharding = NamedSharding(mesh, PartitionSpec("batch"))
stage = jn.schedules.NoiseStage(2, 0.1, 8)
read = []


def stream_of(data):
    def example(i):
        read.append(i)
        return {name: x[i] for name, x in data.items()}

    return jn.data.Stream(range(len(data["label"])), example)


def run(train=train, test=test, key=jax.random.key(1), **options):
    start = (key, loss, params, model_state, tx, train, stage)
    return jn.training.fit(*start, test_data=test, sharding=sharding, **options)


def numbers(result):
    def plain(x):
        x = jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        return np.asarray(x if x.is_fully_addressable else process_allgather(x, tiled=True))

    state = jax.tree.map(plain, (result.params, result.model_state, result.opt_state))
    leaves = jax.tree.leaves((state, result.history.train, result.history.test))
    return [np.ravel(x).astype(float).tolist() for x in leaves]


class Stopped(Exception):
    pass


def stop(epoch, *args):
    if epoch == 2:
        raise Stopped


def resumed(**options):
    options["checkpoint_dir"] = f"{folder}/{'-'.join(['run', *options])}"
    try:
        run(on_epoch=stop, **options)
    except Stopped:
        pass
    return run(**options)


found = {"memory": numbers(run())}
_stream._BLOCK_BYTES = 8 * 20
found["stream"] = numbers(run(stream_of(train), stream_of(test)))
found["read"] = len(read)
found["replicas"] = numbers(run(replicas=4))
found["resumed"] = numbers(resumed())
found["resumed replicas"] = numbers(resumed(replicas=4))
if count > 1:
    for name, options in {
        "different": {"key": jax.random.key(number)},
        "folder": {"checkpoint_dir": sys.executable},
    }.items():
        try:
            run(**options)
        except (OSError, ValueError) as error:
            found[name] = str(error)
print(json.dumps(found))
"""


def started(number, count, port, folder, devices):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-W", "error", "-c", SCRIPT, number, count, port, folder]
    return subprocess.Popen(
        list(map(str, command)),
        cwd=Path(__file__).parents[2],
        env=os.environ | {"XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def found_by(process):
    """What the process has found, and what it wrote on standard error."""
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1]), errors


@pytest.fixture
def port():
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


@pytest.mark.slow
def test_two_processes_train_as_one_device_does(port, tmp_path):
    both = [started(number, 2, port, tmp_path, 2) for number in range(2)]
    (first, shown), (second, hidden) = map(found_by, both)
    for checkpoint in tmp_path.glob("*/2"):  # so that one device goes on from what they left
        shutil.rmtree(checkpoint)
    assert len(list(tmp_path.glob("*/1"))) == 2
    alone, _ = found_by(started(0, 1, port, tmp_path, 1))
    assert "2/2 epochs" in shown
    assert "epochs" not in hidden
    for found in (first, second):
        assert "the processes were given different values" in found.pop("different")
    assert "give another checkpoint_dir" in first.pop("folder")
    assert "the first process has failed" in second.pop("folder")
    assert max(first.pop("read"), second.pop("read")) < 0.6 * alone.pop("read")
    assert first == second
    assert first.keys() == alone.keys()
    for name in alone:
        for ours, theirs in zip(first[name], alone[name], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)
