"""A LoRA at several strengths, and two LoRAs, on the canvas."""

import pytest
from PIL import Image

from tests.graph import Graph, seen
from tests.host import Host, failure, run
from tests.nodes.workflows import add, configure, prepare

NODE = "LTXVTrainStrengths"
SAMPLES = {"video_dims": "96x96x9", "inference_steps": 2, "guidance_scale": 1.0}


@pytest.mark.long
def test_a_sheet_has_a_row_for_each_prompt_and_strength(host: Host) -> None:
    graph = Graph()
    _, data = prepare(graph, host)
    config = configure(graph, host, data, steps=2, validation=SAMPLES, name="strong")
    trained = add(graph, host, "LTXVTrainLoRA", config=config)
    node = add(
        graph,
        host,
        NODE,
        config=config,
        lora_name=trained,
        strengths="0, 1.5",
        prompts="a red circle\na blue square",
        second_lora=trained,
        second_strength=0.5,
    )
    sheet, folder = graph.probe(node[0]), graph.probe(node[1])
    outcome = run(host, graph.prompt).succeeded()
    (shown,) = outcome.outputs[node.id]["images"]
    path = host.base / "output" / shown["subfolder"] / shown["filename"]
    assert str(path.parent) == seen(outcome, folder)
    assert {p.name for p in path.parent.iterdir()} == {"strength-0", "strength-1.5", "sheet.png"}
    assert len(list(path.parent.glob("strength-*/*.mp4"))) == 4
    with Image.open(path) as drawn:
        assert drawn.height > 4 * 96
        assert seen(outcome, sheet)["shape"][1:3] == [drawn.height, drawn.width]
        assert "prompt" in drawn.text, "the graph can be opened from it"


def test_strengths_that_are_no_numbers_are_said_before_anything_runs(host: Host) -> None:
    graph = Graph()
    config = configure(graph, host, "nowhere", steps=2)
    add(graph, host, NODE, config=config, lora_name="x.safetensors", strengths="0.4, strong")
    assert "expected up to 32 numbers" in failure(host, graph.prompt)
