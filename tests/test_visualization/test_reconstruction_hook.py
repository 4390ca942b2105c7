from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from vis_toys import tiny_config, write_photos

from simmim_mm.engine.hooks import ReconstructionHook


def _train(folder, *, hook: bool, val: bool = True, num_images: int = 2, **model) -> Runner:
    """Five iterations on three photographs, with drop path and nobody to seed each iteration."""
    cfg = tiny_config().to_dict()
    cfg['model']['backbone']['drop_path_rate'] = 0.5
    cfg['model'].update(model)
    images = dict(cfg['train_dataloader']['dataset'], data_root=str(folder.parent / 'photos'))

    def loader(**sampler) -> dict:
        return dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='ReproducibleSampler', **sampler),
            dataset=dict(type='RepeatDataset', times=4, dataset=images),
        )

    cfg.update(
        work_dir=str(folder),
        experiment_name=str(folder),
        train_dataloader=loader(shuffle=True),
        train_cfg=dict(by_epoch=False, max_iters=5, val_interval=5),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        visualizer=dict(
            type='Visualizer', vis_backends=[dict(type='LocalVisBackend')], name=str(folder)
        ),
        randomness=dict(seed=1),
        log_level='ERROR',
    )
    if val:
        validation = loader(shuffle=False, fixed=True)
        cfg.update(val_dataloader=validation, val_cfg={}, val_evaluator=dict(type='MaskedLoss'))
    if hook:
        draw = dict(type='ReconstructionHook', interval=2, num_images=num_images)
        cfg['custom_hooks'] = [draw]
    runner = Runner.from_cfg(Config(cfg))
    runner.train()
    return runner


def _pictures(folder) -> dict:
    files = sorted((folder / 'vis_data').iterdir())
    return {file.name: np.asarray(Image.open(file)).astype(int) for file in files}


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / 'photos')
    return tmp_path


def test_pictures_show_the_same_images_while_the_model_learns(folder):
    runner = _train(folder / 'run', hook=True)
    found = _pictures(folder / 'run')
    assert list(found) == [f'reconstruction_{i:07d}.png' for i in (2, 4, 5)]
    first, _, last = found.values()
    original_and_masked = np.s_[:, : 6 + 2 * (192 + 6)]  # columns of 48 pixels, enlarged by 4
    np.testing.assert_array_equal(first[original_and_masked], last[original_and_masked])
    assert (first != last).any()
    top, bottom = last[22:150, 6:198], last[156:284, 6:198]
    assert np.abs(top - bottom).mean() > 10  # two photographs, although the dataset repeats three
    sent = Path(runner.visualizer.get_backend('LocalVisBackend')._img_save_dir)
    assert len(list(sent.glob('reconstruction_*.png'))) == 3


def test_training_does_not_notice(folder):
    losses = [
        _train(folder / name, hook=name == 'with').message_hub.get_scalar('train/loss').data[0]
        for name in ('without', 'with')
    ]
    assert len(losses[0]) == 5
    np.testing.assert_array_equal(*losses)


def test_without_validation_training_images_are_drawn(folder):
    _train(folder / 'run', hook=True, val=False, num_images=7)
    (*_, last) = _pictures(folder / 'run').values()
    assert last.shape[0] == 22 + 3 * (128 + 6)  # there are no more than three


def test_what_is_not_an_image_is_not_drawn(folder):
    neck = dict(type='PixelShuffleDecoder', in_channels=32, stride=1, out_channels=27)
    runner = _train(folder / 'run', hook=True, target=[dict(type='HOG')], neck=neck)
    assert runner.iter == 5
    assert not list((folder / 'run').glob('**/reconstruction_*.png'))


def test_number_of_images_is_checked():
    with pytest.raises(ValueError, match='num_images'):
        ReconstructionHook(num_images=0)
