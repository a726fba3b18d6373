"""Sharpness and curvature of a network's loss as users of PyTorch would take them."""

# pyright: reportMissingImports=false
# PyTorch is an extra that the type checker may lack.

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp
from torch.nn import functional as F

from jaxnoise.sharpness._ascent import checkpoints

Batches = list[tuple[Tensor, Tensor]]


def adaptive_sharpness(
    network: nn.Module, batches: Batches, rho: float, num_steps: int
) -> list[float]:
    """Ascent within |δ| ≤ ρ|w|, batch by batch: a gradient, and after the step a loss of its own.

    Returns:
      The increase of each batch's loss.
    """
    parameters = list(network.parameters())
    center = [p.detach().clone() for p in parameters]
    scale = [w.abs() for w in center]
    increases = []
    for x, y in batches:
        initial = _loss(network, x, y)
        increases.append(_climb(network, x, y, initial, center, scale, rho, num_steps) - initial)
        _set(parameters, center)
    return increases


def _climb(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    initial: float,
    center: list[Tensor],
    scale: list[Tensor],
    rho: float,
    num_steps: int,
) -> float:
    """The largest loss of a batch that was met."""
    parameters = list(network.parameters())
    best, best_point = initial, center
    delta = previous = [torch.zeros_like(w) for w in center]
    step, improvements = 2 * rho, 0
    last_point, last_step, last_best = 0, step, initial
    looks = set(checkpoints(num_steps))
    for i in range(num_steps):
        gradients = torch.autograd.grad(F.cross_entropy(network(x), y), parameters)
        with torch.no_grad():
            moved = []
            for d, before, g, s in zip(delta, previous, gradients, scale, strict=True):
                target = torch.clamp(d + step * g.sign() * s, -rho * s, rho * s)
                moved.append(0.75 * target + 0.25 * before)
            previous, delta = delta, moved
            _set(parameters, [w + d for w, d in zip(center, delta, strict=True)])
        value = _loss(network, x, y)
        if value > best:
            best, best_point = value, [p.detach().clone() for p in parameters]
            improvements += 1
        if i in looks:
            is_slow = improvements < 0.75 * (i - last_point)
            is_stalled = step == last_step and best == last_best
            last_point, last_step, last_best, improvements = i, step, best, 0
            if is_slow or is_stalled:
                step /= 2
                _set(parameters, best_point)
    return best


@torch.no_grad()
def _loss(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return F.cross_entropy(network(x), y).item()


@torch.no_grad()
def _set(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def top_eigenvalue(network: nn.Module, batches: Batches, num_products: int) -> float:
    """The largest eigenvalue of the Hessian in a Krylov space, by Lanczos' method.

    A product is forward over reverse and goes through all batches; the basis is orthogonalised
    against all of its vectors, twice.
    """
    params = {name: p.detach() for name, p in network.named_parameters()}
    buffers = dict(network.named_buffers())
    shapes = [p.shape for p in params.values()]
    sizes = [math.prod(shape) for shape in shapes]
    count = sum(len(y) for _, y in batches)

    def product(vector: Tensor) -> Tensor:
        parts = [part.view(shape) for part, shape in zip(vector.split(sizes), shapes, strict=True)]
        tangent = dict(zip(params, parts, strict=True))
        total = torch.zeros_like(vector)
        for x, y in batches:

            def loss(params: dict[str, Tensor], x: Tensor = x, y: Tensor = y) -> Tensor:
                scores = functional_call(network, (params, buffers), (x,))
                return F.cross_entropy(scores, y, reduction="sum")

            image = jvp(grad(loss), (params,), (tangent,))[1]
            total += torch.cat([image[name].reshape(-1) for name in params])
        return total / count

    device = next(iter(params.values())).device
    generator = torch.Generator(device).manual_seed(0)
    vector = torch.randn(sum(sizes), generator=generator, device=device)
    basis = torch.zeros(num_products, sum(sizes), device=device)
    diagonal, beside = [], []
    for k in range(num_products):
        basis[k] = vector / vector.norm()
        image = product(basis[k])
        diagonal.append(torch.dot(basis[k], image).item())
        for _ in range(2):
            image -= basis[: k + 1].T @ (basis[: k + 1] @ image)
        beside.append(image.norm().item())
        vector = image
    tridiagonal = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.diag(torch.tensor(beside[:-1], dtype=torch.float64), 1)
    return torch.linalg.eigvalsh(tridiagonal + off + off.T)[-1].item()
