"""What training shows on standard error."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnoise as jn
from jaxnoise import _progress
from jaxnoise.training._replicas import description_of


def run(**options):
    def train_loss(params, model_state, batch, key):
        return (batch - params) ** 2, model_state

    return jn.training.fit(
        jax.random.key(0),
        train_loss,
        jnp.zeros(()),
        (),
        optax.sgd(0.1),
        np.ones(4, np.float32),
        jn.schedules.NoiseStage(3, 0.1, 2),
        test_data=np.ones(4, np.float32),
        evaluate=lambda params, model_state, batch: (batch - params) ** 2,
        **options,
    )


@pytest.mark.parametrize(("seconds", "epochs"), [(-1.0, [1, 2, 3]), (1e6, [3])])
def test_plain_lines_where_there_is_no_terminal(seconds, epochs, monkeypatch, capsys):
    """One line now and then, and one at the end."""
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", seconds)
    history = run().history
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("training: 0/3")]
    assert len(lines) == len(epochs)
    for epoch, line in zip(epochs, lines, strict=True):
        train, test = history.train_loss[epoch - 1], history.test_loss[epoch - 1]
        assert line == f"training: {epoch}/3 epochs  train loss {train:.4g}, test loss {test:.4g}"


def test_how_replicas_run_is_said(capsys):
    run(replicas=3, replica_mode="vmap")
    label = "training 3 replicas side by side"
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{label}: 3/3 epochs  train loss ")
    assert description_of("map", 3) == "training 3 replicas one after another"
    assert description_of("map", 1) == description_of(None, None) == "training"


def test_nothing_where_none_is_wanted(monkeypatch, capfd):
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", -1.0)
    run(progress=False)
    assert capfd.readouterr() == ("", "")


def test_bar_on_a_terminal(monkeypatch, capsys):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run()
    bar = capsys.readouterr().err
    assert re.search(r"training: 100%.* 3/3 .*train loss \d", bar)
    assert "epochs  train" not in bar
