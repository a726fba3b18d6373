"""Sets of the TensorFlow Datasets catalogue, read without TensorFlow wherever possible."""

import difflib
import importlib.util
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import one_line
from ._dataset import Batch, Dataset, make_dataset

_CHUNK = 1024  # examples read at once


def data_root(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder that was given, else JAXNOISE_DATA_DIR, else where TFDS keeps its sets."""
    given = data_dir or os.environ.get("JAXNOISE_DATA_DIR") or os.environ.get("TFDS_DATA_DIR")
    return Path(given or "~/tensorflow_datasets").expanduser()


def load_catalogue(name: str, split: str | None, data_dir: Path) -> Dataset:
    """Loads a set of the catalogue; prepares it first where TensorFlow is there to do so."""
    with quiet_absl():
        builder = prepared_builder(name, data_dir)
        parts = splits_by_part(builder, name, split)
        batches = {part: _read(builder, name, text) for part, text in parts.items()}
    return make_dataset(name, batches, **described(builder, name))


def prepared_builder(name: str, data_dir: Path) -> Any:
    """The builder of a set whose files are there, or are made where TensorFlow is to do so."""
    builder = _builder(name, data_dir)
    if not builder.is_prepared():
        if not _has_tensorflow():
            state = f"{name!r} is neither a local file nor prepared in {data_dir}"
            raise _needs_tensorflow(state, "prepare it")
        _prepare(builder, name, data_dir)
    return builder


def described(builder: Any, name: str) -> dict[str, Any]:
    """What the set says of itself, as `make_dataset` takes it."""
    label = dict(builder.info.features.items()).get("label")
    return {
        "source": f"TFDS {builder.info.full_name}",
        "description": " ".join((builder.info.description or name).split()),
        "num_classes": getattr(label, "num_classes", None),
        "class_names": tuple(getattr(label, "names", None) or ()) or None,
    }


def _builder(name: str, data_dir: Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=os.fspath(data_dir))
    except Exception as error:  # TFDS parses the name, runs the builder, reads what is prepared
        known = tfds.list_builders(with_community_datasets=False)
        reason = str(error).strip().partition("\n")[0]
        folder = data_dir / name.partition(":")[0]
        if folder.is_dir():
            raise ValueError(
                f"{folder}: holds neither idx, .npz or LIBSVM files of {name!r} nor an "
                f"intact TFDS set ({reason}); get the files again, or prepare the set anew"
            ) from error
        if re.split("[:/]", name)[0] not in known:
            raise _unknown(name, known, data_dir) from error
        if isinstance(error, ImportError) and not _has_tensorflow():
            raise _needs_tensorflow(f"cannot load {name!r}", "load it") from error
        raise ValueError(f"cannot load {name!r} from the TFDS catalogue: {reason}") from error


def _prepare(builder: Any, name: str, data_dir: Path) -> None:
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # no network, no manual download, a set's own code …
        reason = one_line(error)
        raise ValueError(
            f"cannot prepare {name!r} in {data_dir}: {reason}; check the network, or put the files "
            f"of the set into {data_dir / name}"
        ) from error


def _unknown(name: str, known: list[str], data_dir: Path) -> ValueError:
    close = difflib.get_close_matches(name, ["digits", *known], n=3)
    return ValueError(
        f"unknown data set {name!r}: "
        + (f"did you mean {' or '.join(map(repr, close))}? " if close else "")
        + f'give "digits", a folder, .npz or LIBSVM file in {data_dir} (set data_dir or '
        "JAXNOISE_DATA_DIR), or a name of the TFDS catalogue"
    )


@contextmanager
def quiet_absl() -> Iterator[None]:
    """Keeps TFDS from warning of folders that are not there yet, and of slow decoders."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def splits_by_part(builder: Any, name: str, split: str | None) -> dict[str, str]:
    """Which split of the set makes which part."""
    known = list(builder.info.splits)
    if split is None:
        parts = {part: part for part in ("train", "test") if part in known}
        if not parts:
            raise ValueError(f"{name!r} has neither train nor test; give split, of {known}")
        return parts
    return {"test" if split.startswith(("test", "validation")) else "train": split}


def _read(builder: Any, name: str, split: str) -> Batch:
    try:
        return _stack(_open(builder, name, split), name)
    except ValueError:
        raise
    except Exception as error:  # damaged files, in the words of their reader
        reason = one_line(error)
        raise ValueError(
            f"{builder.data_path}: {reason}; expected the files of {name!r} as TFDS prepared them: "
            "prepare the set anew"
        ) from error


def _open(builder: Any, name: str, split: str) -> Sequence[dict[str, Any]]:
    try:
        return builder.as_data_source(split)
    except NotImplementedError:  # prepared as tfrecord
        if not _has_tensorflow():
            state = f"{name!r} is prepared as {builder.info.file_format.value}"
            raise _needs_tensorflow(state, "read it") from None
        import tensorflow_datasets as tfds

        return list(tfds.as_numpy(builder.as_dataset(split)))
    except (ValueError, KeyError) as error:
        raise no_such_split(builder, name, split) from error


def no_such_split(builder: Any, name: str, split: str) -> ValueError:
    known = ", ".join(builder.info.splits)
    return ValueError(f"{name!r} has no split {split!r}; it has {known}")


def _stack(source: Sequence[dict[str, Any]], name: str) -> Batch:
    """Copies the examples, chunk by chunk, into arrays that are made once."""
    batch: Batch = {}
    for start in range(0, len(source), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(source)))
        read = getattr(source, "__getitems__", None)
        examples = read(list(rows)) if read else [source[row] for row in rows]
        if not batch:
            batch = _allocate(examples[0], len(source))
        for key, array in batch.items():
            try:
                array[rows.start : rows.stop] = np.stack([example[key] for example in examples])
            except ValueError as error:
                raise ValueError(
                    f"{name!r}: {key!r} varies in shape from example to example, so it cannot be "
                    "held as one array; resize it into an .npz file, and load that"
                ) from error
    return batch


def _allocate(example: dict[str, Any], num_examples: int) -> Batch:
    values = {key: np.asarray(value) for key, value in example.items()}
    return {
        key: np.empty((num_examples, *value.shape), value.dtype)
        for key, value in values.items()
        if value.dtype.kind in "biufc"  # not text, nor nested features
    }


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _needs_tensorflow(state: str, purpose: str) -> ValueError:
    return ValueError(
        f"{state}, and to {purpose} needs TensorFlow, which is not installed: "
        'pip install "jaxnoise[tf]"'
    )
