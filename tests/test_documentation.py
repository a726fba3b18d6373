"""All that is public is described, every example runs, and the documentation builds."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import jaxnoise

MODULES = sorted(m.name for m in pkgutil.walk_packages(jaxnoise.__path__, "jaxnoise."))
ROOT = Path(__file__).parents[1]
COMPILE_MUCH = (
    "jaxnoise.models.",
    *(f"jaxnoise.data._{name}" for name in ("facades", "membranes", "raindrops", "vessels")),
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def public_objects():
    """(full name, function or class) of all that the public modules define or re-export."""
    for module in map(importlib.import_module, MODULES):
        if "._" in module.__name__:
            continue
        for name, value in vars(module).items():
            ours = getattr(value, "__module__", "").startswith(
                "jaxnoise" if hasattr(module, "__path__") else module.__name__
            )
            if ours and callable(value) and not name.startswith("_"):
                yield f"{module.__name__.removeprefix('jaxnoise.')}.{name}", value


PUBLIC = dict(public_objects())
RESULTS = {
    name for name, v in PUBLIC.items() if dataclasses.is_dataclass(v) or hasattr(v, "_fields")
}
WORKS = [
    name
    for name, v in PUBLIC.items()
    if name not in RESULTS and not (inspect.isclass(v) and issubclass(v, Exception))
]


def section(name, title):
    """The text of a section of a docstring, "" where there is none."""
    found = re.search(
        rf"^{title}:\n((?: .*\n?|\n)+)", inspect.getdoc(PUBLIC[name]) or "", re.MULTILINE
    )
    return found[1] if found else ""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.startswith(COMPILE_MUCH) else name
        for name in MODULES
    ],
)
def test_docstring_examples(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("name", WORKS)
def test_functions_and_networks_are_described(name):
    value = PUBLIC[name]
    signature = inspect.signature(value.__init__ if inspect.isclass(value) else value)
    assert set(signature.parameters) - {"self"} <= set(re.findall(r"\w+", section(name, "Args")))
    assert ">>> " in section(name, "Example")
    if inspect.isfunction(value) and signature.return_annotation not in (None, "None"):
        assert section(name, "Returns")
    if re.search(r"\braise |\bcheck_\w+\(", inspect.getsource(value)):
        assert section(name, "Raises")


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_fields_of_results_are_described(name):
    kind = PUBLIC[name]
    fields = getattr(kind, "__dataclass_fields__", None) or kind._fields
    described = re.findall(r"^  (\w+)[\w, ]*:", section(name, "Attributes"), re.MULTILINE)
    assert set(fields) <= set(described)


@pytest.fixture
def few_digits(monkeypatch):
    """A tenth of the digits, as it's the programs that are looked at, not what they learn."""
    load = jaxnoise.data.load

    def load_few(*args, **options):
        return jax.tree.map(lambda x: x[:160], load(*args, **options))

    monkeypatch.setattr(jaxnoise.data, "load", load_few)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=pytest.mark.slow) if "training.fit" in block else number
        for number, block in enumerate(BLOCKS)
    ],
)
def test_readme_blocks(number, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxnoise._progress.Progress.update", lambda *args, **kwargs: None)
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), {})


def test_readme_names_exist():
    """The table's functions are the library's."""
    table = README.split("## What is in it")[1].split("Two words")[0]
    found = re.findall(r"`([a-z_]+)\.([A-Za-z_0-9]+)`", table)
    assert len(found) > 8
    for package, name in found:
        assert hasattr(getattr(jaxnoise, package), name), f"{package}.{name}"


@pytest.mark.slow
def test_documentation_builds(tmp_path):
    """Without a warning, and all that is public stands in the reference."""
    for needed in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(needed)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    command += ["-c", "notebooks/docs", ".", str(tmp_path / "docs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    pages = "".join(page.read_text("utf-8") for page in tmp_path.rglob("reference/*.html"))
    assert not [name for name in PUBLIC if f'id="jaxnoise.{name}"' not in pages]
