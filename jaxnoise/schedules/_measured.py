"""A stage of training whose noise has a wanted strength, by a measurement."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from .._checks import check_count, check_kind, check_numbers
from ._noise import NoiseStage
from ._stages import whole


def stage_for(
    delta: Any,
    noise_std: Any,
    previous: NoiseStage,
    *,
    method: Literal["decay_lr", "grow_batch", "hybrid"] = "hybrid",
    batch_growth: float = 1.5,
    max_batch_size: int | None = None,
    max_learning_rate: float | None = None,
    epochs: int | None = None,
) -> NoiseStage:
    """The next stage, at which SGD's noise smooths the loss to the degree δ.

        ηC/√b = δ   with C as it is now

    `noise_stages` lets η/√b decay and takes the noise C of a single gradient for a constant. It
    isn't: measured between the stages, it puts δ where it is wanted. The change from the previous
    stage goes

        decay_lr     to η alone,
        grow_batch   to b alone, the nearest whole number: δ is met up to that rounding,
        hybrid       to b as far as `batch_growth` allows, in either direction and rounded down, and
                     to η for the rest, rounding included: δ is met.

    Within the limits the nearest to δ is taken: "decay_lr" and "grow_batch" have nothing else to
    change, while "hybrid" takes a smaller batch instead of a learning rate that is too large, and
    misses δ only where even b = 1 has too little noise. `degree_of_smoothing` of the stage tells
    what it reaches.

    Args:
      delta: δ > 0, in units of the parameters.
      noise_std: C > 0 at the present parameters, as `jn.gradients.noise_std` gives on a probe
        batch.
      previous: the stage that the changes start from.
      method: what changes.
      batch_growth: the most that b changes by in "hybrid", a factor of at least 1; below 2
        a batch of one stays one.
      max_batch_size, max_learning_rate: limits; None for none.
      epochs: length of the stage; None takes that of the previous one.

    Returns:
      The stage; its learning rate is a Python number.

    Raises:
      ValueError: if the method is unknown or a number is out of range.

    References:
      The degree of smoothing is that of Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth
      Nonconvex Functions: Analysis of Implicit Graduated Optimization with Optimal Noise
      Scheduling", 2023, section 3; to hold it by measurement is ours.

    Example:
      A measured schedule, of degrees of smoothing that decay by 1/√2. The learning rate is part of
      the optimizer's state, which is handed on, so that momentum goes on, too, and there is one
      compilation per batch size.

      >>> import jax, jax.numpy as jnp, optax
      >>> import jaxnoise as jn
      >>> x, y = jax.random.normal(jax.random.key(0), (2, 64))
      >>> data = {"x": x, "y": y}
      >>> def loss_fn(params, batch):
      ...     return (batch["x"] * params - batch["y"]) ** 2
      >>> def train_loss(params, model_state, batch, key):
      ...     return loss_fn(params, batch), model_state
      >>> tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.01, momentum=0.5)
      >>> params = jnp.array(1.0)
      >>> opt_state = tx.init(params)
      >>> stage = jn.schedules.NoiseStage(epochs=2, learning_rate=0.01, batch_size=4)
      >>> for key, delta in zip(jax.random.split(jax.random.key(1), 3), (0.01, 0.007, 0.005)):
      ...     noise_std = jn.gradients.noise_std(loss_fn, params, data)
      ...     stage = jn.schedules.stage_for(delta, noise_std, stage, max_learning_rate=0.05)
      ...     opt_state = optax.tree.set(opt_state, learning_rate=stage.learning_rate)
      ...     result = jn.training.fit(key, train_loss, params, (), tx, data, stage,
      ...         opt_state=opt_state, progress=False)
      ...     params, opt_state = result.params, result.opt_state
      ...     reached = jn.schedules.degree_of_smoothing(
      ...         stage.learning_rate, stage.batch_size, noise_std)
      ...     print(f"C {noise_std:.1f}, δ {reached:.3f}, batch size {stage.batch_size}")
      C 3.2, δ 0.010, batch size 6
      C 2.1, δ 0.007, batch size 5
      C 1.6, δ 0.005, batch size 5
    """
    check_kind(previous, "previous", NoiseStage)
    values = {
        "delta": delta,
        "noise_std": noise_std,
        "previous.learning_rate": previous.learning_rate,
        "max_learning_rate": math.inf if max_learning_rate is None else max_learning_rate,
    }
    for name, value in values.items():
        check_numbers(value, name)
        if np.ndim(value) or not value > 0 or (math.isinf(value) and name != "max_learning_rate"):
            raise ValueError(f"{name} must be a positive number, got {value}")
    delta, noise_std, eta, largest = map(float, values.values())
    if max_batch_size is not None:
        check_count(max_batch_size, "max_batch_size")
    check_numbers(batch_growth, "batch_growth")
    if not batch_growth >= 1:
        raise ValueError(f"batch_growth must be at least 1, got {batch_growth}")
    wanted, eta, size = delta / noise_std, min(eta, largest), previous.batch_size
    alone = (eta / wanted) ** 2  # the batch size that does it without η
    match method:
        case "decay_lr":
            pass
        case "grow_batch":
            size = round(alone)
        case "hybrid":
            size = min(max(alone, size / batch_growth), size * batch_growth)
            size = whole(min(size, (largest / wanted) ** 2))
        case _:
            raise ValueError(f"method must be one of decay_lr, grow_batch, hybrid, got {method!r}")
    size = max(size, 1) if max_batch_size is None else min(max(size, 1), max_batch_size)
    if method != "grow_batch":
        eta = min(wanted * math.sqrt(size), largest)
    return NoiseStage(previous.epochs if epochs is None else epochs, eta, size)
