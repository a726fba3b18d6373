"""The parts of a run that are finished, kept in a folder so that an interrupted run can go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._run_folder import write_json

SHORT = 20_000  # steps


def begin(folder: Path, plan: Any, resume: bool) -> None:
    """Empties the folder, unless it holds parts of a run of the same plan that is to go on.

    The plan is the first to come and the first to go: parts without one are of nobody.

    Args:
      folder: where the parts are.
      plan: dataclass of all that the numbers depend on.
      resume: whether the run is to go on.

    Raises:
      ValueError: if it is to go on but was made by another plan, or its plan is damaged.
    """
    path = folder / "plan.json"
    if not resume:
        path.unlink(missing_ok=True)
    if not path.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        write_json(path, plan)
        return
    theirs = _read(path)
    new = folder / "plan_now.json"
    write_json(new, plan)
    ours = json.loads(new.read_text(encoding="utf-8"))
    new.unlink()
    if changed := sorted(name for name in ours if ours[name] != theirs.get(name)):
        raise ValueError(
            f"--resume: {folder} is of a run with other options ({', '.join(changed)} differ): "
            "start anew without --resume, or give another --out"
        )


def remembered(path: Path, compute: Callable[[], Any]) -> Any:
    """What `compute` gives, as JSON values; read back from `path` where it is there already.

    Raises:
      ValueError: if the file is damaged.
    """
    if not path.is_file():
        write_json(path, compute())
    return _read(path)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: remove it, and go on with --resume") from error


def checkpoints(folder: Path, steps: int) -> Path | None:
    """Where a training of so many steps keeps its checkpoints; None if it's short enough to start
    anew."""
    return folder if steps > SHORT else None
