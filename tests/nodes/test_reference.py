"""The reference video that an IC-LoRA follows, as the sampler gets it."""

import pytest

from tests.graph import Graph, Node, seen
from tests.host import Host, run

FRAMES, HEIGHT, WIDTH = 3, 2, 4
TOKENS = FRAMES * HEIGHT * WIDTH


def apply(
    graph: Graph,
    frames: int = 17,
    batch: int = 1,
    positive: Node | None = None,
    mask_frames: int = 0,
) -> Node:
    """The node over an empty latent of 3x2x4 and a video that gets brighter."""
    size = {"frames": FRAMES, "height": HEIGHT, "width": WIDTH}
    return graph.add(
        "LTXVTrainApplyReference",
        positive=positive or graph.add("ProbeConditioning"),
        negative=graph.add("ProbeConditioning"),
        vae=graph.add("ProbeVae"),
        latent=graph.add("ProbeLatent", batch=batch, mask_frames=mask_frames, **size),
        reference=graph.add("ProbeFrames", frames=frames, height=100, width=200),
    )


def applied(host: Host, **options: int) -> tuple[dict, dict, dict]:
    """What the node gives: the positive's values, the negative's, the latent."""
    graph = Graph()
    node = apply(graph, **options)
    probes = [graph.probe(node[output]) for output in range(3)]
    outcome = run(host, graph.prompt)
    positive, negative, latent = (seen(outcome, probe) for probe in probes)
    return positive[0][1], negative[0][1], latent


def starts(values: dict) -> list[list[float]]:
    """Frame, row and column where each token begins; newer versions add where it ends."""
    shape, numbers = values["keyframe_idxs"]["shape"], values["keyframe_idxs"]["values"]
    layouts = {(1, 3, shape[2]): 1, (1, 3, shape[2], 2): 2}
    numbers = numbers[:: layouts[tuple(shape)]]
    return [numbers[axis * shape[2] : (axis + 1) * shape[2]] for axis in range(3)]


def test_the_whole_reference_is_appended_and_stays_clean(host: Host) -> None:
    _, _, latent = applied(host, batch=2)
    assert latent["samples"]["shape"] == [2, 128, 2 * FRAMES, HEIGHT, WIDTH]
    # The target of ones, then the reference: its first frame is black, the last is the mean
    # brightness of frames 9 to 16 of 0..16.
    assert latent["noise_mask"]["shape"] == [2, 1, 2 * FRAMES, 1, 1]
    assert latent["noise_mask"]["values"] == [1, 1, 1, 0, 0, 0] * 2
    target, reference = 1.0, (0 + 4.5 / 16 + 12.5 / 16) / 3
    assert latent["samples"]["mean"] == pytest.approx((target + reference) / 2, abs=1e-5)


@pytest.mark.parametrize("mask_frames", [1, 17])
def test_a_mask_of_pixels_is_kept_and_the_reference_stays_clean(
    host: Host, mask_frames: int
) -> None:
    mask = applied(host, batch=2, mask_frames=mask_frames)[2]["noise_mask"]
    assert mask["shape"] == [2, 1, 2 * FRAMES, HEIGHT, WIDTH]
    masked, clean = [0] * WIDTH + [1] * WIDTH, [0] * HEIGHT * WIDTH
    assert mask["values"] == (masked * FRAMES + clean * FRAMES) * 2


def test_positions_are_causal_from_frame_0(host: Host) -> None:
    positive, negative, _ = applied(host)
    frames, rows, columns = starts(positive)
    assert frames == [frame for frame in (0, 1, 9) for _ in range(HEIGHT * WIDTH)]
    assert rows == [row for _ in range(FRAMES) for row in (0, 32) for _ in range(WIDTH)]
    assert columns == [0, 32, 64, 96] * FRAMES * HEIGHT
    assert starts(negative) == starts(positive)
    assert "attention_mask" in positive


def test_a_longer_reference_is_cut_and_a_shorter_one_is_appended_whole(host: Host) -> None:
    assert applied(host, frames=40)[2]["samples"]["shape"][2] == 2 * FRAMES
    assert applied(host, frames=12)[2]["samples"]["shape"][2] == FRAMES + 2
    assert applied(host, frames=1)[2]["samples"]["shape"][2] == FRAMES + 1


def test_a_second_reference_is_refused(host: Host) -> None:
    graph = Graph()
    graph.probe(apply(graph, positive=apply(graph)))
    outcome = run(host, graph.prompt)
    assert outcome.error is not None
    assert "already holds guides" in outcome.error
