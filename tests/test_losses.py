"""Losses of single examples against their definitions in double precision."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.losses import classification, cross_entropy, gan, l1, least_squares_gan


def slow_cross_entropy(scores, labels):
    """−log softmax(scores)[label], one example at a time."""
    losses = []
    for row, label in zip(np.asarray(scores, np.float64), labels, strict=True):
        largest = max(row)
        total = sum(math.exp(score - largest) for score in row)
        losses.append(math.log(total) + largest - row[label])
    return losses


def some_scores(num_examples=5, num_classes=4, scale=1.0):
    rng = np.random.default_rng(num_examples)
    scores = scale * rng.normal(size=(num_examples, num_classes))
    return scores, rng.integers(0, num_classes, num_examples)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 5), st.sampled_from([1e-3, 1.0, 1e3]))
def test_cross_entropy_is_its_definition(num_examples, num_classes, scale):
    scores, labels = some_scores(num_examples, num_classes, scale)
    with jax.enable_x64(True):
        losses = cross_entropy(jnp.asarray(scores), {"label": labels})
        assert losses.dtype == jnp.float64
        expected = slow_cross_entropy(scores, labels)
        np.testing.assert_allclose(losses, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 2e-2)])
def test_cross_entropy_in_lower_precision(dtype, tolerance):
    scores, labels = some_scores()
    scores = jnp.asarray(scores, dtype)
    losses = cross_entropy(scores, {"label": labels})
    assert losses.dtype == dtype
    expected = slow_cross_entropy(scores, labels)
    np.testing.assert_allclose(losses.astype(float), expected, rtol=tolerance, atol=tolerance)


def test_gradient_is_softmax_less_one_hot(x64):
    scores, labels = some_scores()
    gradient = jax.grad(lambda s: jnp.sum(cross_entropy(s, {"label": labels})))(jnp.asarray(scores))
    odds = np.exp(scores)
    expected = odds / odds.sum(1, keepdims=True) - np.eye(4)[labels]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)


def test_extreme_scores_stay_finite():
    scores = jnp.array([[1e4, -1e4], [-1e4, 1e4]])
    np.testing.assert_array_equal(cross_entropy(scores, {"label": jnp.array([0, 0])}), [0.0, 2e4])


def test_every_example_counts_alone():
    scores, labels = some_scores()
    together = cross_entropy(jnp.asarray(scores), {"label": labels})
    for i in range(5):
        alone = cross_entropy(jnp.asarray(scores[i : i + 1]), {"label": labels[i : i + 1]})
        np.testing.assert_allclose(alone, together[i : i + 1], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_labels_of_any_integer_type(dtype):
    scores, labels = some_scores()
    losses = cross_entropy(jnp.asarray(scores), {"label": labels.astype(dtype)})
    np.testing.assert_allclose(losses, slow_cross_entropy(scores, labels), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_classification_is_cross_entropy_and_accuracy(dtype):
    scores, labels = some_scores(num_examples=20)
    scores = jnp.asarray(scores, dtype)
    metrics = classification(scores, {"label": labels})
    assert set(metrics) == {"loss", "accuracy"}
    assert metrics["accuracy"].dtype == dtype
    expected = [float(np.argmax(row) == label) for row, label in zip(scores, labels, strict=True)]
    assert 0 < sum(expected) < 20
    np.testing.assert_array_equal(metrics["accuracy"].astype(float), expected)
    np.testing.assert_array_equal(metrics["loss"], cross_entropy(scores, {"label": labels}))


def slow_gan(scores, real):
    """−log σ(s) of real images, −log(1 − σ(s)) of others, averaged over all scores of one."""
    losses = []
    for example in np.asarray(scores, np.float64):
        odds = [1 / (1 + math.exp(-score)) for score in example.ravel()]
        losses.append(-np.mean([math.log(p if real else 1 - p) for p in odds]))
    return losses


def slow_least_squares_gan(scores, real):
    return [np.mean((example - real) ** 2) for example in np.asarray(scores, np.float64)]


ADVERSARIAL = pytest.mark.parametrize(
    ("loss", "slow"), [(gan, slow_gan), (least_squares_gan, slow_least_squares_gan)]
)


@ADVERSARIAL
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("shape", [(4,), (3, 1), (2, 5, 4, 1)])
def test_adversarial_losses_are_their_definitions(x64, loss, slow, real, shape):
    scores = np.random.default_rng(0).normal(size=shape)
    losses = loss(jnp.asarray(scores), real)
    assert losses.dtype == jnp.float64
    np.testing.assert_allclose(losses, slow(scores, real), rtol=1e-12)
    single = loss(jnp.asarray(scores, jnp.float32), real)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, losses, rtol=1e-5)


@ADVERSARIAL
def test_adversarial_losses_mirror(loss, slow):
    """A score says "real" as far as its mirror image says "generated"."""
    scores = jnp.linspace(-3.0, 3.0, 7)
    mirrored = -scores if loss is gan else 1 - scores
    np.testing.assert_allclose(loss(scores, True), loss(mirrored, False), rtol=1e-6)


def test_extreme_scores_have_finite_adversarial_losses():
    scores = jnp.array([1e4, -1e4])
    np.testing.assert_array_equal(gan(scores, True), [0.0, 1e4])
    np.testing.assert_array_equal(gan(scores, False), [1e4, 0.0])


def test_l1_is_the_mean_distance_of_each_example(x64):
    outputs, targets = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 2))
    expected = [np.mean(np.abs(a - b)) for a, b in zip(outputs, targets, strict=True)]
    np.testing.assert_allclose(l1(jnp.asarray(outputs), jnp.asarray(targets)), expected, rtol=1e-12)


def test_l1_does_not_broadcast():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(2, 1\)"):
        l1(jnp.zeros((2, 3)), jnp.zeros((2, 1)))
