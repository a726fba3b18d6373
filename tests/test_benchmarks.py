"""The harness of the benchmarks, and that the benchmarks run."""

import dataclasses
import functools
import importlib
import json
import types

import numpy as np
import pytest

import jaxnoise as jn
from experiments.benchmarks import _all, tables
from experiments.benchmarks._all import QUICK, failure, quick_options
from experiments.benchmarks._harness import Race, chosen, compare, not_installed, run, table
from experiments.benchmarks._measured import load
from experiments.benchmarks._summary import summary
from experiments.benchmarks.reports import REPORTS


def lasting(milliseconds, calls):
    """Takes as long by a clock that stands still otherwise."""
    return lambda: calls.append(milliseconds)


@pytest.fixture
def race(monkeypatch):
    calls = []
    clock = types.SimpleNamespace(perf_counter=lambda: sum(calls) / 1e3, sleep=lambda seconds: None)
    monkeypatch.setattr("experiments.benchmarks._harness.time", clock)
    contestants = {"ours": lasting(20, calls), "peer": lasting(10, calls)}
    return Race("sleep", contestants, {"ours": 4, "peer": 1}, "peer"), calls


def test_times_are_per_unit_of_work_and_ratios_to_the_peer(race):
    result = run(race[0], 3)
    ours, peer = (result["contestants"][name] for name in ("ours", "peer"))
    assert ours["milliseconds"] == pytest.approx(5)
    assert peer["milliseconds"] == pytest.approx(10)
    assert peer["ratio"] == 1
    assert len(ours["times"]) == 3
    assert [*ours["ratio_quartiles"], ours["ratio"]] == pytest.approx([0.5] * 3)


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


def test_cases_are_chosen_by_parts_of_their_names():
    cases = {"U-Net 2-D, forward": 1, "U-Net 2-D, training": 2, "ResNet18, training": 3}
    assert chosen(cases, ()) == [1, 2, 3]
    assert chosen(cases, ("u-net, TRAINING", "ResNet18")) == [2, 3]
    with pytest.raises(ValueError, match="no case has 'VGG' in its name: choose from U-Net 2-D, f"):
        chosen(cases, ("VGG",))


def test_what_is_not_installed_is_told_how_to_install():
    missing = ModuleNotFoundError("No module named 'backpack'", name="backpack.extensions")
    assert not_installed(missing) == "not installed: pip install backpack-for-pytorch"
    missing = ModuleNotFoundError("No module named 'nglpy'", name="nglpy")
    assert not_installed(missing) == "not installed: pip install nglpy"
    assert not_installed(ImportError("no such\nname", name="torch")) == "no such name"


def test_the_readme_has_the_tables_of_the_kept_results():
    text = tables.README.read_text(encoding="utf-8")
    message = "the tables are older than the results: python -m experiments.benchmarks.tables"
    assert tables.filled_in(text, load(tables.RESULTS)) == text, message


def test_a_block_that_lacks_is_refused():
    text = tables.README.read_text(encoding="utf-8").replace("<!-- benchmark: models -->", "")
    with pytest.raises(ValueError, match="no block for models: write <!-- benchmark: models -->"):
        tables.filled_in(text, [])


def raced(case, milliseconds, absent=()):
    """A result of three rounds."""
    contestants = {
        name: {"milliseconds": time, "times": [time] * 3, "peak_memory_mb": 1.0}
        for name, time in milliseconds.items()
    }
    return {"case": case, "peer": "?", "contestants": contestants, "absent": dict(absent)}


def kept(folder, benchmark, results, device="1 × cpu (cpu)"):
    environment = {"device": device, "processor": "2 cores", "versions": {}, "date": "2026-11-22T"}
    found = {"benchmark": benchmark, "environment": environment, "results": results, "seconds": 9}
    folder.mkdir(exist_ok=True)
    (folder / f"{benchmark}-{len(device)}.json").write_text(json.dumps(found))


def test_the_summary_has_a_column_per_device_and_judges_by_its_target(tmp_path):
    times = {"epoch program": 9, "single steps": 10, "PyTorch": 10}
    result = raced("ResNet18, batch 8, training step", times)
    kept(tmp_path, "models", [result])
    kept(tmp_path, "models", [result], "1 × NVIDIA H200 (gpu)")
    columns = tables.by_device(load(tmp_path))
    shown = summary(columns, ["models"])
    assert shown.header[-2:] == ("2 cores", "NVIDIA H200")
    verdicts = ("0.90 (0.90–0.90), reached", "0.90 (0.90–0.90), missed")
    step = ("models", "ResNet18, batch 8, training step")
    assert shown.rows == [
        (*step, "PyTorch", "1", "0.2", *verdicts),
        (*step, "single steps", "1", "0.667", *verdicts),
    ]


def test_the_summary_names_what_is_lacking(tmp_path):
    race = {"from the host": 8, "PyTorch loop": 10}
    result = raced("NucleiUNet, 96³", race, {"MONAI": "not installed: pip install monai"})
    kept(tmp_path, "sliding_window", [result])
    columns = {"here": load(tmp_path)}
    shown = summary(columns, ["sliding_window", "models", "start_up"], {"models": "failed: why"})
    assert [(row[0], row[2], row[-1]) for row in shown.rows] == [
        ("sliding_window", "PyTorch loop", "0.80 (0.80–0.80)"),
        ("sliding_window", "MONAI", "not installed: pip install monai"),
        ("models", "", "failed: why"),
        ("start_up", "", "not measured"),
    ]


def test_all_benchmarks_make_one_table(tmp_path, monkeypatch, capsys):
    def faked(name, full, out):
        if name == "start_up":
            kept(out, name, [raced("import", {"jaxnoise": 11, "jax, flax and optax": 10})])
        reasons = {
            "growth": "ended with exit status -9",
            "landscape": "not installed: pip install x",
        }
        return reasons.get(name, "")

    folder = tmp_path / "kept"
    kept(folder, "start_up", [raced("import", {"jaxnoise": 13, "jax, flax and optax": 10})])
    monkeypatch.setattr(_all, "failure", faked)
    monkeypatch.setattr(_all, "RESULTS", folder)
    config = _all.Config(only=("start", "growth", "landsc"), out=tmp_path / "new")
    with pytest.raises(ValueError, match=r"^growth came to no end: see the table"):
        _all.run(config)
    head, _, *lines, _, minutes = capsys.readouterr().out.strip().splitlines()
    assert head.endswith("this run, 2 cores")
    assert [line.split()[0] for line in lines] == ["landscape", "start_up", "growth"]
    assert "1.30 (1.30–1.30), missed" in lines[1]
    assert lines[1].endswith("1.10 (1.10–1.10), reached")
    assert lines[2].endswith("ended with exit status -9")
    assert minutes.endswith("minutes")


def test_growth_finds_the_exponent():
    times = {str(size): 0.3 * size**1.5 for size in (4, 8, 16, 32)}
    found = REPORTS["growth"].exponent(raced("points", times))
    assert [found.low, found.median, found.high] == pytest.approx([1.5] * 3)


def test_the_quick_run_knows_all_benchmarks():
    assert QUICK.keys() == REPORTS.keys()


@pytest.mark.slow
def test_options_of_the_quick_run_are_known():
    pytest.importorskip("torch")
    for name in QUICK:
        module = importlib.import_module(f"experiments.benchmarks.{name}")
        assert module.Config(**quick_options(name))


@pytest.mark.slow
def test_a_benchmark_runs_in_a_process_of_its_own(tmp_path):
    assert failure("start_up", False, tmp_path) == ""
    (path,) = tmp_path.glob("start_up-*.json")
    (result,) = json.loads(path.read_text())["results"]
    assert len(result["contestants"]) == 2
    (tmp_path / "file").touch()
    assert failure("start_up", False, tmp_path / "file").startswith("failed: [Errno ")
    assert failure("nothing", False, tmp_path).startswith("not installed: pip install ")


@pytest.mark.slow
def test_growth_benchmark(tmp_path):
    from experiments.benchmarks import growth

    growth.benchmark(growth.Config(quick=True, out=tmp_path))
    (path,) = tmp_path.glob("growth-*.json")
    results = json.loads(path.read_text())["results"]
    assert [len(result["contestants"]) for result in results] == [2] * 5
    assert path.with_suffix(".png").stat().st_size > 1000


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

    config = models.Config(only=("U-Net 2-D width 16",), repetitions=1)
    forward, training = models.races(config)
    assert set(forward.contestants) == {"jitted", "PyTorch"}
    assert set(training.contestants) == {"epoch program", "single steps", "PyTorch"}
    for race in (forward, training):
        for contestant in race.contestants.values():
            contestant()
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from"):
        list(models.races(models.Config(only=("nothing",))))


@pytest.fixture
def peers():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait long for each other on a busy machine
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def gradient_noise(peers):
    from experiments.benchmarks import gradient_noise

    return gradient_noise


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch's own
def test_peers_of_the_noise_profile_agree(gradient_noise):
    config = gradient_noise.Config(only=("FeedForward",), quick=True)
    memory, *races = gradient_noise.races(config)
    assert set(memory.contestants) == {"n", "2n", "4n"}
    assert [race.case.rpartition(", ")[2] for race in races] == list(gradient_noise.ASKED)
    for race in races:
        assert {*race.contestants, *race.absent} == {
            "plain gradient",
            "PyTorch gradient",
            "jaxnoise",
            *gradient_noise.PEERS,
        }
        assert "torch.func" in race.contestants


@pytest.mark.slow
def test_a_lacking_peer_of_the_noise_profile_is_named(gradient_noise, monkeypatch):
    class Lacking:
        def __init__(self, *args):
            raise ModuleNotFoundError("no such module", name="opacus.grad_sample")

    classes = {"torch.func": gradient_noise.CLASSES["torch.func"], "Opacus, ghost": Lacking}
    monkeypatch.setattr(gradient_noise, "CLASSES", classes)
    (race,) = gradient_noise.races(gradient_noise.Config(only=("FeedForward, prof",), quick=True))
    assert race.absent == {"Opacus, ghost": "not installed: pip install opacus"}
    assert "torch.func" in race.contestants


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
    pytest.importorskip("backpack")
    pytest.importorskip("opacus")
    width = {"width": 4}
    case = dataclasses.replace(
        gradient_noise.CASES[-1],
        model=functools.partial(jn.models.ResNet18, **width),
        twin=functools.partial(gradient_noise.CASES[-1].twin, **width),
        shape=(3, 8, 8, 3),
        steps=2,
    )
    race = gradient_noise.race(case, "profile")
    assert set(race.contestants) > set(gradient_noise.PEERS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch's own
def test_gradient_noise_benchmark(gradient_noise, tmp_path):
    gradient_noise.benchmark(gradient_noise.Config(only=("SmallCNN",), quick=True, out=tmp_path))
    (path,) = tmp_path.glob("gradient_noise-*.json")
    written = json.loads(path.read_text())
    assert {"opacus", "backpack-for-pytorch"} <= set(written["environment"]["versions"])
    taking_part = [{**result["contestants"], **result["absent"]} for result in written["results"]]
    assert [len(names) for names in taking_part] == [3, 7, 7, 7]


@pytest.fixture
def landscape(peers):
    from experiments.benchmarks import landscape

    return landscape


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers
def test_peers_of_the_landscape_agree_and_those_that_lack_are_named(landscape, monkeypatch):
    class Lacking:
        def __init__(self, *args):
            raise ImportError("no module of this name")

    monkeypatch.setitem(landscape.CLASSES, "another", Lacking)
    config = landscape.Config(only=("FeedForward",), quick=True)
    growth, race = landscape.races(config)
    assert growth.work == {"2×2": 4, "4×4": 16}
    assert race.absent["another"] == "no module of this name"
    assert {*race.contestants, *race.absent} == {race.peer, "jaxnoise", *landscape.CLASSES}
    assert "PyTorch loop" in race.contestants
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from"):
        list(landscape.races(landscape.Config(only=("nothing",))))


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
    landscape.benchmark(landscape.Config(only=("U-Net",), quick=True, out=tmp_path))
    (path,) = tmp_path.glob("landscape-*.json")
    growth, race = json.loads(path.read_text())["results"]
    assert set(growth["contestants"]) == {"2×2", "4×4"}
    assert len(race["contestants"]) + len(race["absent"]) == 5


@pytest.fixture
def sharpness(peers):
    from experiments.benchmarks import sharpness

    return sharpness


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers
def test_peers_of_the_sharpness_agree(sharpness):
    adaptive, box, eigenvalue = sharpness.races(sharpness.Config(only=("FeedForward",), quick=True))
    assert set(adaptive.contestants) == {"jaxnoise", "PyTorch loop", "gradients"}
    assert set(box.contestants) == {"L-BFGS-B", "on the device"}
    assert set(eigenvalue.contestants) == {"jaxnoise", "PyTorch loop"}
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from"):
        list(sharpness.races(sharpness.Config(only=("nothing",))))


def test_peers_of_the_sharpness_must_agree(sharpness):
    case = sharpness.CASES[0]
    sharpness.check(case, "peer", [1.0005], [1.0], 1e-3)
    with pytest.raises(ValueError, match=r"peer gives \[1.002\] where jaxnoise gives \[1.0\]"):
        sharpness.check(case, "peer", [1.002], [1.0], 1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers
def test_sharpness_benchmark(sharpness, tmp_path):
    sharpness.benchmark(sharpness.Config(only=("SmallCNN",), quick=True, out=tmp_path))
    (path,) = tmp_path.glob("sharpness-*.json")
    results = json.loads(path.read_text())["results"]
    assert [len(result["contestants"]) for result in results] == [3, 2, 2]


@pytest.mark.slow
def test_small_batch_contestants_run(monkeypatch):
    from experiments.benchmarks import small_batch

    monkeypatch.setitem(small_batch.NETWORKS, "FeedForward 8²", ("FeedForward", (8, 8, 1), 2))
    config = small_batch.Config(replicas=2)
    (update,) = small_batch.races(dataclasses.replace(config, only=("update, SmallCNN",)))
    assert update.references == ("optax.adam", "memory floor")
    (replicas,) = small_batch.races(dataclasses.replace(config, only=("replicas, FeedForward 8²",)))
    assert replicas.work == dict.fromkeys(replicas.contestants, 4)
    for race in (update, replicas):
        assert race.peer in race.contestants
        for contestant in race.contestants.values():
            contestant()
            contestant()
    with pytest.raises(ValueError, match="no case has 'nothing' in its name: choose from update"):
        list(small_batch.races(small_batch.Config(only=("nothing",))))


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
        list(sliding_window.races(sliding_window.Config(only=("nothing",))))
    apply, twin = sliding_window.networks(2)
    twin.readout.bias.data += 1
    with pytest.raises(ValueError, match="jaxnoise and the loop disagree by"):
        sliding_window.check(apply, twin, sliding_window.some_volume((32, 32, 32)), {})
