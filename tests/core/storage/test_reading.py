import os
import sys

import pytest

from ltxv_train_core.errors import shown
from ltxv_train_core.storage.reading import (
    NotRegularError,
    TooLargeError,
    parse_json,
    read_json,
    read_text,
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(NotRegularError):
        read_json(tmp_path / "pipe.json")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev")
def test_a_device_is_refused(tmp_path):
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    with pytest.raises(NotRegularError):
        read_text(tmp_path / "zero.yaml")


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path):
    with pytest.raises(NotRegularError):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "nu\0ll")


def test_size_has_a_bound(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"x" * 11)
    assert read_text(path, largest_bytes=11) == "x" * 11
    with pytest.raises(TooLargeError, match=r"11 bytes, and at most 10"):
        read_text(path, largest_bytes=10)


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_text(tmp_path):
    path = tmp_path / "dos.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": NaN}', "-Infinity", "", '"\x01"', "1" * 5000]
)
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011
        parse_json(text)


def test_values_in_messages_have_a_bound():
    assert shown("a b") == "'a b'"
    assert len(shown("x" * 10_000)) == 80
    assert len(shown(10**2000)) < 80
    assert shown({"password": "hunter2"}) == "dict of 1"
