"""The miniature model's prompt and checkpoint nodes."""

from safetensors import safe_open

from tests.graph import Graph, seen
from tests.host import Host, failure, models_folder, run


def test_a_prompt_is_padded_and_masked(host: Host) -> None:
    graph = Graph()
    probes = [
        graph.probe(graph.add("LTXVTrainMiniaturePrompt", text=text))
        for text in ("a red circle moves right on a teal background", "")
    ]
    outcome = run(host, graph.prompt)
    for probe, minimum in zip(probes, (9, 1), strict=True):
        ((tensor, values),) = seen(outcome, probe)
        mask = values["attention_mask"]
        length = int(sum(mask["values"]))
        assert tensor["shape"] == [1, 128, 128]
        assert mask["shape"] == [1, 128]
        assert mask["dtype"] == "int64"
        assert minimum <= length < 60
        assert mask["values"] == [1] * length + [0] * (128 - length)


def test_a_long_prompt_is_encoded_whole(host: Host) -> None:
    sentence = "a red circle moves right on a teal background, "
    lengths = []
    for count in (1, 20, 40):
        graph = Graph()
        probe = graph.probe(graph.add("LTXVTrainMiniaturePrompt", text=sentence * count))
        ((tensor, values),) = seen(run(host, graph.prompt), probe)
        lengths.append(int(sum(values["attention_mask"]["values"])))
        padded = max(128, lengths[-1])
        assert tensor["shape"] == [1, padded, 128]
        assert values["attention_mask"]["shape"] == [1, padded]
    assert lengths[1] > 128
    assert lengths[2] - lengths[1] == lengths[1] + (lengths[1] - lengths[0]) // 19 - lengths[0]


def test_a_prompt_beyond_every_bound_is_named(host: Host) -> None:
    graph = Graph()
    graph.probe(graph.add("LTXVTrainMiniaturePrompt", text="a red circle, " * 600))
    message = failure(host, graph.prompt)
    assert "tokens, and at most 1,024" in message


def test_the_checkpoint_is_written_once(host: Host) -> None:
    graph = Graph()
    probe = graph.probe(graph.add("LTXVTrainMiniatureCheckpoint"))
    name = seen(run(host, graph.prompt), probe)
    path = models_folder(host, "checkpoints") / name
    with safe_open(path, framework="pt") as file:
        assert "config" in file.metadata()
        assert any(key.startswith("model.diffusion_model.") for key in file.keys())  # noqa: SIM118
    written = path.stat().st_mtime_ns
    again = run(host, graph.prompt).succeeded()
    assert path.stat().st_mtime_ns == written
    assert set(again.cached) == set(graph.prompt), "nothing has changed"
    path.unlink()
    run(host, graph.prompt).succeeded()
    assert path.is_file()
