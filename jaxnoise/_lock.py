"""A folder, or a file, that one run at a time writes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def held(folder: str | os.PathLike, argument: str) -> Iterator[None]:
    """Keeps other runs out of a folder until the block ends, or the process, however it does.

    A file `.lock` is there as long. Where the system has no such locks, nobody is kept out.

    Args:
      folder: made if it isn't there, with those above it; of these, what is still empty at the end
        is removed again.
      argument: what the caller's user names the folder by.

    Raises:
      BlockingIOError: if another run has it.
      OSError: if it can't be written to.
    """
    with _held(Path(folder), Path(folder) / ".lock", argument):
        yield


@contextlib.contextmanager
def held_file(path: str | os.PathLike, argument: str) -> Iterator[None]:
    """The same for a file, whose lock `.NAME.lock` lies beside it."""
    path = Path(path)
    with _held(path, path.with_name(f".{path.name}.lock"), argument):
        yield


@contextlib.contextmanager
def _held(what: Path, lock: Path, argument: str) -> Iterator[None]:
    folder = lock.parent
    new = [above for above in (folder, *folder.parents) if not above.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _locked(lock)
    except BlockingIOError as error:
        raise BlockingIOError(
            f"{what} is in use by another run: wait until that has ended, or give another "
            f"{argument}"
        ) from error
    except OSError as error:
        raise type(error)(
            f"{what} cannot be written to ({error.strerror}): give another {argument}"
        ) from error
    try:
        yield
    finally:
        with file or contextlib.nullcontext():
            lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it isn't empty
            for above in new:
                above.rmdir()


def _locked(path: Path) -> IO[bytes] | None:
    """The file, opened and locked; the system unlocks it when it is closed or the process dies."""
    while fcntl is not None:
        file = open(path, "ab")  # noqa: SIM115, the caller closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise
        except OSError:  # a file system without locks
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                return file
        file.close()  # the run that had it ended, and removed it, before it was locked here
    return None
