"""A run that was interrupted goes on as if nothing had happened."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxnoise as jn
from jaxnoise._progress import Progress
from jaxnoise.schedules import NoiseStage

KEY = jax.random.key(2)
TX = optax.chain(
    optax.sgd(0.05, momentum=0.9),
    jn.transforms.uniform_iterate(jax.random.key(1), period=2),
)
STAGES = (NoiseStage(2, 0.1, 2), NoiseStage(2, 0.1, 3))
DATA = {"x": np.linspace(-1.0, 1.0, 7, dtype=np.float32)}


def train_loss(params, count, batch, key):
    noise = jax.random.normal(key, batch["x"].shape)
    return (batch["x"] + noise - params["w"]) ** 2, count + 1


def evaluate(params, count, batch):
    return {"loss": (batch["x"] - params["w"]) ** 2, "infinite": jnp.full(7, jnp.inf)}


@pytest.fixture
def run(fit):
    def run(folder, key=KEY, tx=TX, data=DATA, stages=STAGES, name="w", **options):
        def loss(params, *args):
            return train_loss({"w": params[name]}, *args)

        options = {"test_data": DATA, "evaluate": evaluate} | options
        if name != "w":
            options = {}
        return fit(
            key,
            train_loss if name == "w" else loss,
            {name: jnp.array(0.5)},
            jnp.array(0),
            tx,
            data,
            stages,
            checkpoint_dir=folder,
            **options,
        )

    return run


@pytest.fixture
def interrupted(run, monkeypatch):
    """Starts a run and breaks it off after some epochs, as Ctrl-C would."""

    def start(folder, epochs, **options):
        def update(self, amount=1, note=""):
            done.append(amount)
            if sum(done) == epochs:
                raise KeyboardInterrupt

        done = []
        with monkeypatch.context() as patch:
            patch.setattr(Progress, "update", update)
            with pytest.raises(KeyboardInterrupt):
                run(folder, **options)

    return start


@pytest.fixture
def epochs_run(monkeypatch):
    """Counts the epochs that are trained."""
    counted = []
    update = Progress.update

    def counting(self, amount=1, note=""):
        if note:
            counted.append(amount)
        update(self, amount, note)

    monkeypatch.setattr(Progress, "update", counting)
    return counted


@pytest.mark.parametrize(
    ("epochs", "options"),
    [
        pytest.param(1, {}, marks=pytest.mark.slow),
        pytest.param(3, {}, marks=pytest.mark.slow),
        (3, {"replicas": 2, "keep_best": "loss"}),
    ],
    ids=["in the first stage", "in the second", "replicas"],
)
def test_resumed_run_is_the_uninterrupted_one(
    epochs, options, run, interrupted, epochs_run, tmp_path, assert_same_run
):
    whole = run(None, **options)
    interrupted(tmp_path, epochs, **options)
    epochs_run.clear()
    resumed = run(tmp_path, **options)
    assert len(epochs_run) == 4 - epochs
    assert_same_run(resumed, whole)
    assert resumed.opt_state[1].key.dtype == whole.opt_state[1].key.dtype
    assert np.all(np.diff(resumed.history.seconds) > 0)


def test_run_that_has_ended_is_read_back(run, epochs_run, tmp_path, assert_same_run):
    first = run(tmp_path)
    epochs_run.clear()
    again = run(tmp_path)
    assert epochs_run == []
    assert_same_run(again, first)
    np.testing.assert_array_equal(again.history.seconds, first.history.seconds)


def test_checkpoints_change_nothing_and_are_few(run, tmp_path, assert_same_run):
    assert_same_run(run(tmp_path / "new" / "folder"), run(None))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["3", "4"]


@pytest.mark.slow
def test_network_resumes(classification, fit, interrupted, tmp_path, assert_same_run, monkeypatch):
    model = classification.network(nnx.Rngs(0))
    params, model_state, loss = jn.models.split_train(model, jn.losses.cross_entropy)
    tx = optax.adam(0.1)

    def train(folder):
        args = (params, model_state, tx, classification.train, classification.stages[0])
        return fit(KEY, loss, *args, checkpoint_dir=folder)

    def stop(self, amount=1, note=""):
        if note:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    assert_same_run(train(tmp_path), train(None))


OTHER_RUNS = {
    "key": {"key": jax.random.key(3)},
    "stages": {"stages": (NoiseStage(2, 0.1, 2), NoiseStage(2, 0.2, 3))},
    "num_examples": {"data": {"x": DATA["x"][:6]}},
    "carry": {"replicas": 2},
    "keep_best": {"keep_best": "loss"},
}


@pytest.mark.parametrize("what", OTHER_RUNS)
def test_checkpoints_of_another_run_are_refused(what, run, interrupted, tmp_path):
    interrupted(tmp_path, 1)
    with pytest.raises(ValueError, match=rf"is of another run \(.*{what}.* differ\)") as caught:
        run(tmp_path, **OTHER_RUNS[what])
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"tx": optax.adam(0.1)}, {"name": "v"}], ids=["tx", "params"])
def test_checkpoints_of_other_trees_are_refused(options, run, interrupted, tmp_path):
    interrupted(tmp_path, 1)
    with pytest.raises(ValueError, match=r"is of another run \(carry differ\)"):
        run(tmp_path, **options)


def test_a_folder_that_orbax_would_misread_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint_dir must have no \[ or \] in its path"):
        run(tmp_path / "lr[0]")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_was_never_finished_is_not_taken(
    run, interrupted, tmp_path, assert_same_run
):
    """Orbax writes into a folder of another name, and gives it its own when all is there."""
    interrupted(tmp_path, 2)
    shutil.copytree(tmp_path / "2", tmp_path / "3.orbax-checkpoint-tmp")
    shutil.rmtree(tmp_path / "3.orbax-checkpoint-tmp" / "state")
    assert_same_run(run(tmp_path), run(None))


def empty_all_files(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


def empty_description(folder):
    (folder / "state" / "_METADATA").write_bytes(b"")


def remove_content(folder):
    shutil.rmtree(folder / "state")


@pytest.mark.parametrize("damage", [empty_all_files, empty_description, remove_content])
def test_damaged_checkpoint_is_named_and_the_one_before_serves(
    damage, run, interrupted, tmp_path, assert_same_run
):
    interrupted(tmp_path, 3)
    damage(tmp_path / "3")
    with pytest.raises(ValueError, match="is damaged: remove that folder") as caught:
        run(tmp_path)
    assert f"the checkpoint {tmp_path / '3'} is" in str(caught.value)
    assert "\n" not in str(caught.value)
    shutil.rmtree(tmp_path / "3")
    assert_same_run(run(tmp_path), run(None))


def test_after_a_bad_step_the_good_epochs_remain(fit, tmp_path):
    def failing_loss(params, count, batch, key):
        loss = jnp.where(count >= 5, jnp.nan, (batch["x"] - params) ** 2)
        return loss, count + 1

    errors = []
    for _ in range(2):
        with pytest.raises(jn.training.NonFiniteLossError) as caught:
            fit(
                KEY,
                failing_loss,
                jnp.array(0.5),
                jnp.array(0),
                optax.sgd(0.1),
                DATA,
                NoiseStage(3, 0.1, 2),
                checkpoint_dir=tmp_path,
            )
        errors.append(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert [error.step for error in errors] == [5, 5]
    np.testing.assert_array_equal(errors[0].result.params, errors[1].result.params)
    np.testing.assert_array_equal(errors[1].result.history.steps, [4])
