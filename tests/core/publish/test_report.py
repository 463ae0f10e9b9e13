"""The page of a run: one file that says all of it, and nothing of whoever made it."""

import base64
import io
import math
import re
from dataclasses import replace

import av
import numpy as np
import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.config import TrainingConfig, build, yaml_file
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.media.sound import Sound
from ltxv_train_core.media.write import write_video
from ltxv_train_core.publish.report import samples
from ltxv_train_core.publish.report.drawing import HEIGHT, WIDTH, Curve, draw
from ltxv_train_core.publish.report.page import page_of, report_html
from ltxv_train_core.runs import Label, RunFolder, RunState, RunWriter
from ltxv_train_core.runs.held_out_file import HeldOutLosses
from ltxv_train_core.runs.metrics_file import write_steps
from ltxv_train_core.training.trainer import train

PROMPTS = ["a <b>red</b> circle", "a blue ring"]
SECRETS = ("jane-doe", "secret-note", "someone/private", "my-team")


def write_sample(path, brightness):
    """A tenth of a second with a tone; in its texts stands a graph with somebody's folder."""
    frames = np.full((3, 32, 48, 3), brightness, np.uint8)
    tone = np.sin(np.arange(4800) / 10).astype(np.float32)[None].repeat(2, 0)
    write_video(path, frames, 30, sound=Sound(tone, 48_000), metadata={"prompt": "/home/jane-doe"})


@pytest.fixture
def run(tmp_path):
    """A finished run of somebody who has put a name into everything."""
    folder = RunFolder(tmp_path / "jane-doe" / "striped-0123")
    sections = {
        "name": "striped",
        "model": {"model_source": "/home/jane-doe/models/base.safetensors"},
        "data": {"preprocessed_data_root": "/home/jane-doe/clips"},
        "lora": {"rank": 8},
        "validation": {"prompts": PROMPTS, "images": ["/home/jane-doe/a.png"] * 2},
        "hub": {"push_to_hub": True, "hub_model_id": "someone/private"},
        "trackers": {"wandb": True, "entity": "my-team"},
        "output_dir": "/home/jane-doe/runs",
    }
    with RunWriter(folder) as writer:
        writer.begin(RunState.new(steps=40))
        writer.move("running")
        for step in range(1, 41):
            folder.append_metrics(
                StepCompleted(step, 40, 1 / step, 1e-3, 0.5, 0.5, 1.0, memory_bytes=3 * 2**30)
            )
        for step, loss in ((0, 3.0), (20, 1.0), (40, 2.0)):
            folder.append_held_out(
                HeldOutLosses(
                    step,
                    (0.5,),
                    ((loss,), (loss + 0.5,)),
                    moved=step / 80,
                    moved_without_prompt=step / 160,
                )
            )
        writer.move("finished", step=40)
    yaml_file.save(build(TrainingConfig, sections), folder.config_file)
    folder.write_label(Label.of("Stripes & <i>more</i>", "secret-note"))
    for step in range(0, 41, 5):
        folder.samples(step).mkdir(parents=True)
        (folder.samples(step) / "sheet.png").write_bytes(b"")
        for number in range(2):
            write_sample(folder.samples(step) / f"{number:03d}.mp4", 10 + 5 * step)
    return folder


def test_it_says_what_came_of_the_run_and_how(run):
    page = report_html(run)
    for text in (
        "<h1>Stripes &amp; &lt;i&gt;more&lt;/i&gt;</h1>",
        "a &lt;b&gt;red&lt;/b&gt; circle",
        "finished, step 40 of 40",
        "0:00:20, 0.5 s a step",
        "3 GiB",
        "Best step 20: held-out loss 1.2500, 61.5 % below the first measured",
        "Without a prompt it has moved 12 % from its base (with captions 25 %)",
        "How far the model has moved from its base, in per cent",
        "without prompt",
        "<th>lora.rank</th><td>8</td>",
        "base.safetensors",
        "not on this machine any more",
    ):
        assert text in page, text
    assert "lora.alpha</th>" not in page, "it has its default"
    shown = [int(step) for step in re.findall(r"<th>step (\d+)</th>", page)]
    assert shown == [0, 10, 20, 30, 40], "of nine"
    assert page.count("<video") == 5 * len(PROMPTS)


def test_nothing_in_it_names_whoever_made_it_or_leads_elsewhere(run):
    page = report_html(run)
    text = re.sub(r"base64,[\w+/=]+", "", page)
    for secret in (*SECRETS, "/home", str(run.folder.parent)):
        assert secret not in text, secret
    assert not re.search(r"<script|https?:|src=\"(?!data:)|href=|url\(|@import", text)
    assert "default-src 'none'" in text
    contents = [base64.b64decode(each) for each in re.findall(r"base64,([\w+/=]+)", page)]
    for content in contents:
        assert b"jane-doe" not in content
    with av.open(io.BytesIO(contents[-1])) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(frames) == 3
        assert abs(float(np.mean(frames)) - 210) < 3, "the last step's"
        assert video.streams.audio[0].rate == 48_000


def test_each_data_set_has_its_loss_as_long_as_it_is_trained_on(run):
    assert page_of(run).by_data_set is None
    assert "by data set" not in report_html(run)
    steps = [
        replace(
            step,
            loss_by_data_set=(1.0 + step.step / 40, math.nan)
            if step.step <= 30
            else (math.nan, 5.0),
        )
        for step in run.metrics()
    ]
    write_steps(run.metrics_file, steps)
    names = ("small", "large")
    written = run.configuration()
    data = {"more_data_sets": ["/home/jane-doe/large: stage 2"], "stage_steps": [30]}
    data |= {"preprocessed_data_root": "/home/jane-doe/small"}
    yaml_file.save(build(TrainingConfig, written.model_dump() | {"data": data}), run.config_file)
    drawing = page_of(run).by_data_set
    assert tuple(curve.name for curve, _ in drawing.curves) == names
    (small, _), (large, _) = drawing.curves
    assert [step for step, _ in small.finite] == list(range(1, 31))
    assert large.finite == [(step, pytest.approx(5.0)) for step in range(31, 41)]
    average = 1 + (1 + 2 * 0.95**-1) / (40 * (1 + 0.95**-1))
    assert small.finite[1][1] == pytest.approx(average)
    page = report_html(run)
    assert "<h2>Loss by data set</h2>" in page
    assert 'class="set-1"' in page
    assert "jane-doe" not in re.sub(r"base64,[\w+/=]+", "", page)


def test_held_out_clips_of_several_data_sets_have_a_line_each(run):
    for step, loss in ((0, 3.0), (20, 1.0), (40, 2.0)):
        clips = ((loss,), (loss + 0.5,), (loss + 3,))
        sets = ("small", "small", "large")
        run.append_held_out(HeldOutLosses(step, (0.5,), clips, data_sets=sets))
    curves = {curve.name: curve.finite for curve, _ in page_of(run).held_out.curves}
    assert curves["small"] == [(0, 3.25), (20, 1.25), (40, 2.25)]
    assert curves["large"] == [(0, 6.0), (20, 4.0), (40, 5.0)]


def test_a_page_stays_small_and_says_what_it_leaves_out(run, monkeypatch):
    whole = samples.samples_of(run, PROMPTS, None)
    assert (whole.steps, whole.left_out) == ((0, 10, 20, 30, 40), 0)
    one = len(whole.rows[0].videos[0])
    monkeypatch.setattr(samples, "MOST_BYTES", int(4.5 * one))
    small = samples.samples_of(run, PROMPTS, None)
    assert 5 <= small.left_out <= 6
    assert "more videos are left out" in report_html(run)


def test_the_best_step_is_among_the_shown_ones(run):
    assert samples.samples_of(run, PROMPTS, 16).steps == (0, 10, 15, 20, 30, 40)


def test_what_is_no_video_or_link_is_left_out(run):
    (run.samples(40) / "000.mp4").write_bytes(b"no video")
    assert samples.samples_of(run, PROMPTS, None).rows[0].videos[-1] is None
    report_html(run)


def test_a_chart_has_its_values_where_they_belong():
    assert draw([Curve("loss", "raw", [(1, 2.0)])], 10) is None
    points = [(0, 3.0), (5, None), (5, float("nan")), (10, 1.0)]
    drawing = draw([Curve("loss", "raw", points)], 10, mark=5)
    ((_, path),) = drawing.curves
    left, right = (WIDTH * 0 + drawing.left, drawing.right)
    assert path == f"{left:.1f},{drawing.top:.1f} {right:.1f},{drawing.bottom:.1f}"
    assert drawing.mark == (left + right) / 2
    assert [label.text for label in drawing.labels] == ["3", "2.5", "2", "1.5", "1", "0", "10"]
    assert max(drawing.lines) < HEIGHT
    many = [(step, 1.0 if step % 100 else 50.0) for step in range(400)] + [(400, 0.0)]
    peaks = draw([Curve("loss", "raw", many)], 400)
    assert peaks.labels[0].text == "1", "single peaks are cut"


def test_a_trained_run_has_a_page_from_the_command_line(
    training_config, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = training_config(optimization={"steps": 2, "batch_size": 1})
    result = train(config)
    folder = result.run_folder
    assert main(["runs", "report", folder.name, "--in", str(folder.parent)]) == 0
    assert capsys.readouterr().out.strip() == f"{folder.name}.html"
    page = (tmp_path / f"{folder.name}.html").read_text(encoding="utf-8")
    assert re.search(r"\d+ clips, \d+ frames", page)
    assert "device: cpu" in page
    assert re.search(r"torch \d+\.\d+", page)
    assert (
        main(["runs", "report", folder.name, "--in", str(folder.parent), "--output", "a/b.html"])
        == 0
    )
    assert (tmp_path / "a" / "b.html").is_file()
    assert main(["runs", "report", folder.name, "--in", str(folder.parent), "--output", "a"]) == 0
    assert (tmp_path / "a" / f"{folder.name}.html").is_file()
    assert main(["runs", "report", "nothing", "--in", str(folder.parent)]) == 1
    assert "no run is named" in capsys.readouterr().err


def test_a_damaged_machine_file_says_nothing(run):
    assert "Machine" not in report_html(run)
    for content in ("[1, 2]", "{}", "[", '"text"'):
        run.machine_file.write_text(content, encoding="utf-8")
        assert run.machine() == ()
    run.machine_file.write_text('["a <card>"]', encoding="utf-8")
    assert "a &lt;card&gt;" in report_html(run)
