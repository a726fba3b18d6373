"""One way to every data set: by name."""

import os

from ._catalogue import data_root, load_catalogue
from ._dataset import Dataset
from ._digits import load_digits_dataset
from ._local import find_files, load_local


def load(
    name: str, split: str | None = None, data_dir: str | os.PathLike[str] | None = None
) -> Dataset:
    """Loads a data set into memory, as NumPy arrays.

    The name is looked for in this order:

    1. `"digits"`: scikit-learn's 1,797 handwritten digits, always there, offline. Images are
       (8, 8, 1) uint8, the grey levels 0 … 16 scaled to round(x · 255 / 16); a fixed fifth of each
       class is the test part.
    2. Local files in data_dir: a folder of that name, files of that name, or files of that name
       in a folder below. They are

       - idx files named as MNIST's (train-images-idx3-ubyte, train-labels-…, t10k-… or test-…,
         plain or .gz) → "image" and "label"; data_dir may itself be their folder, if it has that
         name, or if the name is that of an MNIST and data_dir's is not that of another;
       - an .npz file: arrays train_<key> and test_<key> → "<key>"; arrays without a prefix are
         training data. Images stored as JPEG (train_jpeg: all bytes; train_offset: n + 1 offsets)
         are decoded;
       - LIBSVM text, name and name.t (the test part), plain or .bz2, .gz, .xz → "features"
         (n, d) float32 and "label", ±1 staying ±1; both parts get the same d;
       - volumes, a folder with name_train….npz and maybe name_test….npz that hold image_<volume>,
         label_<volume> and the like, each (D, H, W) → "image" (n, D, H, W, 1), "label" and the like
         (n, D, H, W), padded with zeros at their ends, and "shape" (n, 3), the sizes they had;
       - slices, a folder of folders of .png files → "<folder>" (n, H, W), in natural order.
    3. Names of the TensorFlow Datasets catalogue, such as "mnist" or "cifar10:3.0.2". A set that
       is prepared as array_record is read without TensorFlow; to prepare one needs it
       (`pip install "jaxnoise[tf]"`). Text features, such as file names, are left out.

    An array "image" is (n, H, W, C), or (n, D, H, W, C), in the type of the source; class labels
    are int32. Nothing is shuffled: the description of a set that is stored class by class says so.

    Args:
      name: the set.
      split: None for all parts; "train" or "test" for one, the other being None then. For sets of
        the catalogue any split of theirs, such as "train[:1000]" or "validation": it becomes the
        test part if it begins with "test" or "validation", the training part otherwise.
      data_dir: folder of the local files, and of TFDS. By default the environment variable
        JAXNOISE_DATA_DIR, else TFDS's own default, ~/tensorflow_datasets.

    Returns:
      `Dataset(train, test, info)`; test is None where the source has no test part.

    Raises:
      ValueError: for an unknown name or split, a damaged file, parts that do not fit each other,
        a set that needs TensorFlow where it is missing.
      FileNotFoundError: if a file of the set is missing.

    Example:
      >>> digits = load("digits")
      >>> digits.train["image"].shape, digits.test["label"].shape, digits.info.num_classes
      ((1438, 8, 8, 1), (359,), 10)
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'name must be the name of a data set, such as "digits", got {name!r}')
    if name == "digits":
        return load_digits_dataset(_parts(name, split))
    root = data_root(data_dir)
    if files := find_files(name, root):
        return load_local(name, files, _parts(name, split))
    return load_catalogue(name, split, root)


def _parts(name: str, split: str | None) -> tuple[str, ...]:
    if split not in (None, "train", "test"):
        raise ValueError(
            f'split of {name!r} must be None, "train" or "test", got {split!r}; for fewer '
            "examples slice the arrays"
        )
    return ("train", "test") if split is None else (split,)
