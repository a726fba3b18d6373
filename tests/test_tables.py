"""Tables and files of results that all experiments write."""

import json

import numpy as np

from experiments._common import mean_and_std, text_table, write_json


def test_tables_and_json(tmp_path):
    assert mean_and_std([1.0, 3.0]) == "2 ± 1.4"
    assert mean_and_std([0.5]) == "0.5"
    assert text_table(["a", "b"], [["x", 10]]).splitlines() == ["a   b", "-  --", "x  10"]
    write_json(tmp_path / "a.json", {"nan": np.float32("nan"), "n": np.arange(2), "p": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "nan": None, "n": [0, 1], "p": str(tmp_path),
    }  # fmt: skip
