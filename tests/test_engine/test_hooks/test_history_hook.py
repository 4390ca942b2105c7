"""What is logged does not fill the memory, or the checkpoints, of a long run."""

import pytest
import torch
from engine_toys import losses_of


@pytest.mark.parametrize(('window', 'kept'), [(None, 20), (25, 25), ('global', 40), ('epoch', 40)])
def test_the_last_values_are_kept(make_runner, tmp_path, window, kept):
    """Of 40 iterations; what a log averages over is there."""
    average = dict(data_src='loss', log_name='x', method_name='mean', window_size=window)
    custom = [] if window is None else [average]
    logs = dict(log_processor=dict(window_size=10, custom_cfg=custom))
    checkpoint = dict(type='AtomicCheckpointHook', interval=8, by_epoch=True)
    settings = dict(max_epochs=8, default_hooks=dict(checkpoint=checkpoint), **logs)
    whole = make_runner(work_dir=tmp_path / 'whole', **settings)
    whole.train()
    bounded = make_runner(hooks=[dict(type='HistoryHook', length=20)], **settings)
    bounded.train()
    assert losses_of(bounded) == losses_of(whole)[-kept:]
    saved = torch.load(tmp_path / 'work/epoch_8.pth', weights_only=False)['message_hub']
    assert len(saved['log_scalars']['train/loss'].data[0]) == kept
