"""Settings for all tests: pictures are drawn in memory, closed after each test."""

import gc
import math
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


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
def compilations(caplog):
    """Counts the programs that XLA compiles while a function is called."""

    def count(function):
        caplog.clear()
        with jax.log_compiles():
            jax.block_until_ready(function())
        return sum(record.getMessage().startswith("Compiling") for record in caplog.records)

    return count


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


@pytest.fixture
def quick_compilation():
    """A program that runs once on a few pixels isn't worth optimising."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
