import shutil

import pytest

from simmim_mm.checkpoint.disk import DiskFull, require_space


def test_what_does_not_fit_is_refused_before_a_folder_is_made(tmp_path):
    folder = tmp_path / 'runs/one'
    free = shutil.disk_usage(tmp_path).free
    require_space(folder, free // 2)
    with pytest.raises(DiskFull, match=r'no space left for .*runs/one: ten checkpoints take'):
        require_space(folder, 2 * free, 'ten checkpoints')
    assert not folder.parent.exists()
