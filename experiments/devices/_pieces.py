"""The pieces of work: each gives what it found, as arrays on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jax.tree_util import Partial

import jaxnoise as jn
from jaxnoise._sharding import on_host

from .._common import images_of, replica, starts_of
from ._config import Piece

Found = dict[str, np.ndarray]
Work = Callable[[], Found]


@dataclasses.dataclass(frozen=True)
class Size:
    """How much there is to do.

    Attributes:
      network: classifier of the digits; the grid has its own.
      options: of the network.
      zoom: by how much the digits, of 8² pixels, are enlarged.
      batch: (epochs, batch size) of the training whose batches are spread.
      replicas: (epochs, batch size) of each replica.
      grid: (network, examples, points along each direction).
      noise: (examples, times that the profile is taken); fewer than 1,000 are one program.
      windows: (side of the volume, window, stride, windows at once, width of the network).
    """

    network: str
    options: dict[str, Any]
    zoom: int
    batch: tuple[int, int]
    replicas: tuple[int, int]
    grid: tuple[str, int, int]
    noise: tuple[int, int]
    windows: tuple[int, int, int, int, int]


SIZES = {
    "small": Size(
        network="FeedForward",
        options={"width": 512},
        zoom=1,
        batch=(12, 256),
        replicas=(1, 64),
        grid=("SmallCNN", 128, 5),
        noise=(960, 6),
        windows=(64, 32, 16, 4, 4),
    ),
    "large": Size(
        network="ResNet18",
        options={"width": 64},
        zoom=4,
        batch=(10, 256),
        replicas=(2, 64),
        grid=("ResNet18", 1024, 16),
        noise=(960, 6),
        windows=(256, 64, 32, 8, 16),
    ),
}
REPLICAS = 8
TOLERANCES: dict[Piece, float] = {
    "batch": 1e-3,
    "replicas": 1e-3,
    "grid": 1e-5,
    "noise": 1e-4,
    "windows": 1e-5,
}


def check_count(count: int, size: Size) -> None:
    """Refuses a number of devices that batches and replicas can't be spread over evenly.

    Raises:
      ValueError: naming the option.
    """
    if REPLICAS % count or size.batch[1] % count:
        raise ValueError(
            f"--devices: {REPLICAS} replicas and batches of {size.batch[1]} examples can't be "
            f"spread evenly over {count} devices"
        )


def batch(size: Size, sharding: NamedSharding | None) -> Work:
    """`fit`, whose batches are spread."""
    return _training(size, size.batch, {"sharding": sharding})


def replicas(size: Size, sharding: NamedSharding | None) -> Work:
    """`fit`, whose replicas are spread; each device trains its own one after another."""
    options = {"sharding": sharding, "replicas": REPLICAS, "replica_mode": "map"}
    return _training(size, size.replicas, options)


def _training(size: Size, amount: tuple[int, int], options: dict[str, Any]) -> Work:
    train = _digits(size)
    starts = starts_of(size.network, train, train, 1, **size.options)
    stage = jn.schedules.NoiseStage(amount[0], 0.01, amount[1])
    given = (
        starts.train_loss,
        replica(starts.params, 0),
        replica(starts.model_state, 0),
        jn.transforms.trsgd,
        train,
        stage,
    )

    def work() -> Found:
        result = jn.training.fit(jax.random.key(0), *given, progress=False, **options)
        return {"parameters": _joined(result.params), "loss": result.history.train_loss}

    return work


def grid(size: Size, sharding: NamedSharding | None) -> Work:
    """`loss_grid`, whose points are spread."""
    network, examples, resolution = size.grid
    train = jax.tree.map(lambda x: x[:examples], _digits(size))
    loss_fn, params = _loss(network, train, {})
    plane = jn.landscape.random_directions(jax.random.key(1), params)
    options = {"resolution": resolution, "sharding": sharding}

    def work() -> Found:
        found = jn.landscape.loss_grid(loss_fn, params, plane, train, **options)
        return {"values": found.values, "center": found.center}

    return work


def noise(size: Size, sharding: NamedSharding | None) -> Work:
    """`noise_profile`, whose examples are spread."""
    examples, times = size.noise
    train = jax.tree.map(lambda x: x[:examples], _digits(size))
    loss_fn, params = _loss(size.network, train, size.options)

    def profile() -> Found:
        found = jn.gradients.noise_profile(loss_fn, params, train, sharding=sharding)
        names = ("squared_norms", "noise_squared_norms", "noise_scale")
        return {name: on_host(getattr(found, name)) for name in names}

    def work() -> Found:
        return [profile() for _ in range(times)][-1]

    return work


def windows(size: Size, sharding: NamedSharding | None) -> Work:
    """`sliding_window`, whose windows are spread; the volume is on the host."""
    side, window, stride, at_once, width = size.windows
    volume = np.random.default_rng(0).integers(0, 256, (side,) * 3, np.uint8)
    model = jn.models.NucleiUNet(width=width, levels=2, rngs=nnx.Rngs(0))
    model.eval()
    graphdef, state = nnx.split(model)

    def predict(state: Any, windows: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, state)(windows[..., None] / 255)[..., 0]

    apply = Partial(predict, state)
    options = {"batch_size": at_once, "sharding": sharding}

    def work() -> Found:
        return {"volume": jn.volumes.sliding_window(apply, volume, window, stride, **options)}

    return work


MAKE: dict[Piece, Callable[[Size, NamedSharding | None], Work]] = {
    "batch": batch,
    "replicas": replicas,
    "grid": grid,
    "noise": noise,
    "windows": windows,
}


def _digits(size: Size) -> Any:
    """The training digits, pixels repeated."""
    train, _ = images_of(jn.data.load("digits"))
    return {**train, "image": train["image"].repeat(size.zoom, 1).repeat(size.zoom, 2)}


def _loss(network: str, train: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    starts = starts_of(network, train, train, 1, **options)
    params, model_state = (replica(tree, 0) for tree in (starts.params, starts.model_state))
    return starts.loss_fn(params, model_state, jn.losses.cross_entropy), params


def _joined(tree: Any) -> np.ndarray:
    """All numbers of a tree in a row."""
    return np.concatenate([on_host(leaf).ravel() for leaf in jax.tree.leaves(tree)])
