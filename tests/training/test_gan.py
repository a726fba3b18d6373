"""The players of a conditional adversarial network against NumPy, and in training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnoise as jn
from jaxnoise.training import conditional_gan

SHAPE = (3, 4, 5, 2)  # B, H, W, C
NAMES = ("discriminator", "generator")


def generator(params, count, x, key):
    """A scaled input with noise of its own; the state counts the calls."""
    return params["scale"] * x + params["noise"] * jax.random.normal(
        key, x.shape, x.dtype
    ), count + 1


def discriminator(params, count, pairs, key):
    """A score for each pixel, linear in the pair's channels."""
    return pairs @ params["weight"] + params["bias"], count + 1


def pictures(seed, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.uniform(-1, 1, shape)) for name in ("input", "target")}


def players(seed=1):
    rng = np.random.default_rng(seed)
    params = {
        "discriminator": {"weight": rng.normal(size=2 * SHAPE[-1]), "bias": rng.normal()},
        "generator": {"scale": rng.normal(), "noise": 0.0},
    }
    params = jax.tree.map(jnp.asarray, params)
    return params, {"discriminator": jnp.array(0), "generator": jnp.array(0)}


# The slow twin: losses and their gradients, in float64


def slow_scores(params, batch, images):
    weight = params["discriminator"]["weight"]
    channels = SHAPE[-1]
    first, second = batch["input"] @ weight[:channels], images @ weight[channels:]
    return first + second + params["discriminator"]["bias"]


def slow_gan(scores, real):
    odds = 1 / (1 + np.exp(-scores))
    return -np.log(odds if real else 1 - odds).mean((1, 2))


def slow_squares(scores, real):
    return ((scores - real) ** 2).mean((1, 2))


def slow_discriminator_loss(params, batch, slow_loss):
    fake = params["generator"]["scale"] * batch["input"]
    real_loss = slow_loss(slow_scores(params, batch, batch["target"]), 1)
    return (real_loss + slow_loss(slow_scores(params, batch, fake), 0)) / 2


def slow_generator_loss(params, batch, slow_loss, l1_weight):
    fake = params["generator"]["scale"] * batch["input"]
    l1 = np.abs(fake - batch["target"]).mean((1, 2, 3))
    return slow_loss(slow_scores(params, batch, fake), 1) + l1_weight * l1


def slow_gradient(loss, params, player):
    """Central differences with respect to one player's parameters."""
    gradient = {}
    for name, value in params[player].items():
        value = np.asarray(value, float)
        entries = []
        for index in np.ndindex(value.shape):
            step = np.zeros(value.shape)
            step[index] = 1e-6
            ends = [
                loss({**params, player: {**params[player], name: value + sign * step}}).mean()
                for sign in (1, -1)
            ]
            entries.append((ends[0] - ends[1]) / 2e-6)
        gradient[name] = np.reshape(entries, value.shape)
    return gradient


LOSSES = {"gan": slow_gan, "least_squares_gan": slow_squares}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_their_definitions(x64, name):
    play = conditional_gan(
        generator, discriminator, l1_weight=0.3, adversarial=getattr(jn.losses, name)
    )
    assert tuple(play) == NAMES, "the discriminator plays first"
    params, state = players()
    batch, key = pictures(0), jax.random.key(0)
    judged, _ = play["discriminator"](params, state, batch, key)
    made, _ = play["generator"](params, state, batch, key)
    expected = slow_discriminator_loss(params, batch, LOSSES[name])
    np.testing.assert_allclose(judged["loss"], expected, rtol=1e-12)
    expected = slow_generator_loss(params, batch, LOSSES[name], 0.3)
    np.testing.assert_allclose(made["loss"], expected, rtol=1e-12)
    np.testing.assert_allclose(made["adversarial"] + 0.3 * made["l1"], expected, rtol=1e-12)
    expected = slow_generator_loss(params, batch, LOSSES[name], 0)
    np.testing.assert_allclose(made["adversarial"], expected, rtol=1e-12)


def test_the_generator_is_held_fixed_in_the_discriminators_loss():
    play = conditional_gan(generator, discriminator)
    params, state = players()
    batch = pictures(0)
    gradient = jax.grad(
        lambda p: play["discriminator"](p, state, batch, jax.random.key(0))[0]["loss"].sum()
    )(params)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient["generator"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["discriminator"]))


def test_each_player_changes_its_own_state_alone():
    play = conditional_gan(generator, discriminator)
    params, state = players()
    batch, key = pictures(0), jax.random.key(0)
    assert play["discriminator"](params, state, batch, key)[1] == {
        "discriminator": 2, "generator": 0,
    }  # fmt: skip
    assert play["generator"](params, state, batch, key)[1] == {
        "discriminator": 0, "generator": 1,
    }  # fmt: skip


def test_both_see_the_same_image_of_a_random_generator():
    """Where the discriminator's scores are the images, they tell which it was shown."""
    seen = []

    def witness(params, state, pairs, key):
        seen.append(np.asarray(pairs[..., 2:]))
        return pairs, state

    play = conditional_gan(generator, witness)
    params, state = players()
    params["generator"]["noise"] = 1.0
    batch = pictures(0)
    for player in NAMES:
        play[player](params, state, batch, jax.random.key(5))
    real, fake, again = seen
    np.testing.assert_array_equal(real, batch["target"])
    np.testing.assert_array_equal(fake, again)


def test_training_is_that_of_alternating_steps(fit, x64):
    """The generator steps against the discriminator that has just stepped."""
    play = conditional_gan(generator, discriminator, l1_weight=0.5)
    params, state = players()
    data = pictures(2)
    stages = jn.schedules.NoiseStage(epochs=1, learning_rate=0.1, batch_size=3)
    optimizer = dict.fromkeys(NAMES, optax.sgd)
    result = fit(jax.random.key(0), play, params, state, optimizer, data, stages)

    slow = jax.tree.map(lambda x: np.asarray(x, float), params)
    for player, loss in (
        ("discriminator", lambda p: slow_discriminator_loss(p, data, slow_gan)),
        ("generator", lambda p: slow_generator_loss(p, data, slow_gan, 0.5)),
    ):
        gradient = slow_gradient(loss, slow, player)
        slow[player] = {name: slow[player][name] - 0.1 * g for name, g in gradient.items()}
    trained = jax.tree.map(np.asarray, result.params)
    del trained["generator"]["noise"], slow["generator"]["noise"]  # the twin has no noise
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7), trained, slow)
    assert {"discriminator loss", "generator loss", "generator adversarial", "generator l1"} == set(
        result.history.train
    )


def test_another_weight_compiles_nothing(compilations):
    program = jax.jit(lambda play, params, state, batch: [
        play[name](params, state, batch, jax.random.key(0))[0]["loss"] for name in NAMES
    ])  # fmt: skip
    params, state = players()
    results = []
    for weight in (0.0, 1.0):
        play = conditional_gan(generator, discriminator, l1_weight=weight)
        results.append(program(play, params, state, pictures(0)))
    assert program._cache_size() == 1
    assert np.all(results[1][1] > results[0][1])
