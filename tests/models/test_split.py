"""Models become pure functions of their parameters and back, in both modes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise import losses
from jaxnoise.models import FeedForward, ResNet18, merge, split, split_apply, split_train

BATCH = {
    "image": jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32),
    "label": jnp.array([0, 1, 2, 0, 1, 2]),
}


class Plain(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(3, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(x)


class Full(nnx.Module):
    """Batch normalisation and two layers of dropout, in the training mode that NNX starts with."""

    def __init__(self, rngs):
        self.dense = nnx.Linear(3, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.dropout = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(2)])
        self.readout = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        x = self.dropout[0](nnx.relu(self.norm(self.dense(x))))
        return self.readout(self.dropout[1](x))


class Normalized(nnx.Module):
    """Batch normalisation alone."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(3, momentum=0.9, rngs=rngs)
        self.readout = nnx.Linear(3, 3, rngs=rngs)

    def __call__(self, x):
        return self.readout(self.norm(x))


MODELS = pytest.mark.parametrize("model_class", [Plain, Full])


def states(model):
    """All arrays of a model, random keys as their bits."""

    def plain(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(plain, nnx.as_pure(nnx.state(model)))


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def rows(batch, index):
    return jax.tree.map(lambda x: x[index], batch)


def slow_cross_entropy(scores, labels):
    scores = np.asarray(scores, np.float64)
    return np.log(np.exp(scores).sum(1)) - scores[np.arange(len(labels)), np.asarray(labels)]


@MODELS
def test_inference_loss_is_that_of_the_model_in_evaluation_mode(model_class):
    model = model_class(nnx.Rngs(0))
    params, loss_fn = split(model, losses.cross_entropy)
    assert isinstance(loss_fn, jax.tree_util.Partial)
    result = loss_fn(params, BATCH)
    assert result.shape == (6,)
    model.eval()
    expected = slow_cross_entropy(model(BATCH["image"]), BATCH["label"])
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_in_inference_an_example_does_not_know_of_the_others():
    params, loss_fn = split(Full(nnx.Rngs(0)), losses.cross_entropy)
    together = loss_fn(params, BATCH)
    for i in range(6):
        alone = loss_fn(params, rows(BATCH, slice(i, i + 1)))
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-6)


def test_in_training_batch_normalisation_couples_the_examples():
    params, model_state, train_loss = split_train(Normalized(nnx.Rngs(0)), losses.cross_entropy)
    together, _ = train_loss(params, model_state, BATCH, jax.random.key(0))
    half, _ = train_loss(params, model_state, rows(BATCH, slice(3)), jax.random.key(0))
    assert not np.any(np.isclose(together[:3], half))


@MODELS
@pytest.mark.parametrize("splitter", [split, split_train])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_model_stays_as_it_was(model_class, splitter, mode):
    model = model_class(nnx.Rngs(0))
    getattr(model, mode)()
    graphdef, before = nnx.graphdef(model), states(model)
    *trees, loss_fn = splitter(model, losses.cross_entropy)
    trees[0] = jax.tree.map(lambda p: p + 1, trees[0])
    more = (BATCH,) if splitter is split else (BATCH, jax.random.key(0))
    jax.grad(lambda p: jnp.mean(jax.tree.leaves(loss_fn(p, *trees[1:], *more))[0]))(trees[0])
    assert_equal(states(model), before)
    assert nnx.graphdef(model) == graphdef


def test_split_train_trains_a_model_in_evaluation_mode_too():
    model, evaluating = Full(nnx.Rngs(0)), Full(nnx.Rngs(0))
    evaluating.eval()
    results = []
    for start in (model, evaluating):
        params, model_state, train_loss = split_train(start, losses.cross_entropy)
        results.append(train_loss(params, model_state, BATCH, jax.random.key(0)))
    assert_equal(*results)


def test_another_checkpoint_compiles_nothing():
    program = jax.jit(lambda loss_fn, params: loss_fn(params, BATCH))
    for seed in range(3):
        params, loss_fn = split(Full(nnx.Rngs(seed)), losses.cross_entropy)
        expected = loss_fn(params, BATCH)
        np.testing.assert_allclose(program(loss_fn, params), expected, rtol=1e-5)
    assert program._cache_size() == 1


def test_another_model_of_equal_structure_trains_without_compilation():
    program = jax.jit(lambda train_loss, *args: train_loss(*args))
    for seed in range(2):
        params, model_state, train_loss = split_train(Full(nnx.Rngs(seed)), losses.cross_entropy)
        program(train_loss, params, model_state, BATCH, jax.random.key(seed))
    assert program._cache_size() == 1


@MODELS
def test_merge_undoes_split(model_class):
    model = model_class(nnx.Rngs(0))
    params, model_state, _ = split_train(model, losses.cross_entropy)
    for merged in (merge(model, params), merge(model, params, model_state)):
        assert merged is not model
        assert_equal(states(merged), states(model))
        assert nnx.graphdef(merged) == nnx.graphdef(model)


def test_merge_takes_new_parameters_and_state():
    model = Full(nnx.Rngs(0))
    model.eval()
    before = states(model)
    params, model_state, _ = split_train(model, losses.cross_entropy)
    params, model_state = jax.tree.map(lambda x: x + 2, (params, model_state))
    merged = merge(model, params, model_state)
    np.testing.assert_array_equal(merged.dense.kernel[...], model.dense.kernel[...] + 2)
    np.testing.assert_array_equal(merged.norm.mean[...], model.norm.mean[...] + 2)
    assert merged.dropout[0].deterministic, "the merged model is in the mode of the first"
    assert_equal(states(model), before)
    np.testing.assert_array_equal(merge(model, params).norm.mean[...], model.norm.mean[...])


@pytest.mark.parametrize(
    "make",
    [
        Normalized,
        pytest.param(lambda rngs: ResNet18(width=2, rngs=rngs), marks=pytest.mark.slow),
    ],
    ids=["one layer", "ResNet18"],
)
def test_state_after_training_loss_is_that_of_the_model_in_training_mode(make, scrambled):
    model = scrambled(lambda: make(nnx.Rngs(0)))
    batch = dict(BATCH)
    if isinstance(model, ResNet18):
        batch["image"] = jax.random.normal(jax.random.key(1), (6, 4, 4, 3))
    params, model_state, train_loss = split_train(model, losses.cross_entropy)
    key = jax.random.key(0)
    result, new_state = jax.jit(train_loss)(params, model_state, batch, key)
    model.train()
    outputs = nnx.jit(lambda model, x: model(x))(model, batch["image"])
    expected = slow_cross_entropy(outputs, batch["label"])
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    for path, statistics in nnx.to_flat_state(nnx.as_pure(nnx.state(model, nnx.BatchStat))):
        ours = functools.reduce(lambda tree, name: tree[name], path, new_state)
        np.testing.assert_allclose(ours, statistics, rtol=1e-4, atol=1e-5, err_msg=str(path))


def test_losses_of_the_state_after_training_are_those_of_the_merged_model():
    model = Normalized(nnx.Rngs(0))
    params, model_state, train_loss = split_train(model, losses.cross_entropy)
    _, model_state = train_loss(params, model_state, BATCH, jax.random.key(0))
    params, loss_fn = split(merge(model, params, model_state), losses.cross_entropy)
    evaluated = train_loss.evaluate(params, model_state, BATCH)["loss"]
    np.testing.assert_allclose(evaluated, loss_fn(params, BATCH), rtol=1e-6)


class TestDropout:
    def setup_method(self):
        parts = split_train(Full(nnx.Rngs(0)), losses.cross_entropy)
        self.params, self.model_state, self.train_loss = parts

    def losses(self, seed, model_state=None):
        state = self.model_state if model_state is None else model_state
        return self.train_loss(self.params, state, BATCH, jax.random.key(seed))

    def test_comes_from_the_key_alone(self):
        first, state = self.losses(1)
        np.testing.assert_array_equal(first, self.losses(1)[0])
        np.testing.assert_array_equal(first, self.losses(1, state)[0])
        assert np.any(first != self.losses(2)[0])

    def test_does_not_know_how_often_the_model_was_used(self):
        used = Full(nnx.Rngs(7))
        used(BATCH["image"])
        _, _, train_loss = split_train(used, losses.cross_entropy)
        result, _ = train_loss(self.params, self.model_state, BATCH, jax.random.key(1))
        np.testing.assert_array_equal(result, self.losses(1)[0])

    def test_under_jit(self):
        key = jax.random.key(1)
        expected, _ = self.losses(1)
        result, _ = jax.jit(self.train_loss)(self.params, self.model_state, BATCH, key)
        np.testing.assert_allclose(result, expected, rtol=1e-5)

    def test_differs_between_layers(self):
        class Twice(nnx.Module):
            def __init__(self, rngs):
                self.first, self.second = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
                self.weight = nnx.Param(jnp.ones(()))

            def __call__(self, x):
                return self.weight * (self.first(x) - self.second(x))

        parts = split_train(Twice(nnx.Rngs(0)), lambda outputs, batch: jnp.abs(outputs).sum(1))
        params, model_state, train_loss = parts
        apart, _ = train_loss(params, model_state, {"image": jnp.ones((5, 8))}, jax.random.key(0))
        assert np.any(apart > 0)

    def test_is_off_in_inference(self):
        evaluate = self.train_loss.evaluate
        first = evaluate(self.params, self.model_state, BATCH)["loss"]
        np.testing.assert_array_equal(first, evaluate(self.params, self.model_state, BATCH)["loss"])
        _, loss_fn = split(Full(nnx.Rngs(0)), losses.cross_entropy)
        np.testing.assert_allclose(first, loss_fn(self.params, BATCH), rtol=1e-6)

    def test_leaves_no_random_state_in_the_model_state(self):
        _, new_state = self.losses(1)
        assert jax.tree.structure(new_state) == jax.tree.structure(self.model_state)
        paths = {path[-1] for path, _ in nnx.to_flat_state(new_state)}
        assert paths == {"mean", "var"}
        for new, old in zip(*map(jax.tree.leaves, (new_state, self.model_state)), strict=True):
            assert (new.shape, new.dtype) == (old.shape, old.dtype)
            assert np.any(new != old)


def test_uint8_images_are_scaled_to_unit_range():
    model = FeedForward(image_size=4, width=8, rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
    batch = {"image": images, "label": jnp.array([0, 1, 2])}
    scaled = batch | {"image": images.astype(np.float32) / 255}
    params, loss_fn = split(model, losses.cross_entropy)
    np.testing.assert_allclose(loss_fn(params, batch), loss_fn(params, scaled), rtol=1e-6)
    params, model_state, train_loss = split_train(model, losses.cross_entropy)
    ours, theirs = (
        train_loss(params, model_state, b, jax.random.key(0))[0] for b in (batch, scaled)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32])
def test_other_inputs_go_in_as_they_are(dtype):
    seen = []

    class Witness(nnx.Module):
        def __init__(self):
            self.weight = nnx.Param(jnp.ones(()))

        def __call__(self, x):
            seen.append(x.dtype)
            return self.weight * x

    params, loss_fn = split(Witness(), lambda outputs, batch: outputs[:, 0])
    loss_fn(params, {"image": jnp.full((2, 1), 200, dtype)})
    assert seen == [dtype]


@pytest.mark.parametrize("splitter", [split, split_train])
def test_inputs_may_be_another_entry_or_a_function(splitter):
    def losses_of(inputs, batch):
        *trees, loss_fn = splitter(Plain(nnx.Rngs(0)), losses.cross_entropy, inputs)
        if splitter is split:
            return loss_fn(*trees, batch)
        return loss_fn(*trees, batch, jax.random.key(0))[0]

    renamed = {"features": BATCH["image"], "label": BATCH["label"]}
    expected = losses_of("image", BATCH)
    np.testing.assert_array_equal(losses_of("features", renamed), expected)
    np.testing.assert_allclose(
        losses_of(lambda batch: batch["half"] * 2, renamed | {"half": BATCH["image"] / 2}), expected
    )


@pytest.mark.parametrize(
    ("batch", "found"),
    [({"x": jnp.ones((2, 3)), "label": jnp.array([0, 1])}, "x, label"), ((jnp.ones(2),), "tuple")],
)
def test_missing_input_is_named(batch, found):
    params, loss_fn = split(Plain(nnx.Rngs(0)), losses.cross_entropy)
    with pytest.raises(ValueError, match=f"no entry 'image' to feed the model: it holds {found}"):
        loss_fn(params, batch)


def metrics_of(example_loss, batch=BATCH, model_class=Plain):
    params, model_state, train_loss = split_train(model_class(nnx.Rngs(0)), example_loss)
    trained, _ = train_loss.metrics(params, model_state, batch, jax.random.key(0))
    return trained, train_loss.evaluate(params, model_state, batch)


def test_example_loss_may_give_several_metrics():
    def example_loss(outputs, batch):
        return {
            "loss": outputs[:, 0] ** 2,
            "size": jnp.abs(outputs[:, 1]),
            "accuracy": outputs[:, 2],
        }

    outputs = Plain(nnx.Rngs(0))(BATCH["image"])
    for metrics in metrics_of(example_loss):
        assert_equal(metrics, example_loss(outputs, BATCH))
    params, model_state, train_loss = split_train(Plain(nnx.Rngs(0)), example_loss)
    result, _ = train_loss(params, model_state, BATCH, jax.random.key(0))
    np.testing.assert_array_equal(result, outputs[:, 0] ** 2)
    params, loss_fn = split(Plain(nnx.Rngs(0)), example_loss)
    assert_equal(loss_fn(params, BATCH), example_loss(outputs, BATCH))


def test_metrics_without_a_loss_are_refused():
    with pytest.raises(ValueError, match="example_loss gave size but no 'loss'"):
        metrics_of(lambda outputs, batch: {"size": outputs[:, 0]})


def test_accuracy_is_added_for_class_scores():
    scores = Plain(nnx.Rngs(0))(BATCH["image"])
    expected = np.argmax(scores, axis=1) == np.asarray(BATCH["label"])
    assert 0 < expected.sum() < 6
    for metrics in metrics_of(losses.cross_entropy):
        assert set(metrics) == {"loss", "accuracy"}
        np.testing.assert_array_equal(metrics["accuracy"], expected)


@pytest.mark.parametrize(
    "label",
    [None, jnp.zeros(6), jnp.zeros((6, 2), int)],
    ids=["no labels", "real labels", "a label for each of several outputs"],
)
def test_accuracy_is_not_added_elsewhere(label):
    batch = {"image": BATCH["image"]} | ({} if label is None else {"label": label})
    for metrics in metrics_of(lambda outputs, batch: outputs[:, 0], batch):
        assert set(metrics) == {"loss"}


def test_accuracy_is_not_added_for_a_single_output():
    class Regression(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(3, 1, rngs=rngs)

        def __call__(self, x):
            return self.dense(x)

    def example_loss(outputs, batch):
        return (outputs[:, 0] - batch["label"]) ** 2

    for metrics in metrics_of(example_loss, model_class=Regression):
        assert set(metrics) == {"loss"}


class TestApply:
    """Outputs as a function of parameters, state, inputs and key."""

    def setup_method(self):
        self.model = Full(nnx.Rngs(0))
        self.params, self.model_state, self.apply = split_apply(self.model)
        self.x = BATCH["image"]

    def test_in_training_mode_is_what_the_training_loss_sees(self):
        outputs, new_state = self.apply(self.params, self.model_state, self.x, jax.random.key(1))
        *_, train_loss = split_train(self.model, lambda outputs, batch: outputs[:, 0])
        expected = train_loss(self.params, self.model_state, BATCH, jax.random.key(1))
        assert_equal((outputs[:, 0], new_state), expected)
        again, _ = self.apply(self.params, self.model_state, self.x, jax.random.key(2))
        assert np.any(outputs != again), "the key draws the dropout"

    def test_without_a_key_is_the_model_in_evaluation_mode(self):
        outputs, state = self.apply(self.params, self.model_state, self.x, None)
        assert state is self.model_state
        self.model.eval()
        np.testing.assert_allclose(outputs, self.model(self.x), rtol=1e-6)

    def test_is_a_pytree_that_equal_models_share(self):
        program = jax.jit(lambda apply, *args: apply(*args)[0])
        for seed in range(2):
            params, state, apply = split_apply(Full(nnx.Rngs(seed)))
            outputs = program(apply, params, state, self.x, jax.random.key(1))
            expected, _ = apply(params, state, self.x, jax.random.key(1))
            np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
        assert program._cache_size() == 1
