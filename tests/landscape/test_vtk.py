import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxnoise.landscape import LossGrid, save_vtk

VALUES = hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32))


def read(path):
    """Header lines, points (N, 3) and arrays (N,) by name of a binary legacy file."""
    with open(path, "rb") as file:
        line = lambda: file.readline().decode().rstrip("\n")  # noqa: E731
        numbers = lambda count: np.frombuffer(file.read(8 * count), ">f8")  # noqa: E731
        header = [line() for _ in range(5)]
        word, count, kind = line().split()
        assert (word, kind) == ("POINTS", "double")
        points = numbers(3 * int(count)).reshape(-1, 3)
        assert (line(), line()) == ("", f"POINT_DATA {count}")
        arrays = {}
        while text := line():
            word, name, kind, components = text.split()
            assert (word, kind, components) == ("SCALARS", "double", "1")
            assert line() == "LOOKUP_TABLE default"
            arrays[name] = numbers(int(count))
            assert line() == ""
        assert file.read() == b""
    return header, points, arrays


def grid_of(values):
    return LossGrid(np.linspace(-1, 1, 3), np.linspace(0, 6, 4), values, 0.0)


@settings(deadline=None, max_examples=30)
@given(VALUES.filter(lambda x: np.isfinite(x).any()), VALUES, st.floats(-10, 10))
def test_file_holds_the_grid(tmp_path_factory, loss, accuracy, scale):
    path = tmp_path_factory.mktemp("vtk") / "grid.vtk"
    save_vtk(grid_of({"loss": loss, "pixel accuracy": accuracy}), path, scale=scale)
    header, points, arrays = read(path)
    assert header[0] == "# vtk DataFile Version 3.0"
    assert header[2:] == ["BINARY", "DATASET STRUCTURED_GRID", "DIMENSIONS 3 4 1"]
    assert list(arrays) == ["loss", "pixel_accuracy"]
    top = max(x for x in loss.ravel() if np.isfinite(x))
    n = 0
    for j in range(4):
        for i in range(3):
            is_finite = np.isfinite(loss[i, j])
            height = np.float64(loss[i, j] if is_finite else top)
            np.testing.assert_array_equal(points[n], [i - 1, 2 * j, scale * height])
            assert arrays["loss"][n] == loss[i, j] if is_finite else np.isnan(arrays["loss"][n])
            n += 1
    finite = np.isfinite(accuracy.T.ravel())
    np.testing.assert_array_equal(np.isfinite(arrays["pixel_accuracy"]), finite)
    np.testing.assert_array_equal(
        arrays["pixel_accuracy"][finite], accuracy.T.ravel()[finite].astype(float)
    )


def test_losses_without_a_name(tmp_path):
    save_vtk(grid_of(np.arange(12.0).reshape(3, 4)), tmp_path / "grid.vtk", metric="accuracy")
    _, points, arrays = read(tmp_path / "grid.vtk")
    np.testing.assert_array_equal(points[:, 2], arrays["loss"])


def test_another_metric_is_the_height(tmp_path):
    loss = np.arange(12.0).reshape(3, 4)
    save_vtk(grid_of({"loss": loss, "error": -loss}), tmp_path / "grid.vtk", metric="error")
    np.testing.assert_array_equal(read(tmp_path / "grid.vtk")[1][:, 2], -loss.T.ravel())


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({"a": np.ones((3, 4))}, {}, "metric must be one of a, got 'loss'"),
        (np.full((3, 4), np.nan), {}, "loss has no finite value"),
        (np.ones((3, 4)), {"scale": np.inf}, "scale must be a finite number"),
    ],
)
def test_errors_leave_no_file(tmp_path, values, options, message):
    with pytest.raises(ValueError, match=message):
        save_vtk(grid_of(values), tmp_path / "grid.vtk", **options)
    assert not os.listdir(tmp_path)
