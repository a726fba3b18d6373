"""AMSGrad with the maximum taken before the bias correction."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def scale_by_raw_amsgrad(
    b1: jax.typing.ArrayLike, b2: jax.typing.ArrayLike, eps: jax.typing.ArrayLike
) -> optax.GradientTransformation:
    """Rescale updates by AMSGrad with the maximum of the uncorrected second moment.

        m_t = β₁ m_{t−1} + (1 − β₁) u_t,   v_t = β₂ v_{t−1} + (1 − β₂) u_t²,
        v̄_t = max(v̄_{t−1}, v_t),   u_t ← (m_t / (1 − β₁ᵗ)) / (√(v̄_t / (1 − β₂ᵗ)) + ε)

    `optax.scale_by_amsgrad` corrects either before the maximum or not at all.
    """

    def init_fn(params: optax.Params) -> optax.ScaleByAmsgradState:
        mu, nu, nu_max = (optax.tree.zeros_like(params) for _ in range(3))
        return optax.ScaleByAmsgradState(jnp.zeros([], jnp.int32), mu, nu, nu_max)

    def update_fn(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, optax.ScaleByAmsgradState]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        nu_max = jax.tree.map(jnp.maximum, state.nu_max, nu)
        mu_hat = optax.tree.bias_correction(mu, b1, count)
        nu_hat = optax.tree.bias_correction(nu_max, b2, count)
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu_hat, nu_hat)
        return updates, optax.ScaleByAmsgradState(count, mu, nu, nu_max)

    return optax.GradientTransformation(init_fn, update_fn)
