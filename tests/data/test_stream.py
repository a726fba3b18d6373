"""Examples read one by one, from anywhere and from the catalogue."""

import io
import re
import threading

import numpy as np
import pytest
from PIL import Image

from jaxnoise.data import Stream, digits_builder, load, stream


class Squares:
    """The least that a source has; remembers the threads that read it."""

    def __init__(self, length):
        self.length, self.threads = length, set()
        self.barrier = threading.Barrier(3)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        assert type(index) is int
        self.barrier.wait(10)  # three threads must be here at once
        self.threads.add(threading.get_ident())
        return {"x": index, "y": {"square": np.float32([index, index**2])}}


def test_batches_are_the_examples_stacked():
    source = Squares(9)
    examples = Stream(source, num_threads=3)
    assert len(examples) == 9
    batch = examples.read([[3, 0, 8], [8, 1, 2]])
    np.testing.assert_array_equal(batch["x"], [[3, 0, 8], [8, 1, 2]])
    assert batch["y"]["square"].shape == (2, 3, 2)
    assert batch["y"]["square"].dtype == np.float32
    np.testing.assert_array_equal(batch["y"]["square"][..., 1], batch["x"] ** 2)
    assert len(source.threads) == 3
    assert Stream([5, 6], lambda x: {"x": x}).read(1) == {"x": 6}


def test_transform():
    examples = Stream([1, 2, 3], lambda i: {"x": np.full(i // 4 + 2, i)})
    np.testing.assert_array_equal(examples.read([2, 0])["x"], [[3, 3], [1, 1]])
    assert examples.read(1)["x"].tolist() == [2, 2]
    assert repr(examples) == "Stream(3 examples)"


@pytest.mark.parametrize(
    ("source", "transform", "message"),
    [
        ([{"x": np.ones(2)}, {"x": np.ones(3)}], None, r"'x' varies in shape.* \(2,\) and \(3,\)"),
        ([{"x": 1}, {"x": 1, "y": 2}], None, "differ in their entries"),
        ([{"x": 1, "name": "a"}] * 2, None, "'name' is no array of numbers"),
        ([1, 0], lambda i: {"x": 1 // i}, "example 1 of the stream.*ZeroDivisionError"),
        ([1], None, "example 1 of the stream.*IndexError"),
    ],
)
def test_bad_examples(source, transform, message):
    with pytest.raises(ValueError, match=message) as caught:
        Stream(source, transform).read([0, 1])
    assert "\n" not in str(caught.value)


def test_bad_number_of_threads():
    with pytest.raises(ValueError, match="num_threads must be at least 1, got 0"):
        Stream([1], num_threads=0)


# The catalogue


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder in which TFDS has prepared the digits."""
    folder = tmp_path_factory.mktemp("tfds")
    digits_builder(folder).download_and_prepare()
    return folder


def test_stream_gives_what_load_gives(prepared):
    ours, streamed = load("digits"), stream("digits", data_dir=prepared)
    assert streamed.info.num_classes == 10
    assert repr(streamed) == (
        "Dataset(digits, train: Stream(1438 examples), test: Stream(359 examples))"
    )
    order = np.random.default_rng(0).permutation(len(streamed.test))
    batch = streamed.test.read(order)
    assert batch.keys() == {"image", "label"}
    for name, array in batch.items():
        np.testing.assert_array_equal(array, ours.test[name][order])
        assert array.dtype == ours.test[name].dtype


def test_parts_of_a_stream(prepared):
    part = stream("digits", "train[5:8]", prepared, num_threads=1)
    assert part.test is None
    np.testing.assert_array_equal(
        part.train.read([2, 0])["label"], load("digits").train["label"][[7, 5]]
    )


def test_images_of_one_size(prepared):
    """A middle square of the shorter side; a constant image stays constant."""
    batch = stream("digits", "test", prepared, image_size=5).test.read([0, 1])
    assert batch["image"].shape == (2, 5, 5, 1)
    from jaxnoise.data._stream_catalogue import _image

    rows, columns = np.meshgrid(np.arange(40), np.arange(120), indexing="ij")
    pixels = np.stack([rows * 6, columns * 2, np.full((40, 120), 77)], -1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    cut = _image(file.getvalue(), "RGB", 20)  # halved, columns 40 to 80 of it
    assert cut.shape == (20, 20, 3)
    np.testing.assert_allclose(cut[1:-1, 5, 0], np.arange(1, 19) * 12 + 3, atol=1)
    np.testing.assert_allclose(cut[5, 1:-1, 1], 80 + np.arange(1, 19) * 4 + 1, atol=1)
    assert (cut[..., 2] == 77).all()
    for mode, channels in (("L", 1), ("RGBA", 4)):
        assert _image(file.getvalue(), mode, 7).shape == (7, 7, channels)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    close = _image(file.getvalue(), "RGB", 20)
    np.testing.assert_allclose(close.astype(int), cut.astype(int), atol=4)


def test_what_cannot_be_streamed(prepared, tmp_path, monkeypatch):
    from jaxnoise.data import _catalogue

    monkeypatch.setattr(_catalogue, "_has_tensorflow", lambda: False)
    messages = [
        (("imagenet2012", None, tmp_path), r'nor prepared in .*pip install "jaxnoise\[tf\]"'),
        (("imagnet2012", None, tmp_path), "did you mean 'imagenet2012'"),
        (("digits", "validation", prepared), "no split 'validation'; it has train, test"),
    ]
    for args, message in messages:
        with pytest.raises(ValueError, match=message) as caught:
            stream(*args)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="image_size must be at least 1"):
        stream("digits", None, prepared, image_size=0)


def test_tfrecord_has_no_random_access(prepared, tmp_path):
    folder = tmp_path / "digits" / "1.0.0"
    folder.mkdir(parents=True)
    for file in (prepared / "digits" / "1.0.0").iterdir():
        data = file.read_bytes()
        if file.suffix == ".json":
            data = data.replace(b"array_record", b"tfrecord")
        (folder / file.name.replace("array_record", "tfrecord")).write_bytes(data)
    with pytest.raises(ValueError, match=re.escape("tfds build digits --file_format=array_record")):
        stream("digits", data_dir=tmp_path)
