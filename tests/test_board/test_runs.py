"""What a row of the table says of a training."""

import os
import time
from datetime import datetime

import pytest
from board_toys import write_run
from mmengine.config import ConfigDict

from simmim_mm.board.runs import COLUMNS, find_runs, method_name
from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.run_lock import LOCK_FILE, RunLock


def cells(root, name='runs/a'):
    return dict(zip(COLUMNS, find_runs([root])[name].row()))


def test_a_row_says_what_is_trained_on_what_and_how_far(tmp_path):
    write_run(tmp_path / 'runs' / 'a')
    found = cells(tmp_path / 'runs')
    expected = dict(method='SimMIM', backbone='MaskedSwin tiny', data='/my/images', loss=1.0)
    assert {key: found[key] for key in expected} == expected
    assert found['done'] == '2 of 3 epochs' and found['kNN %'] is None
    seen = datetime.fromisoformat(found['last sign of life']).timestamp()
    assert time.time() - seen == pytest.approx(3600, abs=60)


def test_a_run_is_running_ended_stopped_or_killed(tmp_path):
    folder = tmp_path / 'runs' / 'a'
    write_run(folder)
    assert cells(tmp_path / 'runs')['status'] == 'stopped'
    with RunLock(folder):
        assert cells(tmp_path / 'runs')['status'] == 'running'
    (folder / LOCK_FILE).touch()
    os.utime(folder / LOCK_FILE, (time.time() - 60,) * 2)
    assert cells(tmp_path / 'runs')['status'] == 'killed'
    (folder / LOCK_FILE).unlink()
    (folder / 'epoch_2.pth').touch()
    assert cells(tmp_path / 'runs')['status'] == 'stopped'
    (folder / 'epoch_3.pth').touch()
    assert cells(tmp_path / 'runs')['status'] == 'ended'


def test_runs_are_found_below_but_not_in_copies_or_behind_links(tmp_path):
    root = tmp_path / 'runs'
    for name in ('a', 'sweep/b', 'mlartifacts/1/artifacts'):
        write_run(root / name)
    write_run(tmp_path / 'elsewhere')
    (root / 'link').symlink_to(tmp_path / 'elsewhere')
    assert list(find_runs([root])) == ['runs/a', 'runs/sweep/b']
    with pytest.raises(DataError, match=r'no folder .*gone'):
        find_runs([tmp_path / 'gone'])


@pytest.mark.parametrize(
    ('model', 'name'),
    [
        (dict(type='MaskedImageModel', backbone=dict(mask_mode='gather')), 'MAE'),
        (dict(type='simmim_mm.MaskedImageModel', target=[dict(type='NormPix')]), 'SimMIM'),
        (dict(type='MaskedImageModel', target=[dict(type='LowFreq')]), 'PixMIM on SimMIM'),
        (dict(type='mmdet.FasterRCNN'), 'FasterRCNN'),
        (dict(), ''),
    ],
)
def test_a_method_is_named_by_what_makes_it(model, name):
    assert method_name(ConfigDict(model)) == name
