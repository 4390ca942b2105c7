"""`simmim scan --annotations` looks through COCO jsons as a training does."""

import json
import shutil

import pytest

from simmim_mm.cli import main
from simmim_mm.experiments.shapes import write_shapes


@pytest.fixture
def data(tmp_path):
    write_shapes(tmp_path / 'data', train=3, val=2, unlabeled=0, size=48)
    return tmp_path / 'data'


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return content


def scan(data, *jsons):
    out = data / 'scan'
    images = data / 'images' / 'train'
    main(
        ['scan', str(images), '--out', str(out), '--workers', '0']
        + ['--annotations', *map(str, jsons)]
    )
    return out


def test_sound_annotations(data, capsys):
    path = data / 'annotations' / 'instances_train.json'
    out = scan(data, path)
    assert f'{path}: nothing is wrong' in capsys.readouterr().out
    assert not list(out.glob('*.json'))


def test_a_repaired_copy_is_written(data, capsys):
    pytest.importorskip('pycocotools')
    path = data / 'annotations' / 'instances_train.json'
    before = edit(path, lambda c: None)
    edit(path, lambda c: [a.pop(key) for a in c['annotations'] for key in ('iscrowd', 'area')])
    out = scan(data, path)
    printed = capsys.readouterr().out
    assert 'annotations have no iscrowd (' in printed and 'no area above 0' in printed
    assert printed.count('repaired in memory') == 2
    copy = json.loads((out / path.name).read_text())
    assert all(a['iscrowd'] == 0 and a['area'] > 0 for a in copy['annotations'])
    assert copy['images'] == before['images'] and copy['categories'] == before['categories']

    shutil.copy(path, out / path.name)
    with pytest.raises(SystemExit):
        scan(data, out / path.name)
    assert 'would be overwritten' in capsys.readouterr().err


def test_what_cannot_be_used_is_printed_of_all_files(data, capsys):
    train, val = (data / 'annotations' / f'instances_{part}.json' for part in ('train', 'val'))
    edit(train, lambda c: c['annotations'][0].update(bbox=None))
    edit(val, lambda c: c['images'][0].update(file_name='gone.png'))
    with pytest.raises(SystemExit):
        scan(data, train, val)
    printed, error = capsys.readouterr()
    assert f'error: {train}: 1 of' in printed and 'four finite numbers' in printed
    assert (
        'gone.png' in printed
        and 'no training would take these' in error
        and str(train) in error
        and str(val) in error
    )
