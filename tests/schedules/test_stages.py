"""Stages in which the noise decays by one factor, by four methods."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.schedules import NoiseStage, noise_stages

FIVE = {"learning_rate": 0.1, "num_stages": 5, "epochs_per_stage": 40, "decay": 1 / np.sqrt(2)}
RATES = {
    "constant": np.ones(5),
    "decay_lr": 0.5 ** (np.arange(5) / 2),
    "grow_batch": np.ones(5),
    "hybrid": 0.75 ** (np.arange(5) / 2),
}


@pytest.mark.parametrize(
    ("method", "batch_sizes"),
    [
        ("constant", [128] * 5),
        ("decay_lr", [128] * 5),
        ("grow_batch", [16, 32, 64, 128, 256]),
        ("grow_batch", [32, 64, 128, 256, 512]),
        ("hybrid", [32, 48, 72, 108, 162]),
    ],
)
def test_methods_of_the_paper(method, batch_sizes):
    stages = noise_stages(method, batch_size=batch_sizes[0], **FIVE)
    assert [stage.batch_size for stage in stages] == batch_sizes
    assert [stage.epochs for stage in stages] == [40] * 5
    rates = [stage.learning_rate for stage in stages]
    np.testing.assert_allclose(rates, 0.1 * RATES[method], rtol=1e-12)


@settings(deadline=None, derandomize=True)
@given(
    method=st.sampled_from(["decay_lr", "grow_batch", "hybrid"]),
    decay=st.floats(0.3, 1),
    growth=st.floats(0, 1),
    batch_size=st.integers(1, 512),
)
def test_noise_decays_by_the_factor(method, decay, growth, batch_size):
    """η/√b up to the rounding of b; κ ≤ 1 ≤ λ."""
    growth = decay ** (-2 * growth) if method == "hybrid" else None  # 1 … 1/γ²
    stages = noise_stages(
        method, batch_size=batch_size, batch_growth=growth, **(FIVE | {"decay": decay})
    )
    size = np.array([stage.batch_size for stage in stages])
    rate = np.array([stage.learning_rate for stage in stages])
    assert (np.diff(size) >= 0).all()
    assert (np.diff(rate) <= 0).all()
    noise = rate / np.sqrt(size) / (0.1 / np.sqrt(batch_size))
    wanted = decay ** np.arange(5)
    assert (noise >= wanted * (1 - 1e-8)).all()
    assert (noise <= wanted * np.sqrt(1 + 1 / size) * (1 + 1e-8)).all()


def test_batches_are_rounded_down_from_the_exact_product():
    stages = noise_stages("hybrid", batch_size=5, **FIVE)
    assert [stage.batch_size for stage in stages] == [5, 7, 11, 16, 25]


@pytest.mark.parametrize("growth", [1.1, 1.2, 1.25, 4 / 3])
def test_whole_products_survive_floating_point(growth):
    size = {1.1: 1000, 1.2: 625, 1.25: 256, 4 / 3: 81}[growth]
    numerator, denominator = {1.1: (11, 10), 1.2: (6, 5), 1.25: (5, 4), 4 / 3: (4, 3)}[growth]
    stages = noise_stages("hybrid", batch_size=size, batch_growth=growth, **(FIVE | {"decay": 0.5}))
    expected = [size * numerator**m // denominator**m for m in range(5)]
    assert [stage.batch_size for stage in stages] == expected


def test_growth_that_does_it_alone_keeps_the_learning_rate():
    stages = noise_stages("hybrid", batch_size=16, batch_growth=2, **FIVE)
    assert stages == noise_stages("grow_batch", batch_size=16, **FIVE)
    assert stages == noise_stages("grow_batch", batch_size=16, batch_growth=2, **FIVE)


def test_learning_rate_may_be_traced():
    def last(rate):
        return noise_stages("hybrid", batch_size=32, **(FIVE | {"learning_rate": rate}))[-1]

    rates = jax.jit(lambda rate: last(rate).learning_rate)(0.1)
    np.testing.assert_allclose(rates, 0.1 * 0.75**2, rtol=1e-6)


def test_one_stage():
    one = FIVE | {"num_stages": 1}
    assert noise_stages("hybrid", batch_size=32, **one) == (NoiseStage(40, 0.1, 32),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "both"}, "method must be one of constant, decay_lr, grow_batch, hybrid"),
        ({"decay": 0.0}, r"decay must be in \(0, 1\], got 0.0"),
        ({"decay": 1.5}, r"decay must be in \(0, 1\], got 1.5"),
        ({"num_stages": 0}, "num_stages must be at least 1, got 0"),
        ({"batch_size": 8.5}, "batch_size must be a whole number of at least 1, got 8.5"),
        ({"epochs_per_stage": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"batch_growth": 2.1}, r"must be in \[1, 1/decay² = 2\].*got 2.1"),
        ({"batch_growth": 0.9}, r"batch_growth must be in \[1.*got 0.9"),
        ({"method": "grow_batch", "batch_growth": 1.5}, "of 'grow_batch' is 2, got 1.5: leave it"),
        ({"decay": 0.9}, r"must be in \[1, 1/decay² = 1.23457\].*got 1.5"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        noise_stages(**({"method": "hybrid", "batch_size": 32} | FIVE | arguments))
