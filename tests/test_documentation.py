"""Every example in a docstring and in the README runs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import jax
import pytest

import jaxnoise

MODULES = sorted(m.name for m in pkgutil.walk_packages(jaxnoise.__path__, "jaxnoise."))
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
SUBPACKAGES = [
    "data", "gradients", "landscape", "losses", "metrics", "models", "plotting", "schedules",
    "sharpness", "smoothing", "theory", "training", "transforms", "volumes",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.startswith("jaxnoise.models.") else name
        for name in MODULES
    ],
)
def test_docstring_examples(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_public_functions_have_examples(name):
    package = importlib.import_module(f"jaxnoise.{name}")
    for public, value in vars(package).items():
        function = callable(value) and not isinstance(value, type)
        if function and not public.startswith("_") and value.__module__.startswith("jaxnoise"):
            assert ">>> " in (value.__doc__ or ""), f"{name}.{public} has no example"


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
