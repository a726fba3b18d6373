"""Sets of the TensorFlow Datasets catalogue as streams."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._checks import check_count
from ._catalogue import (
    data_root,
    described,
    no_such_split,
    prepared_builder,
    quiet_absl,
    splits_by_part,
)
from ._dataset import Dataset, DatasetInfo
from ._stream import RandomAccess, Stream

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's names, by the number of channels


def stream(
    name: str,
    split: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: int | None = None,
    num_threads: int | None = None,
) -> Dataset:
    """Opens a set of the TensorFlow Datasets catalogue, whose examples are read as they are needed.

    For sets that don't fit into memory, such as ImageNet ("imagenet2012"); `load` is for the
    others. The set must be prepared in data_dir as array_record, which gives any example at once
    and needs no TensorFlow to read; where TensorFlow is there (`pip install "jaxnoise[tf]"`), a set
    that isn't prepared is. Text features, such as file names, are left out, and integers, such as
    class labels, are int32.

    Args:
      name: the set, such as "imagenet2012" or "imagenet2012:5.1.0".
      split: as for `load`: None for "train" and "test", or one of the set's own, such as
        "validation" or "train[:1000]", which becomes the test part if it begins with "test" or
        "validation".
      data_dir: folder of TFDS. By default the environment variable JAXNOISE_DATA_DIR, else TFDS's
        own default, ~/tensorflow_datasets.
      image_size: side of the square, in pixels, that images are brought to: their shorter side is
        scaled to it, bilinearly, and the middle cut out. None leaves them as they are, which
        training can use if all are of one size.
      num_threads: examples that are read at once; None takes a few more than there are cores.

    Returns:
      `Dataset(train, test, info)` whose parts are `Stream`s, or None as for `load`.

    Raises:
      ValueError: for an unknown name or split, a set that isn't prepared, or not as array_record.

    Example:
      >>> import tempfile
      >>> import jaxnoise as jn
      >>> folder = tempfile.mkdtemp()
      >>> jn.data.digits_builder(folder).download_and_prepare()  # doctest: +ELLIPSIS
      Downloading and preparing dataset ...
      >>> digits = jn.data.stream("digits", data_dir=folder, image_size=16)
      >>> digits.train, digits.train.read([0, 5])["image"].shape
      (Stream(1438 examples), (2, 16, 16, 1))
    """
    if image_size is not None:
        check_count(image_size, "image_size")
    root = data_root(data_dir)
    with quiet_absl():
        builder = prepared_builder(name, root)
        images = _images(builder)
        parts = {
            part: Stream(
                _opened(builder, name, text, images),
                functools.partial(_decoded, images, image_size),
                num_threads,
            )
            for part, text in splits_by_part(builder, name, split).items()
        }
    info = DatasetInfo(name, **described(builder, name))
    return Dataset(parts.get("train"), parts.get("test"), info)


def _images(builder: Any) -> dict[str, str]:
    """Name → Pillow's mode of the features that are 8-bit images."""
    import tensorflow_datasets as tfds

    modes = {}
    for name, feature in builder.info.features.items():
        shape: Any = feature.shape
        is_image = isinstance(feature, tfds.features.Image) and feature.np_dtype == np.uint8
        if is_image and shape[-1] in _MODES:
            modes[name] = _MODES[shape[-1]]
    return modes


def _opened(builder: Any, name: str, split: str, images: Mapping[str, str]) -> RandomAccess:
    """The examples of a split, in which the images are still the bytes of their files."""
    import tensorflow_datasets as tfds

    decoders: Any = {image: tfds.decode.SkipDecoding() for image in images}
    try:
        return builder.as_data_source(split, decoders=decoders)
    except NotImplementedError as error:
        raise ValueError(
            f"{name!r} is prepared as {builder.info.file_format.value}, which gives no example by "
            "its number: prepare it anew in another data_dir, by `tfds build "
            f"{builder.info.name} --file_format=array_record --data_dir=…`"
        ) from error
    except (ValueError, KeyError) as error:
        raise no_such_split(builder, name, split) from error


def _decoded(
    images: Mapping[str, str], size: int | None, example: dict[str, Any]
) -> dict[str, Any]:
    """The numbers of an example, its images brought to one size."""
    arrays = {
        key: _image(value, images[key], size) if key in images else np.asarray(value)
        for key, value in example.items()
    }
    return {
        key: array.astype(np.int32) if array.dtype.kind == "i" else array
        for key, array in arrays.items()
        if array.dtype.kind in "biufc"  # not text, nor nested features
    }


def _image(encoded: bytes, mode: str, size: int | None) -> np.ndarray:
    """The image in the bytes of a file, (H, W, C) uint8; with a size, its middle as a square."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(encoded)) as image:
        if size is not None:
            image.draft(mode, (size, size))  # JPEG gives a half, a quarter … of its sides for less
        pixels = image.convert(mode)
    if size is not None:
        pixels = ImageOps.fit(pixels, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(pixels).reshape(pixels.height, pixels.width, -1)
