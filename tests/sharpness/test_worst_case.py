import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.sharpness import WorstCaseSharpness, worst_case_sharpness
from jaxnoise.sharpness._around import Around
from jaxnoise.sharpness._ascent import checkpoints
from jaxnoise.sharpness._worst_case import _search

pytestmark = pytest.mark.usefixtures("strict_promotion")

# ℓ2 by chunks, which must change nothing
SETTINGS = [
    ("linf", "none", None),
    ("linf", "magnitude", None),
    ("l2", "none", 10),
    ("l2", "magnitude", None),
]
NETWORKS = [
    "mlp_tanh_ragged",
    pytest.param("mlp_relu", marks=pytest.mark.slow),
    pytest.param("cnn_relu", marks=pytest.mark.slow),
]


def of(case, rho, **options):
    return worst_case_sharpness(case.loss_fn, case.params, case.data, rho, **options)


# The reference


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("norm", "scaling", "chunk_size"), SETTINGS)
def test_reference_numbers(stored, network, norm, scaling, chunk_size, x64):
    case = stored(network)
    tag = f"{norm}_{'plain' if scaling == 'none' else 'adaptive'}"
    exact = "tightproj_l2_adaptive" if tag == "l2_adaptive" else tag
    rtol = 1e-8 if exact == tag else 1e-6

    for i, rho in enumerate(case.expected["rhos"]):
        options = {"batch_size": case.batch_size, "chunk_size": chunk_size}
        result = of(case, rho, norm=norm, scaling=scaling, **options)

        def same(ours, name, rtol=rtol, i=i):
            expected = case.expected[name]
            np.testing.assert_allclose(ours, expected[i] if expected.ndim else expected, rtol=rtol)

        same(result.value, f"sharpness_{exact}")
        same(result.batch_values, f"batch_sharpness_{exact}")
        np.testing.assert_allclose(result.batch_losses, case.expected["init_batch_loss"])
        if exact == tag:
            same(result.best_losses, f"batch_best_loss_{tag}")
            same(result.traces, f"loss_trace_{tag}")
            same(result.perturbation_norms.max(), f"max_delta_norm_{tag}")
        if rho >= 0.01:  # below, it takes the reference's own loose projection to be the same
            same(result.value, f"sharpness_{tag}", rtol=4e-4)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp_tanh_ragged", "mlp_relu", "cnn_relu"])
@pytest.mark.parametrize(("norm", "scaling"), [("linf", "magnitude"), ("l2", "none")])
def test_single_precision(stored, network, norm, scaling):
    case = stored(network)
    params, data = jax.tree.map(np.float32, (case.params, case.data))
    data = {"x": data["x"], "y": case.data["y"].astype(np.int32)}
    options = {"norm": norm, "scaling": scaling, "batch_size": case.batch_size}
    tag = f"sharpness_{norm}_{'plain' if scaling == 'none' else 'adaptive'}"
    for rho, expected in zip(case.expected["rhos"], case.expected[tag], strict=True):
        result = worst_case_sharpness(case.loss_fn, params, data, rho, **options)
        assert result.value.dtype == jnp.float32
        rtol = 3e-4 if rho < 1e-3 else 1e-4
        np.testing.assert_allclose(result.value, expected, rtol=rtol)


def test_checkpoints(stored):
    steps = stored("mlp_relu").expected["checkpoints"]
    assert checkpoints(20) == [step for step in steps if step < 20]
    assert checkpoints(1) == []


# What must hold


def linear_loss(w, batch):
    return batch["x"] @ w


LINEAR = np.array([[3.0, -1.0, 0.5], [1.0, -2.0, 0.0], [-4.0, 4.0, 0.2]], np.float32)
REACHED = 1 - 0.25**10  # the part of the way to a corner that 20 steps go


@pytest.mark.parametrize(("norm", "scaling"), [("linf", "none"), ("l2", "magnitude")])
def test_linear_loss_has_the_dual_norm_of_its_slope(norm, scaling):
    w = np.array([0.5, -3.0, 0.0], np.float32)
    scale = np.ones(3) if scaling == "none" else np.abs(w)
    dual = {"linf": 1, "l2": 2}[norm]
    expected = 0.1 * np.linalg.norm(scale * LINEAR.mean(0), dual)
    result = worst_case_sharpness(linear_loss, w, {"x": LINEAR}, 0.1, norm=norm, scaling=scaling)
    # In the ellipsoid the path bends towards the farthest point of it.
    assert expected * (REACHED if norm == "linf" else 0.97) * (1 - 1e-6) < result.value
    assert result.value < expected * (1 + 1e-5)


def test_batches_are_consecutive_and_the_last_one_counts_fully():
    w = np.array([0.5, -3.0, 0.0], np.float32)
    rows = np.concatenate([LINEAR, -2 * LINEAR[:2]])
    result = worst_case_sharpness(linear_loss, w, {"x": rows}, 0.1, batch_size=3)
    slopes = np.array([rows[:3].mean(0), rows[3:].mean(0)])
    expected = REACHED * 0.1 * np.abs(slopes).sum(1)
    np.testing.assert_allclose(result.batch_values, expected, rtol=1e-5)
    np.testing.assert_allclose(result.batch_losses, slopes @ w, rtol=1e-5)
    np.testing.assert_allclose(result.best_losses, slopes @ w + expected, rtol=1e-5)
    np.testing.assert_allclose(result.value, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(result.traces.max(1), result.best_losses, rtol=1e-6)
    assert result.traces.shape == (2, 20)


@settings(deadline=None, max_examples=5)
@given(
    seed=st.integers(0, 99),
    rhos=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2).map(sorted),
)
def test_monotone_in_rho_for_convex_losses(quadratic, seed, rhos):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(3, 3)).astype(np.float32)
    data = quadratic.data(root @ root.T, rng.normal(size=3))
    values = [
        worst_case_sharpness(quadratic.loss_fn, np.zeros(3, np.float32), data, rho, norm="l2").value
        for rho in rhos
    ]
    assert 0 <= values[0] <= values[1] * 1.02 + 1e-6  # what is found depends on the path a little


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_adaptive_sharpness_is_the_same_for_scaled_layers(stored, factor, x64):
    case = stored("mlp_relu")
    up, down = ("fc0.weight", "fc0.bias"), ("fc1.weight",)
    scaled = {
        name: w * (factor if name in up else 1 / factor if name in down else 1)
        for name, w in case.params.items()
    }
    options = {"scaling": "magnitude", "batch_size": 64, "num_steps": 10}
    value = of(case, 0.01, **options).value
    moved = worst_case_sharpness(case.loss_fn, scaled, case.data, 0.01, **options).value
    np.testing.assert_allclose(moved, value, rtol=1e-9)


def test_start_at_a_maximum_finds_nothing(quadratic):
    data = quadratic.data(-np.eye(3, dtype=np.float32))
    w = np.zeros(3, np.float32)
    result = worst_case_sharpness(quadratic.loss_fn, w, data, 0.1, norm="l2")
    assert result.value == 0
    assert result.best_steps.tolist() == [0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_restarts_leave_a_saddle_and_stay_within_the_ball(quadratic, norm):
    data = quadratic.data(np.diag([1.0, -1.0, 1.0]).astype(np.float32))
    w, key = np.zeros(3, np.float32), jax.random.key(0)
    found = worst_case_sharpness(
        quadratic.loss_fn, w, data, 0.1, norm=norm, num_restarts=3, key=key
    )
    largest = {"linf": 0.01, "l2": 0.005}[norm]
    assert largest * 0.98 < found.value < largest * (1 + 1e-5)
    assert found.perturbation_norms[0] < 0.1 * np.sqrt(3) * (1 + 1e-5)


# Compilation, transformations, results


def test_jit_several_rhos_and_other_values(small, compilations):
    params, data = small.single

    def value(params, rho):
        return worst_case_sharpness(small.loss_fn, params, data, rho, num_steps=3).value

    rhos = jnp.array([0.01, 0.1])
    several = jax.jit(lambda w: jax.lax.map(functools.partial(value, w), rhos))
    found = several(params)
    np.testing.assert_allclose(value(params, 0.01), found[0], rtol=1e-5)
    other = jax.tree.map(lambda x: 2 * x, params)
    assert compilations(lambda: value(other, 0.1)) == 0
    assert compilations(lambda: several(jax.tree.map(jnp.asarray, params))) == 0
    np.testing.assert_allclose(value(params, 0.1), found[1], rtol=1e-5)


@pytest.mark.slow
def test_batches_side_by_side_are_as_one_after_another(small, monkeypatch):
    params, data = small.single

    def found():
        _search.clear_cache()
        options = {"batch_size": 3, "num_steps": 4}
        return worst_case_sharpness(small.loss_fn, params, data, 0.1, **options).traces

    alone = found()
    monkeypatch.setattr("jaxnoise.sharpness._worst_case.side_by_side", lambda around: 3)
    np.testing.assert_allclose(found(), alone, rtol=1e-5)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(small):
    def temporary(n):
        data = jax.tree.map(lambda x: np.resize(x, (n, *x.shape[1:])), small.single[1])
        around = Around.of(small.loss_fn, small.single[0], data, 50)
        program = _search.lower(around, 0.1, None, ("linf", "none", 5, n, 1)).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temporary(20_000) <= 1.1 * temporary(200)


def test_half_precision_is_taken_in_single():
    w = jnp.asarray([0.5, 2.0, -1.0], jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):  # of half-precision parameters with the data
        result = worst_case_sharpness(linear_loss, w, {"x": LINEAR}, 1e-4)
    np.testing.assert_allclose(result.value, 1e-4 * np.abs(LINEAR.mean(0)).sum(), rtol=1e-2)


def test_results_are_saved_and_loaded(tmp_path):
    result = worst_case_sharpness(linear_loss, np.ones(3, np.float32), {"x": LINEAR}, 0.1)
    result.save(tmp_path / "sharpness.npz")
    loaded = WorstCaseSharpness.load(tmp_path / "sharpness.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, result)


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 0.0}, "rho must be a positive number, got 0.0"),
        ({"rho": -1.0}, "rho must be a positive number"),
        ({"rho": float("nan")}, "rho must be a positive number"),
        ({"rho": np.array([0.1, 0.2])}, "rho must be a single number"),
        ({"norm": "l1"}, r"norm must be one of \('linf', 'l2'\), got 'l1'"),
        ({"scaling": None}, "scaling must be one of"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"num_restarts": 0}, "num_restarts must be at least 1"),
        ({"num_restarts": 2}, "key is needed for random starts"),
        ({"batch_size": 0}, "batch_size must be a positive number"),
        ({"chunk_size": 0}, "chunk_size must be a positive number"),
        ({"data": {"x": np.zeros((0, 3))}}, "data holds no examples"),
        ({"data": {}}, "data is empty"),
        ({"loss_fn": lambda w, batch: jnp.mean(linear_loss(w, batch))}, "one loss per example"),
        ({"loss_fn": lambda w, batch: linear_loss(w, batch) / 0}, "not finite, at example 0"),
        (
            {"loss_fn": lambda w, batch: jnp.exp(1000 * jnp.abs(linear_loss(w, batch)))},
            "not finite everywhere within reach of rho: take a smaller rho",
        ),
    ],
)
def test_wrong_input(options, message):
    arguments = {
        "loss_fn": linear_loss,
        "params": np.zeros(3, np.float32),
        "data": {"x": LINEAR},
        "rho": 0.1,
    }
    with pytest.raises(ValueError, match=message):
        worst_case_sharpness(**(arguments | options))


@pytest.mark.parametrize("params", [np.zeros(3, int), np.zeros(3, complex)])
def test_parameters_that_are_not_real(params):
    with pytest.raises(TypeError, match="params must hold real floating arrays alone, but it is"):
        worst_case_sharpness(linear_loss, params, {"x": LINEAR}, 0.1)


def test_key_of_the_old_kind():
    options = {"num_restarts": 2, "key": jax.random.PRNGKey(0)}
    with pytest.raises(TypeError, match="key must be a typed key"):
        worst_case_sharpness(linear_loss, np.zeros(3), {"x": LINEAR}, 0.1, **options)
