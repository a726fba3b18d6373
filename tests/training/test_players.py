"""Games: players who take their steps in turn."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise.schedules import NoiseStage
from jaxnoise.training import NonFiniteLossError
from jaxnoise.training._epoch import run_epoch

KEY = jax.random.key(4)
STAGES = [NoiseStage(2, 0.1, 2), NoiseStage(1, 0.05, 3)]
DATA = {"x": np.linspace(-1.0, 1.0, 7)}


def discriminator_loss(params, count, batch, key):
    """Bilinear in the two players, and dependent on how often any has played."""
    noise = 0.1 * jax.random.normal(key, batch["x"].shape, batch["x"].dtype)
    pull = params["discriminator"]["w"] * (params["generator"] - batch["x"] - noise)
    return -pull + 0.1 * params["discriminator"]["w"] ** 2 + 0.01 * count, count + 1


def generator_loss(params, count, batch, key):
    noise = 0.1 * jax.random.normal(key, batch["x"].shape, batch["x"].dtype)
    pull = params["discriminator"]["w"] * (params["generator"] - batch["x"] - noise)
    distance = jnp.abs(params["generator"] - batch["x"])
    return {"loss": pull + 0.1 * distance, "l1": distance}, count + 1


LOSSES = {"discriminator": discriminator_loss, "generator": generator_loss}
PARAMS = {"generator": jnp.array(0.5), "discriminator": {"w": jnp.array(1.0)}}
OPTIMIZERS = {
    "generator": lambda lr: optax.sgd(lr, momentum=0.9),
    "discriminator": optax.sgd(0.2),
}


@pytest.fixture
def play(fit):
    """`fit` of the game with some arguments replaced by others."""

    def play(key=KEY, losses=LOSSES, params=PARAMS, tx=OPTIMIZERS, stages=STAGES, **options):
        model_state = options.pop("model_state", jnp.array(0))
        return fit(key, losses, params, model_state, tx, DATA, stages, **options)

    return play


def by_hand(steps, order, simultaneous=False):
    """The game in plain numbers; whether each player sees the moves of those before it."""
    w, g, trace, count = 1.0, 0.5, 0.0, 0
    means = {}
    for epoch, stage, indices, _, key in steps:
        x = DATA["x"][indices]
        noise = 0.1 * np.asarray(jax.random.normal(key, x.shape, float))
        before = w, g
        for name in order:
            seen_w, seen_g = before if simultaneous else (w, g)
            pull = seen_w * (seen_g - x - noise)
            if name == "discriminator":
                loss = np.mean(-pull + 0.1 * seen_w**2 + 0.01 * count)
                w = w - 0.2 * np.mean(-(seen_g - x - noise) + 0.2 * seen_w)
            else:
                distance = np.abs(seen_g - x)
                loss = np.mean(pull + 0.1 * distance)
                trace = 0.9 * trace + np.mean(seen_w + 0.1 * np.sign(seen_g - x))
                g = g - stage.learning_rate * trace
                means.setdefault((epoch, "generator l1"), []).append(np.mean(distance))
            means.setdefault((epoch, f"{name} loss"), []).append(loss)
            count += 1
    curves = {}
    for (_, name), values in means.items():
        curves.setdefault(name, []).append(np.mean(values))
    return {"w": w, "g": g, "trace": trace, "count": count, "curves": curves}


@pytest.mark.parametrize(
    ("order", "stages"),
    [(("discriminator", "generator"), STAGES), (("generator", "discriminator"), STAGES[1:])],
)
def test_each_player_moves_after_the_one_before(order, stages, x64, play, steps_by_hand):
    """In the order of the losses' dict; moves at the same time would end elsewhere."""
    params = jax.tree.map(lambda p: p.astype(float), PARAMS)
    losses = {name: LOSSES[name] for name in order}
    result = play(losses=losses, params=params, stages=stages)
    steps = steps_by_hand(KEY, stages, 7)
    slow = by_hand(steps, order)
    trace = optax.tree.get(result.opt_state["generator"], "trace")
    ours = [result.params["discriminator"]["w"], result.params["generator"], trace]
    np.testing.assert_allclose(ours, [slow[name] for name in ("w", "g", "trace")], rtol=1e-12)
    assert result.model_state == slow["count"] == 2 * len(steps)
    assert set(result.opt_state) == set(LOSSES)
    assert set(result.history.train) == set(slow["curves"])
    for name, curve in slow["curves"].items():
        np.testing.assert_allclose(result.history.train[name], curve, rtol=1e-12)
    assert result.history.steps[-1] == len(steps)
    together = by_hand(steps, order, simultaneous=True)
    assert abs(together["w"] - slow["w"]) > 1e-3


def test_a_game_of_one_is_ordinary_training(regression, fit, assert_same_run):
    def game_loss(params, *args):
        return regression.train_loss(params["only"], *args)

    def tx(lr):
        return optax.sgd(lr, momentum=0.9)

    data, stages = regression.data, regression.stages[:1]
    game = fit(
        KEY, {"only": game_loss}, {"only": regression.params}, (), {"only": tx}, data, stages
    )
    plain = fit(KEY, regression.train_loss, regression.params, (), tx, data, stages)
    assert set(game.history.train) == {"only loss"}
    history = dataclasses.replace(game.history, train={"loss": game.history.train["only loss"]})
    only = {"params": game.params["only"], "opt_state": game.opt_state["only"]}
    assert_same_run(dataclasses.replace(game, history=history, **only), plain)


def evaluate(params, count, batch):
    return {"gap": jnp.abs(params["generator"] - batch["x"]) + 0 * params["discriminator"]["w"]}


def test_resumes_bit_for_bit(play, tmp_path, assert_same_run):
    def stop(epoch, *args):
        if epoch == 2:
            raise KeyboardInterrupt

    options = {"replicas": 2, "stages": STAGES[:1], "test_data": DATA, "evaluate": evaluate}
    whole = play(**options)
    with pytest.raises(KeyboardInterrupt):
        play(on_epoch=stop, checkpoint_dir=tmp_path, **options)
    assert_same_run(play(checkpoint_dir=tmp_path, **options), whole)
    assert whole.history.test["gap"].shape == whole.history.train["generator l1"].shape == (2, 2)
    other = options | {"checkpoint_dir": tmp_path, "losses": dict(reversed(LOSSES.items()))}
    with pytest.raises(ValueError, match=r"is of another run \(players differ\)"):
        play(**other)


def test_replicas_play_their_own_games(play):
    """Mapped bit for bit as on their own, side by side up to rounding."""
    scales = jnp.array([1.0, 1.5])
    stacked = jax.tree.map(lambda p: p * scales, PARAMS)
    keys = jax.random.split(jax.random.clone(KEY), 2)
    options = {"params": stacked, "stages": STAGES[0], "replicas": 2, "stacked": True}
    mapped, vmapped = (
        play(model_state=jnp.zeros(2, int), replica_mode=mode, **options)
        for mode in ("map", "vmap")
    )
    for index in range(2):
        start = jax.tree.map(lambda p, index=index: p[index], stacked)
        alone = play(keys[index], params=start, stages=STAGES[0])
        together = jax.tree.map(lambda p, index=index: p[index], mapped.params)
        jax.tree.map(np.testing.assert_array_equal, together, alone.params)
        curve = alone.history.train["generator loss"]
        np.testing.assert_array_equal(mapped.history.train["generator loss"][index], curve)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4)
    jax.tree.map(close, vmapped.params, mapped.params)


@pytest.mark.parametrize(("name", "bad"), [("discriminator", 10), ("generator", 11)])
def test_a_bad_step_of_one_player_stops_all(name, bad, play):
    """Though its gradient is finite, and the loss of the player after it."""

    def failing(params, count, batch, key):
        metrics, new = LOSSES[name](params, count, batch, key)
        losses = metrics if name == "discriminator" else metrics["loss"]
        return losses + jnp.where(count == bad, jnp.nan, 0.0), new

    with pytest.raises(NonFiniteLossError, match=r"at step 5 \(epoch 2\)") as caught:
        play(losses=LOSSES | {name: failing})
    assert caught.value.step == 5
    assert caught.value.result.model_state == 10


def test_second_game_compiles_nothing(play, compilations):
    play(stages=STAGES[:1])
    before, key = run_epoch._cache_size(), jax.random.key(5)
    assert compilations(lambda: play(key, stages=STAGES[:1]).params) == 0
    assert run_epoch._cache_size() == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"losses": {}}, ValueError, "train_loss is an empty dict"),
        ({"losses": {1: generator_loss}}, TypeError, "name its players by strings"),
        (
            {"tx": optax.sgd(0.1)},
            TypeError,
            r"optimizer must be a dict with an entry for each .*\(discriminator, generator\)",
        ),
        ({"params": jnp.ones(2)}, TypeError, "params must be a dict with an entry for each player"),
        (
            {"params": PARAMS | {"judge": jnp.ones(())}},
            ValueError,
            r"params must name the players .*, got \(generator, discriminator, judge\)",
        ),
        (
            {"tx": {"generator": optax.sgd(0.1)}},
            ValueError,
            r"optimizer must name the players .*, got \(generator\)",
        ),
        (
            {"tx": OPTIMIZERS | {"generator": 0.1}},
            TypeError,
            "generator optimizer must be an optax",
        ),
        ({"params": PARAMS | {"generator": ()}}, ValueError, "generator params holds no arrays"),
        (
            {"losses": LOSSES | {"generator": lambda p, s, b, k: (p["generator"], s)}},
            ValueError,
            r"generator train_loss must give one loss per example, shape \(2,\) here, got \(\)",
        ),
        ({"test_data": DATA}, ValueError, "test_data needs evaluate"),
    ],
)
def test_wrong_arguments(arguments, error, message, play):
    with pytest.raises(error, match=message) as caught:
        play(**arguments)
    assert "\n" not in str(caught.value)
