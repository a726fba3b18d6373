"""Settings for all tests: pictures are drawn in memory, closed after each test."""

import contextlib
import gc
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

os.environ["MPLBACKEND"] = "Agg"


def pytest_configure(config):
    """Programs here run once on a few numbers: they are hardly optimised, and kept between runs.

    With JAX_DISABLE_MOST_OPTIMIZATIONS=0 they are optimised as usual. Each worker has programs of
    its own, for JAX writes them without a lock.
    """
    settings = {
        "jax_compilation_cache_dir": str(
            config.cache.mkdir("programs-" + os.environ.get("PYTEST_XDIST_WORKER", "main"))
        ),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
    }
    if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
        settings["jax_disable_most_optimizations"] = True
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the processes that tests start


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


TAKE_KEYS = ("data", "gradients", "landscape", "models", "sharpness", "smoothing", "transforms")


@pytest.fixture(autouse=True)
def _keys_are_used_once(request):
    """A random key that is used a second time is an error, in default tests of what takes keys.

    Training is left out: JAX takes keys for used where a loop slices them or vmap moves their axis.
    """
    checked = request.path.parent.name in TAKE_KEYS
    slow = request.node.get_closest_marker("slow")
    with jax.debug_key_reuse(True) if checked and not slow else contextlib.nullcontext():
        yield


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Compiled programs are mapped into memory, and a process may have only so many maps."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def x64():
    """Double precision for the length of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def strict_promotion():
    """Numbers of two dtypes meet only where a kernel says what they become.

    A file of tests takes it with `pytestmark = pytest.mark.usefixtures("strict_promotion")`; what
    goes through optax breaks under it.
    """
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def compilations(caplog):
    """Counts the programs that XLA compiles while a function is called.

    Reuse of keys is not looked for, as that compiles programs of its own for NumPy's arrays.
    """

    def count(function):
        caplog.clear()
        with jax.log_compiles():
            jax.block_until_ready(function())
        return sum(record.getMessage().startswith("Compiling") for record in caplog.records)

    with jax.debug_key_reuse(False):
        yield count


@pytest.fixture(scope="session")
def drawn_network():
    """Makes a network whose parameters NumPy draws, so that nothing is compiled for them."""

    def draw(network, seed=0, **options):
        rng = np.random.default_rng(seed)
        abstract = nnx.eval_shape(lambda: network(rngs=nnx.Rngs(0), **options))
        graphdef, state = nnx.split(abstract)

        def values(leaf):
            fan_in = max(1, math.prod(leaf.shape[:-1]))
            return jnp.asarray(rng.normal(size=leaf.shape) / math.sqrt(fan_in), leaf.dtype)

        return nnx.merge(graphdef, jax.tree.map(values, state))

    return draw


@pytest.fixture(scope="session")
def real_data_dir():
    """The folder of the real sets, where JAXNOISE_DATA_DIR names one."""
    folder = os.environ.get("JAXNOISE_DATA_DIR")
    if not folder:
        pytest.skip("JAXNOISE_DATA_DIR is not set")
    return folder


class Normalised(nnx.Module):
    """A convolution, batch normalisation and a read-out, which take no time to compile."""

    def __init__(self, *, num_classes, in_channels, rngs):
        self.conv = nnx.Conv(in_channels, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.readout = nnx.Linear(4, num_classes, rngs=rngs)

    def __call__(self, x):
        return self.readout(nnx.relu(self.norm(self.conv(x))).mean((1, 2)))


@pytest.fixture
def small_resnet(monkeypatch):
    """Puts a small network with batch normalisation in ResNet18's place."""
    monkeypatch.setattr("jaxnoise.models.ResNet18", Normalised)


@pytest.fixture
def on_eight_devices():
    """Runs a script in a process with eight simulated devices; gives the JSON of its last line."""

    def run(script):
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


class Experiment:
    """The command line of an experiment.

    Args:
      name: of its package in `experiments`.
      monkeypatch: pytest's.
    """

    def __init__(self, name, monkeypatch):
        self._module = importlib.import_module(f"experiments.{name}")
        self._main = importlib.import_module("experiments._common").main
        self._monkeypatch = monkeypatch

    def __call__(self, *options):
        """Runs it in this process."""
        self._monkeypatch.setattr(sys, "argv", [self._module.__name__, *map(str, options)])
        self._main(self._module.run, self._module.Config)

    def failure(self, *options):
        """The one line that wrong options end with."""
        with pytest.raises(SystemExit) as stopped:
            self(*options)
        message = stopped.value.code
        assert isinstance(message, str)
        assert message.startswith("error: ")
        assert "\n" not in message
        return message

    def as_a_command(self, *options):
        """What it prints as a process of its own."""
        command = [sys.executable, "-m", self._module.__name__, *map(str, options)]
        root = Path(__file__).parents[1]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @staticmethod
    def results(folder):
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def experiments(monkeypatch):
    """Gives the command line of an experiment by its name."""
    return lambda name: Experiment(name, monkeypatch)


@pytest.fixture
def experiment(request, experiments):
    """The experiment that the file of tests is named after."""
    return experiments(request.path.stem.removeprefix("test_"))
