"""Hostile command lines: whatever is wrong ends in one line that names the option or the file."""

import gzip
import re

import numpy as np
import pytest

WITH_DATA = {
    "tour": (),
    "sgd_rates": ("--only", "network"),
    "small_batch": (),
    "noise_schedules": (),
    "smoothing_sharpness": (),
    "vanishing_gradients": ("--only", "networks"),
}
ALL = {**WITH_DATA, "graduated_toy": (), "image_translation": (), "fcn_landscapes": ()}
ALL["nuclei3d"] = ("all",)
IMAGES, LABELS = np.zeros((8, 8, 8), np.uint8), np.arange(8) % 3

OPTIONS = [
    *[(name, "--out", None, "cannot be written|is a file") for name in ALL],
    ("tour", "--learning-rate", "nan", "--learning-rate must be positive, got nan"),
    ("tour", "--batch-size", "-4", "--batch-size must be at least 1"),
    ("tour", "--momentum", "1.5", r"--momentum must be in \[0, 1\), got 1\.5"),
    ("tour", "--weight", "-1", "--weight must be at least 0, got -1"),
    ("tour", "--radius", "0", "--radius must be positive, got 0"),
    ("tour", "--resolution", "1", "--resolution must be at least 2, got 1"),
    ("tour", "--period", "0", "--period must be at least 1, got 0"),
    ("sgd_rates", "--batch-sizes", "-1", "--batch-sizes must rise from at least 1, got"),
    ("sgd_rates", "--seeds", "-3", "--seeds must be at least 1"),
    ("small_batch", "--learning-rate", "nan", "--learning-rate must be positive, got nan"),
    ("small_batch", "--weight", "nan", "--weight must be at least 0, got nan"),
    ("small_batch", "--periods", "-2", "--periods must be at least 1, got -2"),
    ("noise_schedules", "--decay", "nan", "--decay must be above 0 and below 1, got nan"),
    ("noise_schedules", "--learning-rate", "-1", "--learning-rate must be positive, got -1"),
    ("smoothing_sharpness", "--rho", "nan", "--rho must be positive, got nan"),
    ("smoothing_sharpness", "--reached", "nan", r"--reached must be in \[0, 1\], got nan"),
    ("graduated_toy", "--a", "nan", "--a must be above 1, got nan"),
    ("graduated_toy", "--powers", "-1", "--powers must be positive, got -1"),
    ("vanishing_gradients", "--learning-rate", "nan", "--learning-rate must be positive"),
    ("vanishing_gradients", "--batch-size", "-1", "--batch-size must be at least 1"),
    ("image_translation", "--weight", "nan", "--weight must not be negative"),
    ("image_translation", "--width", "-1", "--width must be at least 1, got -1"),
    ("fcn_landscapes", "--momentum", "nan", r"--momentum must be in \[0, 1\), got nan"),
    ("fcn_landscapes", "--resolution", "-1", "--resolution must be at least 2, got -1"),
    ("nuclei3d", "--radii", "nan", "--radii must be positive, got nan"),
    ("nuclei3d", "--block", "-16", "--block must be at least 1, got -16"),
    ("nuclei3d", "--variants", "none", "--variants must be of .* got none"),
]


@pytest.mark.parametrize(
    ("name", "option", "value", "pattern"),
    [pytest.param(*row, id=f"{row[0]} {row[1]} {row[2]}") for row in OPTIONS],
)
def test_options(name, option, value, pattern, tmp_path, experiments):
    wrong = tmp_path / "a file"
    wrong.write_text("here")
    out = tmp_path / "out"
    given = (option, value, "--out", out) if value else (option, wrong)
    message = experiments(name).failure(*ALL[name], *given)
    assert len(message) < 300 + len(str(tmp_path))
    assert re.search(pattern, message), message
    assert sorted(tmp_path.iterdir()) == [wrong]
    assert wrong.read_text() == "here"


# Data

LABEL = "class label each|label"
IMAGE = "square images|images"


def files_in(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def idx(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


def as_idx(folder, images, labels):
    (folder / "hostile set").mkdir()
    for part in ("train", "t10k"):
        (folder / "hostile set" / f"{part}-images-idx3-ubyte.gz").write_bytes(images)
        (folder / "hostile set" / f"{part}-labels-idx1-ubyte.gz").write_bytes(labels)


def as_npz(folder, image=IMAGES, label=LABELS, **others):
    arrays = {"image": image, "label": label} | others
    found = {f"{part}_{name}": x for part in ("train", "test") for name, x in arrays.items()}
    np.savez(folder / "hostile set.npz", **{name: x for name, x in found.items() if x is not None})


SETS = {
    "labels of fractions": (lambda folder: as_npz(folder, label=LABELS / 2), LABEL),
    "labels below 0": (lambda folder: as_npz(folder, label=LABELS - 1), LABEL),
    "labels by pixel": (lambda folder: as_npz(folder, label=IMAGES.astype(int)), LABEL),
    "no labels": (lambda folder: as_npz(folder, label=None), LABEL),
    "no images": (lambda folder: as_npz(folder, image=None), IMAGE),
    "images without width": (lambda folder: as_npz(folder, image=IMAGES[:, 0]), IMAGE),
    "oblong images": (lambda folder: as_npz(folder, image=IMAGES[:, :4]), IMAGE),
    "fewer labels": (lambda folder: as_npz(folder, label=LABELS[:5]), "leading example axis"),
    "no examples": (
        lambda folder: as_npz(folder, image=IMAGES[:0], label=LABELS[:0]),
        "no example",
    ),
    "pickled objects": (
        lambda folder: as_npz(folder, label=np.array([None] * 8)),
        "hostile set.npz",
    ),
    "half a file": (lambda folder: as_idx(folder, idx(IMAGES)[:-9], idx(LABELS)), "images-idx3"),
    "a label too few": (lambda folder: as_idx(folder, idx(IMAGES), idx(LABELS[:7])), "labels-idx1"),
    "an empty file": (lambda folder: as_idx(folder, b"", idx(LABELS)), "images-idx3"),
}


@pytest.mark.parametrize("kind", SETS)
def test_sets(kind, tmp_path, experiments):
    """All experiments read their sets by the same functions: each has its turn."""
    turn = list(SETS).index(kind) % len(WITH_DATA)
    name = list(WITH_DATA)[turn]
    write, pattern = SETS[kind]
    write(tmp_path)
    before = files_in(tmp_path)
    options = ("--data", "hostile set", "--data-dir", tmp_path, "--out", tmp_path / "out")
    message = experiments(name).failure(*WITH_DATA[name], *options)
    assert len(message) < 300 + 2 * len(str(tmp_path))
    assert re.search(pattern, message), message
    assert files_in(tmp_path) - before <= {"plan.json", "curves.jsonl"}, "what a run begins with"


@pytest.mark.parametrize("name", {**WITH_DATA, "image_translation": (), "nuclei3d": ("all",)})
def test_unknown_sets(name, tmp_path, experiments):
    options = ("--data", "no_such_set_anywhere", "--out", tmp_path / "out")
    assert "no_such_set_anywhere" in experiments(name).failure(*ALL[name], *options)
    if name != "nuclei3d":  # its first step has begun
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", WITH_DATA)
def test_a_file_as_the_folder_of_data(name, tmp_path, experiments):
    (tmp_path / "file").write_text("here")
    options = ("--data", "hostile set", "--data-dir", tmp_path / "file", "--out", tmp_path / "out")
    message = experiments(name).failure(*WITH_DATA[name], *options)
    assert "unknown data set 'hostile set'" in message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_embryo_that_is_none(tmp_path, experiments):
    (tmp_path / "stack.tif").write_bytes(b"II*\0")
    options = ("--data", tmp_path / "stack.tif", "--out", tmp_path / "out")
    message = experiments("nuclei3d").failure("synthesize", *options)
    assert "stack.tif can't be read as a volume" in message
    assert files_in(tmp_path) - {"stack.tif"} <= {"plan.json", "curves.jsonl"}


@pytest.mark.parametrize("name", ALL)
def test_words_where_numbers_are_wanted(name, tmp_path, experiments, capsys):
    with pytest.raises(SystemExit) as stopped:
        experiments(name)(*ALL[name], "--seeds", "many", "--out", tmp_path / "out")
    assert stopped.value.code == 2
    assert "--seeds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_tables_are_long():
    assert len(OPTIONS) + len(SETS) >= 45
