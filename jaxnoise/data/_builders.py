"""TFDS builders of our own, which need no TensorFlow."""

import functools
import os
from typing import TYPE_CHECKING, Any

from ._digits import DIGITS_DESCRIPTION, digits_parts

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


def digits_builder(
    data_dir: str | os.PathLike[str] | None = None,
) -> "tfds.core.GeneratorBasedBuilder":
    """A TFDS builder of the digits of `load("digits")`: same examples, same order, same split.

    It prepares array_record files and reads them back without TensorFlow. Nothing is registered:
    once prepared, TFDS finds the set in data_dir by its name, "digits".

    Args:
      data_dir: where TFDS keeps its sets; by default ~/tensorflow_datasets.

    Returns:
      The builder; call its `download_and_prepare` (nothing is downloaded) and then
      `as_data_source("train")` or `as_data_source("test")`.

    Example:
      >>> import tempfile
      >>> import jaxnoise as jn
      >>> jn.data.digits_builder(tempfile.mkdtemp()).info.features["image"].shape
      (8, 8, 1)
    """
    data_dir = os.fspath(data_dir) if data_dir is not None else None
    return _digits_class()(data_dir=data_dir, file_format="array_record")


@functools.cache
def _digits_class() -> Any:
    import tensorflow_datasets as tfds
    from PIL import Image

    class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Handwritten digits, from scikit-learn."""

        VERSION = tfds.core.Version("1.0.0")
        RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (TFDS's own form)

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                description=DIGITS_DESCRIPTION,
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(8, 8, 1)),
                        "label": tfds.features.ClassLabel(num_classes=10),
                    }
                ),
                supervised_keys=("image", "label"),
                homepage="https://archive.ics.uci.edu/dataset/80",
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            return {part: self._generate_examples(batch) for part, batch in digits_parts().items()}

        def _generate_examples(self, batch):
            # TFDS encodes arrays with TensorFlow, but Pillow's images with Pillow.
            for i, (image, label) in enumerate(zip(batch["image"], batch["label"], strict=True)):
                yield i, {"image": Image.fromarray(image[..., 0]), "label": int(label)}

    return Digits
