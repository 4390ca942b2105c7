import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from PIL import Image
from skimage import data
from vis_toys import tiny_config

from simmim_mm.datasets.evaluation_pipeline import evaluation_pipeline


@pytest.mark.parametrize('size', [(32, 48), (48, 32), (32, 32)])
def test_random_crop_becomes_the_centered_one(tmp_path, size):
    init_default_scope('simmim_mm')
    photo = data.chelsea()  # 300 x 451
    Image.fromarray(photo).save(tmp_path / 'a.png')
    steps = evaluation_pipeline(tiny_config(size=size))
    shown = Compose(steps)(dict(img_path=str(tmp_path / 'a.png')))['inputs']

    height, width = 300, 451
    ratio = size[1] / size[0]
    tall, wide = (
        (height, round(height * ratio)) if width / height > ratio else (round(width / ratio), width)
    )
    top, left = (height - tall) // 2, (width - wide) // 2
    crop = Image.fromarray(photo[top : top + tall, left : left + wide])
    expected = np.asarray(crop.resize(size[::-1], Image.BILINEAR))
    assert np.abs(shown.permute(1, 2, 0).numpy().astype(int) - expected).mean() < 1.0


def test_validation_pipeline_is_taken_as_it_is():
    cfg = tiny_config()
    steps = [
        dict(type='LoadImage'),
        dict(type='ResizeEdge', scale=40),
        dict(type='mmpretrain.CenterCrop', crop_size=32),
        dict(type='RandomBlockMask', mask_patch_size=8),
    ]
    cfg.val_dataloader = dict(dataset=dict(type='ImageDataset', pipeline=steps))
    assert evaluation_pipeline(cfg) == steps
    cfg.val_dataloader = None
    assert 'RandomFlip' not in str(evaluation_pipeline(cfg))


def test_pipeline_is_found_under_wrappers():
    cfg = tiny_config()
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=2, dataset=inner)]
    )
    assert evaluation_pipeline(cfg) == evaluation_pipeline(tiny_config())


def test_config_of_another_task_is_refused():
    with pytest.raises(ValueError, match='mask transform'):
        evaluation_pipeline(Config(dict(train_dataloader=None)))


def test_augmentations_are_left_out():
    cfg = tiny_config()
    steps = [
        dict(type='LoadImage'),
        dict(type='TorchvisionTransform', transform=dict(type='RandomAffine', degrees=10)),
        dict(type='mmpretrain.torchvision/RandomPerspective'),
        dict(type='torchvision/RandomRotation', degrees=10),
        dict(type='mmpretrain.ColorJitter'),
        dict(type='RandomBlockMask', mask_patch_size=8),
    ]
    cfg.train_dataloader.dataset.pipeline = steps
    assert evaluation_pipeline(cfg) == [steps[0], steps[-1]]


@pytest.mark.parametrize('mask', ['RandomBlockMask', 'SemanticMask'])
def test_foreground_maps_are_loaded_only_where_the_mask_needs_them(mask):
    cfg = tiny_config()
    steps = [
        dict(type='LoadImage'),
        dict(type='LoadForeground'),
        dict(type=mask, mask_patch_size=8),
        dict(type='PackInputs', algorithm_keys=['mask', 'foreground']),
    ]
    cfg.val_dataloader = dict(dataset=dict(type='ImageDataset', pipeline=steps))
    types = [step['type'] for step in evaluation_pipeline(cfg)]
    assert ('LoadForeground' in types) == (mask == 'SemanticMask')
    assert evaluation_pipeline(cfg)[-1]['algorithm_keys'] == ['mask']
