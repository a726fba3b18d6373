"""The two losses of a conditional adversarial network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from .. import losses
from .._tree import as_partial


def conditional_gan(
    generator_apply: Callable,
    discriminator_apply: Callable,
    *,
    l1_weight: float | jax.Array = 100.0,
    adversarial: Callable = losses.gan,
) -> dict[str, Partial]:
    """The players of pix2pix: a discriminator of image pairs, then a generator that it judges.

    With input x, target y, generator G, discriminator D, which sees pairs, and ℓ the adversarial
    loss, of scores against "real" (1) or "generated" (0), each example's losses are

        discriminator   ½ (ℓ(D(x, y), 1) + ℓ(D(x, G(x)), 0)), G held fixed
        generator       ℓ(D(x, G(x)), 1) + λ mean |y − G(x)|

    In a step the discriminator plays first, and the generator against the new discriminator. Both
    draw the generator's dropout from the same key, so that G(x) is the same image for both.

    Args:
      generator_apply: (params, model_state, x, key) → (images, model_state), as
        `jn.models.split_apply` gives.
      discriminator_apply: likewise, of x and an image, concatenated channel by channel, to scores
        (B, …).
      l1_weight: λ ≥ 0.
      adversarial: ℓ, (scores, real) → (B,), such as `jn.losses.gan` or
        `jn.losses.least_squares_gan`.

    Returns:
      {"discriminator": loss, "generator": loss} for `jn.training.fit`, each
      (params, model_state, batch, key) → (metrics, model_state). Params and model_state are dicts
      of both players' ones. A batch holds "input" (B, H, W, C) and "target" (B, H, W, C'), between
      −1 and 1. Metrics are "loss" and, of the generator, "adversarial" and "l1", all (B,).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> def scaled(weight, model_state, x, key):
      ...     return weight * x, model_state
      >>> play = jn.training.conditional_gan(scaled, scaled)
      >>> params = {"discriminator": jnp.array(0.0), "generator": jnp.array(0.5)}
      >>> state = {"discriminator": (), "generator": ()}
      >>> images = jnp.ones((1, 2, 2, 3))
      >>> batch = {"input": images, "target": images}
      >>> metrics, state = play["generator"](params, state, batch, jax.random.key(0))
      >>> metrics["l1"]
      Array([0.5], dtype=float32)

    References:
      Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks",
      2017, eq. 1–4, and section 3.3 (the half, and −log(1 − D) replaced)
    """
    game = _Game(
        as_partial(generator_apply),
        as_partial(discriminator_apply),
        jnp.asarray(l1_weight, float),
        adversarial,
    )
    return {
        "discriminator": Partial(_Game.discriminator_loss, game),
        "generator": Partial(_Game.generator_loss, game),
    }


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Game:
    generator: Callable
    discriminator: Callable
    l1_weight: jax.Array
    adversarial: Callable = dataclasses.field(metadata={"static": True})

    def discriminator_loss(self, params, model_state, batch, key):
        fake, _ = self._generated(params, model_state, batch, key)
        fake = jax.lax.stop_gradient(fake)
        real_scores, state = self._judged(params, model_state, batch, batch["target"], key)
        fake_scores, state = self._judged(params, state, batch, fake, key)
        loss = (self.adversarial(real_scores, True) + self.adversarial(fake_scores, False)) / 2
        return {"loss": loss}, state

    def generator_loss(self, params, model_state, batch, key):
        fake, generator_state = self._generated(params, model_state, batch, key)
        scores, _ = self._judged(params, model_state, batch, fake, key)
        adversarial = self.adversarial(scores, True)
        l1 = losses.l1(fake, batch["target"])
        metrics = {
            "loss": adversarial + self.l1_weight * l1,
            "adversarial": adversarial,
            "l1": l1,
        }
        return metrics, {**model_state, "generator": generator_state}

    def _generated(self, params, model_state, batch, key):
        """G(x), and the generator's state after it."""
        key, _ = jax.random.split(key)
        return self.generator(params["generator"], model_state["generator"], batch["input"], key)

    def _judged(self, params, model_state, batch, images, key):
        """D's scores of the input with these images, and the state of both players after them."""
        _, key = jax.random.split(key)
        pairs = jnp.concatenate([batch["input"], images], axis=-1)
        scores, state = self.discriminator(
            params["discriminator"], model_state["discriminator"], pairs, key
        )
        return scores, {**model_state, "discriminator": state}
