"""What every gradient transformation of the package must survive."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from orbax.checkpoint import v1 as ocp

from jaxnoise import transforms

SCHEDULE = optax.exponential_decay(0.3, 3, 0.5)
KEY = jax.random.key(7)

# name: (factory, its arguments); cycles are short, so that a few steps cross several anchors.
CASES = {
    "add_proximal_term": (transforms.add_proximal_term, {"weight": 0.5, "period": 3}),
    "add_proximal_term by schedule": (
        transforms.add_proximal_term,
        {"weight": SCHEDULE, "period": 3, "epoch_length": 5},
    ),
    "scale_by_inner_step": (transforms.scale_by_inner_step, {"period": 3}),
    "scale_by_inner_step by epochs": (
        transforms.scale_by_inner_step,
        {"period": 3, "epoch_length": 5},
    ),
    "trsgd": (transforms.trsgd, {"learning_rate": 0.1, "weight_decay": 0.1, "period": 3}),
    "trsgd by schedule": (
        transforms.trsgd,
        {
            "learning_rate": SCHEDULE,
            "weight": transforms.reference_weight(SCHEDULE),
            "period": 3,
            "epoch_length": 5,
        },
    ),
    "tradam": (transforms.tradam, {"learning_rate": 0.1, "weight": 0.5, "period": 3}),
    "tradam amsgrad": (
        transforms.tradam,
        {"learning_rate": 0.1, "amsgrad": True, "period": 3, "inner_schedule": "constant"},
    ),
    "uniform_iterate": (transforms.uniform_iterate, {"key": KEY, "period": 2}),
    "uniform_iterate by epochs": (
        transforms.uniform_iterate,
        {"key": KEY, "period": 2, "epoch_length": 3},
    ),
}
STEPS = 7


TRANSFORMATIONS = {name: factory(**options) for name, (factory, options) in CASES.items()}


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture
def tx(name):
    return TRANSFORMATIONS[name]


def some_params(dtype=jnp.float32):
    kernel = np.linspace(-1.0, 1.0, 6).reshape(3, 2)
    return {"kernel": jnp.asarray(kernel, dtype), "bias": jnp.asarray([0.5, -2.0], dtype)}


def gradient(params, step):
    return jax.tree.map(lambda w: 0.1 * jnp.cos(3 * w + step).astype(w.dtype), params)


def advance(tx, params, state, step):
    updates, state = tx.update(gradient(params, step), state, params)
    return optax.apply_updates(params, updates), state


compiled_advance = jax.jit(advance, static_argnums=0)


def train(tx, params, steps=STEPS, advance=compiled_advance):
    state = tx.init(params)
    for step in range(steps):
        params, state = advance(tx, params, state, jnp.asarray(step))
    return params, state


def scanned_train(tx, params):
    def body(carry, step):
        return advance(tx, *carry, step), None

    return jax.lax.scan(body, (params, tx.init(params)), jnp.arange(STEPS))[0]


def raw(tree):
    """NumPy leaves, with typed keys as their bits."""

    def leaf(x):
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if is_key else x)

    return jax.tree.map(leaf, tree)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, raw(a), raw(b))


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), raw(a), raw(b))


def signature(tree):
    """Structure, shapes, dtypes and weak types: what decides whether jit compiles again."""
    leaves, structure = jax.tree.flatten(jax.eval_shape(lambda: tree))
    return structure, [(x.shape, x.dtype, x.weak_type) for x in leaves]


@pytest.mark.parametrize(
    ("params_dtype", "gradient_dtype"),
    [
        (jnp.float32, jnp.float32),
        (jnp.bfloat16, jnp.bfloat16),
        (jnp.float16, jnp.float16),
        (jnp.bfloat16, jnp.float32),
        (jnp.float32, jnp.bfloat16),
    ],
)
def test_state_and_dtypes_are_stable(tx, params_dtype, gradient_dtype):
    params, updates = some_params(params_dtype), some_params(gradient_dtype)
    state = tx.init(params)
    new_updates, new_state = jax.eval_shape(tx.update, updates, state, params)
    assert jax.tree.structure(new_updates) == jax.tree.structure(updates)
    assert {x.dtype for x in jax.tree.leaves(new_updates)} == {jnp.dtype(gradient_dtype)}
    assert signature(new_state) == signature(state)


def test_weakly_typed_params_leave_no_trace(tx):
    params = {"w": jnp.asarray(1.0)}
    assert params["w"].weak_type
    state = tx.init(params)
    _, new_state = jax.eval_shape(tx.update, params, state, params)
    assert signature(new_state) == signature(state)
    assert not any(weak for _, _, weak in signature(state)[1])


def test_float64(tx):
    with jax.enable_x64(True):
        params = some_params(jnp.float64)
        state = tx.init(params)
        updates, new_state = jax.eval_shape(tx.update, params, state, params)
        assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype("float64")}
        assert signature(new_state) == signature(state)


def test_compiled_steps_equal_eager_ones_and_compile_once(tx):
    params = some_params()
    state = tx.init(params)
    step = jax.jit(partial(advance, tx), donate_argnums=(0, 1))
    eager = train(tx, some_params(), advance=advance)
    for t in range(STEPS):
        params, state = step(params, state, jnp.asarray(t))
    assert step._cache_size() == 1
    assert_close((params, state), eager)


def test_scan_equals_loop(tx):
    assert_close(scanned_train(tx, some_params()), train(tx, some_params()))


def test_replicas_equal_single_runs(tx):
    starts = [jax.tree.map(lambda w, i=i: w + i, some_params()) for i in range(3)]
    stacked = jax.tree.map(lambda *w: jnp.stack(w), *starts)
    together = jax.vmap(partial(scanned_train, tx))(stacked)
    single = [raw(train(tx, start)) for start in starts]
    assert_close(together, jax.tree.map(lambda *x: np.stack(x), *single))


def test_masked(tx):
    params = some_params()
    masked = optax.masked(tx, {"kernel": True, "bias": False})
    trained, _ = train(masked, params)
    alone, _ = train(tx, {"kernel": params["kernel"]})
    untouched, _ = train(optax.identity(), {"bias": params["bias"]})
    assert_close(trained, {**alone, **untouched})


def test_partition(tx):
    params = some_params()
    labels = {"kernel": "noisy", "bias": "plain"}
    trained, _ = train(optax.partition({"noisy": tx, "plain": optax.sgd(0.1)}, labels), params)
    alone, _ = train(tx, {"kernel": params["kernel"]})
    plain, _ = train(optax.sgd(0.1), {"bias": params["bias"]})
    assert_close(trained, {**alone, **plain})


def test_multi_steps(tx):
    params = some_params()
    accumulated = optax.MultiSteps(tx, 2)
    state, own_state = accumulated.init(params), tx.init(params)
    update = jax.jit(accumulated.update)
    own = params
    for step in range(4):
        first, second = gradient(own, 2 * step), gradient(own, 2 * step + 1)
        for g in (first, second):
            updates, state = update(g, state, params)
            params = optax.apply_updates(params, updates)
        mean = jax.tree.map(lambda a, b: (a + b) / 2, first, second)
        updates, own_state = tx.update(mean, own_state, own)
        own = optax.apply_updates(own, updates)
    assert update._cache_size() == 1
    assert_close((params, state.inner_opt_state), (own, own_state))


def test_inject_hyperparams(name, tx):
    factory, options = CASES[name]
    injected = optax.inject_hyperparams(factory)(**options)
    params, state = train(injected, some_params())
    assert_close(params, train(tx, some_params())[0])
    assert signature(state) == signature(injected.init(params))


def test_chain_passes_extra_args(tx):
    params = some_params()
    chained = optax.chain(optax.clip(1.0), tx, optax.identity())
    updates, _ = chained.update(params, chained.init(params), params, value=1.0, key=KEY)
    direct, _ = optax.with_extra_args_support(tx).update(params, tx.init(params), params, value=1.0)
    assert jax.tree.structure(updates) == jax.tree.structure(direct)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)


def test_orbax_round_trip_continues_to_the_last_bit(tx, tmp_path):
    params, state = train(tx, some_params(), steps=4)
    ocp.save(tmp_path / "checkpoint", jax.tree.leaves((params, state)))
    leaves, structure = jax.tree.flatten((params, tx.init(params)))
    restored = jax.tree.unflatten(structure, ocp.load(tmp_path / "checkpoint", leaves))
    assert signature(restored) == signature((params, state))
    four = jnp.asarray(4)
    assert_equal(compiled_advance(tx, *restored, four), compiled_advance(tx, params, state, four))


@pytest.mark.parametrize("empty", [{}, {"a": None}], ids=["no leaves", "None"])
def test_empty_trees(tx, empty):
    updates, state = tx.update(empty, tx.init(empty), empty)
    assert updates == empty
    assert signature(state) == signature(tx.init(empty))


def test_trees_with_none(tx):
    params = some_params()
    trained, _ = train(tx, {**params, "frozen": None})
    assert trained.pop("frozen") is None
    assert_close(trained, train(tx, params)[0])


def test_nnx_state(tx):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    params = nnx.state(model, nnx.Param)
    trained, state = train(tx, params)
    assert isinstance(trained, nnx.State)
    assert signature(state) == signature(tx.init(params))
    plain, _ = train(tx, {"kernel": params["kernel"][...], "bias": params["bias"][...]})
    assert_close(trained["kernel"][...], plain["kernel"])
    assert_close(trained["bias"][...], plain["bias"])


def test_equinox_tree(tx):
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    trained, state = train(tx, params)
    assert signature(state) == signature(tx.init(params))
    assert eqx.combine(trained, static)(jnp.ones(2)).shape == (1,)


def test_tree_map_params_finds_the_copies(tx):
    params = some_params()
    marked = optax.tree_map_params(
        tx, lambda _: "copy", tx.init(params), transform_non_params=lambda _: "other"
    )
    sizes = [x.shape for x in jax.tree.leaves(tx.init(params))]
    assert jax.tree.leaves(marked) == ["other" if shape == () else "copy" for shape in sizes]


SWEEPS = {
    "trsgd": (
        transforms.trsgd,
        {
            "learning_rate": [0.1, 0.2, 0.05],
            "momentum": [0.9, 0.0, 0.5],
            "weight": [0.1, 0.0, 1.0],
            "weight_decay": [0.0, 0.1, 0.01],
            "period": [3, 1, 2],
            "epoch_length": [7, 2, 5],
        },
    ),
    "tradam": (
        transforms.tradam,
        {
            "learning_rate": [0.1, 0.2, 0.05],
            "b1": [0.9, 0.0, 0.5],
            "b2": [0.99, 0.9, 0.5],
            "eps": [1e-8, 1e-2, 1e-4],
            "weight": [0.1, 0.0, 1.0],
            "weight_decay": [0.0, 0.1, 0.01],
            "period": [3, 1, 2],
        },
    ),
    "add_proximal_term": (transforms.add_proximal_term, {"weight": [0.0, 1.0], "period": [3, 2]}),
    "scale_by_inner_step": (transforms.scale_by_inner_step, {"period": [3, 2]}),
}


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_over_hyperparameters_equals_single_runs(sweep):
    factory, options = SWEEPS[sweep]

    def one(values):
        return scanned_train(factory(**values), some_params())[0]

    swept = jax.vmap(one)({key: jnp.asarray(v) for key, v in options.items()})
    for i, values in enumerate(zip(*options.values(), strict=True)):
        single = train(factory(**dict(zip(options, values, strict=True))), some_params())[0]
        assert_close(jax.tree.map(lambda x, i=i: x[i], swept), single)


@pytest.mark.parametrize("factory", [transforms.trsgd, transforms.tradam])
def test_float32_hyperparameters_leave_bfloat16_states_alone(factory):
    params = some_params(jnp.bfloat16)
    tx = optax.inject_hyperparams(factory, hyperparam_dtype=jnp.float32)(0.1, weight_decay=0.1)
    state = tx.init(params)
    updates, new_state = jax.eval_shape(tx.update, params, state, params)
    assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype("bfloat16")}
    assert signature(new_state.inner_state) == signature(state.inner_state)
