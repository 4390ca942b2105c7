import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from simmim_mm.datasets import DataError
from simmim_mm.experiments.label_share import choose, classes_of, take_share


@pytest.mark.parametrize('seed', [0, 1])
def test_shares_are_nested_and_equal_in_each_class(seed):
    labels = [0] * 100 + [1] * 10 + [2] * 3
    present = [{label} for label in labels]
    former: set[int] = set()
    for share in (0.01, 0.1, 0.5, 1.0):
        chosen = choose(present, share, seed)
        assert chosen == sorted(set(chosen)) == choose(present, share, seed)
        for label, number in ((0, 100), (1, 10), (2, 3)):
            found = sum(labels[i] == label for i in chosen)
            assert found == int(np.ceil(round(share * number, 6)))
        assert former <= set(chosen)
        former = set(chosen)
    assert choose(present, 0.1, 0) != choose(present, 0.1, 2)


def test_rare_classes_of_images_with_several_are_kept():
    present = [{0, 1}] * 50 + [{0, 1, 2}] * 2 + [set()] * 10
    chosen = choose(present, 0.1, 0)
    assert len(chosen) == 5 + 1 + 1
    assert any(50 <= i < 52 for i in chosen) and any(i >= 52 for i in chosen)


def test_labels_of_all_three_tasks(tmp_path):
    assert classes_of(dict(img_path='a', gt_label=np.array(3))) == {3}
    assert classes_of(dict(instances=[dict(bbox_label=1), dict(bbox_label=1)])) == {1}
    Image.fromarray(np.array([[0, 2], [255, 2]], np.uint8)).save(tmp_path / 'a.png')
    assert classes_of(dict(seg_map_path=str(tmp_path / 'a.png'))) == {0, 2}
    assert classes_of(dict(seg_map_path=str(tmp_path / 'a.png')), {2: 1, 0: 255}) == {1}
    with pytest.raises(DataError, match='needs labels'):
        classes_of(dict(img_path='a'))


@pytest.fixture
def cfg(tmp_path):
    for name in 'ab':
        (tmp_path / name).mkdir()
        for i in range(8):
            Image.new('RGB', (8, 8)).save(tmp_path / name / f'{i}.png')
    dataset = dict(type='CustomDataset', data_prefix=str(tmp_path), pipeline=[])
    return Config(dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dataset)))


def test_a_config_uses_the_share(cfg):
    text = take_share([cfg], 0.25)
    assert text.startswith('4 of 16 training images are used') and text.endswith(': a 2, b 2')
    from mmengine.registry import DATASETS

    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert sorted(dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))) == [0, 0, 1, 1]
    with pytest.raises(DataError, match='without indices'):
        take_share([cfg], 0.25)


@pytest.mark.parametrize('share', [0, -0.1, 10])
def test_a_share_out_of_range_is_refused(cfg, share):
    with pytest.raises(DataError, match='above 0 and at most 1'):
        take_share([cfg], share)
