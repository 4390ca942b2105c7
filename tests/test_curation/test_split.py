import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simmim_mm.cli import main
from simmim_mm.curation import join_groups, named_groups


def test_groups_by_folder_or_pattern_are_whole():
    paths = ['sick/p1/a.png', 'sick/p1/b.png', 'well/p2/a.png', 'well/p3/a.png']
    assert named_groups(paths, 'folder') == ['sick/p1', 'sick/p1', 'well/p2', 'well/p3']
    assert (
        named_groups(paths, r'p\d') == named_groups(paths, r'/(p\d)/') == ['p1', 'p1', 'p2', 'p3']
    )
    with pytest.raises(ValueError, match=r"not found in 1 of 4 paths, such as 'well/p3/a.png'"):
        named_groups(paths, 'p[12]')
    with pytest.raises(ValueError, match='no regular expression'):
        named_groups(paths, '(p')


def test_a_group_and_duplicates_are_joined():
    joined = join_groups([0, 1, 1, 2, 3], ['a', 'a', 'b', 'c', 'd'])
    assert len(set(joined[:3])) == 1 and len(set(joined)) == 3


@pytest.mark.parametrize('layout', ['patient_{0}/{1}.png', 'patient_{0}_frame_{1}.png'])
@pytest.mark.parametrize('classes', [False, True])
def test_split_keeps_patients_on_one_side(tmp_path, monkeypatch, capsys, layout, classes):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for patient in range(6):
        for frame in range(5):
            folder = f'images/{"sick" if patient % 2 else "well"}/' if classes else 'images/'
            path = tmp_path / (folder + layout.format(patient, frame))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(path)
    by_folder = layout.startswith('patient_{0}/')
    options = ['--ratios', '0.5', '0.5', '--workers', '0']
    main(['split', 'images', *options, '--group', 'folder' if by_folder else r'patient_\d'])
    shown = capsys.readouterr().out
    assert '6 groups' in shown and ('taken for 2 classes' in shown) == classes
    parts = [Path('split', f'{part}.txt').read_text() for part in ('train', 'val')]
    found = [set(re.findall(r'patient_\d', part)) for part in parts]
    assert len(found[0] | found[1]) == 6 == len(found[0]) + len(found[1])
    assert all(part.count('\n') >= 10 for part in parts)


def test_split_says_what_subfolders_are_and_which_part_is_empty(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in 'ab':
        (tmp_path / 'images' / name).mkdir(parents=True)
        image = Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8))
        image.save(tmp_path / 'images' / name / 'x.png')
    main(['split', 'images', '--workers', '0'])
    shown = capsys.readouterr().out
    assert 'subfolders are taken for 2 classes, each of which is split; --group folder' in shown
    assert 'warning: val is empty' in shown


def test_no_list_of_an_earlier_split_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for i in range(10):
        image = Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8))
        image.save(tmp_path / 'images' / f'{i}.png')
    main(['split', 'images', '--workers', '0'])
    assert Path('split/test.txt').read_text()
    main(['split', 'images', '--workers', '0', '--ratios', '0.5', '0.5', '--seed', '1'])
    assert not Path('split/test.txt').read_text()
