"""Synthetic nuclei against a plain list of voxels, and against the paper's volumes."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxnoise.volumes import label_components, random_ellipsoids
from jaxnoise.volumes._ellipsoids import candidate

FIGURES = json.loads((Path(__file__).parents[1] / "fixtures/volumes/nuclei.json").read_text())


def slow_ellipsoids(candidates, shape, num, max_overlap, max_rejections):
    """Every voxel of the volume asked for every candidate, in double precision."""
    labels, rejected = np.zeros(shape, int), 0
    voxels = np.stack(np.indices(shape), axis=-1)
    for nucleus in candidates:
        if labels.max() == num or rejected == max_rejections:
            break
        local = (voxels - nucleus.centre) @ nucleus.rotation.astype(float)
        inside = ((local / nucleus.semi_axes) ** 2).sum(-1) <= 1 + 1e-5
        free = inside & (labels == 0)
        if np.sum(inside) - np.sum(free) <= max_overlap and free.any():
            labels[free] = labels.max() + 1
            rejected = 0
        else:
            rejected += 1
    return labels, rejected


@pytest.mark.parametrize(
    ("shape", "semi_axes", "num", "max_overlap", "max_rejections"),
    [
        ((20, 14, 23), (2, 3, 5), 12, 5, 1000),  # stops at the number
        ((20, 14, 23), (2, 3, 5), 400, 0, 40),  # stops when full
        ((20, 14, 23), (2, 3, 5), 400, 30, 25),
    ],
)
def test_labels_are_those_of_the_list(shape, semi_axes, num, max_overlap, max_rejections):
    key = jax.random.key(3)
    options = {"num": num, "max_overlap": max_overlap, "max_rejections": max_rejections}
    found = random_ellipsoids(key, shape, semi_axes=semi_axes, **options)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(2000))
    drawn = jax.vmap(lambda key: candidate(key, shape, semi_axes))(keys)
    drawn = jax.tree.map(np.asarray, drawn)
    candidates = (jax.tree.map(lambda leaf, i=i: leaf[i], drawn) for i in range(2000))
    expected, rejected = slow_ellipsoids(candidates, shape, **options)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    assert (expected.max() == num) != (rejected == max_rejections)


def test_a_ball_is_round():
    """Voxels on its surface belong to it, however it is turned: 257 of them at radius 4."""
    for seed in range(3):
        one = random_ellipsoids(jax.random.key(seed), (40, 40, 40), semi_axes=(4,), num=1)
        places = np.argwhere(one)
        if ((places > 0) & (places < 39)).all():
            assert len(places) == 257
            centre = places.mean(0)
            assert ((places - centre) ** 2).sum(1).max() == 16


def test_candidates_are_uniform():
    keys = jax.random.split(jax.random.key(0), 20000)
    drawn = jax.vmap(lambda key: candidate(key, (4, 6, 3), (4.0, 5.0, 9.0)))(keys)
    drawn = jax.tree.map(np.asarray, drawn)
    for axis, length in enumerate((4, 6, 3)):
        counts = np.bincount(drawn.centre[:, axis], minlength=length)
        np.testing.assert_allclose(counts, 20000 / length, rtol=0.06)
    for length in (4.0, 5.0, 9.0):
        np.testing.assert_allclose((drawn.semi_axes == length).mean(0), 1 / 3, atol=0.015)
    rotation = drawn.rotation.astype(float)
    unit = np.broadcast_to(np.eye(3), rotation.shape)
    np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), unit, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)
    # Haar measure: every entry has mean 0 and mean square 1/3, the trace's mean square is 1.
    np.testing.assert_allclose(rotation.mean(0), 0, atol=0.02)
    np.testing.assert_allclose((rotation**2).mean(0), 1 / 3, atol=0.012)
    np.testing.assert_allclose((np.trace(rotation, axis1=1, axis2=2) ** 2).mean(), 1, atol=0.04)


@pytest.mark.slow
def test_the_key_alone_decides_and_volumes_map_over_keys(compilations):
    keys = jax.random.split(jax.random.key(5), 2)
    other = jax.random.key(6)
    shape, options = (12, 10, 11), {"num": 6, "semi_axes": (2, 3)}
    single = [random_ellipsoids(key, shape, **options) for key in keys]
    assert not np.array_equal(*single)
    assert compilations(lambda: random_ellipsoids(other, shape, **options | {"num": 5})) == 0
    for mapped in (
        jax.vmap(lambda key: random_ellipsoids(key, shape, **options))(keys),
        jax.lax.map(lambda key: random_ellipsoids(key, shape, **options), keys),
    ):
        np.testing.assert_array_equal(mapped, single)


def measured(labels):
    """The stored figures for a mask, of components joined across faces unless said otherwise."""
    mask = labels > 0
    components = label_components(mask)
    sizes = np.bincount(components.ravel())[1:]
    boxes = ndimage.find_objects(components)
    edges = [(min(s.start for s in box), [s.stop for s in box]) for box in boxes]
    interior = np.array([first > 0 and np.all(np.less(end, mask.shape)) for first, end in edges])
    near, axes = [], []
    for label in np.flatnonzero(interior) + 1:
        voxels = np.argwhere(components[boxes[label - 1]] == label)
        semi_axes = np.sqrt(5 * np.linalg.eigvalsh(np.cov(voxels.T, bias=True)))
        near.append(abs(len(voxels) / (4 / 3 * np.pi * semi_axes.prod()) - 1) < 0.03)
        axes.append("-".join(str(round(a)) for a in semi_axes))
    near = np.array(near)
    return {
        "fill_fraction": mask.mean(),
        "n_components_6conn": len(sizes),
        "n_components_26conn": label_components(mask, 3).max(),
        "n_interior_6conn": interior.sum(),
        "n_border_touching_6conn": (~interior).sum(),
        "fraction_near_ellipsoid_of_interior": near.mean(),
        "near_ellipsoid_voxels_mean": sizes[interior][near].mean(),
    }, [a for a, single in zip(axes, near, strict=True) if single]


@pytest.mark.parametrize(
    ("name", "semi_axes", "num", "tolerance"),
    [
        ("wsm_128", (4, 5), None, 0.02),
        pytest.param("immu", (9, 10, 11), 92, 0.15, marks=pytest.mark.slow),
    ],
)
def test_volumes_are_like_the_papers(name, semi_axes, num, tolerance):
    """Within three standard deviations of the stored volumes, or a share where those are few."""
    stored = FIGURES[name]
    labels = random_ellipsoids(jax.random.key(0), (128, 128, 128), semi_axes=semi_axes, num=num)
    figures, axes = measured(np.asarray(labels))
    for figure, value in figures.items():
        mean = stored["mean"][figure]
        bound = max(3 * stored["std_ddof1"][figure], tolerance * mean)
        assert abs(value - mean) <= bound, figure
    total = sum(stored["rounded_semi_axes_counts"].values())
    for shape, count in stored["rounded_semi_axes_counts"].items():
        share, chance = axes.count(shape) / len(axes), count / total
        assert abs(share - chance) < 0.02 + 4 * np.sqrt(chance * (1 - chance) / len(axes)), shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (8, 8)}, r"shape must be the \(D, H, W\)"),
        ({"shape": (8, 0, 8)}, "shape must be"),
        ({"semi_axes": ()}, "semi_axes must hold positive lengths"),
        ({"semi_axes": (0, 2)}, "semi_axes must hold"),
        ({"num": -1}, "num must be at least 0"),
        ({"max_overlap": -1}, "max_overlap must be at least 0"),
        ({"max_rejections": 0}, "max_rejections must be at least 1"),
    ],
)
def test_what_cannot_be_drawn(options, message):
    with pytest.raises(ValueError, match=message):
        random_ellipsoids(**{"key": jax.random.key(0), "shape": (8, 8, 8)} | options)
