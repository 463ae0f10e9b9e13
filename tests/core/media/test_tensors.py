import numpy as np
import torch

from ltxv_train_core.media.tensors import frames_to_tensor, tensor_to_frames


def test_every_level_survives_the_way_there_and_back():
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    frames[..., 1] = 255 - frames[..., 0]
    tensor = frames_to_tensor(frames)
    assert tensor.shape == (1, 3, 1, 16, 16)
    assert tensor.is_contiguous()
    assert (tensor.min().item(), tensor.max().item()) == (-1.0, 1.0)
    np.testing.assert_array_equal(tensor_to_frames(tensor)[0], frames)
    assert tensor_to_frames(torch.full((1, 3, 1, 1, 1), 7.0)).max() == 255
