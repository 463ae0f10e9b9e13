"""What is in memory while steps run, and after."""

import gc

import pytest
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from torch import Tensor
from torch.nn import Parameter
from transformers import T5EncoderModel

from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.training.trainer import train


def alive() -> list[int]:
    """Video autoencoders, text encoders and transformers that exist."""
    gc.collect()
    kinds = (AutoencoderKLLTXVideo, T5EncoderModel, LTXVideoTransformer3DModel)
    types = list(map(type, gc.get_objects()))
    return [sum(issubclass(each, kind) for each in types) for kind in kinds]


def tensors() -> set[int]:
    """The tensors that exist, by id."""
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if type(thing) in (Tensor, Parameter)}


class AfterOneStep:
    """A stop signal that is set after the first step: it is asked twice while the run loads."""

    def __init__(self):
        self.asked = 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked > 3


def test_no_tensor_of_a_run_is_left(training_config):
    options = {"steps": 2, "ema_decay": 0.9}
    train(training_config(seed=1, optimization=options))  # what libraries keep for themselves
    before = tensors()
    result = train(training_config(optimization=options))
    stopped = train(training_config(seed=2, optimization=options), stop=AfterOneStep())
    with pytest.raises(LTXVTrainError) as failed:
        train(training_config(lora={"target_modules": ["nothing"]}))
    assert tensors() - before == set()
    assert (result.finished, stopped.finished) == (True, False)
    assert failed.value.problems


def test_only_the_transformer_is_there_while_steps_run_and_nothing_after(training_config):
    before = alive()
    while_training = []

    def watch(event):
        if isinstance(event, StepCompleted):
            while_training.append([now - then for now, then in zip(alive(), before, strict=True)])

    config = training_config(
        optimization={"steps": 2},
        validation={
            "prompts": ["a ring"],
            "video_dims": [64, 64, 9],
            "inference_steps": 1,
            "interval": 1,
        },
    )
    train(config, watch)
    assert while_training == [[0, 0, 1]] * 2
    assert alive() == before
