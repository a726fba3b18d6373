"""Losses on a grid around a network's weights as users of PyTorch would take them.

Each peer is made from the network, the two directions in the order of its parameters, the inputs,
the targets and the loss; `grid(radius, resolution)` gives the mean losses of all inputs, nan where
the peer evaluates no point of the grid.
"""

# pyright: reportMissingImports=false
# The peers are extras that the type checker may lack.

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Direction = list[Tensor]


class Loop:
    """Writes w + αu + βv into the network, point by point."""

    def __init__(
        self,
        network: nn.Module,
        directions: tuple[Direction, Direction],
        inputs: Tensor,
        targets: Tensor,
        loss: Callable,
    ):
        self.network = copy.deepcopy(network).eval()
        self.center = [p.detach().clone() for p in self.network.parameters()]
        self.directions = directions
        self.inputs, self.targets, self.loss = inputs, targets, loss

    @torch.no_grad()
    def grid(self, radius: float, resolution: int) -> np.ndarray:
        values = np.empty((resolution, resolution))
        coordinates = np.linspace(-radius, radius, resolution).tolist()
        for i, alpha in enumerate(coordinates):
            for j, beta in enumerate(coordinates):
                self.move_to(alpha, beta)
                values[i, j] = self.loss(self.network(self.inputs), self.targets).item()
        self.move_to(0, 0)
        return values

    @torch.no_grad()
    def move_to(self, alpha: float, beta: float) -> None:
        for p, w, u, v in zip(
            self.network.parameters(), self.center, *self.directions, strict=True
        ):
            p.copy_(w + alpha * u + beta * v)


class Landscaper(Loop):
    """`landscaper.compute.compute_loss_landscape`, which goes to each point step by step.

    It scales the part of each parameter in a direction to √(number of weights), so that directions
    must be so already. An even number of points a side starts half a step below −radius. Those
    points of which none is higher come with noise on them and are nan here.
    """

    def __init__(self, *args):
        from landscaper.compute import compute_loss_landscape

        super().__init__(*args)
        self.compute = compute_loss_landscape
        self.norms = [float(torch.cat([t.ravel() for t in d]).norm()) for d in self.directions]
        self.center_norm = float(torch.cat([w.ravel() for w in self.center]).norm())

    def grid(self, radius: float, resolution: int) -> np.ndarray:
        step = 2 * radius / (resolution - 1)
        silence = io.StringIO()
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            found, _ = self.compute(
                self.network,
                (self.inputs, self.targets),
                list(self.directions),
                self.loss_of,
                steps=resolution,
                distance=step * self.norms[0] / self.center_norm * resolution / 2,
                dim=2,
                device="cuda" if self.inputs.is_cuda else "cpu",
            )
        values = np.asarray(found)
        return np.where(values < values.max(), values, np.nan)

    def loss_of(self, network: nn.Module, data: Any) -> float:
        inputs, targets = data
        return self.loss(network(inputs), targets).item()


class LossLandscapes(Loop):
    """`loss_landscapes.planar_interpolation`, between corners of the grid.

    It goes to and fro along the second direction and, on its way forth, takes a step before each
    point: the first point of every second row is missing.
    """

    def __init__(self, *args):
        from loss_landscapes import planar_interpolation
        from loss_landscapes.metrics import Loss

        super().__init__(*args)
        self.interpolation = planar_interpolation
        self.metric = Loss(self.loss, self.inputs, self.targets)

    def grid(self, radius: float, resolution: int) -> np.ndarray:
        length = 2 * radius * resolution / (resolution - 1)
        found = self.interpolation(
            self.corner(-radius, -radius),
            self.corner(length - radius, -radius),
            self.corner(-radius, length - radius),
            self.metric,
            steps=resolution,
        )
        values = np.full((resolution, resolution), np.nan)
        values[0::2, 1:] = found[0::2, :-1]
        values[1::2] = found[1::2]
        return values

    def corner(self, alpha: float, beta: float) -> nn.Module:
        self.move_to(alpha, beta)
        return copy.deepcopy(self.network)
