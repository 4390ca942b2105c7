"""What a row of the table says of a training."""

import os
import time
from datetime import datetime

import pytest
from board_toys import CONFIG, write_run
from mmengine.config import ConfigDict
from PIL import Image

from simmim_mm.board.page import Board
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


@pytest.mark.parametrize(('seconds', 'status'), [(60, 'ended'), (1e12, 'stopped')])
def test_a_training_for_a_time_ends_at_it_after_fewer_iterations(tmp_path, seconds, status):
    loop = f"dict(type='TimedTrainLoop', max_iters=129, seconds={seconds})"
    write_run(tmp_path / 'runs' / 'a', config=CONFIG.replace('dict(max_epochs=3)', loop))
    (tmp_path / 'runs' / 'a' / 'iter_84.pth').touch()
    found = cells(tmp_path / 'runs')
    assert found['done'] == '18 iterations' and found['status'] == status


def test_a_config_of_odd_values_has_a_row(tmp_path):
    odd = (
        'model = dict(backbone=3, target=[4])\ntrain_cfg = [5]\ntrain_dataloader = dict(dataset=6)'
    )
    write_run(tmp_path / 'runs' / 'a', config=odd)
    assert cells(tmp_path / 'runs')['data'] == ''


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


def test_a_drawing_in_a_format_that_is_not_read_is_left_out(tmp_path):
    """As of an EPS by that name, for which Pillow would start a program."""
    write_run(tmp_path / 'runs' / 'a')
    drawn = tmp_path / 'runs' / 'a' / 'vis_data' / 'reconstruction_0000001.png'
    drawn.parent.mkdir()
    for kind, shown in (('PNG', True), ('PCX', False)):
        Image.new('RGB', (4, 4)).save(drawn, kind)
        page = Board([tmp_path / 'runs']).side_by_side(['runs/a'])
        assert ('runs/a, iteration 1' in page) == shown == ('no pictures' not in page)
