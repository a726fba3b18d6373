"""Flax NNX has a mode in which models are plain trees; nothing may change there."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("in_both_modes.py")


@pytest.mark.slow
def test_losses_in_tree_mode_are_those_in_graph_mode():
    tree = os.environ | {"NNX_GRAPH_MODE": "false", "NNX_GRAPH_UPDATES": "false"}
    started = subprocess.Popen([sys.executable, SCRIPT], env=tree, stdout=subprocess.PIPE)
    here = runpy.run_path(str(SCRIPT))["results"]
    output, _ = started.communicate(timeout=300)
    assert started.returncode == 0
    there = json.loads(output)
    assert there["graph mode"] is False
    for model, losses in here.items():
        assert np.all(np.isfinite(losses))
        np.testing.assert_allclose(there["losses"][model], losses, rtol=1e-5, err_msg=model)
