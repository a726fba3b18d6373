"""Numbers at the edge: small precision, huge losses, gradients of zero, ties, a single example."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise import gradients, landscape, losses, sharpness, training, transforms
from jaxnoise.schedules import NoiseStage

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
DATA = {"x": X, "y": np.zeros(6, np.float32)}
W = {"w": jnp.ones(3)}


def new_key():
    return jax.random.key(0)


def squares(params, batch):
    return (batch["x"] @ params["w"] - batch["y"]) ** 2


def scaled(factor):
    return lambda params, batch: factor * squares(params, batch)


def nothing(params, batch):
    return 0 * squares(params, batch)


def assert_finite(tree):
    for leaf in jax.tree.leaves(tree):
        assert np.isfinite(np.asarray(leaf, float)).all()


MEASURES = {
    "per_example": lambda f, w, x: gradients.per_example(f, w, x),
    "profile": lambda f, w, x: gradients.noise_profile(f, w, x),
    "projections": lambda f, w, x: gradients.noise_projections(new_key(), f, w, x, 2),
    "grid": lambda f, w, x: landscape.loss_grid(
        f, w, ({"w": jnp.ones(3)}, {"w": jnp.arange(3.0)}), x, resolution=3
    ),
    "worst_linf": lambda f, w, x: sharpness.worst_case_sharpness(f, w, x, 0.1),
    "worst_l2": lambda f, w, x: sharpness.worst_case_sharpness(f, w, x, 0.1, norm="l2"),
    "average": lambda f, w, x: sharpness.average_sharpness(new_key(), f, w, x, 0.1, num_samples=4),
    "box": lambda f, w, x: sharpness.box_sharpness(f, w, x, 0.1),
    "eigenvalues": lambda f, w, x: sharpness.hessian_eigenvalues(f, w, x, key=new_key()),
    "trace": lambda f, w, x: sharpness.hessian_trace(new_key(), f, w, x, num_samples=3),
}
WITHOUT_NOISE = ("profile", "projections")  # of one example
TOO_LARGE = ("profile", "eigenvalues")  # the squares of these overflow, and that is said


# bfloat16

HALF = {"w": jnp.ones(3, jnp.bfloat16)}


@pytest.mark.parametrize(
    "optimizer", [optax.sgd(0.01), transforms.trsgd(0.01, period=2), transforms.tradam(0.01)]
)
def test_training_in_bfloat16(optimizer):
    def train_loss(params, model_state, batch, key):
        return squares(params, batch), model_state

    stage = NoiseStage(1, 0.01, 2)
    given = (train_loss, HALF, (), optimizer, DATA, stage)
    result = training.fit(new_key(), *given, progress=False)
    assert result.params["w"].dtype == jnp.bfloat16
    assert np.any(result.params["w"] != HALF["w"])
    assert_finite((result.params, result.history.train))


def test_gradients_in_bfloat16():
    assert gradients.per_example(squares, HALF, DATA)["w"].dtype == jnp.bfloat16
    rough, exact = (gradients.noise_profile(squares, w, DATA) for w in (HALF, W))
    for name in ("mean_squared_norm", "covariance_trace", "noise_scale"):
        assert getattr(rough, name).dtype == jnp.float32
        np.testing.assert_allclose(getattr(rough, name), getattr(exact, name), rtol=0.03)


# Huge and tiny losses


@pytest.mark.parametrize("measure", [name for name in MEASURES if name not in TOO_LARGE])
def test_losses_of_huge_scale(measure):
    ours, plain = (MEASURES[measure](f, W, DATA) for f in (scaled(1e30), squares))
    assert_finite(ours)
    if hasattr(plain, "value") and measure != "box":  # which is relative to 1 + L
        np.testing.assert_allclose(ours.value, 1e30 * plain.value, rtol=1e-3)


@pytest.mark.parametrize("measure", TOO_LARGE)
def test_what_is_too_large_is_said(measure):
    with pytest.raises(ValueError, match=r"too large to be squared|no finite second derivatives"):
        MEASURES[measure](scaled(1e30), W, DATA)


def test_a_loss_that_is_high_everywhere():
    measured = gradients.noise_profile(lambda w, x: 1e30 + squares(w, x), W, DATA)
    expected = gradients.noise_profile(squares, W, DATA)
    np.testing.assert_allclose(measured.covariance_trace, expected.covariance_trace, rtol=1e-5)


def test_ascent_does_not_depend_on_the_scale_of_the_loss():
    values = [
        sharpness.worst_case_sharpness(scaled(c), W, DATA, 0.1, norm="l2").value / c
        for c in (1e-30, 1.0, 1e30)
    ]
    np.testing.assert_allclose(values, values[1], rtol=1e-3)
    assert values[1] > 0.1


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("normalization", ["filter_unit", "layer_unit", "filter", "layer"])
def test_directions_of_any_size(size, normalization):
    direction, params = {"w": size * jnp.ones((3, 2))}, {"w": jnp.full((3, 2), 2.0)}
    found = landscape.normalize_direction(direction, params, normalization=normalization)
    even = landscape.normalize_direction(params, params, normalization=normalization)
    np.testing.assert_allclose(found["w"], even["w"], rtol=1e-6)


def test_logits_without_bound():
    logits = jnp.array([[1e30, -1e30]])
    assert losses.binary_cross_entropy(logits, jnp.array([[1, 0]]), logits=True) == 0
    assert_finite(losses.cross_entropy(logits, {"label": jnp.array([1])}))
    assert_finite(losses.gan(logits, real=False))
    slope = jax.grad(lambda x: losses.cross_entropy(x, {"label": jnp.array([1])})[0])(logits)
    np.testing.assert_allclose(slope, [[1, -1]])


# Nothing to measure


@pytest.mark.parametrize("measure", MEASURES)
def test_gradients_of_zero(measure):
    assert_finite(MEASURES[measure](nothing, W, DATA))


@pytest.mark.parametrize("measure", [name for name in MEASURES if name not in WITHOUT_NOISE])
def test_a_single_example(measure):
    assert_finite(MEASURES[measure](squares, W, jax.tree.map(lambda x: x[:1], DATA)))


@pytest.mark.parametrize("measure", WITHOUT_NOISE)
def test_a_single_example_has_no_noise(measure):
    with pytest.raises(ValueError, match="data must hold at least two examples"):
        MEASURES[measure](squares, W, jax.tree.map(lambda x: x[:1], DATA))


@pytest.mark.parametrize(
    "normalization", ["filter_unit", "filter", "layer_unit", "layer", "weight", None]
)
def test_filters_of_zeros(normalization):
    half = jnp.array([[0.0, 1.0], [0.0, 2.0]])
    params = {"zero": jnp.zeros((3, 2)), "half": half, "bias": jnp.zeros(2)}
    assert_finite(landscape.random_directions(new_key(), params, normalization=normalization))
    given = {"zero": jnp.zeros((3, 2)), "half": half, "bias": jnp.ones(2)}
    assert_finite(landscape.normalize_direction(given, params, normalization=normalization))


# Ties


def kinked(params, batch):
    """All that has a corner at w = 0: a rectifier, a maximum of equals, an absolute value."""
    windows = (batch["x"] * 0 + params["w"]).reshape(-1, 3, 1)
    pooled = jax.lax.reduce_window(windows, -jnp.inf, jax.lax.max, (1, 3, 1), (1, 3, 1), "VALID")
    lines = jnp.sum(jax.nn.relu(batch["x"] * params["w"]) + jnp.abs(params["w"]), axis=1)
    return lines + pooled[:, 0, 0] + jnp.max(params["w"]) + jnp.sum(jnp.sort(params["w"]))


@pytest.mark.parametrize("measure", ["per_example", "profile", "worst_linf", "eigenvalues"])
def test_ties_are_broken_in_the_same_way_each_time(measure):
    zero = {"w": jnp.zeros(3)}
    first, again = (MEASURES[measure](kinked, zero, DATA) for _ in range(2))
    assert_finite(first)
    jax.tree.map(np.testing.assert_array_equal, first, again)


# The same in another process

SCRIPT = """
import json, jax, jax.numpy as jnp, numpy as np
import jaxnoise as jn
key = jax.random.key(7)
x = jax.random.normal(key, (12, 4))
def loss_fn(w, batch):
    return (batch["x"] @ w) ** 2
def train_loss(w, state, batch, key):
    return loss_fn(w, batch), state
fitted = jn.training.fit(
    key, train_loss, jnp.ones(4), (), lambda lr: jn.transforms.trsgd(lr), {"x": x},
    jn.schedules.NoiseStage(2, 0.01, 3), progress=False)
found = [
    fitted.params,
    jn.gradients.noise_projections(key, loss_fn, jnp.ones(4), {"x": x}, 3),
    jn.landscape.random_directions(key, jnp.ones((4, 2))),
    jn.volumes.random_ellipsoids(key, (8, 8, 8)),
    jn.data.facades(key, 1, 16)["image"],
    jn.sharpness.average_sharpness(key, loss_fn, jnp.ones(4), {"x": x}, 0.1).value,
]
print(json.dumps([np.asarray(leaf).tobytes().hex() for leaf in jax.tree.leaves(found)]))
"""


@pytest.mark.slow
def test_a_seed_gives_the_same_in_every_process():
    command, root = [sys.executable, "-c", SCRIPT], Path(__file__).parents[1]
    first, again = (
        json.loads(subprocess.run(command, cwd=root, capture_output=True, check=True).stdout)
        for _ in range(2)
    )
    assert len(first) == 7
    assert first == again
