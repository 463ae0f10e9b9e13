import numpy as np

from ltxv_train_core.media.sheet import BACKGROUND, MARGIN_PX, contact_sheet


def test_a_sheet_shows_first_to_last_frame_of_every_video():
    levels = np.arange(50, 250, 10, dtype=np.uint8)[:17]
    video = np.broadcast_to(levels[:, None, None, None], (17, 64, 96, 3))
    sheet = np.asarray(contact_sheet([[video, video], [video]], frames=3))
    assert sheet.shape == (MARGIN_PX + 2 * (64 + MARGIN_PX), 2 * MARGIN_PX + 2 * 292 + 16, 3)
    middle = sheet[MARGIN_PX + 32]
    assert [middle[MARGIN_PX + 98 * i + 40, 0] for i in range(3)] == [50, 130, 210]
    assert tuple(sheet[MARGIN_PX + 64 + MARGIN_PX + 32, -40]) == BACKGROUND


def test_large_frames_are_shown_smaller_and_long_labels_are_wrapped():
    video = np.full((2, 128, 1024, 3), 200, np.uint8)
    plain = contact_sheet([[video]])
    assert plain.size == (2 * MARGIN_PX + 2 * 256 + 2, 32 + 2 * MARGIN_PX)
    one_line = contact_sheet([[video]], ["a prompt"])
    many = contact_sheet([[video]], ["a prompt of many words " * 20])
    assert one_line.width == many.width == plain.width
    assert plain.height < one_line.height < many.height
