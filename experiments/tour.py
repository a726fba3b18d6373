"""A tour of the library: train with noise, measure it, look at what it did.

Trains `SmallCNN` at a small batch size three ways from the same starts: with SGD, with TRSGD (the
proximal trajectory regularizer, Zhang et al. 2019) and with SGD at TRSGD's mean step. Then it
counts the vanishing component gradients at the solutions (Nguyen et al. 2018), measures the noise
scale, and draws the landscapes around two solutions (Lu & Tong 2019).

    python -m experiments.tour                                    # real handwritten digits, offline
    python -m experiments.tour --data mnist --data-dir FOLDER     # MNIST from its four .gz files

Time: about a minute on two CPU cores for the digits, several for MNIST. Expect test accuracies of
about 0.97 on the digits from all three. At a learning rate at which SGD works, TRSGD lands close to
SGD at TRSGD's mean step, which is what the third run is for.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnoise as jn

from ._common import (
    Report,
    begin,
    check_at_least,
    check_positive,
    environment,
    images_of,
    main,
    mean_and_std,
    replica,
    save_picture,
    say,
    starts_of,
    text_table,
    write_json,
)

THRESHOLDS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)

# The options that trainings depend on.
TRAINING = (
    "data", "max_examples", "epochs", "batch_size", "learning_rate", "momentum", "weight", "period",
    "seeds",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Train with SGD and TRSGD at a small batch size, measure the noise, draw the landscapes."""

    data: str = "digits"
    """Data set: "digits" (offline), a folder or file in --data-dir, or a TFDS name."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    max_examples: int = 2000
    """Most training examples, and most test examples, to use; drawn with a fixed seed."""
    epochs: int = 6
    """Passes over the training examples."""
    batch_size: int = 8
    """Examples per step."""
    learning_rate: float = 0.01
    """Learning rate of SGD and TRSGD."""
    momentum: float = 0.9
    """Momentum of all three."""
    weight: float = 0.1
    """Weight λ of the proximal term."""
    period: int = 10
    """Steps S between anchors."""
    seeds: int = 3
    """Number of runs of each optimizer; 3 means the seeds 0, 1, 2."""
    landscape_examples: int = 128
    """Training examples that the landscapes are the mean loss over."""
    resolution: int = 40
    """Points along each side of a landscape."""
    radius: float = 0.5
    """Half the side of a landscape, in units of one filter's norm."""
    out: Path = Path("runs/tour")
    """Folder for report.html, results.json and landscapes.png."""
    resume: bool = False
    """Go on from the checkpoints of an interrupted tour in the same folder."""


def run(config: Config) -> None:
    started = time.perf_counter()
    _check(config)
    dataset = jn.data.load(config.data, data_dir=config.data_dir)
    train, test = images_of(dataset, config.max_examples, config.max_examples)
    folder = config.out / "tour_checkpoints"
    begin(folder, {name: getattr(config, name) for name in TRAINING}, config.resume)

    # The same starts and the same order of examples for each optimizer, one per seed.
    starts = starts_of("SmallCNN", train, test, config.seeds)
    _, loss_fn = jn.models.split(starts.model, jn.losses.cross_entropy)

    rows, histories, profiles, solutions = {}, {}, {}, {}
    for name, (learning_rate, optimizer) in optimizers(config).items():
        say(f"training with {name}, {config.seeds} seeds")
        fitted = jn.training.fit(
            starts.keys,
            starts.train_loss,
            starts.params,
            starts.model_state,
            optimizer,
            train,
            jn.schedules.NoiseStage(config.epochs, learning_rate, config.batch_size),
            test_data=test,
            replicas=config.seeds,
            stacked=True,
            checkpoint_dir=folder / name.replace(" ", "_"),
        )
        histories[name] = fitted.history
        solutions[name] = [replica(fitted.params, seed) for seed in range(config.seeds)]
        say(f"measuring the gradient noise of {name}")
        profiles[name] = [jn.gradients.noise_profile(loss_fn, w, train) for w in solutions[name]]
        rows[name] = measurements(fitted.history, profiles[name], learning_rate)

    grids = {}
    subset = jax.tree.map(lambda x: x[: config.landscape_examples], train)
    for name in ("SGD", "TRSGD"):
        say(f"landscape of {name}, {config.resolution}×{config.resolution} points")
        center = solutions[name][0]
        directions = jn.landscape.random_directions(jax.random.key(0), center)
        grids[name] = jn.landscape.loss_grid(
            loss_fn,
            center,
            directions,
            subset,
            radius=config.radius,
            resolution=config.resolution,
        )

    seconds = time.perf_counter() - started
    header, table = summary(rows)
    picture = Figure(figsize=(5.5 * len(grids), 8.5), layout="constrained")
    jn.plotting.landscapes(grids, picture)
    report = write_report(config, dataset, train, test, histories, profiles, picture, header, table)
    report.heading("Where and how")
    where = environment()
    report.text(f"Total time {seconds:.0f} s on {where['device']}, {where['processor']}.")
    report.table(["setting", "value"], list(dataclasses.asdict(config).items()))
    report.table(["package", "version"], list(where["versions"].items()))
    results = {
        "settings": config,
        "environment": where,
        "seconds": seconds,
        "runs": rows,
        "histories": histories,
        "landscape": {name: {"center": g.center, "values": g.values} for name, g in grids.items()},
        "table": [header, *table],
    }
    write_json(config.out / "results.json", results)
    save_picture(config.out / "landscapes.png", picture)
    report.save(config.out / "report.html")
    shutil.rmtree(folder, ignore_errors=True)
    print(text_table(header, table))
    print(f"\n{config.out / 'report.html'} written after {seconds:.0f} s")


def _check(config: Config) -> None:
    counts = ("epochs", "seeds", "max_examples", "landscape_examples", "batch_size", "period")
    check_at_least(config, 1, *counts)
    check_at_least(config, 2, "resolution")
    check_at_least(config, 0, "weight")
    check_positive(config, "learning_rate", "radius")
    if not 0 <= config.momentum < 1:
        raise ValueError(f"--momentum must be in [0, 1), got {config.momentum}")


def optimizers(config: Config) -> dict[str, tuple[float, Any]]:
    """Name → (learning rate, schedule → transformation)."""
    mean_step = float(np.mean(1 / np.arange(1, config.period + 1)))
    options = {"weight": config.weight, "period": config.period}
    return {
        "SGD": (config.learning_rate, lambda lr: optax.sgd(lr, config.momentum)),
        "TRSGD": (
            config.learning_rate,
            lambda lr: jn.transforms.trsgd(lr, config.momentum, **options),
        ),
        "SGD at TRSGD's mean step": (
            config.learning_rate * mean_step,
            lambda lr: optax.sgd(lr, config.momentum),
        ),
    }


def measurements(history: jn.training.History, profiles: list, learning_rate: float) -> dict:
    """What the tables show, one number per seed."""
    vanishing = [jn.gradients.vanishing(p.squared_norms, jnp.array(THRESHOLDS)) for p in profiles]
    return {
        "learning_rate": learning_rate,
        "train_loss": history.train_loss[:, -1],
        "test_loss": history.test_loss[:, -1],
        "test_accuracy": history.test_accuracy[:, -1],
        "noise_scale": [float(p.noise_scale) for p in profiles],
        "covariance_trace": [float(p.covariance_trace) for p in profiles],
        "thresholds": THRESHOLDS,
        "vanishing_fraction": [np.asarray(v.fraction) for v in vanishing],
        "tail_mean": [np.asarray(v.tail_mean) for v in vanishing],
        "training_seconds": float(history.seconds[-1]),
    }


def summary(rows: dict[str, dict]) -> tuple[list[str], list[list[str]]]:
    header = [
        "optimizer", "learning rate", "train loss", "test accuracy", "noise scale", "tr Σ",
        "p_τ, τ=1e-4", "M_τ, τ=1e-4", "training time",
    ]  # fmt: skip
    column = THRESHOLDS.index(1e-4)
    table = [
        [
            name,
            f"{row['learning_rate']:.3g}",
            mean_and_std(row["train_loss"]),
            mean_and_std(row["test_accuracy"], 4),
            mean_and_std(row["noise_scale"]),
            mean_and_std(row["covariance_trace"]),
            mean_and_std([p[column] for p in row["vanishing_fraction"]]),
            mean_and_std([m[column] for m in row["tail_mean"]]),
            f"{row['training_seconds']:.0f} s",
        ]
        for name, row in rows.items()
    ]
    return header, table


def write_report(
    config, dataset, train, test, histories, profiles, picture, header, table
) -> Report:
    report = Report("jaxnoise: a tour")
    n, m = len(train["image"]), len(test["image"])
    report.text(
        f"SmallCNN on {dataset.info.description} ({config.data}): {n} training and {m} test "
        f"examples, batch size {config.batch_size}, {config.epochs} epochs, seeds "
        f"0…{config.seeds - 1}. All three optimizers start from the same parameters and see the "
        "examples in the same order; they differ in the update alone."
    )
    report.heading("Results")
    report.text("Mean ± standard deviation over the seeds, at the end of training.")
    report.table(header, table)

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    jn.plotting.training_curves(histories, left).set_yscale("log")
    jn.plotting.training_curves(histories, right, metric="accuracy")
    report.heading("Training")
    report.figure(figure, "Loss and accuracy; the bands are one standard deviation over the seeds.")

    report.heading("Vanishing gradients at the solutions")
    report.text(
        "p_τ is the share of training examples whose squared gradient norm is at most τ, M_τ the "
        "mean squared norm of the others (seed 0 shown). The noise scale tr Σ / ‖ḡ‖² above is the "
        "batch size at which noise and gradient are of equal size; near a solution the full "
        "gradient ḡ almost vanishes, which makes it large."
    )
    thresholds = jnp.array(THRESHOLDS)
    vanished = {
        k: jn.gradients.vanishing(p[0].squared_norms, thresholds) for k, p in profiles.items()
    }
    figure = Figure(figsize=(11, 2.8))
    jn.plotting.vanishing_table(vanished, figure.subplots())
    report.figure(figure, "Per cent of vanishing components, and the mean of the others below.")

    report.heading("Landscapes")
    examples = min(config.landscape_examples, n)
    report.figure(
        picture,
        f"Mean loss of {examples} training examples around the solutions of seed 0, along the same "
        "two random directions with filters of unit norm, at equal scale. The solutions differ in "
        "their training loss, so this is no comparison of flatness at equal loss.",
    )
    report.code("python -m experiments.tour " + " ".join(sys.argv[1:]))
    return report


if __name__ == "__main__":
    matplotlib.use("Agg")
    main(run, Config)
