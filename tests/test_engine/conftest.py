import pytest
import torch
from engine_toys import NoisyRegression, Numbers
from mmengine.config import Config
from mmengine.runner import Runner

import simmim_mm.datasets.samplers  # noqa: F401


@pytest.fixture
def make_runner(tmp_path):
    """Builds a real runner of 20 samples, 5 batches of 4 per epoch."""
    count = 0

    def make(model=None, *, work_dir=None, batch_size=4, max_epochs=2, hooks=(), **settings):
        nonlocal count
        count += 1
        torch.manual_seed(0)
        cfg = dict(
            default_scope='simmim_mm',
            work_dir=str(work_dir or tmp_path / 'work'),
            experiment_name=f'{tmp_path.name}_{count}',
            train_dataloader=dict(
                batch_size=batch_size,
                num_workers=0,
                sampler=dict(type='ReproducibleSampler', shuffle=True),
                dataset=Numbers(),
            ),
            train_cfg=dict(type='EpochTrainLoop', max_epochs=max_epochs),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
            param_scheduler=dict(
                type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True
            ),
            default_hooks=dict(
                checkpoint=dict(type='AtomicCheckpointHook', interval=1, by_epoch=False)
            ),
            custom_hooks=[dict(type='ReproducibilityHook'), dict(type='LossHook'), *hooks],
            randomness=dict(seed=3),
            log_level='WARNING',
        )
        cfg.update(settings)
        return Runner(
            model if model is not None else NoisyRegression(), **cfg, cfg=Config(dict(n=count))
        )

    return make
