import dataclasses
import json
import os
import stat
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise import _results
from jaxnoise._results import Result, read_npz, write_npz


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Pair(Result):
    first: Any
    second: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Single(Result):
    first: Any


ARRAYS = st.sampled_from(
    [
        np.array([0.1, -0.0, np.nan, np.inf]),
        np.arange(6, dtype=np.int8).reshape(2, 3),
        np.array([True, False]),
        np.array(1e-45, np.float32),
        np.zeros((0, 2), np.float16),
        np.array([1 + 2j]),
        np.array(2**63, np.uint64),
    ]
)
NAMES = st.sampled_from(["loss", "a", "b", "a/b", "b_", "", "α β", "../up", "x.npy", "file"])
FIELDS = st.recursive(
    ARRAYS | st.none(), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.shape, x.dtype, x.tobytes()) == (y.shape, y.dtype, y.tobytes())


@settings(deadline=None, max_examples=60)
@given(FIELDS, FIELDS)
def test_what_was_saved_is_loaded_bit_for_bit(tmp_path_factory, first, second):
    path = tmp_path_factory.getbasetemp() / "pair.npz"
    Pair(first, second).save(path)
    assert_same(Pair.load(path), Pair(first, second))


def test_keys_that_would_name_the_same_entry(tmp_path):
    values = {"a/b": np.array(1), "a": {"b": np.array(2), "b_": np.array(3)}}
    Single(values).save(tmp_path / "single.npz")
    assert Single.load(tmp_path / "single.npz").first == values


def test_device_arrays_and_numbers_are_saved_as_arrays(tmp_path):
    Pair(jnp.arange(3), {"float": 0.1, "int": 7}).save(tmp_path / "pair.npz")
    loaded = Pair.load(tmp_path / "pair.npz")
    np.testing.assert_array_equal(loaded.first, [0, 1, 2])
    assert loaded.second == {"float": np.array(0.1), "int": np.array(7)}


def test_entries_are_named_after_the_fields(tmp_path):
    Pair(np.ones(2), {"loss": {"train": np.zeros(1)}}).save(tmp_path / "pair.npz")
    assert set(read_npz(tmp_path / "pair.npz")) >= {"first", "second/loss/train"}


def test_results_are_pytrees():
    doubled = jax.tree.map(lambda x: 2 * x, Pair(1.0, {"a": 2.0, "b": None}))
    assert isinstance(doubled, Pair)
    assert (doubled.first, doubled.second) == (2.0, {"a": 4.0, "b": None})


def test_results_cross_compiled_functions():
    assert jax.jit(lambda pair: Pair(pair.second, pair.first))(Pair(1.0, 2.0)).first == 2.0


def test_results_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Pair(1, 2).first = 3


@pytest.mark.parametrize("value", ["text", [1.0], (1.0,), object()])
def test_what_is_no_array_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match=r"second/deep is a .*only arrays"):
        Pair(1.0, {"deep": value}).save(tmp_path / "pair.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [jnp.ones(2, jnp.bfloat16), np.array([{}])])
def test_dtypes_that_would_not_come_back_are_refused(tmp_path, value):
    with pytest.raises(TypeError, match=r"first has dtype .*convert it first"):
        Single(value).save(tmp_path / "single.npz")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.npz"):
        Pair.load(tmp_path / "nowhere.npz")


def test_directory_instead_of_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        Pair.load(tmp_path)


def assert_one_clear_line(path, cls=Pair):
    with pytest.raises(ValueError) as caught:
        cls.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_npz_of_someone_else(tmp_path):
    np.savez(tmp_path / "other.npz", first=np.ones(2), second=np.ones(2))
    assert "not one that Pair.save wrote" in assert_one_clear_line(tmp_path / "other.npz")


def test_npz_of_another_result(tmp_path):
    Single(np.ones(2)).save(tmp_path / "single.npz")
    assert "holds a Single, not a Pair" in assert_one_clear_line(tmp_path / "single.npz")


def test_npz_with_a_field_unknown(tmp_path):
    Pair(1.0, 2.0).save(tmp_path / "pair.npz")
    arrays = read_npz(tmp_path / "pair.npz")
    header = json.loads(str(arrays["__jaxnoise__"])) | {"result": "Single"}
    write_npz(tmp_path / "pair.npz", arrays | {"__jaxnoise__": np.array(json.dumps(header))})
    assert "Single lacks: second" in assert_one_clear_line(tmp_path / "pair.npz", Single)


def test_npz_with_an_entry_missing(tmp_path):
    Pair(1.0, {"loss": 2.0}).save(tmp_path / "pair.npz")
    arrays = read_npz(tmp_path / "pair.npz")
    del arrays["second/loss"]
    write_npz(tmp_path / "pair.npz", arrays)
    assert "incomplete: second/loss" in assert_one_clear_line(tmp_path / "pair.npz")


def test_pickles_are_not_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.savez(tmp_path / "trap.npz", first=np.array([Trap()], object), allow_pickle=True)
    assert_one_clear_line(tmp_path / "trap.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"some text", b"\x93NUMPY"])
def test_files_that_are_no_archive(tmp_path, content):
    (tmp_path / "junk.npz").write_bytes(content)
    assert_one_clear_line(tmp_path / "junk.npz")


def test_single_array(tmp_path):
    np.save(tmp_path / "array.npy", np.ones(3))
    assert_one_clear_line(tmp_path / "array.npy")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "pair.npz"
    result = Pair(np.random.default_rng(0).normal(size=40), {"loss": np.arange(9)})
    result.save(path)
    return result, path.read_bytes()


@settings(deadline=None)
@given(st.data())
def test_truncated_file(tmp_path_factory, archive, data):
    _, content = archive
    path = tmp_path_factory.getbasetemp() / "truncated.npz"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert_one_clear_line(path)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_damaged_byte_is_noticed_or_harmless(tmp_path_factory, archive, data):
    result, content = archive
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(damaged)
    try:
        assert_same(Pair.load(path), result)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017, either outcome is right


@pytest.mark.parametrize("failing", ["savez_compressed", "replace"])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "single.npz"
    Single(np.ones(2)).save(path)

    def fail_half_way(file, *args, **kwargs):
        if failing == "savez_compressed":
            file.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(
        _results.np if failing == "savez_compressed" else os, failing, fail_half_way
    )
    with pytest.raises(KeyboardInterrupt):
        Single(np.zeros(2)).save(path)
    assert os.listdir(tmp_path) == ["single.npz"]
    np.testing.assert_array_equal(Single.load(path).first, [1, 1])


def test_exact_path_in_a_new_folder(tmp_path):
    path = tmp_path / "neu" / "Größe — 损失.result"
    Single(np.ones(2)).save(str(path))
    assert os.listdir(tmp_path / "neu") == [path.name]
    np.testing.assert_array_equal(Single.load(path).first, [1, 1])


def test_saving_again_replaces(tmp_path):
    Single(np.ones(2)).save(tmp_path / "single.npz")
    Single(np.zeros(3)).save(tmp_path / "single.npz")
    np.testing.assert_array_equal(Single.load(tmp_path / "single.npz").first, [0, 0, 0])


def test_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    Single(np.ones(2)).save(tmp_path / "single.npz")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "single.npz")]
    assert modes[0] == modes[1]
