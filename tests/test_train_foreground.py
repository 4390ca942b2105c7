"""The foreground branch learns where unseen objects are, and the reconstruction does not suffer."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from simmim_mm.experiments.shapes import write_shapes

CONFIG = Path(__file__).parents[1] / 'configs/demo/foreground_shapes.py'
ITERATIONS = 140


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    write_shapes(folder, train=150, val=40, unlabeled=0, size=64)
    return folder


def train(work_dir, shapes, weight):
    """Figures of the validation after a short training."""
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    cfg.vis_backends = cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    cfg.model.backbone.update(
        arch=dict(embed_dims=32, depths=[1, 1, 2], num_heads=[1, 2, 4]), img_size=64, window_size=4
    )
    cfg.model.neck.in_channels = cfg.model.foreground.neck.in_channels = 128
    cfg.model.foreground.loss_weight = weight
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val')):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.dataset.data_root = str(shapes / 'images' / split)
        pipeline = loader.dataset.dataset.pipeline
        pipeline[:] = [step for step in pipeline if 'Jitter' not in step.type]  # easier, so shorter
        for step in pipeline:
            if step.type == 'CenterCrop':
                step.crop_size = (64, 64)
            elif step.type == 'RandomResizedCrop':
                step.update(scale=64, crop_ratio_range=(0.67, 1.0))
            elif step.type == 'ResizeEdge':
                step.scale = 64
    cfg.train_dataloader.batch_size = 16
    cfg.optim_wrapper.optimizer.lr = 2e-3
    cfg.train_cfg.update(max_iters=ITERATIONS, val_interval=ITERATIONS)
    cfg.param_scheduler[1].end = ITERATIONS
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.message_hub.log_scalars


@pytest.mark.slow
def test_iou_rises_above_the_share_and_the_reconstruction_stays(tmp_path, shapes):
    figures = []
    for name, weight in (('with', 0.1), ('without', 0.0)):
        scalars = train(tmp_path / name, shapes, weight)
        figures.append({k: v.current() for k, v in scalars.items() if k.startswith('val/')})
    both, plain = figures
    assert both['val/foreground/iou'] > both['val/foreground/share'] + 0.05
    assert both['val/masked_loss/loss'] < 1.05 * plain['val/masked_loss/loss']
