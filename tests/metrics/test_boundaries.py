"""V_Rand, V_Info and thinning against counting pairs, naming sets and flooding by the book."""

import itertools
from collections import Counter, deque

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from jaxnoise.metrics import (
    BoundaryScores,
    best_threshold,
    boundary_scores,
    thin_borders,
    v_info,
    v_rand,
)

pytestmark = pytest.mark.usefixtures("strict_promotion")

FIELDS = "v_rand", "rand_precision", "rand_recall", "v_info", "info_precision", "info_recall"
SHAPE = 5, 6
masks = arrays(np.uint8, SHAPE, elements=st.integers(0, 1))
labels = masks.filter(np.any)
examples = settings(max_examples=60, deadline=None, derandomize=True)


def beside(pixel, shape):
    """Left, upper, right and lower neighbours."""
    y, x = pixel
    around = [(y, x - 1), (y - 1, x), (y, x + 1), (y + 1, x)]
    return [(b, a) for b, a in around if 0 <= b < shape[0] and 0 <= a < shape[1]]


def columns_first(shape):
    return [(y, x) for x in range(shape[1]) for y in range(shape[0])]


def slow_regions(mask):
    regions, count = np.zeros(mask.shape, int), 0
    for seed in columns_first(mask.shape):
        if not mask[seed] or regions[seed]:
            continue
        count += 1
        regions[seed], todo = count, [seed]
        while todo:
            for pixel in beside(todo.pop(), mask.shape):
                if mask[pixel] and not regions[pixel]:
                    regions[pixel] = count
                    todo.append(pixel)
    return regions


def slow_thinning(mask):
    """Soille and Vincent's flooding of two levels, with the states and the flag they have."""
    if not mask.any():
        return np.ones(mask.shape, int)
    dam, level, queued, flag = 0, -1, -2, False
    out = np.where(mask, slow_regions(mask), level)
    fifo = deque()
    for pixel in columns_first(mask.shape):
        if out[pixel] == level and any(mask[other] for other in beside(pixel, mask.shape)):
            out[pixel] = queued
            fifo.append(pixel)
    while fifo:
        pixel = fifo.popleft()
        for other in beside(pixel, mask.shape):
            if out[other] > 0:
                if out[pixel] == queued or (out[pixel] == dam and flag):
                    out[pixel] = out[other]
                elif out[pixel] > 0 and out[pixel] != out[other]:
                    out[pixel], flag = dam, False
            elif out[other] == dam:
                if out[pixel] == queued:
                    out[pixel], flag = dam, True
            elif out[other] == level:
                out[other] = queued
                fifo.append(other)
    return out


def slow_scores(proposal, label, threshold, thin):
    """The fields of `BoundaryScores`, from all pairs of pixels and from explicit partitions."""
    inside = np.asarray(proposal, float) > threshold
    segments = (slow_thinning if thin else slow_regions)(inside)
    regions = slow_regions(label != 0)
    pixels = [pixel for pixel in columns_first(label.shape) if label[pixel]]
    cell = [int(regions[pixel]) for pixel in pixels]
    segment = [int(segments[pixel]) or f"{pixel} alone" for pixel in pixels]
    in_a, in_b, in_both = 0, 0, 0
    for i, j in itertools.product(range(len(pixels)), repeat=2):
        in_a += cell[i] == cell[j]
        in_b += segment[i] == segment[j]
        in_both += cell[i] == cell[j] and segment[i] == segment[j]
    h_a, h_b, h_ab = (entropy(names) for names in (cell, segment, zip(cell, segment, strict=True)))
    rand = in_both / in_b, in_both / in_a
    info = (0, 1) if h_a == 0 else (1, 0) if h_b == 0 else ((h := h_a + h_b - h_ab) / h_a, h / h_b)
    return harmonic(*rand), *rand, harmonic(*info), *info


def entropy(names):
    counts = Counter(names)
    shares = [count / counts.total() for count in counts.values()]
    return -sum(share * np.log(share) for share in shares)


def harmonic(a, b):
    return 2 * a * b / (a + b) if a + b > 0 else 0


def drawn_cells(seed, shape=(24, 30), num_cells=8, damage=0.15):
    """Voronoi cells between membranes, and a blurred, noisy proposal with gaps in the membranes."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, shape, (num_cells, 2))
    grid = np.stack(np.indices(shape), -1)
    distances = np.sort(np.linalg.norm(grid[..., None, :] - centres, axis=-1), -1)
    label = (distances[..., 1] - distances[..., 0] > 2).astype(np.uint8)
    broken = np.where(rng.random(shape) < damage, 1, label)
    noisy = ndimage.gaussian_filter(broken.astype(float), 0.7) + rng.normal(0, 0.08, shape)
    return np.clip(noisy, 0, 1).astype(np.float32), label


def assert_scores(scores, expected):
    for name, value in zip(FIELDS, expected, strict=True):
        np.testing.assert_allclose(getattr(scores, name), value, atol=1e-12, err_msg=name)


@examples
@given(masks, labels, st.booleans())
def test_scores_of_any_masks(proposal, label, thin):
    scores = boundary_scores(proposal, label, thin=thin)
    assert_scores(scores, slow_scores(proposal, label, 0.5, thin))
    assert all(0 <= getattr(scores, name) <= 1 for name in FIELDS)


@pytest.mark.parametrize("thin", [True, False])
@pytest.mark.parametrize("threshold", [0.4, 0.7])
def test_scores_of_drawn_cells(thin, threshold):
    proposal, label = drawn_cells(1)
    scores = boundary_scores(proposal, label, threshold=threshold, thin=thin)
    assert_scores(scores, slow_scores(proposal, label, threshold, thin))
    assert 0.1 < scores.v_info < 1


@examples
@given(masks)
def test_thinning_of_any_mask(mask):
    np.testing.assert_array_equal(thin_borders(mask), slow_thinning(mask))


@pytest.mark.parametrize("cells", [0.005, 0.05, 0.5])
def test_thinning_of_wide_borders(cells):
    mask = np.random.default_rng(0).random((24, 30)) < cells
    np.testing.assert_array_equal(thin_borders(mask), slow_thinning(mask))


@pytest.mark.parametrize("damage", [0.0, 0.15, 0.6])
def test_thinning_of_drawn_cells(damage):
    proposal, _ = drawn_cells(1, damage=damage)
    mask = proposal > 0.6
    thinned = thin_borders(mask)
    np.testing.assert_array_equal(thinned, slow_thinning(mask))
    assert (thinned == 0).sum() < (~mask).sum()
    regions, count = ndimage.label(thinned > 0)
    assert count == ndimage.label(mask)[1] == thinned.max()
    assert len(np.unique(np.stack([regions, thinned])[:, thinned > 0], axis=1).T) == count


@examples
@given(labels.filter(lambda label: ndimage.label(label)[1] > 1), st.booleans())
def test_a_perfect_proposal_scores_one(label, thin):
    scores = boundary_scores(label, 255 * label, thin=thin)
    assert all(getattr(scores, name) == 1 for name in FIELDS)


@examples
@given(masks, labels, st.integers(0, 3), st.booleans(), st.integers(1, 255))
def test_without_thinning_only_neighbourhood_matters(proposal, label, turns, flipped, name):
    """Neither the picture's orientation nor the value that marks cells."""

    def moved(image):
        return np.rot90(image[:, ::-1] if flipped else image, turns)

    expected = boundary_scores(proposal, label, thin=False)
    scores = boundary_scores(moved(proposal), moved(label * np.uint8(name)), thin=False)
    assert_scores(scores, [getattr(expected, field) for field in FIELDS])


@pytest.mark.parametrize("seed", range(4))
def test_a_perfect_proposal_of_drawn_cells_scores_exactly_one(seed):
    _, label = drawn_cells(seed, shape=(60, 70), num_cells=30)
    assert v_rand(label, label) == v_info(label, label) == 1


def test_mergers_cost_precision_and_splits_cost_recall():
    label = np.array([[1, 1, 0, 1, 1]])
    merged, split = np.ones((1, 5)), np.array([[1, 0, 0, 1, 1]])
    assert_scores(boundary_scores(merged, label), (2 / 3, 0.5, 1, 0, 1, 0))
    scores = boundary_scores(split, label, thin=False)
    assert (scores.rand_precision, scores.rand_recall) == (1, 0.75)
    assert scores.info_precision > 1 - 1e-12
    assert scores.info_recall < 0.9


@pytest.mark.parametrize(
    ("proposal", "label", "thin", "expected"),
    [
        pytest.param([[0, 0, 0]], [[1, 0, 1]], True, (2 / 3, 0.5, 1, 0, 1, 0), id="no cell, thin"),
        pytest.param([[0, 0, 0]], [[1, 0, 1]], False, (1,) * 6, id="no cell, pixels of their own"),
        pytest.param([[1, 0, 1]], [[1, 1, 1]], False, (0.5, 1, 1 / 3, 0, 0, 1), id="one label"),
        pytest.param([[1, 1, 1]], [[1, 1, 1]], True, (1, 1, 1, 0, 0, 1), id="one of each"),
        pytest.param([[0]], [[1]], False, (1, 1, 1, 0, 0, 1), id="one pixel"),
    ],
)
def test_degenerate_cases(proposal, label, thin, expected):
    assert_scores(boundary_scores(proposal, label, thin=thin), expected)


def test_pixels_at_the_threshold_are_outside_in_double_precision():
    label = np.array([[1, 0, 1]])
    above = np.array(0.3 * label, np.float32)  # slightly more than 0.3
    assert v_rand(above, label, threshold=0.3) == 1
    assert v_rand(above.astype(float), label, threshold=float(np.float32(0.3))) < 1


@pytest.mark.parametrize("metric", [v_rand, v_info])
def test_a_stack_is_scored_slice_by_slice(metric):
    slices = [drawn_cells(seed) for seed in range(3)]
    proposal, label = (np.stack(images) for images in zip(*slices, strict=True))
    scores = metric(proposal, label, threshold=0.6)
    each = [metric(*images, threshold=0.6) for images in slices]
    assert scores.shape == (3,)
    assert all(type(score) is float for score in each)
    np.testing.assert_array_equal(scores, each)
    np.testing.assert_array_equal(thin_borders(label), [thin_borders(one) for one in label])


def test_the_best_threshold_has_the_highest_mean_score():
    pair = drawn_cells(3), drawn_cells(4)
    proposal, label = (np.stack(images) for images in zip(*pair, strict=True))
    tried = [0.4, 0.6, 0.8]
    means = [np.mean(v_rand(proposal, label, threshold=t)) for t in tried]
    threshold, value = best_threshold(v_rand, proposal, label, tried)
    assert (threshold, value) == (tried[np.argmax(means)], max(means))
    default = best_threshold(lambda *_, threshold: -((threshold - 0.3) ** 2), proposal, label)
    assert default == (0.3, 0)


def test_equally_good_thresholds_give_the_lowest():
    assert best_threshold(lambda *_, threshold: [1, 3], [[0]], [[1]]) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 1]], [[0], [1]]), r"one shape, got \(1, 2\) and \(2, 1\)"),
        (([0, 1], [0, 1]), r"\(H, W\) or \(D, H, W\)"),
        ((np.ones((0, 3)), np.ones((0, 3))), "with pixels"),
        (([[np.nan, 1]], [[0, 1]]), "proposal must be finite"),
        (([[0, 1]], [[np.inf, 1]]), "label must be finite"),
        ((np.ones((2, 1, 2)), [[[0, 1]], [[0, 0]]]), "label has no cell in slice 1"),
    ],
)
@pytest.mark.parametrize("score", [v_rand, v_info, boundary_scores])
def test_wrong_arguments_are_named(score, arguments, message):
    with pytest.raises(ValueError, match=message):
        score(*arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: v_rand([[1]], [[1]], threshold=np.nan), ValueError, "threshold must be finite"),
        (lambda: best_threshold(v_rand, [[1]], [[1]], []), ValueError, "thresholds are empty"),
        (lambda: thin_borders([[0.2, 0.9]]), TypeError, "compare with a threshold first"),
        (lambda: thin_borders([1, 0]), ValueError, r"mask must be \(H, W\)"),
    ],
)
def test_wrong_options_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_scores_come_back_from_a_file(tmp_path):
    scores = boundary_scores(*drawn_cells(2))
    scores.save(tmp_path / "scores.npz")
    loaded = BoundaryScores.load(tmp_path / "scores.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, scores)
