"""The YAML files in recipes/ are what the recipes propose."""

from pathlib import Path

import pytest

from ltxv_train_core.config import yaml_file
from ltxv_train_core.recipes.propose import propose
from ltxv_train_core.recipes.shipped import recipe_file, shipped_recipes

FOLDER = Path(__file__).parents[3] / "recipes"


def test_each_recipe_has_its_file():
    there = {path.stem for path in FOLDER.glob("*.yaml")}
    assert there == set(shipped_recipes())
    assert len(there) == 14


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_file_is_what_its_recipe_proposes(name):
    """Where it isn't: python tools/write_recipes.py."""
    proposal = propose(shipped_recipes()[name])
    path = FOLDER / f"{name}.yaml"
    assert path.read_text(encoding="utf-8") == recipe_file(proposal)
    assert yaml_file.load(path) == proposal.configuration
