"""What every node tells about itself, on every host."""

import ast
import json
from pathlib import Path

import pytest

from ltxv_train_core.config import SECTIONS, TrainingConfig, options
from ltxv_train_core.config.widgets import Option
from tests.host import Host

NODES = Path(__file__).parents[2] / "nodes"
DOCS = NODES / "web" / "docs"
WIDGET_ORDER = Path(__file__).with_name("widget_order.json")

BUILDERS = {
    "model": "LTXVTrainModelConfig",
    "lora": "LTXVTrainLoRAConfig",
    "conditioning": "LTXVTrainConditioningConfig",
    "optimization": "LTXVTrainOptimizationConfig",
    "acceleration": "LTXVTrainAccelerationConfig",
    "data": "LTXVTrainDataConfig",
    "validation": "LTXVTrainValidationConfig",
    "checkpoints": "LTXVTrainCheckpointsConfig",
    "hub": "LTXVTrainHubConfig",
    "flow_matching": "LTXVTrainFlowMatchingConfig",
    "trackers": "LTXVTrainTrackersConfig",
}
OTHERS = {
    "LTXVTrainSplitScenes",
    "LTXVTrainDatasetCaption",
    "LTXVTrainDatasetTranscribe",
    "LTXVTrainDatasetFromVideos",
    "LTXVTrainDatasetVideos",
    "LTXVTrainDatasetWithReferences",
    "LTXVTrainDatasetReferences",
    "LTXVTrainApplyReferenceFilter",
    "LTXVTrainDatasetPreprocess",
    "LTXVTrainDatasetSize",
    "LTXVTrainAddDataset",
    "LTXVTrainDatasetExport",
    "LTXVTrainRecipe",
    "LTXVTrainBenchmark",
    "LTXVTrainSweep",
    "LTXVTrainConfig",
    "LTXVTrainLoadConfig",
    "LTXVTrainSaveConfig",
    "LTXVTrainLoRA",
    "LTXVTrainICLoRA",
    "LTXVTrainModel",
    "LTXVTrainWait",
    "LTXVTrainLoadModel",
    "LTXVTrainLoadLoRA",
    "LTXVTrainStrengths",
    "LTXVTrainInspectFile",
    "LTXVTrainApplyReference",
    "LTXVTrainConvertLoRA",
    "LTXVTrainExtractLoRA",
    "LTXVTrainMergeLoRA",
    "LTXVTrainResizeLoRA",
    "LTXVTrainDemoDataset",
    "LTXVTrainMiniatureCheckpoint",
    "LTXVTrainMiniaturePrompt",
}
WORDS = [
    ("finetune", "LTXVTrainLoRA"),
    ("finetune", "LTXVTrainModel"),
    ("train", "LTXVTrainLoRA"),
    ("lora", "LTXVTrainLoRA"),
    ("lora", "LTXVTrainLoadLoRA"),
    ("caption", "LTXVTrainDatasetCaption"),
    ("dataset", "LTXVTrainDatasetPreprocess"),
    ("resume", "LTXVTrainLoRA"),
    ("checkpoint", "LTXVTrainCheckpointsConfig"),
    ("dreambooth", "LTXVTrainLoRA"),
    ("style", "LTXVTrainLoRA"),
    ("motion", "LTXVTrainLoRA"),
    ("sweep", "LTXVTrainSweep"),
    ("speed", "LTXVTrainBenchmark"),
    ("memory", "LTXVTrainBenchmark"),
    ("gpu", "LTXVTrainBenchmark"),
]
VERBS = {
    "Add",
    "Apply",
    "Benchmark",
    "Caption",
    "Compare",
    "Configure",
    "Convert",
    "Encode",
    "Extract",
    "Generate",
    "Inspect",
    "Join",
    "Load",
    "Merge",
    "Preprocess",
    "Propose",
    "Read",
    "Resize",
    "Save",
    "Split",
    "Sweep",
    "Train",
    "Transcribe",
    "Wait",
    "Write",
}


@pytest.fixture(scope="session")
def nodes(host: Host) -> dict:
    return {k: v for k, v in host.object_info().items() if k.startswith("LTXVTrain")}


def _inputs(node: dict) -> dict:
    return {**node["input"]["required"], **node["input"].get("optional", {})}


def test_every_node_is_there(nodes: dict) -> None:
    assert set(nodes) == set(BUILDERS.values()) | OTHERS


def test_every_node_is_a_class_that_a_search_finds(nodes: dict) -> None:
    """An id out of somebody's workflow leads to the code."""
    found = [
        statement.name
        for path in NODES.rglob("*.py")
        for statement in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ClassDef) and statement.name.startswith("LTXVTrain")
    ]
    assert sorted(set(found) - {"LTXVTrainExtension"}) == sorted(nodes)


def test_every_node_is_described(nodes: dict) -> None:
    for name, node in nodes.items():
        assert len(node["description"]) > 40, name
        assert node["display_name"].split()[0] in VERBS, name
        assert node["display_name"].isascii(), name
        configures = name.endswith("Config")
        assert node["category"] == "training/LTXV" + ("/config" if configures else ""), name


def test_every_input_and_output_has_a_tooltip(nodes: dict) -> None:
    for name, node in nodes.items():
        for input_name, (_, settings) in _inputs(node).items():
            assert len(settings.get("tooltip", "")) > 10, f"{name}.{input_name}"
        for output_name, tooltip in zip(node["output_name"], node["output_tooltips"], strict=True):
            assert len(tooltip or "") > 10, f"{name}.{output_name}"


def test_widgets_have_labels_in_words(nodes: dict) -> None:
    for name, node in nodes.items():
        for input_name, (kind, settings) in _inputs(node).items():
            if kind not in ("BOOLEAN", "COMBO", "FLOAT", "INT", "STRING"):
                continue
            label = settings["display_name"]
            assert "_" not in label, f"{name}.{input_name}"
            assert label[0].isupper(), f"{name}.{input_name}"


def test_few_widgets_show_at_first(nodes: dict) -> None:
    shown = {
        name: [
            input_name
            for input_name, (_, settings) in _inputs(node).items()
            if "display_name" in settings and not settings.get("advanced")
        ]
        for name, node in nodes.items()
    }
    assert len(_inputs(nodes["LTXVTrainDatasetPreprocess"])) > 30
    assert len(shown["LTXVTrainDatasetPreprocess"]) == 8
    assert [len(shown[name]) for name in ("LTXVTrainLoRA", "LTXVTrainICLoRA")] == [1, 1]
    assert max(map(len, shown.values())) <= 8, shown


@pytest.mark.parametrize(("word", "meant"), WORDS)
def test_other_words_find_the_node_that_is_meant(nodes: dict, word: str, meant: str) -> None:
    node = nodes[meant]
    if not node.get("search_aliases"):
        pytest.skip("this version searches no aliases")
    assert word in node["search_aliases"]


def test_every_node_has_a_help_page(nodes: dict) -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == set(nodes)


def test_the_interface_does_not_round_floats_away(nodes: dict) -> None:
    for name, node in nodes.items():
        for input_name, (kind, settings) in _inputs(node).items():
            if kind == "FLOAT":
                assert settings["step"] <= 0.1, f"{name}.{input_name}"


def test_no_seed_changes_by_itself(nodes: dict) -> None:
    """A seed that moves after every prompt would train again every time."""
    seeds = [
        settings
        for node in nodes.values()
        for name, (_, settings) in _inputs(node).items()
        if name == "seed"
    ]
    assert len(seeds) == 4
    assert all(settings["control_after_generate"] is False for settings in seeds)


def test_widgets_keep_their_places(nodes: dict) -> None:
    """Workflows store widget values by position: new ones come last, none is renamed."""
    recorded = json.loads(WIDGET_ORDER.read_text(encoding="utf-8"))
    for name, order in recorded.items():
        now = [i for group in ("required", "optional") for i in nodes[name]["input"].get(group, {})]
        assert now[: len(order)] == order, name
    assert set(recorded) == set(nodes)


@pytest.mark.parametrize("section", BUILDERS)
def test_a_builder_has_the_options_of_its_section(nodes: dict, section: str) -> None:
    node = nodes[BUILDERS[section]]
    widgets = node["input"]["required"]
    described = options(SECTIONS[section])
    lists = [name for name in widgets if section == "model" and name.endswith("_file")]
    assert [name for name in widgets if name not in lists] == [o.name for o in described]
    for option in described:
        _assert_widget(option, *widgets[option.name])
    assert node["output"] == [f"LTXV_TRAIN_{section.upper()}"]


def _assert_widget(option: Option, kind: str, settings: dict) -> None:
    expected = {"int": "INT", "float": "FLOAT", "bool": "BOOLEAN", "choice": "COMBO"}
    assert kind == expected.get(option.kind, "STRING")
    assert settings["default"] == ("" if option.default is None else option.default)
    assert option.description in settings["tooltip"]
    assert settings.get("advanced", False) in (option.advanced, False)
    if kind == "COMBO":
        assert settings["options"] == list(option.choices)
    if kind in ("INT", "FLOAT"):
        bounds = (settings.get("min"), settings.get("max"), settings.get("step"))
        assert bounds == (option.minimum, option.maximum, option.step)
    if kind == "STRING":
        assert settings["multiline"] == option.multiline


def test_the_join_node_has_a_socket_for_every_section(nodes: dict) -> None:
    sockets = nodes["LTXVTrainConfig"]["input"]["optional"]
    assert {name: kind for name, (kind, _) in sockets.items()} == {
        name: f"LTXV_TRAIN_{name.upper()}" for name in SECTIONS
    }
    seed = nodes["LTXVTrainConfig"]["input"]["required"]["seed"][1]
    assert seed["default"] == TrainingConfig.model_fields["seed"].default
