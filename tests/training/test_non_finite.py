"""Training stops at the first step that is not finite, and keeps the state before it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage

KEY = jax.random.key(0)
DATA = {"x": np.linspace(-1.0, 1.0, 7, dtype=np.float32)}
TX = optax.sgd(0.05, momentum=0.9)
NEVER = -1
STAGE = NoiseStage(epochs=3, learning_rate=0.05, batch_size=2)  # 4 steps in an epoch


def recording_loss(params, state, batch, key):
    """Writes the params that each step starts from into its state; fails at step state["bad"]."""
    count = state["count"]
    loss = (batch["x"] - params) ** 2
    loss = jnp.where(count == state["bad"], jnp.nan, loss)
    trajectory = state["trajectory"].at[count].set(params)
    return loss, {"count": count + 1, "bad": state["bad"], "trajectory": trajectory}


def recorder(bad):
    return {"count": jnp.array(0), "bad": jnp.array(bad), "trajectory": jnp.full(20, jnp.nan)}


def run(fit, bad=NEVER, data=DATA, stage=STAGE, **options):
    """Trains until step `bad`; several of these are of several replicas."""
    state = recorder(bad) if np.ndim(bad) == 0 else jax.vmap(recorder)(jnp.array(bad))
    params = jnp.ones(np.shape(bad))
    return fit(KEY, recording_loss, params, state, TX, data, stage, **options)


@pytest.mark.parametrize("bad", [0, 1, 6, 11])
def test_error_names_the_step_and_keeps_the_state_before_it(bad, fit):
    good = run(fit)
    with pytest.raises(ValueError, match="not finite at step") as caught:
        run(fit, bad)
    error = caught.value
    assert isinstance(error, jn.training.NonFiniteLossError)
    assert error.step == bad
    assert f"at step {bad} (epoch {bad // 4 + 1})" in str(error)
    assert "\n" not in str(error)
    result = error.result
    np.testing.assert_array_equal(result.params, good.model_state["trajectory"][bad])
    assert result.model_state["count"] == bad
    np.testing.assert_array_equal(
        result.model_state["trajectory"][:bad], good.model_state["trajectory"][:bad]
    )
    np.testing.assert_array_equal(result.history.steps, good.history.steps[: bad // 4])
    if bad >= 4:
        np.testing.assert_array_equal(
            result.history.train_loss, good.history.train_loss[: bad // 4]
        )


def test_optimizer_state_is_that_of_the_last_good_step(fit):
    """As after a whole run of six steps: the seventh is bad."""
    truncated = run(fit, stage=NoiseStage(1, 0.05, 1), data={"x": DATA["x"][:6]})
    assert truncated.history.steps[-1] == 6
    with pytest.raises(jn.training.NonFiniteLossError) as caught:
        run(fit, bad=6, stage=NoiseStage(2, 0.05, 1), data={"x": DATA["x"][:6]})
    jax.tree.map(np.testing.assert_array_equal, caught.value.result.opt_state, truncated.opt_state)
    np.testing.assert_array_equal(caught.value.result.params, truncated.params)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_example_is_met_in_its_batch(value, fit, steps_by_hand):
    stage = NoiseStage(1, 0.05, 2)
    bad_index = 4
    steps = steps_by_hand(KEY, [stage], 7)
    first = next(i for i, step in enumerate(steps) if bad_index in step[2])
    data = {"x": DATA["x"].copy()}
    data["x"][bad_index] = value
    with pytest.raises(jn.training.NonFiniteLossError) as caught:
        run(fit, data=data, stage=stage)
    assert caught.value.step == first
    np.testing.assert_array_equal(
        caught.value.result.params, run(fit, stage=stage).model_state["trajectory"][first]
    )


def test_gradient_that_is_not_finite_under_a_finite_loss(fit):
    """√(w²) is 0 at w = 0, its derivative 0/0."""

    def train_loss(params, model_state, batch, key):
        return jnp.sqrt(params**2) + 0 * batch["x"], model_state

    with pytest.raises(jn.training.NonFiniteLossError) as caught:
        fit(KEY, train_loss, jnp.zeros(()), (), TX, DATA, NoiseStage(1, 0.1, 2))
    assert caught.value.step == 0
    assert caught.value.result.params == 0


def test_update_that_overflows(fit):
    """The loss of step 1 would be infinite, but the params of step 0 already are."""

    def train_loss(params, model_state, batch, key):
        return params * jnp.ones_like(batch["x"]), model_state

    with pytest.raises(jn.training.NonFiniteLossError) as caught:
        fit(KEY, train_loss, jnp.ones(()), (), optax.scale(-jnp.inf), DATA, NoiseStage(1, 0.1, 2))
    assert caught.value.step == 0
    assert caught.value.result.params == 1


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_replicas_stop_each_at_its_own_step(mode, fit):
    """Replicas 0 and 2 go wrong in the second epoch; replica 1 reaches its end."""
    options = {"replicas": 3, "stacked": True, "replica_mode": mode}
    good = run(fit, bad=[NEVER] * 3, **options).model_state["trajectory"]
    with pytest.raises(jn.training.NonFiniteLossError, match="of replica 0, 2;") as caught:
        run(fit, bad=[7, NEVER, 5], **options)
    assert caught.value.step == 5
    result = caught.value.result
    np.testing.assert_array_equal(result.params, [good[0, 7], good[1, 8], good[2, 5]])
    np.testing.assert_array_equal(result.model_state["count"], [7, 8, 5])
    np.testing.assert_array_equal(result.history.steps, [4])


def test_non_finite_test_metrics_are_shown_not_refused(fit):
    def evaluate(params, model_state, batch):
        return jnp.full(batch["x"].shape, jnp.inf)

    history = run(fit, test_data=DATA, evaluate=evaluate).history
    assert np.all(np.isposinf(history.test_loss))
