"""Trained LoRAs are told apart: one that learned the beep, one of the video's layers alone, one of films without sound."""

import pytest

from ltxv_train_core.demo import recipe
from ltxv_train_core.errors import DataError
from ltxv_train_core.families.ltx2.miniature.datasets import evaluation_items, generate
from ltxv_train_core.families.ltx2.miniature.scenes import FPS
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.trainer import train
from ltxv_train_core.voice.listen import listen_to

pytestmark = pytest.mark.minutes
TASK = "stripes_and_beep"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The same clips with sound, and without."""
    made = generate(TASK, tmp_path_factory.mktemp("clips"))
    folder = tmp_path_factory.mktemp("prepared")
    return {
        with_sound: preprocess(
            PreprocessSettings(
                made.metadata,
                MINIATURE,
                "96x96x17",
                id_token=recipe.TRIGGER,
                with_sound=with_sound,
                output_dir=folder / str(with_sound),
            )
        ).root
        for with_sound in (True, False)
    }


def trained(output, root, steps, layers=None) -> RunFolder:
    config = recipe.training_config(TASK, root, output, 0, MINIATURE).model_dump(mode="json")
    prompts = [item.prompt for item in evaluation_items(TASK, 0)][:4]
    config["validation"] |= {
        "prompts": [f"{recipe.TRIGGER} {prompt}" for prompt in prompts],
        "video_dims": [96, 96, 17],
        "frame_rate": FPS,
        "interval": steps,
        "inference_steps": recipe.SAMPLING_STEPS,
        "guidance_scale": recipe.GUIDANCE_SCALE,
    }
    config["optimization"]["steps"] = steps
    if layers:
        config["lora"]["target_modules"] = layers
    return RunFolder(train(recipe.TrainingConfig.model_validate(config)).run_folder)


def test_a_lora_that_learned_the_sound(tmp_path, prepared):
    voice = listen_to(trained(tmp_path, prepared[True], 150))
    assert voice.result == "learned", voice.text
    assert voice.nearer == 4
    assert voice.before > 3 > 2.5 > voice.distance, voice.text


def test_a_lora_of_the_videos_layers(tmp_path, prepared):
    voice = listen_to(trained(tmp_path, prepared[True], 80, ["video"]))
    assert voice.result == "not learned", voice.text
    assert abs(voice.share) < 0.1, voice.text


def test_a_lora_of_films_without_sound(tmp_path, prepared):
    run = trained(tmp_path, prepared[False], 80)
    with pytest.raises(DataError, match=r"its clips have no sound"):
        listen_to(run)
    voice = listen_to(run, prepared[True])
    assert voice.result == "not learned", voice.text
    assert abs(voice.share) < 0.15, voice.text
