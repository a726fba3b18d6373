"""Gradient-noise statistics as users of PyTorch's libraries would take them.

Each peer has a method for each thing asked of it: `norms`, `norms_and_mean` and `profile`. ḡ is a
list of tensors in the order of the network's parameters. Losses are summed over a batch, so that
what the libraries report is each example's own.
"""

# pyright: reportMissingImports=false
# The peers are extras that the type checker may lack.

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import functional as F

Batches = list[tuple[Tensor, Tensor]]


class Profile(NamedTuple):
    """What `jaxnoise.gradients.noise_profile` gives under the same names."""

    squared_norms: Tensor
    noise_squared_norms: Tensor
    covariance_trace: Tensor
    gradient_squared_norm: Tensor
    noise_scale: Tensor


def summarised(norms: Tensor, noise: Tensor, mean: list[Tensor]) -> Profile:
    trace = noise.sum() / (len(noise) - 1)
    signal = sum_squares(mean)
    return Profile(norms, noise, trace, signal, trace / signal)


def sum_squares(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum()


class Plain:
    """The gradient alone, by `backward` over the batches."""

    def __init__(self, network: nn.Module, batches: Batches):
        self.network = copy.deepcopy(network).eval()
        self.batches = batches
        self.count = sum(len(y) for _, y in batches)

    def mean(self) -> list[Tensor]:
        """ḡ."""
        for _ in self.passes():
            pass
        return self.collected_mean()

    def passes(self) -> Iterator[None]:
        """Goes forward and backward through each batch; gradients add up in the parameters."""
        self.network.zero_grad()
        for x, y in self.batches:
            F.cross_entropy(self.network(x), y, reduction="sum").backward()
            yield

    def collected_mean(self) -> list[Tensor]:
        gradients = [p.grad for p in self.network.parameters()]
        return [g / self.count for g in gradients if g is not None]


class TorchFunc(Plain):
    """`vmap` of `grad`; the profile takes a second pass for the differences from the mean."""

    def __init__(self, network: nn.Module, batches: Batches):
        super().__init__(network, batches)
        self.params = {name: p.detach() for name, p in self.network.named_parameters()}
        buffers = dict(self.network.named_buffers())

        def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            scores = functional_call(self.network, (params, buffers), (x[None],))
            return F.cross_entropy(scores, y[None])

        self.gradients = vmap(grad(loss), in_dims=(None, 0, 0))

    def norms(self) -> Tensor:
        return torch.cat([example_norms(gradients) for gradients in self.chunks()])

    def norms_and_mean(self) -> tuple[Tensor, list[Tensor]]:
        norms, total = [], [torch.zeros_like(p) for p in self.params.values()]
        for gradients in self.chunks():
            norms.append(example_norms(gradients))
            for part, g in zip(total, gradients, strict=True):
                part.add_(g.sum(0))
        return torch.cat(norms), [part / self.count for part in total]

    def profile(self) -> Profile:
        mean = self.mean()
        norms, noise = [], []
        for gradients in self.chunks():
            norms.append(example_norms(gradients))
            for g, m in zip(gradients, mean, strict=True):
                g.sub_(m)
            noise.append(example_norms(gradients))
        return summarised(torch.cat(norms), torch.cat(noise), mean)

    def chunks(self) -> Iterator[list[Tensor]]:
        for x, y in self.batches:
            yield list(self.gradients(self.params, x, y).values())


class _Hooked(Plain):
    """A library whose hooks take the norms in a backward pass that gives the gradient, too.

    For the profile, ⟨g_i, ḡ⟩ is the derivative of the losses along ḡ, by forward-mode
    differentiation: no second set of per-example gradients.
    """

    def __init__(self, network: nn.Module, batches: Batches):
        super().__init__(network, batches)
        self.original = copy.deepcopy(network).eval().requires_grad_(False)

    def passes(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            yield from super().passes()

    def batch_norms(self) -> Tensor:
        """‖g_i‖² of the batch just gone through, (B,)."""
        raise NotImplementedError

    def norms(self) -> Tensor:
        return torch.cat([self.batch_norms() for _ in self.passes()])

    def norms_and_mean(self) -> tuple[Tensor, list[Tensor]]:
        return self.norms(), self.collected_mean()

    def profile(self) -> Profile:
        norms, mean = self.norms_and_mean()
        products = torch.cat([self.products(mean, x, y) for x, y in self.batches])
        return summarised(norms, norms - 2 * products + sum_squares(mean), mean)

    def products(self, mean: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        params = dict(self.original.named_parameters())
        direction = dict(zip(params, mean, strict=True))

        def losses(params: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(
                functional_call(self.original, params, (x,)), y, reduction="none"
            )

        return jvp(losses, (params,), (direction,))[1]


class BackPACK(_Hooked):
    """Its extension `BatchL2Grad`."""

    def __init__(self, network: nn.Module, batches: Batches):
        from backpack import backpack, extend
        from backpack.extensions import BatchL2Grad

        super().__init__(network, batches)
        self.extended = functools.partial(backpack, BatchL2Grad())
        for module in self.network.modules():
            if not any(module.children()):
                extend(module)

    def passes(self) -> Iterator[None]:
        with self.extended():
            yield from super().passes()

    def batch_norms(self) -> Tensor:
        parameters: Any = self.network.parameters()
        return torch.stack([p.batch_l2 for p in parameters]).sum(0)


class OpacusGhost(_Hooked):
    """The norms of its ghost clipping; layers without a rule of their own form gradients."""

    wrapper = "GradSampleModuleFastGradientClipping"

    def __init__(self, network: nn.Module, batches: Batches):
        from opacus import grad_sample

        super().__init__(network, batches)
        grad_sample.register_grad_sampler(_FrozenNorm)(_norm_gradients)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = _FrozenNorm
        wrapper = getattr(grad_sample, self.wrapper)
        self.network = wrapper(self.network, loss_reduction="sum", strict=False).train()

    def batch_norms(self) -> Tensor:
        return self.network.get_norm_sample().square()


class OpacusSamples(OpacusGhost):
    """The gradient samples of its hooks."""

    wrapper = "GradSampleModule"

    def batch_norms(self) -> Tensor:
        norms = example_norms([p.grad_sample for p in self.network.parameters()])
        self.network.set_grad_sample_to_none()
        return norms


class _FrozenNorm(nn.BatchNorm2d):
    """Batch normalisation by running statistics in training mode, the only one Opacus looks at."""

    def forward(self, input: Tensor) -> Tensor:
        statistics = self.running_mean, self.running_var
        return F.batch_norm(input, *statistics, self.weight, self.bias, eps=self.eps)


def _norm_gradients(layer: Any, activations: list[Tensor], dy: Tensor) -> dict[Any, Tensor]:
    normalised = F.batch_norm(activations[0], layer.running_mean, layer.running_var, eps=layer.eps)
    return {
        layer.weight: torch.einsum("nchw,nchw->nc", dy, normalised),
        layer.bias: torch.einsum("nchw->nc", dy),
    }


def example_norms(gradients: list[Tensor]) -> Tensor:
    """‖g_i‖² of gradients with a leading example axis, (B,)."""
    return torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
