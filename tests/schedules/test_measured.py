"""Stages whose degree of smoothing is the one that is wanted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.schedules import NoiseStage, degree_of_smoothing, noise_stages, stage_for

POSITIVE = st.floats(1e-2, 1e2)
ANY = {
    "delta": POSITIVE,
    "noise_std": POSITIVE,
    "previous": st.builds(
        NoiseStage, epochs=st.just(3), learning_rate=POSITIVE, batch_size=st.integers(1, 512)
    ),
}
UNMEASURED = {"delta": 0.1, "noise_std": 2.0, "previous": NoiseStage(3, 0.1, 16)}


def reached(stage, noise_std):
    return float(degree_of_smoothing(stage.learning_rate, stage.batch_size, noise_std))


@settings(deadline=None, derandomize=True)
@given(**ANY, method=st.sampled_from(["decay_lr", "hybrid"]), growth=st.floats(1, 4))
def test_degree_is_reached_by_the_learning_rate(delta, noise_std, previous, method, growth):
    stage = stage_for(delta, noise_std, previous, method=method, batch_growth=growth)
    np.testing.assert_allclose(reached(stage, noise_std), delta, rtol=1e-6)
    if method == "decay_lr":
        assert stage.batch_size == previous.batch_size
    else:
        assert stage.batch_size <= growth * previous.batch_size * (1 + 1e-9)
        assert stage.batch_size + 1 > previous.batch_size / growth


@settings(deadline=None, derandomize=True)
@given(**ANY)
def test_degree_is_reached_by_the_batch_size_up_to_rounding(delta, noise_std, previous):
    stage = stage_for(delta, noise_std, previous, method="grow_batch")
    assert stage.learning_rate == previous.learning_rate
    exact = (previous.learning_rate * noise_std / delta) ** 2
    assert abs(stage.batch_size - max(exact, 1)) <= 0.5 + 1e-9 * exact


@settings(deadline=None, derandomize=True)
@given(
    **ANY,
    method=st.sampled_from(["decay_lr", "grow_batch", "hybrid"]),
    largest_batch=st.integers(1, 64),
    largest_rate=POSITIVE,
)
def test_limits(delta, noise_std, previous, method, largest_batch, largest_rate):
    limits = {"max_batch_size": largest_batch, "max_learning_rate": largest_rate}
    stage = stage_for(delta, noise_std, previous, method=method, **limits)
    assert 1 <= stage.batch_size <= largest_batch
    assert stage.learning_rate <= largest_rate
    degree = reached(stage, noise_std)
    if method == "hybrid" and largest_rate * noise_std >= delta:  # even one example is enough
        np.testing.assert_allclose(degree, delta, rtol=1e-6)
    elif method in ("decay_lr", "hybrid"):
        nearest = min(delta, largest_rate * noise_std / np.sqrt(stage.batch_size))
        np.testing.assert_allclose(degree, nearest, rtol=1e-6)
        assert stage.batch_size == (
            1 if method == "hybrid" else min(previous.batch_size, largest_batch)
        )
    elif stage.batch_size == largest_batch > 1:  # too much noise, or just enough
        assert degree >= delta * (1 - 0.5 / largest_batch)


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(["decay_lr", "grow_batch", "hybrid"]), st.floats(0.5, 0.8))
def test_constant_noise_gives_the_stages_without_measurement(method, decay):
    """They round each batch size from the first, these from the one before."""
    planned = noise_stages(
        method, learning_rate=0.1, batch_size=4096, num_stages=4, epochs_per_stage=3, decay=decay
    )
    stage = planned[0]
    for m in range(1, 4):
        stage = stage_for(decay**m * 0.1 / 64, 1.0, stage, method=method)
        np.testing.assert_allclose(stage.batch_size, planned[m].batch_size, rtol=1e-3)
        np.testing.assert_allclose(stage.learning_rate, planned[m].learning_rate, rtol=1e-3)


def test_hybrid_needs_no_more_than_the_batch_where_little_changes():
    """Without that limit the learning rate would grow while the noise shrinks."""
    stage = stage_for(0.09, 4.0, NoiseStage(1, 0.1, 16))
    assert stage.batch_size == 19  # of 16/0.9² = 19.75
    assert stage.learning_rate < 0.1


def test_epochs():
    assert stage_for(**UNMEASURED).epochs == 3
    assert stage_for(**UNMEASURED, epochs=7).epochs == 7


def test_arrays_give_numbers():
    stage = stage_for(np.float32(0.1), np.array(2.0), NoiseStage(1, np.float32(0.1), 16))
    assert isinstance(stage.learning_rate, float)
    hash(stage)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delta": 0.0}, "delta must be a positive number, got 0.0"),
        ({"noise_std": float("nan")}, "noise_std must be a positive number, got nan"),
        ({"noise_std": np.inf}, "noise_std must be a positive number, got inf"),
        ({"noise_std": np.ones(2)}, "noise_std must be a positive number"),
        ({"previous": NoiseStage(1, 0.0, 8)}, "previous.learning_rate must be a positive number"),
        ({"max_learning_rate": 0.0}, "max_learning_rate must be a positive number, got 0.0"),
        ({"max_batch_size": 0}, "max_batch_size must be at least 1, got 0"),
        ({"batch_growth": 0.5}, "batch_growth must be at least 1, got 0.5"),
        ({"method": "constant"}, "method must be one of decay_lr, grow_batch, hybrid, got"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        stage_for(**(UNMEASURED | arguments))
    assert "\n" not in str(caught.value)
