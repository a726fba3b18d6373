"""A growing batch made of micro-batches is the growing batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage, accumulation_schedule, noise_stages, stage_schedule

STAGES = noise_stages(
    "hybrid",
    learning_rate=0.1,
    batch_size=8,
    num_stages=3,
    epochs_per_stage=2,
    decay=0.5,
    batch_growth=2,
)
N = 64


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    stages=st.lists(
        st.builds(
            lambda epochs, k: NoiseStage(epochs, 0.1, 3 * k), st.integers(1, 3), st.integers(1, 4)
        ),
        min_size=1,
        max_size=4,
    ),
    num_examples=st.integers(1, 40),
)
def test_updates_are_those_of_whole_batches(stages, num_examples):
    """Micro-batch after micro-batch, as `MultiSteps` counts them."""
    every_k = accumulation_schedule(stages, 3, num_examples)
    expected = [
        s.batch_size for s in stages for _ in range(s.epochs * -(-num_examples // s.batch_size))
    ]
    counts = np.asarray(every_k(jnp.arange(500)))  # at most 4·3·40 updates
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(3 * counts[: len(expected)], expected)
    np.testing.assert_array_equal(3 * counts[len(expected) :], expected[-1])


@pytest.fixture(scope="module")
def network():
    """A network of two layers, data, and the mean loss of a batch."""
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(3, 4)) / 2, "v": rng.normal(size=4) / 2}
    data = {"x": rng.normal(size=(N, 3)), "y": rng.normal(size=N)}

    def loss_fn(params, batch):
        return (jnp.tanh(batch["x"] @ params["w"]) @ params["v"] - batch["y"]) ** 2

    as_single = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float32))
    return as_single(params), as_single(data), loss_fn


def sgd(schedule):
    return optax.sgd(schedule, momentum=0.9)


def test_loop_over_micro_batches_is_the_loop_over_batches(network):
    """The data in order, each example once an epoch."""
    params, data, loss_fn = network
    grad = jax.jit(jax.grad(lambda params, batch: loss_fn(params, batch).mean()))

    def train(tx, batch_sizes):
        update = jax.jit(tx.update)
        p, state = params, tx.init(params)
        start = 0
        for size in batch_sizes:
            batch = {name: x[start : start + size] for name, x in data.items()}
            start = (start + size) % N
            updates, state = update(grad(p, batch), state, p)
            p = optax.apply_updates(p, updates)
        return p

    schedule = stage_schedule(STAGES, N)
    sizes = [s.batch_size for s in STAGES for _ in range(s.epochs * s.steps_per_epoch(N))]
    whole = train(sgd(schedule), sizes)
    tx = optax.MultiSteps(sgd(schedule), accumulation_schedule(STAGES, 4, N))
    micro = train(tx, [4] * (6 * N // 4))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, micro, whole)


def test_fit_of_micro_batches_is_the_fit_of_stages(network):
    """One program of one shape; the order of the examples is the same, as it is the epoch's."""
    params, data, loss_fn = network

    def train_loss(params, model_state, batch, key):
        return loss_fn(params, batch), model_state

    fit = functools.partial(
        jn.training.fit, jax.random.key(0), train_loss, params, (), data=data, progress=False
    )
    stages = STAGES[:2]
    whole = fit(sgd, stages=stages)
    tx = optax.MultiSteps(sgd(stage_schedule(stages, N)), accumulation_schedule(stages, 8, N))
    micro = fit(tx, stages=NoiseStage(4, 0.1, 8))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, micro.params, whole.params)
    assert micro.opt_state.gradient_step == whole.history.steps[-1]
    assert micro.opt_state.mini_step == 0


@pytest.mark.parametrize(
    ("stages", "size", "num_examples", "message"),
    [
        ([], 1, 10, "stages is empty"),
        (STAGES, 8, 0, "num_examples must be at least 1, got 0"),
        (STAGES, 0, 10, "micro_batch_size must be at least 1, got 0"),
        (STAGES, 16, 64, "micro_batch_size 16 must divide the batch size of every stage, got 8"),
    ],
)
def test_wrong_arguments(stages, size, num_examples, message):
    with pytest.raises(ValueError, match=message):
        accumulation_schedule(stages, size, num_examples)
