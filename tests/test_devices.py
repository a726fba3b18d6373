"""More devices beside one, and the estimate: differing results are noticed, numbers are right."""

import dataclasses
import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxnoise as jn
from experiments._common import main
from experiments.devices import _run
from experiments.devices._compare import compared, largest_difference, table_of
from experiments.devices._config import Cluster, Config, plan_of
from experiments.devices._cores import physical_cores
from experiments.devices._count import Counts, count, multiply_adds
from experiments.devices._estimate import (
    all_reduce_bytes,
    images_that_fit,
    images_that_hide,
    state_bytes,
    step,
)
from experiments.devices._measure import file_of, is_possible
from jaxnoise._results import write_npz

SMALL = functools.partial(jn.models.WideResNet, depth=10, width=1)
# By group: image and channels in, 3×3 kernels to and within 16, 32, 64 channels, shortcuts.
STEM = 64 * 27 * 16
FORWARD = (
    STEM
    + 64 * 2 * 9 * 16 * 16
    + 16 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
    + 4 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    + 64 * 7
)
COUNTS = Counts(
    parameters=1_000,
    statistics=10,
    optimizer_bytes=8_000,
    forward=1e6,
    step=3e6,
    activation_bytes=500.0,
)
# A step takes 3 s of compute per image, of which 2 s are the backward pass.
CLUSTER = Cluster(
    chips=4,
    peak_flops=4e6,
    hbm_bytes=30_000,
    hbm_bandwidth=3_000,
    link_bits=8_000,
    achieved=0.5,
    link_share=0.25,
    images=100,
)
FOUND = {"seconds": np.array([2.0, 1.0, 4.0]), "w": np.array([1.0, -2.0]), "scale": np.array(3.0)}


@pytest.fixture(scope="module")
def counts():
    return {size: count(size, 7, "float32", SMALL) for size in (8, 16)}


def test_counts_of_a_small_network(counts):
    found = counts[8]
    params = nnx.state(nnx.eval_shape(lambda: SMALL(num_classes=7, rngs=nnx.Rngs(0))), nnx.Param)
    assert found.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert found.statistics == 2 * (16 + 16 + 16 + 32 + 32 + 64 + 64)
    assert found.forward == FORWARD
    assert found.step == 3 * FORWARD - STEM  # the images need no gradient
    assert found.optimizer_bytes == pytest.approx(8 * found.parameters, abs=100)


def test_activations_hold_what_convolutions_are_fed(counts):
    fed = 64 * 3 + 64 * 16 * 3 + 16 * 32 + 16 * 32 + 4 * 64
    assert counts[8].activation_bytes >= 4 * fed
    assert counts[16].activation_bytes == pytest.approx(4 * counts[8].activation_bytes, rel=0.05)


def test_multiply_adds():
    def function(x, w):
        return jax.jit(lambda x: jnp.tanh(x @ w))(x)

    x, w = jnp.ones((2, 3)), jnp.ones((3, 5))
    assert multiply_adds(function, x, w) == 30
    assert multiply_adds(jax.grad(lambda *args: function(*args).sum(), (0, 1)), x, w) == 90
    with pytest.raises(ValueError, match="scan"):
        multiply_adds(lambda x: jax.lax.map(jnp.sin, x), x)


def test_all_reduce():
    """In a ring of 4 each chip sends a quarter of the gradients 3 times, and 3 times the sums."""
    assert all_reduce_bytes(100, 4) == 6 * 100 / 4 * 4
    assert all_reduce_bytes(100, 1) == 0


def test_a_step():
    """State 4·(2·1000 + 10) + 8000 = 16,040 bytes; images of 10² pixels, 30,000 bytes: a stream."""
    assert state_bytes(COUNTS) == 16_040
    found = step(COUNTS, CLUSTER, size=10, images_per_chip=2)
    assert found.batch == 8
    assert found.memory == 16_040 + 1_000
    assert found.compute == 6.0
    assert found.traffic == pytest.approx(2 * 17_040 / 3_000)
    assert found.all_reduce == 24.0  # 6,000 bytes at 250 a second
    assert not found.hidden
    assert found.seconds == pytest.approx(2 * 17_040 / 3_000 + 24 - 4)
    assert found.epoch == pytest.approx(13 * found.seconds)


def test_a_step_that_hides_the_all_reduce():
    found = step(COUNTS, CLUSTER, size=10, images_per_chip=12)
    assert found.hidden
    assert found.seconds == found.compute == 36.0


def test_a_training_set_that_a_chip_has_room_for():
    cluster = dataclasses.replace(CLUSTER, images=10)
    whole = step(COUNTS, cluster, size=10, images_per_chip=1)
    assert whole.memory == 16_040 + 500 + 10 * 300


@pytest.mark.parametrize("num", [1_000, 7_000])
def test_limits_of_images_per_chip(num):
    """They are those at which a step begins to hide its all-reduce, and to be too large."""
    counts = dataclasses.replace(COUNTS, parameters=num, optimizer_bytes=0)
    cluster = dataclasses.replace(CLUSTER, hbm_bytes=80_000, images=50)
    hide, fit = images_that_hide(counts, cluster), images_that_fit(counts, cluster, 10)
    assert hide > 1 < fit
    at = functools.partial(step, counts, cluster, 10)
    assert [at(images).hidden for images in (hide - 1, hide)] == [False, True]
    assert [at(images).fits for images in (fit, fit + 1)] == [True, False]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({}, 0.0),
        ({"w": np.array([1.0, -2.5])}, 0.25),
        ({"scale": np.array(3.3)}, 0.1),
        ({"w": np.array([1.0, np.nan])}, np.inf),
        ({"w": np.array([[1.0, -2.0]])}, np.inf),
        ({"more": np.array(0.0)}, np.inf),
        ({"seconds": np.array([9.0])}, 0.0),
    ],
    ids=["nothing", "entry", "number", "nan", "shape", "name", "times"],
)
def test_differences(change, difference):
    assert largest_difference(FOUND, FOUND | change) == pytest.approx(difference)


def test_speed_up():
    row = compared("grid", FOUND, FOUND | {"seconds": np.array([1.0, 0.5, 3.0])})
    assert (row["seconds"], row["speed_up"], row["agrees"]) == (1.0, 2.0, True)
    header, body = table_of({"grid": {1: compared("grid", FOUND, FOUND), 2: row}})
    found = dict(zip(header, body[0], strict=True))
    assert (found["seconds on 1"], found["speed-up on 2"]) == ("2.00", "2.00")


@pytest.fixture
def without_work(monkeypatch):
    """Pieces of work that are told what they find, by the number of devices."""
    told = {}

    def measure(count, pieces, plan, folder):
        for piece in pieces:
            write_npz(file_of(folder, piece, count), told[count])

    monkeypatch.setattr(_run, "measure_simulated", measure)
    monkeypatch.setattr("experiments.devices._estimate.count", lambda *args: COUNTS)
    return told


def test_a_run(experiment, without_work, tmp_path, capsys):
    without_work.update({1: FOUND, 2: FOUND | {"seconds": np.array([1.0])}})
    options = ("--devices", 2, "--only", "grid", "noise", "--out", tmp_path)
    experiment(*options)
    results = experiment.results(tmp_path)
    assert results["pieces"]["noise"]["2"]["speed_up"] == 2.0
    assert [found["size"] for found in results["estimate"]] == [32, 224]
    said = capsys.readouterr().out
    assert f"{physical_cores()} physical cores" in said
    assert "physical cores" in (tmp_path / "report.html").read_text(encoding="utf-8")
    without_work.clear()
    experiment(*options, "--resume")
    assert experiment.results(tmp_path)["pieces"] == results["pieces"]


def test_differing_results_fail(experiment, without_work, tmp_path):
    wrong = FOUND | {"w": FOUND["w"] + 0.01}
    without_work.update({1: FOUND, 2: FOUND, 4: wrong})
    message = experiment.failure("--devices", 2, 4, "--only", "grid", "--out", tmp_path)
    assert "grid on 4 devices by 0.005, more than 1e-05" in message
    assert "They differ" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not experiment.results(tmp_path)["pieces"]["grid"]["4"]["agrees"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--devices", 3), "--devices: 8 replicas and batches of 256 examples can't be spread"),
        (("--devices", 0), "--devices must be at least 1, got 0"),
        (("--rounds", 0), "--rounds must be at least 1, got 0"),
        (("--cluster.chips", 0), "--cluster.chips must be at least 1, got 0"),
        (("--cluster.achieved", 0), "--cluster.achieved must be positive, got 0"),
        (("--distributed",), "--distributed: JAX finds no other processes"),
    ],
)
def test_wrong_options(experiment, tmp_path, options, message):
    assert message in experiment.failure(*options, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_processes_do_not_resume():
    with pytest.raises(ValueError, match="leave out --distributed"):
        plan_of(Config(distributed=True, resume=True))


def test_physical_cores(tmp_path):
    """Two sockets of two cores with two threads each."""
    threads = [(s, c) for s in range(2) for c in range(2) for _ in range(2)]
    text = "".join(f"physical id\t: {s}\ncore id\t\t: {c}\n\n" for s, c in threads)
    (tmp_path / "cpuinfo").write_text(text)
    assert physical_cores(tmp_path / "cpuinfo") == 4
    assert physical_cores(tmp_path / "none") == os.cpu_count()


def test_numbers_of_devices_of_several_processes(monkeypatch):
    """Four processes of four devices: some of each one's own, or as many of each."""
    for name, number in (("local_device_count", 4), ("device_count", 16), ("process_count", 4)):
        monkeypatch.setattr(jax, name, lambda number=number: number)
    assert [n for n in range(1, 20) if is_possible(n)] == [1, 2, 3, 4, 8, 12, 16]


@dataclasses.dataclass(frozen=True)
class Distributed:
    """The options of no experiment."""

    out: Path
    distributed: bool = False


@pytest.mark.parametrize("index", [0, 1])
def test_only_the_first_process_writes_and_prints(monkeypatch, tmp_path, capsys, index):
    joined, folders = [], []
    monkeypatch.setattr("jax.distributed.initialize", lambda: joined.append(index))
    monkeypatch.setattr("jax.process_index", lambda: index)
    monkeypatch.setattr(sys, "argv", ["run", "--out", str(tmp_path / "out"), "--distributed"])

    def run(options):
        (options.out / "results.json").write_text("{}")
        folders.append(options.out)
        print("done")

    main(run, Distributed)
    assert joined == [index]
    assert (tmp_path / "out" / "results.json").is_file() == (index == 0)
    assert folders[0].exists() == (index == 0)
    assert capsys.readouterr().out == ("done\n" if index == 0 else "")


@pytest.mark.slow
def test_counts_of_the_paper_network():
    """The numbers of its docstring; XLA counts no products with the zeros of padding."""
    assert [count(32, classes, "float32").parameters for classes in (10, 100)] == [
        36_479_194,
        36_536_884,
    ]
    found = count(32, 10, "bfloat16")
    assert 5.2e9 < found.forward < 5.25e9
    groups = [(32, 16, 160), (16, 160, 320), (8, 320, 640)]
    by_hand = 32**2 * 27 * 16 + 640 * 10
    for side, before, c in groups:
        by_hand += side**2 * (9 * before * c + before * c + 7 * 9 * c * c)
    assert found.forward == by_hand


@pytest.mark.slow
def test_operations_as_xla_counts_them():
    """At 64² pixels the zeros of padding are few; what isn't a product is few besides."""
    size, network = 64, functools.partial(jn.models.WideResNet, depth=10, width=4)
    model = nnx.eval_shape(lambda: network(num_classes=7, rngs=nnx.Rngs(0)))
    params, loss_fn = jn.models.split(model, jn.losses.cross_entropy)
    batch = {
        "image": jax.ShapeDtypeStruct((2, size, size, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((2,), jnp.int32),
    }
    traced = jax.jit(lambda *args: loss_fn.func(*args)).trace(*loss_fn.args, params, batch)
    xla = traced.lower(lowering_platforms=("tpu",)).cost_analysis()["flops"]
    assert xla == pytest.approx(2 * 2 * count(size, 7, "float32", network).forward, rel=0.05)


@pytest.mark.slow
def test_as_a_command(experiment, tmp_path):
    options = ["--devices", 2, "--rounds", 1, "--cluster.sizes", 32, "--out", tmp_path]
    assert "all results agree" in experiment.as_a_command(*options)
    rows = experiment.results(tmp_path)["pieces"]
    assert all(row["2"]["agrees"] for row in rows.values())
    assert sum(row["2"]["difference"] > 0 for row in rows.values()) >= 1


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Joined as SLURM would have them; only the first leaves something."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port = found.getsockname()[1]
    given = {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_PLATFORMS": "cpu",
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
    }
    options = "--distributed --devices 2 --rounds 1 --only batch replicas --cluster.sizes 32 --out"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.devices", *options.split(), tmp_path / "out"],
            cwd=Path(__file__).parents[1],
            env=os.environ | given | {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    first, second = (process.communicate(timeout=900) for process in processes)
    assert [process.returncode for process in processes] == [0, 0], first[1] + second[1]
    assert "all results agree" in first[0]
    assert "all results agree" not in second[0]
    assert (tmp_path / "out" / "report.html").is_file()
