"""The harness of the benchmarks, and that the benchmarks run."""

import json
import time

import pytest

from experiments.benchmarks._harness import Race, compare, run, table


def sleeping(milliseconds, calls):
    def contestant():
        calls.append(milliseconds)
        time.sleep(milliseconds / 1e3)

    return contestant


@pytest.fixture
def race(monkeypatch):
    monkeypatch.setattr("experiments.benchmarks._harness._PAUSE", 0.0)
    calls = []
    contestants = {"ours": sleeping(20, calls), "peer": sleeping(10, calls)}
    return Race("sleep", contestants, {"ours": 4, "peer": 1}, "peer", 1.3), calls


def test_times_are_per_unit_of_work_and_ratios_to_the_peer(race):
    result = run(race[0], 3)
    ours, peer = (result["contestants"][name] for name in ("ours", "peer"))
    assert 5 <= ours["milliseconds"] < peer["milliseconds"]
    assert peer["ratio"] == 1
    assert len(ours["times"]) == 3
    low, high = ours["ratio_quartiles"]
    assert 0.1 < low <= ours["ratio"] <= high < 1
    assert result["target"] == 1.3


def test_contestants_take_turns_after_a_warm_up(race):
    run(race[0], 3)
    assert race[1][-6:] == [20, 10] * 3
    assert len(race[1]) > 6


def test_results_are_written_with_versions_and_device(race, tmp_path, capsys):
    compare("nap", [race[0]], 2, tmp_path)
    (path,) = tmp_path.glob("nap-*.json")
    written = json.loads(path.read_text())
    assert written["results"][0]["case"] == "sleep"
    assert {"jax", "torch", "jaxnoise"} <= set(written["environment"]["versions"])
    printed = capsys.readouterr().out
    assert str(path) in printed
    assert table(written["results"]) in printed


@pytest.mark.slow
def test_convolution_benchmark(tmp_path):
    pytest.importorskip("torch")
    from experiments.benchmarks import convolution

    convolution.benchmark(convolution.Config(quick=True, out=tmp_path))
    (path,) = tmp_path.glob("convolution-*.json")
    results = json.loads(path.read_text())["results"]
    assert [set(result["contestants"]) for result in results] == 2 * [
        {"in a loop", "by itself", "PyTorch"}
    ]


@pytest.mark.slow
def test_networks_of_both_libraries_do_the_same_work():
    pytest.importorskip("torch")
    from experiments.benchmarks import models

    config = models.Config(only="U-Net 2-D width 16", repetitions=1)
    forward, training = models.races(config)
    assert set(forward.contestants) == {"jitted", "PyTorch"}
    assert set(training.contestants) == {"epoch program", "single steps", "PyTorch"}
    for race in (forward, training):
        for contestant in race.contestants.values():
            contestant()
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from"):
        list(models.races(models.Config(only="nothing")))
