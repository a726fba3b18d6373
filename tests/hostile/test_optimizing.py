"""Hostile arguments of schedules, smoothing, optimizers, training, theory.

Each is refused in one line that says which and why. A row is a name, a call, the
error it ends with and what the message must match.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise import schedules, smoothing, theory, training, transforms

KEY, KEYS, OLD_KEY = jax.random.key(0), jax.random.split(jax.random.key(0), 2), np.zeros(2, "u4")
NAN, INF = float("nan"), float("inf")
STRINGS = np.array(["a", "b", "c"])
OLD = r"key must be a typed key: use jax\.random\.key"
W, X = jnp.array(1.0), {"x": np.array([1.0, 2.0, 4.0], np.float32)}
INTEGERS = r"params must hold real floating arrays alone, but it is int"
STAGE = schedules.NoiseStage(1, 0.1, 2)
IMAGES, VOLUME = np.ones((2, 8, 8, 3), np.float32), np.zeros((4, 8, 8), int)


def squared(w, batch):
    return 0.5 * (batch["x"] - w) ** 2


def bowl(x):
    return jnp.sum(x**2)


def train_loss(params, model_state, batch, key):
    return squared(params, batch), model_state


def fit(**options):
    given = {"key": KEY, "train_loss": train_loss, "params": W, "model_state": ()}
    given |= {"optimizer": optax.sgd, "data": X, "stages": STAGE, "progress": False}
    return training.fit(**given | options)


def stages(**options):
    given = {"learning_rate": 0.1, "batch_size": 8, "num_stages": 2, "epochs_per_stage": 1}
    return schedules.noise_stages("hybrid", **given | {"decay": 0.7} | options)


def descend(**options):
    given = {"learning_rate": 0.1, "num_steps": 4}
    return smoothing.descent(bowl, np.ones(2), **given | options)


def graduated(**options):
    given = {"deltas": [0.1], "learning_rate": 0.1, "num_steps": 2}
    return smoothing.graduated_descent(KEY, bowl, np.ones(2), **given | options)


SCHEDULES = [
    ("negative learning rate", lambda: schedules.NoiseStage(1, -0.1, 2),
     ValueError, r"learning_rate must be finite and not negative, got -0\.1"),
    ("learning rate of NaN", lambda: schedules.NoiseStage(1, NAN, 2),
     ValueError, "learning_rate must be finite and not negative, got nan"),
    ("no learning rate", lambda: schedules.NoiseStage(1, None, 2),
     TypeError, "learning_rate must be a real number"),
    ("text as a stage", lambda: schedules.stage_schedule(["first"], 8),
     TypeError, "each of the stages must be a NoiseStage, got a str"),
    ("half an example in the set", lambda: schedules.stage_schedule([STAGE], 2.5),
     TypeError, r"num_examples must be a whole number, got 2\.5"),
    ("half a micro-batch", lambda: schedules.accumulation_schedule([STAGE], 0.5, 8),
     TypeError, "micro_batch_size must be a whole number"),
    ("decay as text", lambda: stages(decay="slow"), TypeError, "decay must be a real number"),
    ("half a stage", lambda: stages(num_stages=2.5),
     TypeError, "num_stages must be a whole number"),
    ("growth as text", lambda: stages(batch_growth="x"), TypeError, "batch_growth must be a real"),
    ("rate of NaN in stages", lambda: stages(learning_rate=NAN),
     ValueError, "learning_rate must be"),
    ("noise as text", lambda: schedules.degree_of_smoothing(0.1, 8, "loud"),
     TypeError, "noise_std must be a real number"),
    ("power as text", lambda: schedules.cosine_power(0.1, 10, "two"),
     TypeError, "power must be a real number"),
    ("no first value", lambda: schedules.cosine_power(None, 10, 2.0),
     TypeError, "init_value must be a real number"),
    ("a number as a schedule", lambda: schedules.decay_rates(0.1, 5),
     TypeError, r"schedule must be a function, got 0\.1"),
    ("half a rate", lambda: schedules.decay_rates(optax.constant_schedule(0.1), 2.5),
     TypeError, "num_steps must be a whole number"),
    ("angle as text", lambda: schedules.admissible_decay(2.0, cos_theta="wide"),
     TypeError, "cos_theta must be a real number"),
    ("a as text", lambda: schedules.admissible_decay("two"), TypeError, "a must be a real number"),
    ("dimension as text", lambda: schedules.admissible_probability(2.0, "many"),
     TypeError, "dimension must be a real number"),
    ("no stage before", lambda: schedules.stage_for(0.1, 1.0, None),
     TypeError, "previous must be a NoiseStage, got a NoneType"),
    ("half of the largest batch", lambda: schedules.stage_for(0.1, 1.0, STAGE, max_batch_size=2.5),
     TypeError, "max_batch_size must be a whole number"),
    ("delta as text", lambda: schedules.stage_for("small", 1.0, STAGE),
     TypeError, "delta must be a real number"),
]  # fmt: skip

SMOOTHING = [
    ("no delta", lambda: smoothing.smoothed(KEY, bowl, None, 4), TypeError, "delta must be a real"),
    ("old key for shifts", lambda: smoothing.smoothed(OLD_KEY, bowl, 0.1, 4), TypeError, OLD),
    ("half a shift", lambda: smoothing.smoothed(KEY, bowl, 0.1, 2.5),
     TypeError, "num_samples must be a whole number"),
    ("text as a point", lambda: smoothing.smoothed(KEY, bowl, 0.1, 4)("here"),
     TypeError, "x must hold real floating arrays alone, but it is <U4"),
    ("no point", lambda: smoothing.smoothed(KEY, bowl, 0.1, 4)(None),
     ValueError, "x holds no numbers"),
    ("half a degree", lambda: smoothing.polynomial_deltas(1.0, 2.5),
     TypeError, "num_stages must be a whole number"),
    ("deltas as text", lambda: graduated(deltas="ab"), TypeError, "deltas must be a real number"),
    ("rate as text", lambda: graduated(learning_rate="x"),
     TypeError, "learning_rate must be a real"),
    ("half a step of a stage", lambda: graduated(num_steps=2.5),
     TypeError, "num_steps must be a who"),
    ("a ready optimizer", lambda: graduated(optimizer=optax.sgd(0.1)),
     TypeError, "optimizer must be a function, got GradientTransformation"),
    ("an optimizer that gives none", lambda: descend(optimizer=lambda rate: rate),
     TypeError, "optimizer must be a function of the learning rate that gives an optax"),
    ("half a record", lambda: descend(record_every=2.5), TypeError, "record_every must be a whole"),
    ("a record of nothing", lambda: descend(record_every=0),
     ValueError, "record_every must divide"),
    ("old key for noise", lambda: descend(noise_std=1.0, key=OLD_KEY), TypeError, OLD),
    ("noise of descent as text", lambda: descend(noise_std="loud", key=KEY),
     TypeError, "noise_std must be a real number"),
    ("a report on text", lambda: smoothing.nice_report(KEY, bowl, ["a"], np.zeros(2)),
     TypeError, "deltas must be a real number"),
    ("half a point of a report", lambda: smoothing.nice_report(
        KEY, bowl, [0.2, 0.1], np.zeros(2), num_points=2.5),
     TypeError, "num_points must be a whole"),
    ("a matrix of another size", lambda: smoothing.smoothed_quadratic(np.ones(2), 0.1, np.eye(3)),
     ValueError, r"matrix must be \(2, 2\) for x of shape \(2,\), got \(3, 3\)"),
    ("amplitudes for another point", lambda: smoothing.smoothed_cosines(
        np.ones(2), 0.1, np.ones(3), np.ones(2)), ValueError, "amplitudes must be one number or 2"),
    ("a function of text", lambda: smoothing.functions.rastrigin("here"),
     TypeError, "x must be a real number or an array"),
]  # fmt: skip

TRANSFORMS = [
    ("no rate", lambda: transforms.trsgd(None), TypeError, "learning_rate must be a real number"),
    ("negative rate", lambda: transforms.trsgd(-0.1),
     ValueError, "learning_rate must be finite and"),
    ("NaN as a rate", lambda: transforms.tradam(NAN),
     ValueError, "learning_rate must be finite and"),
    ("negative pull", lambda: transforms.trsgd(0.1, weight=-1.0),
     ValueError, r"weight must be finite and not negative, got -1\.0"),
    ("pull as text", lambda: transforms.add_proximal_term("strong"),
     TypeError, "weight must be a real number"),
    ("negative decay", lambda: transforms.trsgd(0.1, weight_decay=-1.0),
     ValueError, "weight_decay must be finite and not negative"),
    ("momentum above 1", lambda: transforms.trsgd(0.1, momentum=1.5),
     ValueError, r"momentum must be below 1, got 1\.5"),
    ("b1 of 1", lambda: transforms.tradam(0.1, b1=1.0), ValueError, "b1 must be below 1"),
    ("b2 as text", lambda: transforms.tradam(0.1, b2="x"), TypeError, "b2 must be a real number"),
    ("period as text", lambda: transforms.trsgd(0.1, period="ten"),
     TypeError, "period must be a real number"),
    ("schedules in a list", lambda: transforms.trsgd(0.1, inner_schedule=["harmonic"]),
     ValueError, r"`inner_schedule` is unknown: \['harmonic'\]"),
    ("no rate to refer to", lambda: transforms.reference_weight(None),
     TypeError, "learning_rate must be a real number"),
    ("old key for iterates", lambda: transforms.uniform_iterate(OLD_KEY),
     TypeError, "`key` must be a typed key"),
]  # fmt: skip

TRAINING = [
    ("no stages", lambda: fit(stages=None),
     TypeError, "stages must be a NoiseStage or several of them, got None"),
    ("half a replica", lambda: fit(replicas=2.5), TypeError, "replicas must be a whole number"),
    ("a folder as on_epoch", lambda: fit(on_epoch="out"), TypeError, "on_epoch must be a function"),
    ("text to test on", lambda: fit(test_data={"x": STRINGS}, evaluate=train_loss),
     TypeError, "test_data must hold arrays of numbers"),
    ("stages as text", lambda: fit(stages="a"),
     TypeError, "each of the stages must be a NoiseStage"),
    ("text to train on", lambda: fit(data={"x": STRINGS}),
     TypeError, "data must hold arrays of numbers, but x is <U1"),
    ("integers to train", lambda: fit(params=jnp.array(1)), TypeError, INTEGERS),
    ("text to train", lambda: fit(params="weights"),
     TypeError, "params must hold real floating arrays alone, but it is <U7"),
    ("losses of integers in training", lambda: fit(
        train_loss=lambda p, m, b, k: (jnp.ones(2, int), m)),
     TypeError, "train_loss must give floating losses, got int"),
    ("hyperparams as a number", lambda: fit(hyperparams=3),
     TypeError, "hyperparams must be a dict"),
    ("text to evaluate on", lambda: training.evaluate(squared, W, {"x": STRINGS}),
     TypeError, "data must hold arrays of numbers, but x is <U1"),
    ("half a chunk to evaluate", lambda: training.evaluate(squared, W, X, chunk_size=2.5),
     TypeError, "chunk_size must be a whole number"),
    ("nothing from the loss", lambda: training.evaluate(lambda w, b: None, W, X),
     ValueError, r"loss_fn must give one loss per example, shape \(3,\) here, got \(\)"),
    ("an empty dict from the loss", lambda: training.evaluate(lambda w, b: {}, W, X),
     ValueError, "loss_fn gives an empty dict"),
    ("half an image in a pool", lambda: training.image_pool(IMAGES[0], 2.5),
     TypeError, "size must be a whole number"),
    ("a pool of nothing", lambda: training.image_pool(None), TypeError, "image must be an array"),
]  # fmt: skip

CASES = [*SCHEDULES, *SMOOTHING, *TRANSFORMS, *TRAINING]


def test_the_table_is_long_and_says_nothing_twice():
    assert len(CASES) >= 60
    assert len({name for name, *_ in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("call", "kind", "pattern"), [pytest.param(*case, id=name) for name, *case in CASES]
)
def test_refused(call, kind, pattern, assert_refused):
    assert_refused(call, kind, pattern)


# Theory: every argument that has no default is a number that is not negative

BOUNDS = {name: getattr(theory, name) for name in dir(theory) if inspect.isfunction(
    getattr(theory, name))}  # fmt: skip


@pytest.mark.parametrize("name", BOUNDS)
def test_theory_names_each_wrong_number(name, assert_refused):
    parameters = inspect.signature(BOUNDS[name]).parameters.values()
    needed = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    given = dict.fromkeys(needed, 2.0)
    for argument in needed:
        for wrong in (NAN, -1.0, INF):
            if wrong != INF or not (argument == "a" or argument.startswith("num_")):  # limits
                call = lambda: BOUNDS[name](**given | {argument: wrong})  # noqa: B023, E731
                assert_refused(call, ValueError, rf"{argument} must (be|hold) |step_size must be")
        for wrong in ("two", None):
            call = lambda: BOUNDS[name](**given | {argument: wrong})  # noqa: B023, E731
            assert_refused(call, TypeError, f"{argument} must be a real number")


def test_numbers_of_numpy_and_jax_count():
    assert schedules.NoiseStage(np.int32(1), np.float32(0.1), np.int64(2)).batch_size == 2
