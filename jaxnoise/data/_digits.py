"""The handwritten digits that scikit-learn ships, split once and for all."""

import numpy as np

from ._dataset import Batch, Dataset, make_dataset

DIGITS_DESCRIPTION = (
    "1,797 handwritten digits, 8×8 grey images of 10 classes, from UCI's Optical Recognition of "
    "Handwritten Digits; stratified 80/20 split"
)


def digits_parts() -> dict[str, Batch]:
    """Reads the 1,797 digits: grey levels 0 … 16 become round(x · 255 / 16), in file order."""
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    images = np.rint(images.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
    labels = labels.astype(np.int32)
    rows = dict(zip(("train", "test"), stratified_split(labels), strict=True))
    return {part: {"image": images[row], "label": labels[row]} for part, row in rows.items()}


def stratified_split(labels: np.ndarray, test_fraction: float = 0.2) -> tuple[np.ndarray, ...]:
    """Rows of the training and of the test part, ascending; of each class the same fraction."""
    rng = np.random.default_rng(0)
    test = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        test.append(rows[: round(test_fraction * len(rows))])
    in_test = np.isin(np.arange(len(labels)), np.concatenate(test))
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def load_digits_dataset(parts: tuple[str, ...]) -> Dataset:
    import sklearn

    batches = digits_parts()
    return make_dataset(
        "digits",
        {part: batches[part] for part in parts},
        source=f"scikit-learn {sklearn.__version__}",
        description=DIGITS_DESCRIPTION,
        num_classes=10,
        class_names=tuple("0123456789"),
    )
