import os

import pytest
import torch
from mmengine.hooks import Hook

from simmim_mm.checkpoint.file_backend import TMP_SUFFIX, AtomicLocalBackend
from simmim_mm.engine.hooks import AtomicCheckpointHook
from simmim_mm.engine.resume import find_resumable


def _settings(**kwargs):
    hook = dict(type='AtomicCheckpointHook', interval=1, by_epoch=False, **kwargs)
    return dict(default_hooks=dict(checkpoint=hook))


def _pth(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith('.pth'))


def test_keeps_the_newest_also_over_a_resume(make_runner, tmp_path):
    work_dir = tmp_path / 'work'
    make_runner(max_epochs=1, **_settings(max_keep_ckpts=2)).train()
    assert _pth(work_dir) == ['iter_4.pth', 'iter_5.pth']
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / 'iter_5.pth')

    resumed = make_runner(max_epochs=2, **_settings(max_keep_ckpts=2))
    resumed.resume(str(work_dir / 'iter_5.pth'))
    resumed.train()
    assert _pth(work_dir) == ['iter_10.pth', 'iter_9.pth']


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_write_that_breaks_off_never_costs_a_checkpoint(make_runner, tmp_path, monkeypatch, keep):
    """The third checkpoint fails half-written; the second is there and loads."""
    write, count = AtomicLocalBackend._write, []

    def break_off(file, obj):
        if len(obj) > 500:  # a checkpoint, not the text of last_checkpoint
            count.append(obj)
        if len(count) == 3:
            file.write(obj[: len(obj) // 2])
            raise OSError('the disk is full')
        write(file, obj)

    monkeypatch.setattr(AtomicLocalBackend, '_write', staticmethod(break_off))
    with pytest.raises(OSError, match='disk is full'):
        make_runner(**_settings(max_keep_ckpts=keep)).train()
    work_dir = tmp_path / 'work'
    assert 'iter_2.pth' in _pth(work_dir) and 'iter_3.pth' not in _pth(work_dir)
    found, _ = find_resumable(work_dir)
    assert found == str(work_dir / 'iter_2.pth')
    assert torch.load(found, weights_only=False)['meta']['iter'] == 2


def test_unfinished_files_are_cleared_at_the_start(make_runner, tmp_path):
    stale = tmp_path / 'work' / f'.iter_7.pth.123{TMP_SUFFIX}'
    stale.parent.mkdir()
    stale.write_bytes(b'half')
    make_runner(max_epochs=1).train()
    assert not stale.exists()


@pytest.mark.parametrize('save_best', ['masked_loss/loss', ['masked_loss/loss', 'masked_loss/b']])
def test_best_checkpoint_is_replaced_only_by_a_written_one(
    make_runner, tmp_path, save_best, monkeypatch
):
    scores = iter([3.0, 2.0, 2.5, 1.0])
    work_dir = tmp_path / 'work'

    class Validate(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            score = next(scores, None)
            if score is not None:
                (hook,) = (h for h in runner.hooks if isinstance(h, AtomicCheckpointHook))
                metrics = {'masked_loss/loss': score, 'masked_loss/b': 10 - score}
                hook.after_val_epoch(runner, metrics)

    saved, put = [], AtomicLocalBackend.put

    def spy(self, obj, path):
        saved.append((os.path.basename(path), [n for n in _pth(work_dir) if 'best' in n]))
        put(self, obj, path)

    monkeypatch.setattr(AtomicLocalBackend, 'put', spy)
    runner = make_runner(max_epochs=1, **_settings(save_best=save_best, rule='less'))
    runner.register_hook(Validate(), 'LOWEST')
    runner.train()

    best = [n for n in _pth(work_dir) if n.startswith('best_masked_loss_loss')]
    assert len(best) == 1
    assert torch.load(work_dir / best[0], weights_only=False)['meta']['iter'] == 3
    # the former best one was still there while each new best one was written
    first, *later = [there for name, there in saved if name.startswith('best_masked_loss_loss')]
    assert first == [] or all('loss_loss' not in n for n in first)
    assert len(later) == 2
    for there in later:
        assert any('loss_loss' in n for n in there)


@pytest.mark.parametrize(
    ('by_epoch', 'counts', 'multiple'),
    [(False, 2, 2), (True, 2, 2), (True, 10, 2), (True, 5, None)],
)
def test_interval_inside_the_accumulation_is_warned_about(
    make_runner, caplog, by_epoch, counts, multiple
):
    checkpoint = dict(type='AtomicCheckpointHook', interval=1, by_epoch=by_epoch)
    runner = make_runner(
        max_epochs=1,
        default_hooks=dict(checkpoint=checkpoint),
        optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1), accumulative_counts=counts
        ),
    )
    runner.logger.addHandler(caplog.handler)
    runner.train()
    told = f'accumulation of {counts} iterations' in caplog.text
    assert told == bool(multiple) and (not told or f'a multiple of {multiple}.' in caplog.text)
