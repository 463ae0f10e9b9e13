"""Facts in a LoRA file, from the configuration, the model and the data set."""

import json

import pytest

from ltxv_train_core import __version__
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.families.open import open_model
from ltxv_train_core.training.lora_metadata import lora_metadata

GRAPH = {"workflow": "{}", "prompt": "[]"}


@pytest.fixture
def facts(training_config, prepared):
    def make(graph=None, **sections):
        source, dataset = open_model("LTXV_MINIATURE"), TrainingDataset(prepared)
        return lora_metadata(training_config(prepared, **sections), source, dataset, graph)

    return make


def test_what_every_lora_says_of_itself(facts, prepared):
    """Five clips of 64x64 and three of 96x64."""
    found = facts(name="mine", seed=3)
    config = json.loads(found.pop("training_config"))
    assert (config["name"], config["seed"], "output_dir" in config) == ("mine", 3, False)
    assert found == {
        "base_model": "LTXV_MINIATURE",
        "base_model_identity": open_model("LTXV_MINIATURE").identity,
        "strategy": "none",
        "data_fingerprint": TrainingDataset(prepared).fingerprint(),
        "trained_with": f"ltxv-train {__version__}",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": "mine",
        "modelspec.description": "LoRA for LTXV_MINIATURE, trained on 8 clips",
        "modelspec.architecture": "ltx-video/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.resolution": "64x64",
    }


def test_full_training_makes_no_lora(facts):
    found = facts(model={"training_mode": "full"})
    assert found["modelspec.architecture"] == "ltx-video"
    assert found["modelspec.description"] == "Transformer for LTXV_MINIATURE, trained on 8 clips"
    both = facts(model={"training_mode": "full"}, conditioning={"mode": "reference_video"})
    assert both["modelspec.description"].startswith("Transformer for")


def test_an_ic_lora_says_how_large_references_are(facts):
    found = facts(conditioning={"mode": "reference_video"})
    assert found["reference_downscale_factor"] == "1"
    assert found["modelspec.description"].startswith("IC-LoRA for")
    assert found["strategy"] == "reference_video"


@pytest.mark.parametrize("wanted", [True, False])
def test_the_graph_is_written_by_wish(facts, wanted):
    options = {"checkpoints": {"embed_workflow": wanted}}
    found, plain = facts(GRAPH, **options), facts(**options)
    assert {key: found[key] for key in found.keys() - plain.keys()} == (GRAPH if wanted else {})
