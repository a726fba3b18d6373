"""The harness of the benchmarks, and that the benchmarks run."""

import dataclasses
import functools
import json
import types

import numpy as np
import pytest

import jaxnoise as jn
from experiments.benchmarks._harness import Race, compare, run, table


def lasting(milliseconds, calls):
    """Takes as long by a clock that stands still otherwise."""
    return lambda: calls.append(milliseconds)


@pytest.fixture
def race(monkeypatch):
    calls = []
    clock = types.SimpleNamespace(perf_counter=lambda: sum(calls) / 1e3, sleep=lambda seconds: None)
    monkeypatch.setattr("experiments.benchmarks._harness.time", clock)
    contestants = {"ours": lasting(20, calls), "peer": lasting(10, calls)}
    return Race("sleep", contestants, {"ours": 4, "peer": 1}, "peer", 1.3), calls


def test_times_are_per_unit_of_work_and_ratios_to_the_peer(race):
    result = run(race[0], 3)
    ours, peer = (result["contestants"][name] for name in ("ours", "peer"))
    assert ours["milliseconds"] == pytest.approx(5)
    assert peer["milliseconds"] == pytest.approx(10)
    assert peer["ratio"] == 1
    assert len(ours["times"]) == 3
    assert [*ours["ratio_quartiles"], ours["ratio"]] == pytest.approx([0.5] * 3)
    assert result["target"] == 1.3


def test_contestants_take_turns_after_a_warm_up(race):
    run(race[0], 3)
    assert race[1][-6:] == [20, 10] * 3
    assert len(race[1]) > 6


def test_results_are_written_with_versions_and_device(race, tmp_path, capsys):
    without = dataclasses.replace(race[0], absent={"third": "no module of this name"})
    compare("nap", [without], 2, tmp_path)
    (path,) = tmp_path.glob("nap-*.json")
    written = json.loads(path.read_text())
    assert written["results"][0]["case"] == "sleep"
    assert written["results"][0]["absent"] == without.absent
    assert {"jax", "torch", "jaxnoise"} <= set(written["environment"]["versions"])
    printed = capsys.readouterr().out
    assert str(path) in printed
    assert table(written["results"]) in printed


def test_ratios_to_further_references_have_columns(race):
    result = run(dataclasses.replace(race[0], references=("ours",)), 2)
    (reference,) = result["contestants"]["peer"]["references"].values()
    times = [result["contestants"][name]["times"] for name in ("peer", "ours")]
    assert reference["ratio"] == pytest.approx(np.median(np.divide(*times)))
    assert result["contestants"]["ours"]["references"]["ours"]["ratio"] == 1
    head, _, *lines = table([result]).splitlines()
    assert head.endswith("/ ours's")
    assert lines[0].endswith("1.00 (1.00–1.00)")


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


@pytest.fixture
def peers():
    torch, *_ = (pytest.importorskip(package) for package in ("torch", "backpack", "opacus"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait long for each other on a busy machine
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def gradient_noise(peers):
    from experiments.benchmarks import gradient_noise

    return gradient_noise


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch's own
def test_peers_of_the_noise_profile_agree(gradient_noise):
    config = gradient_noise.Config(only="FeedForward", quick=True)
    memory, *races = gradient_noise.races(config)
    assert set(memory.contestants) == {"n", "2n", "4n"}
    for race, target in zip(races, (1.3, 2.1, 2.7), strict=True):
        assert set(race.contestants) == {
            "plain gradient",
            "PyTorch gradient",
            "jaxnoise",
            *gradient_noise.PEERS,
        }
        assert race.target == target


def test_peers_of_the_noise_profile_must_agree(gradient_noise):
    case = gradient_noise.CASES[0]
    given = {"ours": {"squared_norms": np.ones(3)}, "peer": {"squared_norms": np.ones(3)}}
    gradient_noise.check(case, given)
    given["peer"]["squared_norms"] = np.array([1.0, 1.0, 1.002])
    with pytest.raises(ValueError, match="peer and ours disagree on squared_norms"):
        gradient_noise.check(case, given)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch's own
def test_peers_of_the_noise_profile_agree_on_batch_normalisation(gradient_noise):
    width = {"width": 4}
    case = dataclasses.replace(
        gradient_noise.CASES[-1],
        model=functools.partial(jn.models.ResNet18, **width),
        twin=functools.partial(gradient_noise.CASES[-1].twin, **width),
        shape=(3, 8, 8, 3),
        steps=2,
    )
    model, twin = gradient_noise.networks(case)
    race = gradient_noise.race(case, "profile", model, twin)
    assert set(race.contestants) > set(gradient_noise.PEERS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch's own
def test_gradient_noise_benchmark(gradient_noise, tmp_path):
    gradient_noise.benchmark(gradient_noise.Config(only="SmallCNN", quick=True, out=tmp_path))
    (path,) = tmp_path.glob("gradient_noise-*.json")
    written = json.loads(path.read_text())
    assert {"opacus", "backpack-for-pytorch"} <= set(written["environment"]["versions"])
    assert [len(result["contestants"]) for result in written["results"]] == [3, 7, 7, 7]


@pytest.fixture
def landscape(peers):
    from experiments.benchmarks import landscape

    return landscape


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers
def test_peers_of_the_landscape_agree_and_those_that_lack_are_named(landscape, monkeypatch):
    class Lacking:
        def __init__(self, *args):
            raise ImportError("no module of this name")

    monkeypatch.setitem(landscape.PEERS, "another", Lacking)
    config = landscape.Config(only="FeedForward", quick=True)
    growth, race = landscape.races(config)
    assert growth.work == {"2×2": 4, "4×4": 16}
    assert race.absent["another"] == "no module of this name"
    assert {*race.contestants, *race.absent} == {race.peer, "jaxnoise", *landscape.PEERS}
    assert "PyTorch loop" in race.contestants
    assert race.target == 1.15
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from"):
        list(landscape.races(landscape.Config(only="nothing")))


def test_peers_of_the_landscape_must_agree(landscape):
    case = landscape.CASES[0]
    grids = {"ours": np.ones((2, 2)), "peer": np.array([[1.0, np.nan], [1.00001, 1.0]])}
    landscape.check(case, grids)
    for wrong in (1.001, np.nan):
        with pytest.raises(ValueError, match="peer and ours disagree on the losses"):
            landscape.check(case, {"ours": np.ones(1), "peer": np.array([wrong])})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers
def test_landscape_benchmark(landscape, tmp_path):
    landscape.benchmark(landscape.Config(only="U-Net", quick=True, out=tmp_path))
    (path,) = tmp_path.glob("landscape-*.json")
    growth, race = json.loads(path.read_text())["results"]
    assert set(growth["contestants"]) == {"2×2", "4×4"}
    assert len(race["contestants"]) + len(race["absent"]) == 5


@pytest.fixture
def sharpness(peers):
    from experiments.benchmarks import sharpness

    return sharpness


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers
def test_peers_of_the_sharpness_agree(sharpness):
    adaptive, box, eigenvalue = sharpness.races(sharpness.Config(only="FeedForward", quick=True))
    assert set(adaptive.contestants) == {"jaxnoise", "PyTorch loop", "gradients"}
    assert adaptive.target == 0.5
    assert set(box.contestants) == {"L-BFGS-B", "on the device"}
    assert set(eigenvalue.contestants) == {"jaxnoise", "PyTorch loop"}
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from"):
        list(sharpness.races(sharpness.Config(only="nothing")))


def test_peers_of_the_sharpness_must_agree(sharpness):
    case = sharpness.CASES[0]
    sharpness.check(case, "peer", [1.0005], [1.0], 1e-3)
    with pytest.raises(ValueError, match=r"peer gives \[1.002\] where jaxnoise gives \[1.0\]"):
        sharpness.check(case, "peer", [1.002], [1.0], 1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers
def test_sharpness_benchmark(sharpness, tmp_path):
    sharpness.benchmark(sharpness.Config(only="SmallCNN", quick=True, out=tmp_path))
    (path,) = tmp_path.glob("sharpness-*.json")
    results = json.loads(path.read_text())["results"]
    assert [len(result["contestants"]) for result in results] == [3, 2, 2]


@pytest.mark.slow
def test_small_batch_contestants_run(monkeypatch):
    from experiments.benchmarks import small_batch

    monkeypatch.setitem(small_batch.NETWORKS, "FeedForward 8²", ("FeedForward", (8, 8, 1), 2))
    config = small_batch.Config(replicas=2)
    (update,) = small_batch.races(dataclasses.replace(config, only="update, SmallCNN"))
    assert update.references == ("optax.adam", "memory floor")
    (replicas,) = small_batch.races(dataclasses.replace(config, only="replicas, FeedForward 8²"))
    assert replicas.work == dict.fromkeys(replicas.contestants, 4)
    for race in (update, replicas):
        assert race.peer in race.contestants
        for contestant in race.contestants.values():
            contestant()
            contestant()
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from update"):
        list(small_batch.races(small_batch.Config(only="nothing")))


@pytest.fixture
def graduated_descent():
    pytest.importorskip("torch")
    from experiments.benchmarks import graduated_descent as module

    return module


@pytest.mark.slow
def test_graduated_descent_benchmark(graduated_descent, tmp_path):
    graduated_descent.benchmark(graduated_descent.Config(quick=True, dimensions=(2,), out=tmp_path))
    (path,) = tmp_path.glob("graduated_descent-*.json")
    (result,) = json.loads(path.read_text())["results"]
    names = {
        graduated_descent.OURS,
        graduated_descent.LOOP,
        graduated_descent.NUMPY,
        graduated_descent.TORCH,
    }
    assert set(result["contestants"]) == names


@pytest.mark.slow
def test_contestants_of_graduated_descent_must_agree(graduated_descent):
    ends = {graduated_descent.OURS: np.full((9, 2), 0.5), "other": np.zeros((9, 2))}
    with pytest.raises(ValueError, match=r"other reaches 0 on average where jaxnoise reaches 40.5"):
        graduated_descent.check(2, ends)


@pytest.fixture
def sliding_window():
    torch = pytest.importorskip("torch")
    from experiments.benchmarks import sliding_window

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait long for each other on a busy machine
    yield sliding_window
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_sliding_windows_agree_and_a_lacking_peer_is_named(sliding_window, monkeypatch):
    def lacking(*args):
        raise ImportError("no module of this name")

    monkeypatch.setattr(sliding_window, "monai_inferer", lacking)
    config = sliding_window.Config(size=40, width=2)
    race, growth = sliding_window.races(config)
    assert race.absent == {"MONAI": "no module of this name"}
    assert race.peer == "PyTorch loop"
    assert race.work == dict.fromkeys(race.contestants, 8)
    for contestant in race.contestants.values():
        contestant()
    assert growth.work == {"64×40²": 8, "128×40²": 16, "256×40²": 32}
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from race"):
        list(sliding_window.races(sliding_window.Config(only="nothing")))
    apply, twin = sliding_window.networks(2)
    twin.readout.bias.data += 1
    with pytest.raises(ValueError, match="jaxnoise and the loop disagree by"):
        sliding_window.check(apply, twin, sliding_window.some_volume((32, 32, 32)), {})
