"""Every way to a local set, and what is said where there is none."""

import bz2
import hashlib
import io
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxnoise.data as jd
from jaxnoise.data import load, read_npz

# --- the digits --------------------------------------------------------------------------------


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    digits = load("digits")
    grey, labels = load_digits(return_X_y=True)
    both = np.concatenate([digits.train["image"], digits.test["image"]]).reshape(-1, 64)
    assert both.dtype == np.uint8
    assert len(both) == len(grey) == 1797
    # Every digit occurs once: as multisets of (image, label) the two are the same.
    scaled = np.round(grey * 255 / 16).astype(np.uint8)
    ours = np.column_stack([both, np.concatenate([digits.train["label"], digits.test["label"]])])
    theirs = np.column_stack([scaled, labels])
    np.testing.assert_array_equal(np.unique(ours, axis=0), np.unique(theirs, axis=0))
    assert len(np.unique(ours, axis=0)) == 1797  # no two alike, so the parts are disjoint
    assert digits.info.num_classes == 10
    assert digits.info.source.startswith("scikit-learn")


def test_digits_split_is_stratified_and_never_changes():
    digits = load("digits")
    train, test = (np.bincount(part["label"]) for part in (digits.train, digits.test))
    np.testing.assert_array_equal(test, np.round(0.2 * (train + test)))
    content = hashlib.sha256()
    for part in (digits.train, digits.test):
        content.update(part["image"].tobytes() + part["label"].astype("<i4").tobytes())
    assert content.hexdigest()[:16] == "db531844ff70cd25"
    again = load("digits")
    np.testing.assert_array_equal(again.test["image"], digits.test["image"])


def test_digits_need_no_folder(monkeypatch):
    monkeypatch.setenv("JAXNOISE_DATA_DIR", "/no/such/folder")
    assert load("digits", data_dir="/nor/this").train["image"].shape == (1438, 8, 8, 1)


def test_split_leaves_the_other_part_out():
    train, test = load("digits", "train"), load("digits", split="test")
    assert train.test is None
    assert test.train is None
    assert train.train["label"].shape == (1438,)
    assert test.test["label"].shape == (359,)
    with pytest.raises(ValueError, match=r"split of 'digits'.*'train\[:3\]'"):
        load("digits", "train[:3]")


def test_a_dataset_is_a_pytree_and_prints_shapes():
    digits = load("digits")
    on_device = jax.device_put(digits)
    assert on_device.info == digits.info
    assert {leaf.dtype.name for leaf in jax.tree.leaves(on_device)} == {"uint8", "int32"}
    assert "image (1438, 8, 8, 1) uint8" in repr(digits)
    assert len(repr(digits)) < 200


# --- idx ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("test_name", ["t10k", "test"])
def test_idx_folder_by_name(tmp_path, monkeypatch, write_mnist, small_mnist, test_name):
    write_mnist(tmp_path / "tïny", *small_mnist, test_name=test_name)
    images, labels, test_images, test_labels = small_mnist
    monkeypatch.setenv("JAXNOISE_DATA_DIR", str(tmp_path))
    for tiny in (load("tïny"), load("tïny", data_dir=tmp_path), load(str(tmp_path / "tïny"))):
        np.testing.assert_array_equal(tiny.train["image"], images[..., None])
        np.testing.assert_array_equal(tiny.train["label"], labels)
        np.testing.assert_array_equal(tiny.test["image"], test_images[..., None])
        np.testing.assert_array_equal(tiny.test["label"], test_labels)
        assert tiny.train["image"].dtype == np.uint8
        assert tiny.train["label"].dtype == np.int32
        assert tiny.info.num_classes == 3
    assert load("tïny", "test").train is None


def test_data_dir_may_be_the_idx_folder(tmp_path, write_mnist, small_mnist):
    folder = write_mnist(tmp_path / "mnist", *small_mnist)
    assert load("mnist", data_dir=folder).train["image"].shape == (6, 5, 4, 1)
    anywhere = write_mnist(tmp_path / "somewhere", *small_mnist)
    assert load("fashion_mnist", data_dir=anywhere).info.name == "fashion_mnist"
    assert load("somewhere", data_dir=anywhere).test["label"].shape == (2,)
    # idx files do not tell their set, so other names must not get them.
    for name, where in (("fashion_mnist", folder), ("cifar10", folder), ("cifar10", anywhere)):
        with pytest.raises(ValueError, match=name):
            load(name, data_dir=where)


def test_idx_plain_float_vectors(tmp_path, as_idx):
    folder = tmp_path / "vectors"
    folder.mkdir()
    vectors = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    (folder / "train-images-idx2-float").write_bytes(as_idx(vectors))
    (folder / "train-labels.idx1-ubyte").write_bytes(as_idx(np.array([0, 1, 2, 0], np.uint8)))
    loaded = load("vectors", data_dir=tmp_path)
    np.testing.assert_array_equal(loaded.train["image"], vectors)
    assert loaded.test is None
    with pytest.raises(ValueError, match="no test part"):
        load("vectors", "test", data_dir=tmp_path)


def test_idx_lacking_mismatched_and_empty(tmp_path, as_idx, write_mnist, small_mnist):
    images, labels, *_ = small_mnist
    folder = write_mnist(tmp_path / "tiny", *small_mnist)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte\.gz: no such file"):
        load("tiny", data_dir=tmp_path)
    assert load("tiny", "train", data_dir=tmp_path).test is None
    (folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz: no such file"):
        load("tiny", data_dir=tmp_path)
    write_mnist(folder, images, labels[:-1], *small_mnist[2:])
    with pytest.raises(ValueError, match=r"train-images.*\(6, 5, 4\).*train-labels.*\(5,\)"):
        load("tiny", data_dir=tmp_path)
    write_mnist(folder, images[:0], labels[:0], *small_mnist[2:])
    with pytest.raises(ValueError, match=r"train-images.*no examples"):
        load("tiny", data_dir=tmp_path)


# --- .npz --------------------------------------------------------------------------------------


def test_npz_parts_by_prefix(tmp_path, monkeypatch):
    image = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    label_map = (image > 20).astype(np.uint8)
    arrays = {"train_image": image, "train_label": label_map, "test_image": image[:1]}
    np.savez(tmp_path / "cells.npz", **arrays)
    (tmp_path / "folder").mkdir()
    np.savez_compressed(tmp_path / "folder" / "other_name.npz", **arrays)
    monkeypatch.setenv("JAXNOISE_DATA_DIR", str(tmp_path))
    for name in ("cells", "cells.npz", "folder", "folder/other_name", "other_name"):
        cells = load(name)
        assert cells.train.keys() == {"image", "label"}
        np.testing.assert_array_equal(cells.train["image"], image[..., None])
        np.testing.assert_array_equal(cells.train["label"], label_map)
        assert cells.test.keys() == {"image"}
        assert cells.info.num_classes is None
    assert load("cells", "train").test is None


def test_npz_without_prefixes_is_all_train(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.savez(
        tmp_path / "points.npz", x=x, label=np.array([2, 0, 1, 1]), class_names=["a", "b", "c"]
    )
    points = load("points", data_dir=tmp_path)
    assert points.test is None
    np.testing.assert_array_equal(points.train["x"], x)
    assert points.train["label"].dtype == np.int32
    assert points.info.class_names == ("a", "b", "c")
    assert points.info.num_classes == 3
    with pytest.raises(ValueError, match=r"points\.npz: no arrays for test; found x, label"):
        load("points", "test", tmp_path)


def test_npz_uneven_several_and_damaged(tmp_path):
    np.savez(tmp_path / "uneven.npz", train_x=np.ones((3, 2)), train_label=np.ones(4))
    with pytest.raises(ValueError, match=r"uneven\.npz: the train part.*leading"):
        load("uneven", data_dir=tmp_path)
    (tmp_path / "many").mkdir()
    for name in ("a", "b"):
        np.savez(tmp_path / "many" / name, x=np.ones(2))
    with pytest.raises(ValueError, match=r"several \.npz files.*many/…: a, b"):
        load("many", data_dir=tmp_path)
    assert load("many/b", data_dir=tmp_path).train["x"].shape == (2,)
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"torn\.npz"):
        load("torn", data_dir=tmp_path)


def test_the_same_name_in_two_folders_is_ambiguous(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "twin.npz", x=np.ones(2))
    with pytest.raises(ValueError, match=r"ambiguous.*one.*two"):
        load("twin", data_dir=tmp_path)


def _jpeg_arrays(images, labels):
    from PIL import Image

    files = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    offset = np.cumsum([0, *map(len, files)]).astype(np.int32)
    data = np.frombuffer(b"".join(files), np.uint8)
    return {"train_jpeg": data, "train_offset": offset, "train_label": labels}


def test_jpeg_npz_is_decoded_and_said_to_be(tmp_path):
    row, column = np.mgrid[:16, :16]
    smooth = np.stack([row * 8, column * 8, row + column], -1).astype(np.uint8)
    images = np.stack([smooth, smooth[::-1], smooth[:, ::-1]])
    arrays = _jpeg_arrays(images, np.array([0, 0, 1], np.uint8))
    np.savez(tmp_path / "cifar10_jpeg.npz", **arrays, class_names=["cat", "dog"])
    loaded = load("cifar10_jpeg", data_dir=tmp_path)
    assert list(loaded.train) == ["image", "label"]
    assert loaded.train["image"].shape == (3, 16, 16, 3)
    assert loaded.train["image"].dtype == np.uint8
    assert np.abs(loaded.train["image"].astype(int) - images).max() <= 12
    assert "JPEG-recompressed CIFAR-10" in loaded.info.description
    assert "sorted by class" in loaded.info.description
    assert loaded.info.class_names == ("cat", "dog")

    grey = _jpeg_arrays(images[..., 0], np.array([1, 0, 1], np.uint8))
    np.savez(tmp_path / "grey.npz", **grey)
    loaded = load("grey", data_dir=tmp_path)
    assert loaded.train["image"].shape == (3, 16, 16, 1)
    assert "sorted" not in loaded.info.description


def test_jpeg_npz_damage(tmp_path):
    images = np.zeros((3, 16, 16, 3), np.uint8)
    good = _jpeg_arrays(images, np.zeros(3, np.uint8))
    data, offset = good["train_jpeg"], good["train_offset"]
    uneven = _jpeg_arrays([images[0], images[0, :8]], np.zeros(2, np.uint8))
    for wrong in (
        {**good, "train_jpeg": np.zeros_like(data)},
        {**good, "train_jpeg": data[:-5]},
        {**good, "train_offset": offset[::-1]},
        {**good, "train_offset": offset - 3},
        {**good, "train_jpeg": data.astype(np.int16)},
        uneven,
        {**good, "train_label": np.zeros(2, np.uint8)},
    ):
        np.savez(tmp_path / "wrong.npz", **wrong)
        with pytest.raises(ValueError, match=r"wrong\.npz: "):
            load("wrong", data_dir=tmp_path)


# --- LIBSVM ------------------------------------------------------------------------------------


def test_libsvm_parts_share_their_features(tmp_path):
    wide, narrow = b"+1 1:1 5:2\n-1 2:1\n", b"-1 3:4\n"
    (tmp_path / "sets").mkdir()
    (tmp_path / "wide.bz2").write_bytes(bz2.compress(wide))
    (tmp_path / "wide.t").write_bytes(narrow)
    (tmp_path / "sets" / "narrow").write_bytes(narrow)
    (tmp_path / "sets" / "narrow.t.bz2").write_bytes(bz2.compress(wide))
    for name, sizes in (("wide", (2, 1)), ("sets/narrow", (1, 2)), ("narrow", (1, 2))):
        loaded = load(name, data_dir=tmp_path)
        assert loaded.train["features"].shape == (sizes[0], 5)
        assert loaded.test["features"].shape == (sizes[1], 5)
        assert loaded.train["features"].dtype == np.float32
        assert loaded.info.num_classes == 2
        assert set(loaded.train["label"]) | set(loaded.test["label"]) == {-1, 1}
        # One part alone has the same features as beside the other.
        alone = load(name, "test" if name == "wide" else "train", data_dir=tmp_path)
        assert (alone.test or alone.train)["features"].shape == (1, 5)


def test_libsvm_without_test_part_and_regression(tmp_path):
    (tmp_path / "abalone").write_bytes(b"1.5 1:1\n2 2:1\n")
    loaded = load("abalone", data_dir=tmp_path)
    assert loaded.test is None
    assert loaded.train["label"].dtype == np.float32
    assert loaded.info.num_classes is None


def test_libsvm_numbers_both_parts_alike(tmp_path):
    (tmp_path / "zero").write_bytes(b"1 0:1 2:1\n")
    (tmp_path / "zero.t").write_bytes(b"1 1:5\n")
    loaded = load("zero", data_dir=tmp_path)
    np.testing.assert_array_equal(loaded.test["features"], [[0, 5, 0]])


# --- names and errors --------------------------------------------------------------------------


def test_unknown_names(tmp_path):
    for name in ("mnits", "no_such_set", "no/such", "a b", "../x", "x" * 50):
        with pytest.raises(ValueError, match=r"unknown data set.*digits.*TFDS") as caught:
            load(name, data_dir=tmp_path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="did you mean 'mnist'"):
        load("mnits", data_dir=tmp_path)
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        load("digit", data_dir=tmp_path)
    for name in ("", "  ", None, 3):
        with pytest.raises(ValueError, match="name must be"):
            load(name)  # pyright: ignore[reportArgumentType]


def test_a_folder_with_nothing_readable_is_named(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"mine: holds neither idx, \.npz or LIBSVM files"):
        load("mine", data_dir=tmp_path)


def test_argument_goes_before_the_environment(tmp_path, monkeypatch):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "x.npz", x=np.full(2, value))
    monkeypatch.setenv("JAXNOISE_DATA_DIR", str(tmp_path / "a"))
    assert load("x").train["x"][0] == 1
    assert load("x", data_dir=tmp_path / "b").train["x"][0] == 2
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("x", data_dir="~/b").train["x"][0] == 2


def test_importing_brings_in_no_readers():
    script = (
        "import sys, jaxnoise.data\n"
        "heavy = {'tensorflow_datasets', 'sklearn', 'PIL', 'scipy.sparse'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(jd.__file__)))
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root)


def test_public_names():
    assert jd.read_npz is read_npz
    assert {"load", "Dataset", "DatasetInfo", "read_idx", "read_libsvm"} <= set(dir(jd))


# --- volumes -----------------------------------------------------------------------------------


def test_volumes_of_different_sizes(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"a_t2": (3, 5, 4), "a_t10": (2, 6, 4)}
    volumes = {
        f"{field}_{name}": rng.integers(1, 99, shape).astype(dtype)
        for field, dtype in (("image", np.uint16), ("label", np.uint8))
        for name, shape in shapes.items()
    }
    folder = tmp_path / "embryos"
    folder.mkdir()
    np.savez(folder / "embryos_train_small.npz", **volumes)
    np.savez(folder / "embryos_test.npz", image_b=volumes["image_a_t2"])
    embryos = load("embryos", data_dir=tmp_path)
    assert embryos.train["image"].shape == (2, 3, 6, 4, 1)
    assert embryos.train["label"].shape == (2, 3, 6, 4)
    assert embryos.train["image"].dtype == np.uint16
    np.testing.assert_array_equal(embryos.train["shape"], [shapes["a_t10"], shapes["a_t2"]])
    for i, (name, shape) in enumerate(sorted(shapes.items())):
        inside = tuple(slice(length) for length in shape)
        np.testing.assert_array_equal(embryos.train["label"][i][inside], volumes[f"label_{name}"])
        assert embryos.train["label"][i].sum() == volumes[f"label_{name}"].sum()
    assert embryos.test["image"].shape == (1, 3, 5, 4, 1)
    assert load("embryos", "test", data_dir=tmp_path).train is None


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"image_b": (2, 2, 2), "label_c": (2, 2, 2)}, "found 1 image, 1 label"),
        ({"image_b": (2, 2, 2), "label_b": (2, 2, 3)}, "arrays of b differ in shape"),
        ({"image_b": (3,)}, r"found image_b of shape \(3,\)"),
        ({"image": (2, 2, 2)}, "found image of shape"),
    ],
)
def test_volumes_that_do_not_fit(tmp_path, shapes, message):
    (tmp_path / "embryos").mkdir()
    file = tmp_path / "embryos" / "embryos_train.npz"
    np.savez(file, **{key: np.zeros(shape) for key, shape in shapes.items()})
    with pytest.raises(ValueError, match=message):
        load("embryos", data_dir=tmp_path)
    file.with_name("embryos_train_too.npz").write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match="several files of its train part"):
        load("embryos", data_dir=tmp_path)


def test_folders_of_slices(tmp_path):
    from PIL import Image

    for name, value in (("labels", 0), ("microscopy", 50)):
        (tmp_path / "kidney" / name).mkdir(parents=True)
        for index in (1, 2, 10):
            slice_of = Image.fromarray(np.full((4, 5), value + index, np.uint8))
            slice_of.save(tmp_path / "kidney" / name / f"z{index}.png")
    kidney = load("kidney", data_dir=tmp_path)
    assert kidney.train["labels"][:, 0, 0].tolist() == [1, 2, 10]
    assert kidney.train["microscopy"].shape == (3, 4, 5)
    assert kidney.test is None
    (tmp_path / "kidney" / "labels" / "z2.png").unlink()
    with pytest.raises(ValueError, match="the same leading example axis"):
        load("kidney", data_dir=tmp_path)
