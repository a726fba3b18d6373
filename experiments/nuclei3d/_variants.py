"""What is compared: each variant differs from the first in one thing."""

from __future__ import annotations

import dataclasses

GANS = {"spcyclegan": "SpCycleGAN", "cyclegan": "CycleGAN"}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A segmenting network and what it is trained on.

    Attributes:
      title: for tables.
      source: of its training volumes: a GAN; "rendered", drawn unaware of the microscope;
        "truth", the microscope's own training volumes with their ground truth.
      network: name of a network in `jaxnoise.models`.
      dice_weight: weight of the Dice loss.
      bce_weight: weight of the cross-entropy.
      few: whether it is trained on a few of the volumes only, for as many steps.
    """

    title: str
    source: str = "spcyclegan"
    network: str = "NucleiUNet"
    dice_weight: float = 1.0
    bce_weight: float = 10.0
    few: bool = False


VARIANTS = {
    "base": Variant("SpCycleGAN, U-Net, Dice + BCE"),
    "cyclegan": Variant("CycleGAN in place of SpCycleGAN", source="cyclegan"),
    "rendered": Variant("rendered volumes in place of a GAN's", source="rendered"),
    "truth": Variant("real volumes with ground truth", source="truth"),
    "dice": Variant("Dice alone", bce_weight=0.0),
    "bce": Variant("BCE alone", dice_weight=0.0),
    "encoder_decoder": Variant("encoder–decoder, no skips", network="EncoderDecoder"),
    "few": Variant("a twentieth of the volumes", few=True),
}


def gans_of(variants: tuple[str, ...]) -> list[str]:
    """The GANs that these variants need."""
    sources = {VARIANTS[name].source for name in variants}
    return [name for name in GANS if name in sources]
