"""Losses of single examples against their definitions in double precision."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.losses import (
    binary_cross_entropy,
    classification,
    cross_entropy,
    dice,
    dice_bce,
    gan,
    l1,
    l2,
    least_squares_gan,
)

pytestmark = pytest.mark.usefixtures("strict_promotion")


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


@settings(max_examples=5, deadline=None, derandomize=True)
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


@pytest.mark.parametrize(("loss", "power"), [(l1, 1), (l2, 2)])
def test_distances_are_means_over_each_example(x64, loss, power):
    outputs, targets = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 2))
    expected = [np.mean(np.abs(a - b) ** power) for a, b in zip(outputs, targets, strict=True)]
    found = loss(jnp.asarray(outputs), jnp.asarray(targets))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("loss", [l1, l2])
def test_distances_do_not_broadcast(loss):
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(2, 1\)"):
        loss(jnp.zeros((2, 3)), jnp.zeros((2, 1)))


# --- segmentations -----------------------------------------------------------------------------


def slow_dice(p, s):
    return [-2 * np.sum(a * b) / (np.sum(a**2) + np.sum(b**2)) for a, b in zip(p, s, strict=True)]


def slow_cross_entropies(p, s):
    return [-np.mean(b * np.log(a) + (1 - b) * np.log(1 - a)) for a, b in zip(p, s, strict=True)]


SEGMENTATION = [
    (dice, slow_dice),
    (binary_cross_entropy, slow_cross_entropies),
    (dice_bce, lambda p, s: np.array(slow_dice(p, s)) + 10 * np.array(slow_cross_entropies(p, s))),
    (
        functools.partial(dice_bce, dice_weight=3.0, bce_weight=0.5),
        lambda p, s: 3 * np.array(slow_dice(p, s)) + 0.5 * np.array(slow_cross_entropies(p, s)),
    ),
]


@pytest.mark.parametrize(("loss", "slow"), SEGMENTATION)
@pytest.mark.parametrize("logits", [False, True])
def test_losses_of_segmentations_are_their_definitions(x64, loss, slow, logits):
    rng = np.random.default_rng(0)
    scores, targets = 3 * rng.normal(size=(3, 4, 5, 2, 1)), rng.random((3, 4, 5, 2, 1)) < 0.3
    p = 1 / (1 + np.exp(-scores))
    outputs = scores if logits else p
    expected = slow(p, targets)
    losses = loss(jnp.asarray(outputs), jnp.asarray(targets), logits=logits)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    for dtype, tolerance in ((jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)):
        low = loss(jnp.asarray(outputs, dtype), jnp.asarray(targets, jnp.uint8), logits=logits)
        assert low.dtype == jnp.float32
        np.testing.assert_allclose(low, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", [dice, binary_cross_entropy, dice_bce])
def test_nothing_and_certainty_have_finite_losses_and_gradients(loss):
    p = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    targets = jnp.array([[0, 0], [0, 1], [0, 1]])
    losses, pull_back = jax.vjp(lambda p: loss(p, targets), p)
    assert np.isfinite(losses).all()
    assert np.isfinite(pull_back(jnp.ones(3))[0]).all()
    nothing, right, wrong = losses
    assert nothing == 0
    assert right == (0 if loss is binary_cross_entropy else -1)
    assert wrong > right


def test_dice_is_bounded_and_knows_no_size():
    rng = np.random.default_rng(1)
    p, targets = rng.random((4, 50)), rng.random((4, 50)) < 0.5
    losses = dice(p, targets)
    assert (losses >= -1).all()
    assert (losses <= 0).all()
    np.testing.assert_allclose(dice(np.tile(p, 3), np.tile(targets, 3)), losses, rtol=1e-6)


@pytest.mark.parametrize("loss", [dice, binary_cross_entropy, dice_bce])
def test_losses_of_segmentations_do_not_broadcast(loss):
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3, 1\) and \(2, 3\)"):
        loss(jnp.zeros((2, 3, 1)), jnp.zeros((2, 3)))
