"""The TFDS way, on a set that needs neither network nor TensorFlow to prepare."""

import importlib.util

import numpy as np
import pytest

from jaxnoise.data import digits_builder, load


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder in which TFDS has prepared the digits."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    try:
        digits_builder(folder).download_and_prepare()
    finally:
        tfds.enable_progress_bar()
    return folder


@pytest.fixture
def no_tensorflow(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name)
    )


def test_builder_gives_a_data_source(prepared):
    builder = digits_builder(prepared)  # a second one does not clash with the first
    assert builder.is_prepared()
    source = builder.as_data_source("test")
    assert len(source) == 359
    assert source[0]["image"].shape == (8, 8, 1)
    assert builder.info.features["label"].num_classes == 10


# The version tells the catalogue's set from scikit-learn's, which the plain name means.
def test_catalogue_gives_what_was_prepared(prepared, monkeypatch):
    ours = load("digits")
    monkeypatch.setenv("JAXNOISE_DATA_DIR", str(prepared))
    for loaded in (load("digits:1.0.0"), load("digits:1.0.0", data_dir=prepared)):
        for part in ("train", "test"):
            for key in ("image", "label"):
                array = getattr(loaded, part)[key]
                np.testing.assert_array_equal(array, getattr(ours, part)[key])
                assert array.dtype == getattr(ours, part)[key].dtype
        assert loaded.info.num_classes == 10
        assert loaded.info.class_names == tuple("0123456789")
        assert loaded.info.source == "TFDS digits/1.0.0"


def test_catalogue_splits(prepared):
    ours = load("digits")
    first = load("digits:1.0.0", "train[:1100]", prepared)  # more than one chunk
    np.testing.assert_array_equal(first.train["image"], ours.train["image"][:1100])
    assert first.test is None
    part = load("digits:1.0.0", "test[5:7]", prepared)
    assert part.train is None
    np.testing.assert_array_equal(part.test["label"], ours.test["label"][5:7])
    for split in ("validation", "train[", "nonsense", "train[:0]"):
        with pytest.raises(ValueError, match=r"train, test|no examples|is empty"):
            load("digits:1.0.0", split, prepared)


def test_unprepared_is_prepared_where_tensorflow_is(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    from jaxnoise.data import _builders, _catalogue

    monkeypatch.setattr(_catalogue, "_has_tensorflow", lambda: True)
    monkeypatch.setattr(
        tfds, "builder", lambda name, data_dir: _builders._digits_class()(data_dir=data_dir)
    )
    loaded = load("digits:1.0.0", data_dir=tmp_path)
    np.testing.assert_array_equal(loaded.test["image"], load("digits").test["image"])
    assert list(tmp_path.rglob("*.array_record*"))


def test_unprepared_needs_tensorflow(tmp_path, no_tensorflow):
    for name in ("mnist", "cifar10", "mnist:3.0.1", "yes_no"):
        with pytest.raises(ValueError, match=r'pip install "jaxnoise\[tf\]"') as caught:
            load(name, data_dir=tmp_path)
        assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"cannot load 'mnist:9\.9\.9' .*3\.0\.1"):
        load("mnist:9.9.9", data_dir=tmp_path)


def test_prepared_as_tfrecord_needs_tensorflow(prepared, no_tensorflow, tmp_path):
    folder = tmp_path / "digits" / "1.0.0"
    folder.mkdir(parents=True)
    for file in (prepared / "digits" / "1.0.0").iterdir():
        name = file.name.replace("array_record", "tfrecord")
        data = file.read_bytes()
        if name.endswith(".json"):
            data = data.replace(b"array_record", b"tfrecord")
        (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"prepared as tfrecord.*jaxnoise\[tf\]"):
        load("digits:1.0.0", data_dir=tmp_path)


def test_damaged_sets(prepared, tmp_path):
    files = sorted((prepared / "digits" / "1.0.0").iterdir())
    folder = tmp_path / "digits" / "1.0.0"
    folder.mkdir(parents=True)
    for damaged in files:
        for file in files:
            data = file.read_bytes()
            (folder / file.name).write_bytes(data[: len(data) // 2] if file == damaged else data)
        with pytest.raises(ValueError, match=r"digits.*(intact|as TFDS prepared)") as caught:
            load("digits:1.0.0", data_dir=tmp_path)
        assert "\n" not in str(caught.value)


class _Source(list):
    """A data source in memory."""

    def __getitems__(self, rows):
        return [self[row] for row in rows]


def test_what_cannot_be_an_array():
    from jaxnoise.data._catalogue import _stack

    examples = [
        {"id": f"é{i}".encode(), "x": np.full(2, i), "y": np.float32(i), "box": {"a": 1}}
        for i in range(1030)
    ]
    for source in (examples, _Source(examples)):
        batch = _stack(source, "toy")
        assert batch.keys() == {"x", "y"}
        np.testing.assert_array_equal(batch["x"][:, 1], np.arange(1030))
        assert batch["y"].dtype == np.float32
    examples[1027]["x"] = np.ones(3)
    with pytest.raises(ValueError, match="'x' varies in shape"):
        _stack(_Source(examples), "toy")
