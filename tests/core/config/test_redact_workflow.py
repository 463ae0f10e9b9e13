"""What of a graph leaves the machine with a LoRA file."""

import json

import pytest

from ltxv_train_core.config import SECTIONS, options, shareable_graph

BASE = "/home/anna/ComfyUI"


def shared(text: str) -> str:
    node = {"class_type": "X", "inputs": {"value": text}}
    graph = shareable_graph(None, {"1": node}, [BASE, f"{BASE}/input"])
    assert set(graph) == {"prompt"}
    return json.loads(graph["prompt"])["1"]["inputs"]["value"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (f"{BASE}/input/clips/data.csv", "clips/data.csv"),
        (f"{BASE}/models/loras/x.safetensors", "models/loras/x.safetensors"),
        ("/home/anna/my videos/data.csv", "data.csv"),
        ("~/videos/data.csv", "data.csv"),
        (r"C:\Users\Anna B\videos\data.csv", "data.csv"),
        ("D:/videos/data.csv", "data.csv"),
        (r"\\server\anna\data.csv", "data.csv"),
        ("file:///home/anna/a.png", "a.png"),
        ("one.png\n/home/anna/two.png", "one.png\ntwo.png"),
        ("data: {preprocessed_data_root: /home/anna/data}", "data: {preprocessed_data_root: data}"),
        (r"root: C:\Users\Anna B\my data\x", "root: x"),
        (f"/mnt/anna{BASE}/input/x.csv", "x.csv"),
        ('root: "C:\\Users\\anna\\data"', 'root: "data"'),
        ("hub_model_id: anna/lora\nprivate: true", "hub_model_id: null\nprivate: true"),
        ("token hf_abcdefghijklmnopqrstuvwx", "token "),
    ],
)
def test_folders_accounts_and_tokens_go(given, left):
    assert shared(given) == left


@pytest.mark.parametrize(
    "text",
    [
        "a red circle moves right, 16/9, and/or left",
        "https://huggingface.co/Lightricks/LTX-Video",
        "Lightricks/LTX-Video",
        "ltxv_train/my-lora-000100.safetensors",
        "768x448x89; 512x512x49",
        "on / off",
        "/",
    ],
)
def test_other_text_stays(text):
    assert shared(text) == text


def test_a_workflow_keeps_everything_else():
    def node(number: int, kind: str, values: list) -> dict:
        return {"id": number, "type": kind, "pos": [1.5, 2], "widgets_values": values}

    hub = [o.default for o in options(SECTIONS["hub"])]
    filled = [
        "anna/lora" if o.name == "hub_model_id" else o.default for o in options(SECTIONS["hub"])
    ]
    inner = {"nodes": [node(7, "LTXVTrainHubConfig", filled)]}
    workflow = {
        "nodes": [node(1, "LTXVTrainLoRA", [0, True, None, f"{BASE}/output/x"])],
        "links": [[1, 1, 0, 2, 0, "MODEL"]],
        "definitions": {"subgraphs": [inner]},
        "extra": {"ds": {"scale": 1.0}},
    }
    before = json.dumps(workflow)
    told = json.loads(shareable_graph(workflow, None, [BASE])["workflow"])
    assert json.dumps(workflow) == before
    assert told["nodes"] == [node(1, "LTXVTrainLoRA", [0, True, None, "output/x"])]
    assert told["definitions"]["subgraphs"][0]["nodes"] == [node(7, "LTXVTrainHubConfig", hub)]
    assert (told["links"], told["extra"]) == (workflow["links"], workflow["extra"])
    assert "anna" not in json.dumps(told)


def test_accounts_go_from_a_prompt():
    inputs = {"wandb": True, "entity": "anna", "project": "lora"}
    prompt = {"3": {"class_type": "LTXVTrainTrackersConfig", "inputs": inputs}}
    told = json.loads(shareable_graph(None, prompt)["prompt"])
    assert told["3"]["inputs"] == inputs | {"entity": ""}


def test_what_is_too_long_is_left_out_the_prompt_first():
    long = {"nodes": ["x" * 1000]}
    assert set(shareable_graph(long, long, most_bytes=5000)) == {"workflow", "prompt"}
    assert set(shareable_graph(long, long, most_bytes=1500)) == {"workflow"}
    assert shareable_graph(long, long, most_bytes=500) == {}
    assert shareable_graph(None, None) == {}
