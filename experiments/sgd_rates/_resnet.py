"""ResNet18 with several batch sizes at one learning rate, for as many steps each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optax

import jaxnoise as jn

from .._common import Curves, crop_flip_turn, images_of, is_cifar, say, standardized, starts_of
from ._config import Plan

MOST_SEEDS, LEARNING_RATE = 3, 0.01


def resnet(dataset: jn.data.Dataset, plan: Plan, folder: Path, curves: Curves) -> dict[str, Any]:
    """Training curves by batch size; the larger ones see more examples in as many steps."""
    train, test = images_of(dataset, plan.examples)
    cifar = is_cifar(plan.data)
    seeds = min(plan.seeds, MOST_SEEDS)
    rows = {}
    sizes = [b for b in plan.batch_sizes if b > 1] or [2]  # batch normalisation needs two
    inputs = standardized if cifar else "image"
    starts = starts_of("ResNet18", train, test, seeds, inputs)
    for batch in sizes:
        name = f"B = {batch}"
        say(f"ResNet18 on {dataset.info.name}, batch size {batch}, {seeds} seeds")
        fitted = jn.training.fit(
            starts.keys,
            starts.train_loss,
            starts.params,
            starts.model_state,
            optax.sgd,
            train,
            jn.schedules.NoiseStage(plan.epochs * batch // sizes[0], LEARNING_RATE, batch),
            test_data=test,
            augment=crop_flip_turn if cifar else None,
            replicas=seeds,
            stacked=True,
            checkpoint_dir=folder / f"batch_{batch}",
            on_epoch=lambda epoch, params, state, record, name=name: curves.log(
                f"resnet_{name}", epoch, record
            ),
        )
        history = fitted.history
        rows[name] = {
            "batch_size": batch,
            "steps": history.steps,
            "gradient_queries": history.gradient_queries,
            "train_loss": history.train_loss,
            "test_loss": history.test_loss,
            "train_accuracy": history.train_accuracy,
            "test_accuracy": history.test_accuracy,
            "seconds": float(history.seconds[-1]),
        }
    return {
        "description": dataset.info.description,
        "num_train": len(train["label"]),
        "num_test": len(test["label"]),
        "seeds": seeds,
        "learning_rate": LEARNING_RATE,
        "rows": rows,
    }
