"""Hostile arguments of what deals with images and networks.

Each is refused in one line that says which and why. A row is a name, a call, the
error it ends with and what the message must match.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxnoise import data, landscape, losses, metrics, models, plotting, volumes

KEY, KEYS, OLD_KEY = jax.random.key(0), jax.random.split(jax.random.key(0), 2), np.zeros(2, "u4")
NAN, INF = float("nan"), float("inf")
STRINGS = np.array(["a", "b", "c"])
OLD = r"key must be a typed key: use jax\.random\.key"
IMAGES, VOLUME = np.ones((2, 8, 8, 3), np.float32), np.zeros((4, 8, 8), int)
SCORES = np.zeros((2, 3), np.float32)
AXIS = np.arange(3.0)
GRID = landscape.LossGrid(AXIS, AXIS, np.ones((3, 3)), 0.0)
LINE = landscape.LossLine(AXIS, AXIS, 0.0)


def network(kind, **options):
    return nnx.eval_shape(lambda: kind(**{"rngs": nnx.Rngs(0)} | options))


def dense():
    return models.FeedForward(in_channels=1, image_size=2, width=2, rngs=nnx.Rngs(0))


LOSSES = [
    ("no labels", lambda: losses.cross_entropy(SCORES, {"y": np.array([0, 1])}),
     ValueError, "the batch has no entry 'label': it holds y"),
    ("no batch", lambda: losses.cross_entropy(SCORES, None),
     ValueError, "the batch has no entry 'label': it holds NoneType"),
    ("labels of fractions", lambda: losses.cross_entropy(SCORES, {"label": np.array([0.0, 1.0])}),
     TypeError, "label must hold classes, integers, got float"),
    ("a label too many", lambda: losses.classification(SCORES, {"label": np.array([0, 1, 2])}),
     ValueError, r"one class for each of the outputs \(B, K\), got \(3,\) for outputs .* \(2, 3\)"),
    ("labels as one-hot rows", lambda: losses.cross_entropy(SCORES, {"label": VOLUME[0]}),
     ValueError, r"one class for each of the outputs \(B, K\), got \(8, 8\)"),
    ("labels as text", lambda: losses.cross_entropy(SCORES, {"label": STRINGS[:2]}),
     TypeError, "label must be a real number or an array"),
    ("scores of integers", lambda: losses.cross_entropy(np.zeros((1, 3), int), {"label": [0]}),
     TypeError, "outputs must hold real floating arrays alone, but it is int"),
    ("no scores to judge", lambda: losses.gan(None, True),
     TypeError, "scores must be a real number"),
    ("text to judge", lambda: losses.least_squares_gan(STRINGS, True), TypeError, "scores must be"),
    ("no images", lambda: losses.l1(None, None), TypeError, "outputs must be a real number"),
    ("text as a target", lambda: losses.dice(np.ones(3), STRINGS),
     TypeError, "targets must be a rea"),
]  # fmt: skip

METRICS = [
    ("a range as text", lambda: metrics.psnr(IMAGES, IMAGES, data_range="byte"),
     TypeError, "data_range must be a real number"),
    ("complex images", lambda: metrics.psnr(IMAGES * 1j, IMAGES),
     TypeError, "image must be a real"),
    ("text as images", lambda: metrics.ssim(STRINGS, STRINGS), TypeError, "image must be a real"),
    ("text as a membrane", lambda: metrics.v_rand([["a"]], [[1]]),
     TypeError, "proposal must be a real number"),
    ("threshold as text", lambda: metrics.boundary_scores([[1.0, 0.0]], [[1, 0]], threshold="high"),
     TypeError, "threshold must be a real number"),
    ("no metric", lambda: metrics.best_threshold(None, [[1.0]], [[1]]),
     TypeError, "metric must be a function, got None"),
    ("thresholds as text", lambda: metrics.best_threshold(metrics.v_rand, [[1.0]], [[1]], ["high"]),
     TypeError, "thresholds must be a real number"),
    ("voxels of NaN", lambda: metrics.voxel_errors([NAN, 1.0], [0, 1]),
     ValueError, "prediction must be finite: it holds NaN"),
    ("text as voxels", lambda: metrics.voxel_errors(STRINGS, STRINGS),
     TypeError, "prediction must be a real number"),
    ("overlap of NaN", lambda: metrics.object_scores([1], [1], iou=NAN),
     ValueError, "iou must lie"),
    ("overlap as text", lambda: metrics.object_scores([1], [1], iou="half"),
     TypeError, "iou must be a real number"),
    ("half a class", lambda: metrics.segmentation_scores(np.array([0]), np.array([0]), 2.5),
     TypeError, "num_classes must be a whole number"),
    ("text as classes", lambda: metrics.segmentation_scores(STRINGS, np.zeros(3, int), 2),
     TypeError, "prediction must be a real number"),
]  # fmt: skip

VOLUMES = [
    ("a shape as text", lambda: volumes.random_ellipsoids(KEY, "abc"),
     ValueError, r"shape must be the \(D, H, W\) of a volume, got 'abc'"),
    ("half a voxel", lambda: volumes.random_ellipsoids(KEY, (8, 8, 8.5)),
     TypeError, r"shape, .* must be a whole number, got 8\.5"),
    ("old key for nuclei", lambda: volumes.random_ellipsoids(OLD_KEY, (8, 8, 8)), TypeError, OLD),
    ("axes of NaN", lambda: volumes.random_ellipsoids(KEY, (8, 8, 8), semi_axes=(NAN,)),
     ValueError, "semi_axes must hold positive lengths"),
    ("one number as axes", lambda: volumes.random_ellipsoids(KEY, (8, 8, 8), semi_axes=4),
     ValueError, "semi_axes must hold positive lengths, got 4"),
    ("half a nucleus", lambda: volumes.random_ellipsoids(KEY, (8, 8, 8), num=2.5),
     TypeError, "num must be a whole number"),
    ("old key to render", lambda: volumes.render(OLD_KEY, VOLUME), TypeError, OLD),
    ("labels of fractions to render", lambda: volumes.render(KEY, VOLUME * 1.0),
     TypeError, "labels must be integers, got float"),
    ("photons of NaN", lambda: volumes.render(KEY, VOLUME, photons=NAN),
     ValueError, "photons must be positive"),
    ("noise of rendering as text", lambda: volumes.render(KEY, VOLUME, noise="loud"),
     TypeError, "noise must be a real number"),
    ("one blur", lambda: volumes.render(KEY, VOLUME, blur=1.0),
     ValueError, "blur must hold 3 numb"),
    ("three brightnesses", lambda: volumes.render(KEY, VOLUME, brightness=(0.1, 0.2, 0.3)),
     ValueError, "brightness must hold 2 numbers"),
    ("an empty volume to render", lambda: volumes.render(KEY, VOLUME[:0]),
     ValueError, "labels must be a volume"),
    ("a window as text", lambda: volumes.sliding_window(lambda w: w, VOLUME, "4", 2),
     TypeError, "window must be a whole number, got '4'"),
    ("half a stride", lambda: volumes.sliding_window(lambda w: w, VOLUME, 4, 2.5),
     TypeError, r"stride must be a whole number, got 2\.5"),
    ("no windows", lambda: volumes.sliding_window(lambda w: w, VOLUME, 0, 0),
     ValueError, "stride must lie in 1…window"),
    ("a volume of text", lambda: volumes.sliding_window(lambda w: w, STRINGS, 4, 2),
     TypeError, "volume must be a real number"),
    ("half a neighbour", lambda: volumes.label_components([[1, 0]], 1.5),
     TypeError, "connectivity must be a whole number"),
    ("a mask of text", lambda: volumes.label_components(STRINGS), TypeError, "mask must be a real"),
    ("a size of NaN", lambda: volumes.remove_small_components([[1, 0]], NAN),
     ValueError, "min_size must be finite and not negative"),
    ("colours of nothing", lambda: volumes.color_labels(None),
     TypeError, "labels must be integers"),
]  # fmt: skip

DATA = [
    *[
        (f"{given} for {name}", lambda draw=draw, key=key: draw(key), kind, pattern)
        for given, key, kind, pattern in (
            ("old key", OLD_KEY, TypeError, OLD),
            ("two keys", KEYS, ValueError, r"key must be a single key, got \(2,\)"),
        )
        for name, draw in {
            "crops": lambda key: data.random_crop(key, IMAGES),
            "chains": lambda key: data.separately(data.random_flip)(key, {"image": IMAGES}),
            "strangers": lambda key: data.unpaired({"y": IMAGES})(key, {"x": IMAGES}),
            "windows": lambda key: data.random_window(key, IMAGES, 4),
            "membranes": lambda key: data.membranes(key, 1, 16),
            "vessels": lambda key: data.vessels(key, 1, 32),
            "facades": lambda key: data.facades(key, 1, 16),
            "drops": lambda key: data.raindrops(key, np.zeros((1, 32, 32, 3), np.uint8)),
            "photographs": lambda key: data.sample_photographs(key, 1),
            "volumes": lambda key: data.nuclei(key, 1, (8, 8, 8)),
        }.items()
    ],
    ("half a pixel around", lambda: data.random_crop(KEY, IMAGES, 2.5),
     TypeError, r"padding must be a whole number, got 2\.5"),
    ("text to crop", lambda: data.random_crop(KEY, np.full((1, 4, 4, 1), "a")),
     TypeError, "images must hold arrays of numbers, but it is <U1"),
    ("one axis to flip", lambda: data.random_flip(KEY, IMAGES, axes=-2),
     TypeError, r"axes must be several, such as \(-2,\), got -2"),
    ("half an axis", lambda: data.random_flip(KEY, IMAGES, axes=(1.5,)),
     TypeError, "axes must be a whole number"),
    ("an angle of NaN", lambda: data.random_rotation(KEY, IMAGES, NAN),
     ValueError, "max_degrees must be finite, got nan"),
    ("an angle as text", lambda: data.random_rotation(KEY, IMAGES, "wide"),
     TypeError, "max_degrees must be a real number"),
    ("half a pixel of a patch", lambda: data.patches(np.zeros((2, 8, 8)), 4.5, 2),
     TypeError, "size must be a whole number"),
    ("an overlap as text", lambda: data.assemble(np.zeros((9, 4, 4)), (8, 8), "two"),
     TypeError, "overlap must be a whole number"),
    ("no patches", lambda: data.assemble(None, (8, 8), 2), ValueError, "patches must be an array"),
    ("one side of an image", lambda: data.assemble(np.zeros((9, 4, 4)), 8, 2),
     ValueError, r"shape must be the \(H, W\) of an image, got 8"),
    ("half a pixel of a window", lambda: data.random_window(KEY, IMAGES, 2.5),
     TypeError, "size must be a whole number"),
    ("half a membrane", lambda: data.membranes(KEY, 1.5), TypeError, "num must be a whole number"),
    ("a scale of NaN", lambda: data.membranes(KEY, 1, 32, NAN), ValueError, "scale must lie in"),
    ("a size as text", lambda: data.facades(KEY, 1, "big"),
     TypeError, "size must be a whole number"),
    ("no photographs", lambda: data.raindrops(KEY, None), TypeError, "photographs must be a real"),
    ("no other sets", lambda: data.unpaired(None), TypeError, "others must be a dict of sets"),
    ("no source", lambda: data.Stream(None),
     TypeError, "source must have a length .* got a NoneType"),
    ("no transform", lambda: data.Stream([1], "decode"),
     TypeError, "transform must be a function, got 'decode'"),
    ("half a thread", lambda: data.Stream([1], num_threads=2.5),
     TypeError, "num_threads must be a whole number"),
    ("no indices", lambda: data.Stream([1, 2]).read([]),
     ValueError, "indices must be whole numbers"),
    ("half an index", lambda: data.Stream([1, 2]).read([0.5]),
     ValueError, "indices must be whole numbers"),
    ("an index too far", lambda: data.Stream([1, 2]).read([5]),
     ValueError, "example 5 of the stream"),
    ("a name with a zero in it", lambda: data.load("a\0b", data_dir="."),
     ValueError, "unknown data set 'a.x00b'"),
    ("a name of two lines", lambda: data.load("a\nb", data_dir="."),
     ValueError, r"unknown data set 'a\\nb'"),
]  # fmt: skip

MODELS = [
    *[
        (f"{kind.__name__} with {option} 0", lambda kind=kind, option=option: network(
            kind, **{option: 0}), ValueError, f"{option} must be at least 1, got 0")
        for kind, options in {
            models.FeedForward: ("width", "num_classes", "in_channels", "image_size"),
            models.SmallCNN: ("num_classes", "in_channels"),
            models.ResNet18: ("width", "num_classes"),
            models.WideResNet: ("width", "in_channels"),
            models.DenseNet121: ("growth",),
            models.UNet: ("width", "out_channels"),
            models.FCN: ("in_channels",),
            models.ResidualSkipUNet: ("width",),
            models.NucleiUNet: ("width",),
            models.EncoderDecoder: ("out_channels",),
            models.Pix2PixGenerator: ("width",),
            models.ResNetGenerator: ("width",),
            models.PatchDiscriminator: ("width",),
        }.items()
        for option in options
    ],
    ("half a channel", lambda: network(models.ResNet18, width=2.5),
     TypeError, r"width must be a whole number, got 2\.5"),
    ("half a level", lambda: network(models.UNet, levels=2.5), TypeError, "levels must be a whole"),
    ("a number as rngs", lambda: network(models.UNet, rngs=0),
     TypeError, r"rngs must be such as nnx"),
    ("images of another size", lambda: dense()(np.zeros((2, 3, 3, 1))),
     ValueError, r"x must hold 4 numbers per example, got shape \(2, 3, 3, 1\)"),
    ("images of another size for convolutions", lambda: nnx.eval_shape(
        lambda: models.SmallCNN(image_size=8, rngs=nnx.Rngs(0))(jnp.zeros((2, 16, 16, 3)))),
     ValueError, r"x must be images of the network's image_size, got shape \(2, 16, 16, 3\)"),
    ("no model", lambda: models.split(None, losses.cross_entropy),
     TypeError, "model must be a Module, got a NoneType"),
    ("a class as a model", lambda: models.split_apply(models.UNet),
     TypeError, "model must be a Mod"),
    ("no loss of examples", lambda: models.split(dense(), None),
     TypeError, "example_loss must be a function, got None"),
    ("no inputs", lambda: models.split_train(dense(), losses.cross_entropy, inputs=None),
     TypeError, "inputs must name a batch entry, or be a function"),
    ("parameters of another network", lambda: models.merge(dense(), {"kernel": np.ones(2)}),
     ValueError, "params must be those of such a model: dense1/bias has shape"),
    ("parameters of other shapes", lambda: models.merge(
        dense(), jax.tree.map(lambda x: x[:1], models.split(dense(), losses.cross_entropy)[0])),
     ValueError, r"params must be those of such a model: dense1/bias has shape \(2,\) th.* \(1,\)"),
]  # fmt: skip

PLOTTING = [
    ("a surface of nothing", lambda: plotting.surface(None), TypeError, "grid must be a LossGrid"),
    ("a surface of a line", lambda: plotting.surface(LINE), TypeError, "grid must be a LossGrid"),
    ("flat axes for a surface", lambda: plotting.surface(GRID, plotting.line(LINE)),
     TypeError, "ax must be 3-D"),
    ("a number as axes", lambda: plotting.contour(GRID, 3),
     TypeError, "ax must be a Axes, got a int"),
    ("no levels", lambda: plotting.contour(GRID, levels=0),
     ValueError, "levels must be at least 3"),
    ("heights from NaN", lambda: plotting.contour(GRID, vmin=NAN),
     ValueError, "vmin must be finite"),
    ("a grid as a line", lambda: plotting.line(GRID), TypeError, "grid must be a LossLine"),
    ("no plane", lambda: plotting.trajectory(None), TypeError, "plane must be a TrajectoryPlane"),
    ("landscapes in a list", lambda: plotting.landscapes([GRID]),
     TypeError, "grids must be a dict"),
    ("a line among landscapes", lambda: plotting.landscapes({"a": LINE}),
     TypeError, "each of grids"),
    ("no rows", lambda: plotting.vanishing_table({}),
     TypeError, "rows must be a VanishingGradients"),
    ("text as a row", lambda: plotting.vanishing_table({"a": "b"}),
     TypeError, "each of rows must be"),
    ("no ratios", lambda: plotting.growth_curve([]), ValueError, "ratios must be of shape"),
    ("a table of ratios", lambda: plotting.growth_curve(np.ones((2, 2))),
     ValueError, r"ratios must be of shape \(T,\) with T ≥ 1, got \(2, 2\)"),
    ("a number to draw over steps", lambda: plotting.schedule({"a": 0.1}, 10),
     TypeError, "each of schedules must be a function"),
    ("half a step to draw", lambda: plotting.schedule(optax.constant_schedule(1.0), 2.5),
     TypeError, "num_steps must be a whole number"),
    ("bounds for other steps", lambda: plotting.decay_rates(
        optax.constant_schedule(1.0), 10, admissible=np.ones(3)),
     ValueError, r"admissible must be a number or \(10,\) of them, got \(3,\)"),
    ("no histories", lambda: plotting.training_curves({}),
     TypeError, "histories must be a History"),
    ("a number as history", lambda: plotting.training_curves({"a": 3}),
     TypeError, "each of histories must be a History, got a int"),
    ("a fourth axis", lambda: plotting.volume_slices(VOLUME, axis=3),
     ValueError, "axis must be 0, 1 or 2, got 3"),
    ("half a slice", lambda: plotting.volume_slices(VOLUME, slices=2.5),
     TypeError, "slices must be a whole number"),
    ("a picture of text", lambda: plotting.volume_projection(np.full((2, 2, 2), "a")),
     TypeError, "volume must be a real number"),
]  # fmt: skip

CASES = [*LOSSES, *METRICS, *VOLUMES, *DATA, *MODELS, *PLOTTING]


def test_the_table_is_long_and_says_nothing_twice():
    assert len(CASES) >= 110
    assert len({name for name, *_ in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("call", "kind", "pattern"), [pytest.param(*case, id=name) for name, *case in CASES]
)
def test_refused(call, kind, pattern, assert_refused):
    assert_refused(call, kind, pattern)


@pytest.mark.parametrize("size", [np.int64(4), (4, 4), [4, 4]])
def test_sizes_of_windows(size):
    assert data.random_window(jax.random.key(0), IMAGES, size).shape == (2, 4, 4, 3)


def test_sizes_of_volumes():
    shape = tuple(np.array([8, 8, 8]))
    assert volumes.random_ellipsoids(KEY, shape, num=0).shape == (8, 8, 8)


def test_labels_as_large_as_integers_go():
    scores = metrics.object_scores(np.array([0, 2**62, 7]), np.array([0, 2**62, 2**40]))
    assert (scores.precision, scores.recall) == (1, 1)
    assert sorted(map(tuple, scores.matches.tolist())) == [(7, 2**40), (2**62, 2**62)]


def test_nothing_to_remove_from_nothing():
    assert volumes.remove_small_components(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("loss", [losses.l1, losses.l2])
def test_bytes_do_not_wrap_around(loss):
    dark, light = np.full((1, 2), 3, np.uint8), np.full((1, 2), 250, np.uint8)
    assert loss(dark, light) == loss(light, dark) == (247 if loss is losses.l1 else 247**2)


def test_labels_out_of_range_are_marked_and_no_others():
    batch = {"label": np.array([0, -1, 3, 2])}
    found = jax.jit(losses.cross_entropy)(jnp.zeros((4, 3)), batch)
    np.testing.assert_allclose(found, [np.log(3), NAN, NAN, np.log(3)], rtol=1e-6)
