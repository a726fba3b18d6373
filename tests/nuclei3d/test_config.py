"""Options and plans of nuclei3d."""

import json

import pytest

from experiments._common import write_json
from experiments.nuclei3d._config import Config, plan_of
from experiments.nuclei3d._variants import VARIANTS, gans_of


@pytest.mark.parametrize("preset", ["toy", "small", "kidney", "paper"])
def test_presets_are_plans_that_json_holds(preset, tmp_path):
    plan = plan_of(Config("all", preset=preset))
    write_json(tmp_path / "plan.json", plan)
    found = json.loads((tmp_path / "plan.json").read_text())
    assert found["volumes"]["few"] == max(1, plan.volumes.num // 20)
    assert tuple(found["unet"]["variants"]) == tuple(VARIANTS)


def test_options_stand_over_the_preset():
    options = {"data": "bbbc050", "volumes": 60, "block": 48, "epochs": 2, "gan_epochs": 3}
    plan = plan_of(Config("all", **options, radii=(5.0, 6.5), shrink=2, seeds=1))
    assert (plan.volumes.data, plan.volumes.num, plan.volumes.few) == ("bbbc050", 60, 3)
    assert plan.volumes.radii == (5.0, 6.5)
    assert (plan.unet.block, plan.unet.epochs, plan.gan.epochs, plan.seeds) == (48, 2, 3, 1)
    assert plan_of(Config("all", data="bbbc050")).volumes.radii == (6, 7, 8, 9, 10, 11)
    assert plan_of(Config("all", data="my/folder")).volumes.radii == (4, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds"),
        ({"shrink": 0}, "--shrink"),
        ({"block": 24}, "--block must be a multiple of 16"),
        ({"radii": ()}, "--radii"),
        ({"radii": (3.0, -1.0)}, "--radii"),
        ({"voxel": (2.0, 1.0, 1.5)}, "height and width"),
        ({"variants": ("base", "magic")}, "magic"),
        ({"variants": ()}, "--variants"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plan_of(Config("all", **options))


def test_every_variant_differs_from_the_first_in_one_thing():
    base = vars(VARIANTS["base"])
    for name, variant in VARIANTS.items():
        different = {key for key in base if base[key] != vars(variant)[key]} - {"title"}
        assert len(different) == (name != "base")


def test_gans_that_variants_need():
    assert gans_of(("rendered", "truth")) == []
    assert gans_of(("cyclegan",)) == ["cyclegan"]
    assert gans_of(tuple(VARIANTS)) == ["spcyclegan", "cyclegan"]
