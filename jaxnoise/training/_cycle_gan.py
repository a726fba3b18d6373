"""The losses of a cycle-consistent adversarial network, with or without spatial constraint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from .. import losses
from .._tree import as_partial
from ._image_pool import query


def cycle_gan(
    to_images: Callable,
    to_labels: Callable,
    judge_images: Callable,
    judge_labels: Callable,
    *,
    to_masks: Callable | None = None,
    cycle_weight: float | jax.Array = 10.0,
    spatial_weight: float | jax.Array = 10.0,
    identity_weight: float | jax.Array | None = None,
    adversarial: Callable = losses.least_squares_gan,
) -> dict[str, Partial]:
    """The players of CycleGAN, which learns from unpaired sets, and of SpCycleGAN.

    With a label map x and an image y that have nothing to do with each other, G: labels → images,
    F: images → labels, discriminators D of images and E of label maps, and ℓ the adversarial loss,
    of scores against "real" (1) or "generated" (0), each example's losses are

        discriminators  ½ (ℓ(D(y), 1) + ℓ(D(G(x)*), 0)) + ½ (ℓ(E(x), 1) + ℓ(E(F(y)*), 0))
        generators      ℓ(D(G(x)), 1) + ℓ(E(F(y)), 1)
                        + λ₁ (mean |F(G(x)) − x| + mean |G(F(y)) − y|) + λ₂ mean (H(G(x)) − x)²

    The last term is SpCycleGAN's: without it F may undo a shift of objects that G has made, and the
    pictures don't fit their label maps. H learns with G and F what is where, beside F, which has a
    discriminator to please. Without `to_masks` the term is left out, which is CycleGAN.

    None of this tells bright from dark objects but the discriminators, and short trainings may end
    with images inverted. The identity term λ₃ (mean |G(y) − y| + mean |F(x) − x|), for images and
    label maps of as many channels, keeps gray levels as they are.

    In a step the discriminators play first, the generators against the new ones. In the former's
    loss the generators are held fixed, and ∗ stands for the image or, by the pool's rule, an older
    one.

    Args:
      to_images: G, (params, model_state, x, key) → (images, model_state), as
        `jn.models.split_apply` gives.
      to_labels: F, likewise.
      judge_images: D, likewise of images to scores (B, …).
      judge_labels: E, likewise of label maps.
      to_masks: H, likewise of images to label maps; None for CycleGAN.
      cycle_weight: λ₁ ≥ 0.
      spatial_weight: λ₂ ≥ 0.
      identity_weight: λ₃ ≥ 0, in CycleGAN λ₁/2 where it is used; None leaves the term out.
      adversarial: ℓ, (scores, real) → (B,).

    Returns:
      {"discriminators": loss, "generators": loss} for `jn.training.fit`, each
      (params, model_state, batch, key) → (metrics, model_state). A batch holds "label" and "image",
      (B, H, W, C) or (B, D, H, W, C), between −1 and 1; `jn.data.unpaired` draws them apart from
      each other. Params are {"discriminators": {"judge_images", "judge_labels"}, "generators":
      {"to_images", "to_labels", "to_masks"}}. Model_state has entries of all these names and
      "pool": {"image": pool, "label": pool}, such as `jn.training.image_pool` makes. Metrics are
      "loss", of the generators also "adversarial", "cycle", "spatial" and "identity", all (B,).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> def scaled(weight, model_state, x, key):
      ...     return weight * x, model_state
      >>> play = jn.training.cycle_gan(*[scaled] * 4, to_masks=scaled)
      >>> one, half = jnp.array(1.0), jnp.array(0.5)
      >>> params = {
      ...     "discriminators": {"judge_images": one, "judge_labels": one},
      ...     "generators": {"to_images": half, "to_labels": one, "to_masks": one}}
      >>> images = jnp.ones((1, 2, 2, 1))
      >>> state = {name: () for part in params.values() for name in part}
      >>> state["pool"] = {name: jn.training.image_pool(images[0]) for name in ("image", "label")}
      >>> batch = {"label": images, "image": images}
      >>> metrics, state = play["generators"](params, state, batch, jax.random.key(0))
      >>> float(metrics["cycle"][0]), float(metrics["spatial"][0])
      (1.0, 0.25)

    References:
      Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
      Adversarial Networks", 2017, eq. 1–3, sections 4 and 5.2 (identity)

      Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image
      Synthesis and Segmentation", 2018 (SpCycleGAN)
    """
    networks = {
        "to_images": to_images,
        "to_labels": to_labels,
        "judge_images": judge_images,
        "judge_labels": judge_labels,
    }
    if to_masks is not None:
        networks["to_masks"] = to_masks
    game = _Game(
        {name: as_partial(apply) for name, apply in networks.items()},
        jnp.asarray(cycle_weight, float),
        jnp.asarray(spatial_weight, float),
        None if identity_weight is None else jnp.asarray(identity_weight, float),
        adversarial,
    )
    return {
        "discriminators": Partial(_Game.discriminators_loss, game),
        "generators": Partial(_Game.generators_loss, game),
    }


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Game:
    networks: dict[str, Callable]
    cycle_weight: jax.Array
    spatial_weight: jax.Array
    identity_weight: jax.Array | None
    adversarial: Callable = dataclasses.field(metadata={"static": True})

    def discriminators_loss(self, params, model_state, batch, key):
        net = _Networks(self.networks, params, model_state, key)
        made = jax.lax.stop_gradient(net.made_of(batch))
        loss, pool = jnp.zeros(()), {}
        for name, image in made.items():
            shown, pool[name] = query(net.next_key(), model_state["pool"][name], image)
            real_scores = net(f"judge_{name}s", batch[name])
            fake_scores = net(f"judge_{name}s", shown)
            loss += (self.adversarial(real_scores, True) + self.adversarial(fake_scores, False)) / 2
        return {"loss": loss}, {**model_state, **net.states("judge_"), "pool": pool}

    def generators_loss(self, params, model_state, batch, key):
        net = _Networks(self.networks, params, model_state, key)
        made = net.made_of(batch)
        back = {
            "label": net("to_labels", made["image"]),
            "image": net("to_images", made["label"]),
        }
        metrics = {
            "adversarial": sum(
                self.adversarial(net(f"judge_{name}s", image), True) for name, image in made.items()
            ),
            "cycle": sum(losses.l1(image, batch[name]) for name, image in back.items()),
        }
        loss = metrics["adversarial"] + self.cycle_weight * metrics["cycle"]
        if "to_masks" in self.networks:
            metrics["spatial"] = losses.l2(net("to_masks", made["image"]), batch["label"])
            loss += self.spatial_weight * metrics["spatial"]
        if self.identity_weight is not None:
            same = {name: net(f"to_{name}s", batch[name]) for name in made}
            metrics["identity"] = sum(losses.l1(same[name], batch[name]) for name in same)
            loss += self.identity_weight * metrics["identity"]
        return {"loss": loss, **metrics}, {**model_state, **net.states("to_")}


class _Networks:
    """The networks in one player's loss; each call moves on the state of the one called.

    Calls in the same order draw the same keys, so both players see the same generated images.
    """

    def __init__(self, applies: dict[str, Callable], params: Any, model_state: Any, key: jax.Array):
        self._params = {**params["discriminators"], **params["generators"]}
        self._applies, self._states, self._key = applies, dict(model_state), key
        for what, found, extra in (
            ("params", self._params, set()),
            ("model_state", self._states, {"pool"}),
        ):
            if set(found) != set(applies) | extra:
                raise ValueError(
                    f"{what} must have entries {', '.join([*applies, *extra])}, got "
                    f"{', '.join(found)}"
                )

    def __call__(self, name: str, x: jax.Array) -> jax.Array:
        apply, state = self._applies[name], self._states[name]
        outputs, self._states[name] = apply(self._params[name], state, x, self.next_key())
        return outputs

    def next_key(self) -> jax.Array:
        self._key, key = jax.random.split(self._key)
        return key

    def made_of(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """G(x) and F(y)."""
        return {
            "image": self("to_images", batch["label"]),
            "label": self("to_labels", batch["image"]),
        }

    def states(self, prefix: str) -> dict[str, Any]:
        return {name: x for name, x in self._states.items() if name.startswith(prefix)}
