"""Settings of the documentation, built from the repository's root.

    python -m sphinx -W -c notebooks/docs . build/docs

The texts are the README, the experiments' README and the notebooks where they lie, so that their
links hold; the reference is drawn from the docstrings of what each folder of jaxnoise re-exports.
"""

import inspect
import re
from pathlib import Path

import jaxnoise

project, author = "jaxnoise", "The jaxnoise developers"
version = release = jaxnoise.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
]
root_doc = "notebooks/docs/index"
include_patterns = ["README.md", "experiments/README.md", "notebooks/**"]
exclude_patterns = [".*", "build", "runs", "notebooks/docs/_templates"]
templates_path = [str(Path(__file__).parent / "_templates")]  # autosummary looks below the root

html_theme = "furo"
html_title = "jaxnoise"
html_additional_pages = {"index": "to_readme.html"}

nb_execution_mode = "off"
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the texts name shapes and kinds
autodoc_preserve_defaults = True
add_module_names = False
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_param = napoleon_use_rtype = False
napoleon_attr_annotations = False
napoleon_custom_sections = [("Attributes", "params_style")]


def _formulas_as_they_stand(app, what, name, obj, options, lines):
    """Indented paragraphs become literal; elsewhere |, * and a last _ are no markup."""
    text = []
    for before, line in zip(["", *lines], lines, strict=False):
        if not before.strip() and line.startswith("    "):
            text += ["::", ""]
        elif not line.lstrip().startswith(">>>"):
            line = re.sub(r"(`.*?`)|([|*]|_(?!\w))", lambda m: m[1] or "\\" + m[2], line)
        text.append(line)
    lines[:] = text


def _only_ours(app, what, name, obj, skip, options):
    """What a module imports from elsewhere is no part of it, nor are fields without a text."""
    if (obj.__doc__ or "").startswith("Alias for field"):
        return True
    if not (inspect.getmodule(obj) or jaxnoise).__name__.startswith("jaxnoise"):
        return True
    return None


def _from_the_top(app, env, node, contnode):
    """`losses.dice` is jaxnoise.losses.dice."""
    return env.get_domain("py").resolve_xref(
        env,
        node["refdoc"],
        app.builder,
        node["reftype"],
        "jaxnoise." + node["reftarget"],
        node,
        contnode,
    )


def setup(app):
    app.connect("autodoc-process-docstring", _formulas_as_they_stand, priority=400)
    app.connect("autodoc-skip-member", _only_ours)
    app.connect("missing-reference", _from_the_top)
