"""Training against loops written out by hand, step by step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage, stage_schedule
from jaxnoise.training._epoch import run_epoch

KEY = jax.random.key(3)
SGD = optax.sgd(0.1)  # one object, so that its programs are compiled once


def momentum_sgd(learning_rate):
    return optax.sgd(learning_rate, momentum=0.9)


def take(data, indices):
    return jax.tree.map(lambda x: jnp.asarray(x[indices]), data)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_momentum_sgd_over_stages(dtype, tolerance, x64, regression, steps_by_hand, fit):
    """The buffer goes on from stage to stage; learning rate and batch size are the stage's."""
    data = jax.tree.map(lambda x: x.astype(dtype), regression.data)
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), regression.params)
    result = fit(KEY, regression.train_loss, params, (), momentum_sgd, data, regression.stages)

    w, b = np.asarray(params["w"]), np.asarray(params["b"])
    buffer_w, buffer_b = np.zeros(3, dtype), np.zeros((), dtype)
    losses = {}
    for epoch, stage, indices, _, key in steps_by_hand(KEY, regression.stages, 7):
        x, y = data["x"][indices], data["y"][indices]
        noise = 0.1 * np.asarray(jax.random.normal(key, y.shape, dtype))
        residual = x @ w + b - y - noise
        losses.setdefault(epoch, []).append(np.mean(residual**2))
        buffer_w = 0.9 * buffer_w + 2 * residual @ x / len(y)
        buffer_b = 0.9 * buffer_b + 2 * np.mean(residual)
        w = w - stage.learning_rate * buffer_w
        b = b - stage.learning_rate * buffer_b

    close = functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    assert result.params["w"].dtype == dtype
    jax.tree.map(close, result.params, {"w": w, "b": b})
    close(optax.tree.get(result.opt_state, "trace")["w"], buffer_w)
    close(result.history.train_loss, [np.mean(losses[epoch]) for epoch in range(3)])
    np.testing.assert_array_equal(result.history.steps, [4, 8, 11])
    np.testing.assert_array_equal(result.history.gradient_queries, [8, 16, 25])
    np.testing.assert_array_equal(result.history.learning_rate, [0.1, 0.1, 0.05])
    np.testing.assert_array_equal(result.history.batch_size, [2, 2, 3])
    assert np.all(np.diff(result.history.seconds) > 0)
    assert result.history.test == {}
    assert result.model_state == ()


def test_batch_normalisation(x64, classification, steps_by_hand, fit):
    """Running statistics go from step to step, the gradient through those of the batch."""
    model = classification.network(nnx.Rngs(0), rate=0.0)
    parts = jn.models.split_train(model, jn.losses.cross_entropy)
    params, model_state = jax.tree.map(lambda x: x.astype(float), parts[:2])
    data = classification.train | {"image": classification.train["image"].astype(np.float64)}
    stages = classification.stages[:1]
    result = fit(KEY, parts[2], params, model_state, momentum_sgd, data, stages)

    @functools.partial(jax.grad, has_aux=True)
    def gradient(p, x, label):
        hidden = x @ p["dense"]["kernel"] + p["dense"]["bias"]
        mean, variance = hidden.mean(0), ((hidden - hidden.mean(0)) ** 2).mean(0)
        normal = (hidden - mean) / jnp.sqrt(variance + 1e-5)
        active = jnp.maximum(normal * p["norm"]["scale"] + p["norm"]["bias"], 0)
        scores = active @ p["readout"]["kernel"] + p["readout"]["bias"]
        chosen = scores[jnp.arange(len(label)), label]
        return jnp.mean(jnp.log(jnp.exp(scores).sum(1)) - chosen), (mean, variance)

    slow = {name: dict(part) for name, part in params.items()}
    buffer = jax.tree.map(jnp.zeros_like, slow)
    mean, variance = jnp.zeros(5), jnp.ones(5)
    for _, _, indices, _, _ in steps_by_hand(KEY, stages, 10):
        batch = take(data, indices)
        grads, (m, v) = jax.jit(gradient)(slow, batch["image"], batch["label"])
        mean, variance = 0.9 * mean + 0.1 * m, 0.9 * variance + 0.1 * v
        buffer = jax.tree.map(lambda g, b: g + 0.9 * b, grads, buffer)
        slow = jax.tree.map(lambda p, b: p - 0.1 * b, slow, buffer)

    close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
    jax.tree.map(close, {name: dict(part) for name, part in result.params.items()}, slow)
    close(result.model_state["norm"]["mean"], mean)
    close(result.model_state["norm"]["var"], variance)


OPTIMIZERS = {
    "trsgd": lambda lr: jn.transforms.trsgd(lr, period=3),
    "hyperparameters": lambda lr: optax.inject_hyperparams(optax.sgd)(learning_rate=lr),
    "MultiSteps": lambda lr: optax.MultiSteps(jn.transforms.trsgd(lr, period=2), 2),
    "value": lambda lr: optax.chain(
        optax.sgd(lr), optax.contrib.reduce_on_plateau(patience=1, accumulation_size=2)
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_gets_gradients_params_and_loss(name, x64, regression, steps_by_hand, fit):
    make = OPTIMIZERS[name]
    data = regression.data
    params = jax.tree.map(lambda x: x.astype(float), regression.params)
    stages = regression.stages[:1]
    result = fit(KEY, regression.train_loss, params, (), make, data, stages)

    tx = make(stage_schedule(stages, 7))
    extra = optax.with_extra_args_support(tx)

    @jax.jit
    def step(params, state, batch, key):
        def loss(params):
            return jnp.mean(regression.train_loss(params, (), batch, key)[0])

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = extra.update(grads, state, params, value=value)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _, _, indices, _, key in steps_by_hand(KEY, stages, 7):
        params, state = step(params, state, take(data, indices), key)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
    jax.tree.map(close, result.params, params)
    jax.tree.map(close, result.opt_state, state)


def recorded_rate(schedule):
    """SGD that writes down the learning rate of each step."""

    def init(params):
        return {"count": jnp.zeros((), int), "rates": jnp.zeros(100)}

    def update(updates, state, params=None):
        rate = schedule(state["count"])
        rates = state["rates"].at[state["count"]].set(rate)
        updates = jax.tree.map(lambda g: -rate * g, updates)
        return updates, {"count": state["count"] + 1, "rates": rates}

    return optax.GradientTransformation(init, update)


def test_learning_rate_of_every_step_is_its_stages(regression, fit):
    stages = [NoiseStage(1, 0.1, 3), NoiseStage(2, 0.04, 7), NoiseStage(2, 0.02, 4)]
    state = fit(
        KEY, regression.train_loss, regression.params, (), recorded_rate, regression.data, stages
    ).opt_state
    expected = np.float32([0.1] * 3 + [0.04] * 2 + [0.02] * 4)
    assert state["count"] == len(expected)
    np.testing.assert_array_equal(state["rates"][: len(expected)], expected)


def test_ready_transformation_ignores_the_learning_rates_of_the_stages(regression, fit):
    args = (KEY, regression.train_loss, regression.params, ())
    stages = [NoiseStage(2, 0.7, 2), NoiseStage(1, 0.9, 2)]
    ready = fit(*args, momentum_sgd(0.05), regression.data, stages)
    made = fit(*args, momentum_sgd, regression.data, NoiseStage(3, 0.05, 2))
    jax.tree.map(np.testing.assert_array_equal, ready.params, made.params)


def test_fixed_key_fixed_result(classification, fit, assert_same_run):
    def run(seed):
        model = classification.network(nnx.Rngs(0))
        params, model_state, train_loss = jn.models.split_train(model, jn.losses.cross_entropy)
        stage = classification.stages[0]
        key = jax.random.key(seed)
        return fit(key, train_loss, params, model_state, SGD, classification.train, stage)

    first = run(0)
    assert_same_run(first, run(0))
    assert np.all(first.history.train_loss != run(1).history.train_loss)


def counting_loss(params, counts, batch, key):
    """Counts in its state how often each example was seen, and in how many batches of what size."""
    return (params - batch["x"]) ** 2, counts.at[batch["index"]].add(1)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.data())
def test_every_example_is_seen_in_every_epoch(data):
    n = data.draw(st.integers(1, 12), label="n")
    batch_size = data.draw(st.integers(1, n), label="batch_size")
    examples = {"x": np.ones(n, np.float32), "index": np.arange(n)}
    seen = np.zeros(n, int)
    for epochs in (1, 2):
        result = jn.training.fit(
            KEY,
            counting_loss,
            jnp.zeros(()),
            jnp.zeros(n, int),
            SGD,
            examples,
            NoiseStage(epochs, 0.1, batch_size),
            progress=False,
        )
        new = np.asarray(result.model_state) - seen
        assert set(new) <= {1, 2}
        assert new.sum() == -(-n // batch_size) * batch_size == result.history.gradient_queries[0]
        seen = np.asarray(result.model_state)


def test_last_batch_is_filled_with_the_beginning_of_the_permutation(steps_by_hand, fit):
    examples = {"x": np.ones(10, np.float32), "index": np.arange(10)}
    stage = NoiseStage(1, 0.1, 4)
    result = fit(KEY, counting_loss, jnp.zeros(()), jnp.zeros(10, int), SGD, examples, stage)
    order = np.concatenate([step[2] for step in steps_by_hand(KEY, [stage], 10)])
    np.testing.assert_array_equal(result.model_state, np.bincount(order))
    np.testing.assert_array_equal(order[10:], order[:2])


def test_one_compilation_for_each_batch_size(regression, fit):
    stages = [NoiseStage(2, 0.1, 2), NoiseStage(1, 0.1, 3), NoiseStage(1, 0.2, 2)]
    before = run_epoch._cache_size()
    fit(KEY, regression.train_loss, regression.params, (), momentum_sgd, regression.data, stages)
    assert run_epoch._cache_size() == before + 2


@pytest.mark.parametrize(
    "tx",
    [
        SGD,
        optax.GradientTransformation(*optax.scale(-0.1)),
        optax.MultiSteps(optax.sgd(0.1), 2),
    ],
    ids=["with extra arguments", "without", "MultiSteps"],
)
def test_second_run_with_the_same_transformation_compiles_nothing(
    tx, regression, fit, compilations
):
    def run(seed):
        params = jax.tree.map(lambda p: p * seed, regression.params)
        return fit(
            jax.random.key(seed), regression.train_loss, params, (), tx, regression.data, stages
        ).params

    stages = regression.stages[:1]
    run(1)
    before = run_epoch._cache_size()
    assert compilations(lambda: run(2)) == 0
    assert run_epoch._cache_size() == before


def test_another_model_of_the_same_kind_compiles_nothing(classification, fit):
    stages = classification.stages[:1]
    sizes = []
    for seed in range(2):
        model = classification.network(nnx.Rngs(seed))
        params, model_state, train_loss = jn.models.split_train(model, jn.losses.cross_entropy)
        fit(KEY, train_loss, params, model_state, SGD, classification.train, stages)
        sizes.append(run_epoch._cache_size())
    assert sizes[0] == sizes[1]


def test_arrays_in_a_callable_tree_are_arguments_of_the_program(regression, fit):
    def scaled(scale, params, model_state, batch, key):
        return scale * (params["b"] - batch["y"]) ** 2, model_state

    stage = NoiseStage(1, 0.1, 7)
    steps, sizes = [], []
    for scale in (1.0, 3.0):
        train_loss = jax.tree_util.Partial(scaled, jnp.array(scale))
        result = fit(KEY, train_loss, regression.params, (), SGD, regression.data, stage)
        steps.append(result.params["b"] - regression.params["b"])
        sizes.append(run_epoch._cache_size())
    np.testing.assert_allclose(steps[1], 3 * steps[0], rtol=1e-5)
    assert sizes[0] == sizes[1]


def test_arguments_are_not_consumed(classification, fit, assert_same_run):
    model = classification.network(nnx.Rngs(0))
    params, model_state, train_loss = jn.models.split_train(model, jn.losses.cross_entropy)
    data = jax.tree.map(jnp.asarray, classification.train)
    key = jax.random.key(0)
    tx = optax.chain(optax.sgd(0.1), jn.transforms.uniform_iterate(key, period=2))
    before = jax.tree.map(np.array, (params, model_state, data))
    args = (key, train_loss, params, model_state, tx, data, classification.stages[:1])
    first = fit(*args)
    jax.tree.map(np.testing.assert_array_equal, (params, model_state, data), before)
    assert_same_run(fit(*args), first)
    np.testing.assert_array_equal(model.dense.kernel[...], before[0]["dense"]["kernel"])


def test_history_is_of_training_batches_and_of_test_data_after_each_epoch(classification, fit):
    model = classification.network(nnx.Rngs(0))
    parts = jn.models.split_train(model, jn.losses.cross_entropy)
    params, model_state, train_loss = parts
    stage = classification.stages[0]
    assert stage.epochs == 2

    def run(epochs):
        some = NoiseStage(epochs, stage.learning_rate, stage.batch_size)
        data, test = classification.train, classification.test
        return fit(KEY, train_loss, params, model_state, SGD, data, some, test_data=test)

    history = run(2).history
    assert set(history.train) == set(history.test) == {"loss", "accuracy"}
    np.testing.assert_array_equal(history.test_loss, history.test["loss"])
    np.testing.assert_array_equal(history.test_accuracy, history.test["accuracy"])
    np.testing.assert_array_equal(history.train_accuracy, history.train["accuracy"])
    for epochs in (1, 2):
        result = run(epochs)
        trained = jn.models.merge(model, result.params, result.model_state)
        found, loss_fn = jn.models.split(trained, jn.losses.classification)
        means = jn.training.evaluate(loss_fn, found, classification.test)
        trained.eval()
        scores = np.asarray(trained(jnp.asarray(classification.test["image"])), np.float64)
        label = classification.test["label"]
        slow = {
            "loss": np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(5), label]),
            "accuracy": np.mean(scores.argmax(1) == label),
        }
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(history.test[name][epochs - 1], means[name], rtol=1e-6)
            np.testing.assert_allclose(history.test[name][epochs - 1], slow[name], rtol=1e-5)


def test_metrics_of_a_plain_function_are_recorded_by_name(regression, fit):
    def train_loss(params, model_state, batch, key):
        error = batch["x"] @ params["w"] - batch["y"]
        return {"loss": error**2, "size": jnp.abs(error)}, model_state

    def evaluate(params, model_state, batch):
        return {"largest": jnp.max(jnp.abs(batch["x"]), axis=1)}

    result = fit(
        KEY,
        train_loss,
        regression.params,
        (),
        optax.sgd(0.0),
        regression.data,
        NoiseStage(2, 0.0, 7),
        test_data=regression.data,
        evaluate=evaluate,
    )
    error = regression.data["x"] @ np.asarray(regression.params["w"]) - regression.data["y"]
    np.testing.assert_allclose(result.history.train["size"], [np.abs(error).mean()] * 2, rtol=1e-5)
    np.testing.assert_allclose(result.history.train_loss, [(error**2).mean()] * 2, rtol=1e-5)
    assert set(result.history.test) == {"largest"}
    assert result.history.test_loss is None
    largest = np.abs(regression.data["x"]).max(axis=1).mean()
    np.testing.assert_allclose(result.history.test["largest"], [largest] * 2, rtol=1e-6)


def test_augmentation_is_of_every_training_batch_and_of_no_test_batch(
    regression, steps_by_hand, fit
):
    def augment(key, batch):
        return batch | {"y": batch["y"] + jax.random.uniform(key, batch["y"].shape)}

    def square(params, batch):
        return (params["b"] - batch["y"]) ** 2

    result = fit(
        KEY,
        lambda params, model_state, batch, key: (square(params, batch), model_state),
        regression.params,
        (),
        optax.sgd(0.0),
        regression.data,
        NoiseStage(1, 0.0, 3),
        augment=augment,
        test_data=regression.data,
        evaluate=lambda params, model_state, batch: square(params, batch),
    )
    data = jax.tree.map(np.float32, regression.data)
    expected = [
        np.mean(square(regression.params, augment(key, take(data, indices))))
        for _, _, indices, key, _ in steps_by_hand(KEY, [NoiseStage(1, 0.0, 3)], 7)
    ]
    np.testing.assert_allclose(result.history.train_loss, [np.mean(expected)], rtol=1e-5)
    plain = np.mean(square(regression.params, data))
    np.testing.assert_allclose(result.history.test_loss, [plain], rtol=1e-5)


def test_bfloat16_params_stay_bfloat16(regression, fit):
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), regression.params)
    data = jax.tree.map(lambda x: x.astype(jnp.bfloat16), regression.data)
    stages = NoiseStage(3, 0.05, 2)
    args = (regression.train_loss, params, (), lambda lr: jn.transforms.trsgd(lr), data, stages)
    result = fit(KEY, *args)
    assert {p.dtype for p in jax.tree.leaves(result.params)} == {jnp.dtype(jnp.bfloat16)}
    assert result.history.train_loss[-1] < result.history.train_loss[0]


def test_data_goes_to_the_loss_in_its_own_dtype(fit):
    def train_loss(params, model_state, batch, key):
        assert batch["image"].dtype == jnp.uint8
        return batch["image"][:, 0] / 255 - params, model_state

    data = {"image": np.full((4, 1), 255, np.uint8)}
    result = fit(KEY, train_loss, jnp.zeros(()), (), optax.sgd(0.0), data, NoiseStage(1, 0.0, 2))
    np.testing.assert_array_equal(result.history.train_loss, [1.0])


def test_numpy_params_and_integer_model_state(fit):
    def train_loss(params, count, batch, key):
        return (params - batch) ** 2, count + 1

    result = fit(
        KEY, train_loss, np.zeros(()), np.zeros((), np.int64), optax.sgd(0.5), np.ones(4),
        NoiseStage(3, 0.5, 2),
    )  # fmt: skip
    assert isinstance(result.params, jax.Array)
    assert result.model_state == 6


def test_keys_of_other_kinds(regression, fit):
    key = jax.random.key(0, impl="rbg")
    args = (regression.train_loss, regression.params, (), SGD, regression.data)
    first, second = (fit(key, *args, regression.stages[0]) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)


@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"replicas": 2}, marks=pytest.mark.slow)],
    ids=["one run", "replicas"],
)
def test_no_key_is_used_twice(options, classification, fit):
    model = classification.network(nnx.Rngs(0))
    params, model_state, train_loss = jn.models.split_train(model, jn.losses.cross_entropy)
    tx = optax.chain(SGD, jn.transforms.uniform_iterate(jax.random.key(1), period=2))

    def augment(key, batch):
        return batch | {"image": batch["image"] + jax.random.normal(key, batch["image"].shape)}

    with jax.debug_key_reuse(True):
        args = (params, model_state, tx, classification.train, classification.stages[0])
        fit(jax.random.key(0), train_loss, *args, augment=augment, **options)
