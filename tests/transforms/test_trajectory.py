"""TRSGD and TRAdam against reference numbers, a slow loop, and the base optimizers."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise import transforms

# Float64 runs of the authors' public code (trsgd_S*, tradam_S*) and of the paper's form written
# out (trsgd_paper_*), all with given gradients: init_i, grad_i (T, ...), params_i (T + 1, ...),
# the learning rate lr (T,) and the inner counter k (T,) of each step, and the scalar settings.
FIXTURES = Path(__file__).parents[1] / "fixtures" / "transforms"


def run(tx, init, gradients):
    """Returns the params before each step and after the last, each with a leading T + 1."""

    def step(carry, gradient):
        params, state = carry
        updates, state = tx.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), params

    (last, _), before = jax.lax.scan(step, (init, tx.init(init)), gradients)
    return jax.tree.map(lambda b, x: jnp.concatenate([b, x[None]]), before, last)


def load(name):
    with np.load(FIXTURES / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def leaves(fixture, prefix):
    return [jnp.asarray(fixture[f"{prefix}_{i}"]) for i in range(int(fixture["n_tensors"]))]


def cycle_of(fixture):
    """Returns the options of the cycle, after a check that they give the recorded counter."""
    period, epoch = int(fixture["S"]), int(fixture.get("epoch_len", 0)) or None
    steps = np.arange(int(fixture["T"]))
    np.testing.assert_array_equal((steps % epoch if epoch else steps) % period, fixture["k"])
    return {"period": period, "epoch_length": epoch}


def schedule_of(fixture):
    learning_rates = jnp.asarray(fixture["lr"])
    return lambda step: learning_rates[step]


def reference_options(fixture):
    """Options of the authors' code: 2 λ_w / lr(t), and a counter that restarts each epoch."""
    schedule = schedule_of(fixture)
    weight = float(fixture["lambda_w"] / fixture["lr"][0])
    return {
        "learning_rate": schedule,
        "weight": transforms.reference_weight(schedule, weight),
        "weight_decay": float(fixture["weight_decay"]),
        **cycle_of(fixture),
    }


def assert_follows(tx, fixture, prefix="params", rtol=1e-12, atol=1e-12):
    got = run(tx, leaves(fixture, "init"), leaves(fixture, "grad"))
    for ours, theirs in zip(got, leaves(fixture, prefix), strict=True):
        assert ours.dtype == jnp.float64
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    "name", ["trsgd_S1", "trsgd_S5", "trsgd_S10_T64", "trsgd_S5_epochs17_nomom"]
)
def test_trsgd_follows_the_authors_code(name):
    with jax.enable_x64(True):
        fixture = load(name)
        options = reference_options(fixture)
        assert_follows(transforms.trsgd(momentum=float(fixture["momentum"]), **options), fixture)


@pytest.mark.parametrize("name", ["trsgd_paper_S1", "trsgd_paper_S5", "trsgd_paper_S10_T64"])
@pytest.mark.parametrize(
    ("inner_schedule", "prefix"), [("constant", "params_const"), ("harmonic", "params_decay")]
)
def test_trsgd_follows_the_paper(name, inner_schedule, prefix):
    with jax.enable_x64(True):
        fixture = load(name)
        tx = transforms.trsgd(
            schedule_of(fixture),
            momentum=float(fixture["momentum"]),
            weight=float(fixture["lam"]),
            weight_decay=float(fixture["weight_decay"]),
            inner_schedule=inner_schedule,
            **cycle_of(fixture),
        )
        assert_follows(tx, fixture, prefix)


ADAM_FIXTURES = ["tradam_S1", "tradam_S5", "tradam_S10_epochs23", "tradam_S10_T64_amsgrad"]


@pytest.mark.parametrize("name", ADAM_FIXTURES)
def test_tradam_follows_the_authors_code_with_their_epsilon(name):
    """Their ε beside the raw √v is ε/√(1 − β₂ˢ) beside the corrected one, at step s."""
    with jax.enable_x64(True):
        fixture = load(name)
        eps, b2 = float(fixture["eps"]), float(fixture["beta2"])
        tx = optax.inject_hyperparams(transforms.tradam)(
            b1=float(fixture["beta1"]),
            b2=b2,
            eps=lambda step: eps / jnp.sqrt(1 - b2 ** (step + 1.0)),
            amsgrad=bool(fixture["amsgrad"]),
            **reference_options(fixture),
        )
        assert_follows(tx, fixture)


@pytest.mark.parametrize("name", ADAM_FIXTURES)
def test_tradam_follows_the_authors_code_up_to_epsilon(name):
    """With a constant ε the first steps differ by about lr·ε/(√(1 − β₂)·|g|)."""
    with jax.enable_x64(True):
        fixture = load(name)
        tx = transforms.tradam(
            b1=float(fixture["beta1"]),
            b2=float(fixture["beta2"]),
            eps=float(fixture["eps"]),
            amsgrad=bool(fixture["amsgrad"]),
            **reference_options(fixture),
        )
        assert_follows(tx, fixture, rtol=0.0, atol=1e-6)


def slow_trajectory(
    init,
    gradients,
    *,
    learning_rate,
    weight,
    weight_decay,
    period,
    epoch_length,
    harmonic,
    momentum=None,
    b1=None,
    b2=None,
    eps=None,
    amsgrad=False,
):
    """One scalar parameter, one step after the other; momentum or Adam's moments."""
    w, anchor, buffer, m, v, v_max = init, 0.0, 0.0, 0.0, 0.0, 0.0
    iterates = [w]
    for t, g in enumerate(gradients):
        k = (t % epoch_length) % period
        if k == 0:
            anchor = w
        d = g + weight * (w - anchor) + weight_decay * w
        step = learning_rate / (k + 1) if harmonic else learning_rate
        if momentum is not None:
            buffer = momentum * buffer + d
            w = w - step * buffer
        else:
            m = b1 * m + (1 - b1) * d
            v = b2 * v + (1 - b2) * d * d
            v_max = max(v_max, v)
            second = (v_max if amsgrad else v) / (1 - b2 ** (t + 1))
            w = w - step * (m / (1 - b1 ** (t + 1))) / (second**0.5 + eps)
        iterates.append(w)
    return np.array(iterates)


shared_options = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(1e-3, 0.3),
        "weight": st.floats(0.0, 2.0),
        "weight_decay": st.floats(0.0, 0.1),
        "period": st.integers(1, 12),
        "epoch_length": st.integers(1, 30),
    }
)


def random_problem(seed, steps=25):
    rng = np.random.default_rng(seed)
    return rng.normal(), rng.normal(size=steps)


@pytest.mark.parametrize("inner_schedule", ["harmonic", "constant"])
def test_trsgd_is_the_slow_loop(inner_schedule):
    with jax.enable_x64(True):
        fast = jax.jit(
            lambda init, gradients, options: run(
                transforms.trsgd(**options, inner_schedule=inner_schedule), init, gradients
            )
        )

        @settings(max_examples=50, deadline=None)
        @given(shared_options, st.floats(0.0, 0.95), st.integers(0, 10**6))
        def check(options, momentum, seed):
            init, gradients = random_problem(seed)
            options = {**options, "momentum": momentum}
            slow = slow_trajectory(
                init, gradients, harmonic=inner_schedule == "harmonic", **options
            )
            np.testing.assert_allclose(fast(init, gradients, options), slow, 1e-12, 1e-12)

        check()
        assert fast._cache_size() == 1  # every option is traced, the period too


@pytest.mark.parametrize("amsgrad", [False, True])
def test_tradam_is_the_slow_loop(amsgrad):
    with jax.enable_x64(True):
        fast = jax.jit(
            lambda init, gradients, options: run(
                transforms.tradam(**options, amsgrad=amsgrad), init, gradients
            )
        )

        @settings(max_examples=50, deadline=None)
        @given(shared_options, st.floats(0.0, 0.95), st.floats(0.5, 0.999), st.integers(0, 10**6))
        def check(options, b1, b2, seed):
            init, gradients = random_problem(seed)
            options = {**options, "b1": b1, "b2": b2, "eps": 1e-4}
            slow = slow_trajectory(init, gradients, harmonic=True, amsgrad=amsgrad, **options)
            np.testing.assert_allclose(fast(init, gradients, options), slow, 1e-11, 1e-11)

        check()


def tree_problem(dtype, steps=23):
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 2), "bias": (2,)}
    init = {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}
    gradients = {
        name: jnp.asarray(rng.normal(size=(steps, *shape)), dtype) for name, shape in shapes.items()
    }
    return init, gradients


learning_rate = optax.exponential_decay(0.1, 7, 0.5)
reference = transforms.reference_weight(learning_rate)
PAIRS = {
    "period 1 is momentum": (
        transforms.trsgd(learning_rate, weight=reference, period=1),
        optax.sgd(learning_rate, 0.9),
    ),
    "period 1 is plain SGD": (
        transforms.trsgd(learning_rate, momentum=None, period=1),
        optax.sgd(learning_rate),
    ),
    "period 1 is Adam": (
        transforms.tradam(learning_rate, weight=reference, period=1),
        optax.adam(learning_rate),
    ),
    "weight 0, constant step is momentum": (
        transforms.trsgd(learning_rate, weight=0.0, inner_schedule="constant"),
        optax.sgd(learning_rate, 0.9),
    ),
    "weight 0, constant step, decay": (
        transforms.trsgd(0.1, weight=0.0, weight_decay=1e-2, inner_schedule="constant"),
        optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.1, 0.9)),
    ),
    "weight 0, constant step is Adam": (
        transforms.tradam(0.1, weight=0.0, weight_decay=1e-2, inner_schedule="constant"),
        optax.chain(optax.add_decayed_weights(1e-2), optax.adam(0.1)),
    ),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", PAIRS)
def test_special_cases_are_the_base_optimizer_to_the_last_bit(name, dtype):
    ours, base = PAIRS[name]
    init, gradients = tree_problem(dtype)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)),
        run(ours, init, gradients),
        run(base, init, gradients),
    )


def test_constant_gradients_of_one_sign_leave_both_amsgrads_alike():
    """With |g| constant the second moment only grows, so its maximum is itself."""
    init = jnp.zeros(3)
    gradients = jnp.ones((12, 3))
    with_maximum = run(transforms.tradam(0.1, weight=0.0, amsgrad=True), init, gradients)
    without = run(transforms.tradam(0.1, weight=0.0), init, gradients)
    np.testing.assert_allclose(with_maximum, without, rtol=1e-6)


def test_momentum_none_keeps_no_buffer_and_equals_zero_momentum():
    init, gradients = tree_problem(jnp.float32)
    without, zero = transforms.trsgd(0.1, momentum=None), transforms.trsgd(0.1, momentum=0.0)
    assert len(jax.tree.leaves(without.init(init))) < len(jax.tree.leaves(zero.init(init)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        run(without, init, gradients),
        run(zero, init, gradients),
    )


def test_float32_gradients_of_bfloat16_params():
    """The pull and the momentum are taken in the dtype of the gradient, the state is not."""
    params = {"w": jnp.ones(4, jnp.bfloat16)}
    gradient = {"w": jnp.full(4, 0.5, jnp.float32)}
    tx = transforms.trsgd(0.1)
    state = tx.init(params)
    updates, new_state = tx.update(gradient, state, params)
    assert updates["w"].dtype == jnp.float32
    np.testing.assert_allclose(updates["w"], -0.05, rtol=1e-6)
    assert jax.tree.map(jnp.result_type, new_state) == jax.tree.map(jnp.result_type, state)


@pytest.mark.parametrize("factory", [transforms.trsgd, transforms.tradam])
def test_donated_buffers_are_updated_in_place(factory):
    tx = factory(0.1)

    def step(params, state, gradient):
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params = jnp.ones((256, 256))
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, tx.init(params), params).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < params.nbytes


@pytest.mark.parametrize("factory", [transforms.trsgd, transforms.tradam])
def test_wrong_options_raise(factory):
    with pytest.raises(ValueError, match=r"`inner_schedule` is unknown: 'linear', use one of"):
        factory(0.1, inner_schedule="linear")
    with pytest.raises(ValueError, match="`period` must be at least 1, got 0"):
        factory(0.1, period=0)
    with pytest.raises(ValueError, match="`epoch_length` must be at least 1, got -3"):
        factory(0.1, epoch_length=-3)
    with pytest.raises(ValueError, match="`period` counts steps: pass an integer"):
        factory(0.1, period=2.5)
    tx = factory(0.1)
    with pytest.raises(ValueError, match="pass `params` when calling `update`"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
