"""Weights on their way between a Flax NNX network and its twin in PyTorch."""

# pyright: reportMissingImports=false
# PyTorch is an extra that the type checker may lack.

from __future__ import annotations

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn

_TENSORS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def copy_weights(model: nnx.Module, twin: nn.Module) -> None:
    """Gives the twin the parameters and running statistics of the model.

    Raises:
      ValueError: if a layer of one has no counterpart in the other, or one of another shape.
    """
    given = set()
    for path, values in _state(model):
        layer, name = _counterpart(twin, path)
        values = _as_in_pytorch(layer, np.asarray(values))
        tensor = getattr(layer, name)
        if tuple(tensor.shape) != values.shape:
            raise ValueError(
                f"the model's {_text(path)} is {values.shape} as PyTorch keeps it, "
                f"the twin's {tuple(tensor.shape)}: make both with the same options"
            )
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(values.copy()))
        given.add(id(tensor))
    for name, tensor in twin.state_dict(keep_vars=True).items():
        if id(tensor) not in given and not name.endswith("num_batches_tracked"):
            raise ValueError(f"the model has nothing for the twin's {name}")


def read_weights(
    twin: nn.Module, model: nnx.Module, *, gradients: bool = False
) -> dict[tuple, np.ndarray]:
    """The twin's parameters and running statistics, or its gradients, as the model keeps them.

    They are keyed by their paths in the model's state, in the sorted order of these.
    """
    found = {}
    for path, _ in _state(model):
        layer, name = _counterpart(twin, path)
        tensor = getattr(layer, name)
        if not gradients:
            found[path] = _as_in_jax(layer, tensor.detach().numpy())
        elif isinstance(tensor, nn.Parameter):
            found[path] = _as_in_jax(layer, np.asarray(tensor.grad))
    return found


def _state(model: nnx.Module) -> list[tuple[tuple, jax.Array]]:
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    return list(nnx.to_flat_state(nnx.as_pure(state)))


def _counterpart(twin: nn.Module, path: tuple) -> tuple[nn.Module, str]:
    """The layer of the twin and the name of the tensor that the model keeps under `path`."""
    layer = twin
    for name in path[:-1]:
        if name == "layers" and isinstance(layer, nn.Sequential):
            continue
        layer = getattr(layer, str(name), None)
    name = _TENSORS.get(path[-1], "")
    if not isinstance(layer, nn.Module) or getattr(layer, name, None) is None:
        raise ValueError(f"the twin has no counterpart of the model's {_text(path)}")
    return layer, name


def _as_in_pytorch(layer: nn.Module, values: np.ndarray) -> np.ndarray:
    """(spatial…, in, out) kernels become (out, in, spatial…), transposed ones (in, out, spatial…).

    PyTorch's transposed convolution is a convolution's gradient, which mirrors the kernel.
    """
    if values.ndim == 1:
        return values
    if _is_transposed(layer):
        return np.moveaxis(_mirrored(values), (-2, -1), (0, 1))
    return np.moveaxis(values, (-1, -2), (0, 1))


def _as_in_jax(layer: nn.Module, values: np.ndarray) -> np.ndarray:
    if values.ndim == 1:
        return values
    if _is_transposed(layer):
        return _mirrored(np.moveaxis(values, (0, 1), (-2, -1)))
    return np.moveaxis(values, (0, 1), (-1, -2))


def _is_transposed(layer: nn.Module) -> bool:
    return isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d)


def _mirrored(kernel: np.ndarray) -> np.ndarray:
    return np.flip(kernel, axis=tuple(range(kernel.ndim - 2)))


def _text(path: tuple) -> str:
    return ".".join(map(str, path))
