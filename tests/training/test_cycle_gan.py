"""The players of CycleGAN and SpCycleGAN against NumPy, and in training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnoise as jn
from jaxnoise.training import cycle_gan, image_pool

SHAPE = (2, 3, 4, 2)  # B, H, W, C
PAIRS = (("image", "label"), ("label", "image"))  # what is made of what
WEIGHTS = {"cycle_weight": 0.7, "spatial_weight": 0.3}
IDENTITY = {"identity_weight": 0.4}  # beside the spatial term
PLAYERS = {
    "discriminators": ("judge_images", "judge_labels"),
    "generators": ("to_images", "to_labels", "to_masks"),
}


def network(params, count, x, key):
    """tanh of a linear map of each pixel's channels; the state counts the calls."""
    return jnp.tanh(x @ params["weight"] + params["bias"]), count + 1


def play(spatial=True, **options):
    more = {"to_masks": network, **IDENTITY} if spatial else {}
    return cycle_gan(*[network] * 4, **more, **WEIGHTS, **options)


def start(spatial=True, pool_size=2, dtype=float):
    """Random parameters, and the state before the first step."""
    rng = np.random.default_rng(1)
    params = {
        player: {
            name: {
                "weight": jnp.asarray(rng.normal(size=(2, 1 if "judge" in name else 2)), dtype),
                "bias": jnp.asarray(rng.normal(), dtype),
            }
            for name in names
        }
        for player, names in PLAYERS.items()
    }
    if not spatial:
        del params["generators"]["to_masks"]
    pool = image_pool(jnp.zeros(SHAPE[1:], dtype), pool_size)
    state = {name: jnp.array(0) for part in params.values() for name in part}
    return params, {**state, "pool": {"image": pool, "label": pool}}


def pictures(num=SHAPE[0], dtype=float):
    rng = np.random.default_rng(0)
    return {
        name: jnp.asarray(rng.uniform(-1, 1, (num, *SHAPE[1:])), dtype)
        for name in ("label", "image")
    }


# The slow twin, in float64


def slow(params, name, x):
    (own,) = (part[name] for part in params.values() if name in part)
    return np.tanh(x @ np.asarray(own["weight"]) + np.asarray(own["bias"]))


def squares(scores, real):
    return ((scores - real) ** 2).mean((1, 2, 3))


def entropy(scores, real):
    odds = 1 / (1 + np.exp(-scores))
    return -np.log(odds if real else 1 - odds).mean((1, 2, 3))


def slow_discriminators(params, label, image, loss):
    made_image, made_label = slow(params, "to_images", label), slow(params, "to_labels", image)
    judged_images = loss(slow(params, "judge_images", image), 1)
    judged_images += loss(slow(params, "judge_images", made_image), 0)
    judged_labels = loss(slow(params, "judge_labels", label), 1)
    judged_labels += loss(slow(params, "judge_labels", made_label), 0)
    return 0.5 * judged_images + 0.5 * judged_labels


def slow_generators(params, label, image, loss, spatial):
    """(loss, adversarial, cycle), and with the spatial network (…, spatial, identity)"""
    made_image, made_label = slow(params, "to_images", label), slow(params, "to_labels", image)
    adversarial = loss(slow(params, "judge_images", made_image), 1)
    adversarial += loss(slow(params, "judge_labels", made_label), 1)
    cycle = np.abs(slow(params, "to_labels", made_image) - label).mean((1, 2, 3))
    cycle += np.abs(slow(params, "to_images", made_label) - image).mean((1, 2, 3))
    parts = [adversarial, cycle]
    if spatial:
        parts.append(((slow(params, "to_masks", made_image) - label) ** 2).mean((1, 2, 3)))
        identity = np.abs(slow(params, "to_images", image) - image).mean((1, 2, 3))
        identity += np.abs(slow(params, "to_labels", label) - label).mean((1, 2, 3))
        parts.append(identity)
    weights = (1, *WEIGHTS.values(), IDENTITY["identity_weight"])
    return sum(w * part for w, part in zip(weights, parts, strict=False)), *parts


def central_differences(function, tree):
    """The gradient of a number with respect to every entry."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))

    def shifted(i, index, by):
        moved = [leaf.copy() for leaf in leaves]
        moved[i][index] += by
        return function(jax.tree.unflatten(structure, moved))

    gradient = [np.empty(leaf.shape) for leaf in leaves]
    for i, leaf in enumerate(leaves):
        for index in np.ndindex(leaf.shape):
            ends = [shifted(i, index, by) for by in (1e-6, -1e-6)]
            gradient[i][index] = (ends[0] - ends[1]) / 2e-6
    return jax.tree.unflatten(structure, gradient)


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize(
    ("loss", "slow_loss"), [(jn.losses.least_squares_gan, squares), (jn.losses.gan, entropy)]
)
def test_losses_are_their_definitions(x64, spatial, loss, slow_loss):
    players, (params, state), batch = play(spatial, adversarial=loss), start(spatial), pictures()
    assert tuple(players) == tuple(PLAYERS), "the discriminators play first"
    judged, _ = players["discriminators"](params, state, batch, jax.random.key(0))
    made, _ = players["generators"](params, state, batch, jax.random.key(0))
    label, image = (np.asarray(batch[name]) for name in ("label", "image"))
    expected = slow_discriminators(params, label, image, slow_loss)
    np.testing.assert_allclose(judged["loss"], expected, rtol=1e-12)
    names = ["loss", "adversarial", "cycle", "spatial", "identity"][: 5 if spatial else 3]
    assert list(made) == names
    for name, values in zip(
        names, slow_generators(params, label, image, slow_loss, spatial), strict=True
    ):
        np.testing.assert_allclose(made[name], values, rtol=1e-12)


def test_training_is_that_of_alternating_steps(fit, x64):
    """The generators step against the discriminators that have just stepped."""
    params, state = start()
    data = pictures()
    stage = jn.schedules.NoiseStage(epochs=1, learning_rate=0.1, batch_size=2)
    result = fit(
        jax.random.key(0), play(), params, state, dict.fromkeys(PLAYERS, optax.sgd), data, stage
    )
    label, image = (np.asarray(data[name]) for name in ("label", "image"))
    expected = jax.tree.map(np.asarray, params)
    for player, loss in (
        ("discriminators", lambda p: slow_discriminators(p, label, image, squares).mean()),
        ("generators", lambda p: slow_generators(p, label, image, squares, True)[0].mean()),
    ):
        gradient = central_differences(
            lambda own, player=player, loss=loss: loss({**expected, player: own}), expected[player]
        )
        expected[player] = jax.tree.map(lambda x, g: x - 0.1 * g, expected[player], gradient)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-7), result.params, expected)
    assert set(result.history.train) == {"discriminators loss"} | {
        f"generators {name}" for name in ("loss", "adversarial", "cycle", "spatial", "identity")
    }


def test_the_spatial_term_alone_moves_g_and_h():
    """With λ₁ = 0 and a discriminator that has no opinion."""
    players = cycle_gan(*[network] * 4, to_masks=network, cycle_weight=0.0)
    params, state = start()
    params["discriminators"] = jax.tree.map(jnp.zeros_like, params["discriminators"])
    gradient = jax.grad(
        lambda p: players["generators"](p, state, pictures(), jax.random.key(0))[0]["loss"].sum()
    )(params)["generators"]
    moved = {name: bool(np.any(leaf["weight"])) for name, leaf in gradient.items()}
    assert moved == {"to_images": True, "to_labels": False, "to_masks": True}


@pytest.mark.slow
def test_the_baseline_is_the_spatial_network_without_weight(fit):
    params, state = start()
    baseline = start(spatial=False)
    without = cycle_gan(*[network] * 4, to_masks=network, spatial_weight=0.0)
    stage = jn.schedules.NoiseStage(epochs=2, learning_rate=0.1, batch_size=1)
    optimizer = dict.fromkeys(PLAYERS, optax.sgd)
    run = functools.partial(fit, jax.random.key(0), data=pictures(), stages=stage)
    first = run(without, params, state, optimizer)
    second = run(cycle_gan(*[network] * 4), *baseline, optimizer)
    left = first.params["generators"].pop("to_masks")
    jax.tree.map(np.testing.assert_array_equal, left, params["generators"]["to_masks"])
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5), first.params, second.params
    )


def test_generators_are_held_fixed_in_the_discriminators_loss():
    players, (params, state) = play(), start()
    gradient = jax.grad(
        lambda p: players["discriminators"](p, state, pictures(), jax.random.key(0))[0][
            "loss"
        ].sum()
    )(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["generators"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["discriminators"]))


def test_each_player_changes_its_own_state_alone():
    players, (params, state), key = play(), start(), jax.random.key(0)
    _, judged = players["discriminators"](params, state, pictures(), key)
    _, made = players["generators"](params, state, pictures(), key)
    counts = {name: (int(judged[name]), int(made[name])) for name in state if name != "pool"}
    assert counts == {
        "to_images": (0, 3),
        "to_labels": (0, 3),
        "to_masks": (0, 1),
        "judge_images": (2, 0),
        "judge_labels": (2, 0),
    }
    assert made["pool"] is state["pool"]
    assert {name: int(pool.count) for name, pool in judged["pool"].items()} == {
        "image": 2,
        "label": 2,
    }


def test_discriminators_are_shown_older_images_of_the_pool():
    """Their state is what they saw last; the pool is full of ones."""

    def witness(params, state, x, key):
        return x, x

    players = cycle_gan(network, network, witness, witness)
    params, state = start(spatial=False, pool_size=1)
    state["pool"] = jax.tree.map(jnp.ones_like, state["pool"])
    batch = jax.tree.map(lambda x: x[:1], pictures())
    keys = jax.random.split(jax.random.key(0), 16)

    @jax.jit
    def after(key):
        return players["discriminators"](params, state, batch, key)[1]

    states = [after(key) for key in keys]
    made = [network(params["generators"][f"to_{x}s"], 0, batch[y], None)[0] for x, y in PAIRS]
    for (name, _), image in zip(PAIRS, made, strict=True):
        older = [bool((state[f"judge_{name}s"] == 1).all()) for state in states]
        assert 0 < sum(older) < len(keys)
        for state, is_older in zip(states, older, strict=True):
            # by the rule, what is shown from the pool is the one that makes room there
            one, other = state[f"judge_{name}s"], state["pool"][name].images
            np.testing.assert_allclose(other if is_older else one, image, rtol=1e-6)
            np.testing.assert_array_equal(one if is_older else other, 1)


def test_both_players_see_the_same_images_of_random_generators():
    seen = []

    def noisy(params, state, x, key):
        return x + jax.random.normal(key, x.shape), state

    def witness(params, state, x, key):
        seen.append(np.asarray(x))
        return x, state

    players = cycle_gan(noisy, noisy, witness, witness)
    params, state = start(spatial=False, pool_size=0)
    for player in players.values():
        player(params, state, pictures(), jax.random.key(5))
    _, image, _, label, *again = seen  # the discriminators saw real ones as well
    np.testing.assert_array_equal(again, [image, label])
    assert np.any(image != label)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [None, 2])
def test_resumed_training_is_that_without_a_stop(fit, tmp_path, assert_same_run, replicas):
    """Pools are part of it, and augmentation that draws unpaired windows."""
    params, state = start(pool_size=3, dtype=jnp.float32)
    images, labels = (pictures(num, jnp.float32)["image"] for num in (3, 5))
    augment = jn.data.compose(
        jn.data.unpaired({"label": labels}),
        jn.data.separately(functools.partial(jn.data.random_window, size=(3, 4))),
        jn.data.separately(jn.data.random_flip),
    )
    stage = functools.partial(jn.schedules.NoiseStage, learning_rate=0.1, batch_size=2)
    run = functools.partial(
        fit,
        jax.random.key(0),
        play(),
        params,
        state,
        dict.fromkeys(PLAYERS, optax.adam(0.01)),
        {"image": images},
        augment=augment,
        replicas=replicas,
    )
    whole = run(stages=[stage(2), stage(2)])
    stopped = []

    def stop(epoch, *_):
        stopped.append(epoch)
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stages=[stage(2), stage(2)], checkpoint_dir=tmp_path, on_epoch=stop)
    resumed = run(
        stages=[stage(2), stage(2)],
        checkpoint_dir=tmp_path,
        on_epoch=lambda epoch, *_: stopped.append(epoch),
    )
    assert stopped == [1, 2, 3, 3, 4]
    assert np.all(whole.model_state["pool"]["image"].count == 3)
    assert_same_run(whole, resumed)


def test_other_weights_and_other_sets_compile_nothing(compilations, fit):
    params, state = start(dtype=jnp.float32)
    images = np.asarray(pictures(3, jnp.float32)["image"])
    stage = jn.schedules.NoiseStage(epochs=1, learning_rate=0.1, batch_size=1)
    optimizer = dict.fromkeys(PLAYERS, optax.sgd)

    def run(weight, labels):
        players = cycle_gan(*[network] * 4, to_masks=network, spatial_weight=weight)
        augment = jn.data.compose(jn.data.unpaired({"label": labels}), jn.data.random_flip)
        return fit(
            jax.random.key(0), players, params, state, optimizer, {"image": images}, stage,
            augment=augment,
        ).params  # fmt: skip

    first = run(0.0, images)
    assert compilations(lambda: run(1.0, -images)) == 0
    assert not np.allclose(
        run(1.0, -images)["generators"]["to_masks"]["weight"],
        first["generators"]["to_masks"]["weight"],
    )


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("params", "params must have entries to_images, .*, got judge_images, judge_labels"),
        ("model_state", "model_state must have entries to_images, .*, pool, got"),
    ],
)
def test_missing_entries_are_refused(what, message):
    params, state = start()
    if what == "params":
        params["generators"] = {}
    else:
        del state["pool"]
    with pytest.raises(ValueError, match=message):
        play()["generators"](params, state, pictures(), jax.random.key(0))
