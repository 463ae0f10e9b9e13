"""What torch writes: faults of the disk are those of the system."""

import errno

import pytest
import torch

from ltxv_train_core.storage.torch_files import read_torch_file, write_torch_file
from tests.helpers.disk_faults import files_of_at_most


@pytest.mark.parametrize("size", [1, 100, 700, 5_000, 20_000])
def test_a_disk_that_is_full_in_the_middle_is_an_error_of_the_system(tmp_path, size):
    path, value = tmp_path / "a.pt", {"a": torch.arange(8_000, dtype=torch.float32)}
    with files_of_at_most(size), pytest.raises(OSError) as raised:  # noqa: PT011
        write_torch_file(path, value)
    assert raised.value.errno == errno.EFBIG
    write_torch_file(path, value)
    assert torch.equal(read_torch_file(path)["a"], value["a"])
