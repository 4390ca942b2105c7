import logging

import pytest
import torch
from engine_toys import NoisyRegression, Numbers, losses_of


def test_resuming_in_mid_epoch_repeats_nothing_and_changes_no_bit(make_runner, tmp_path):
    whole = make_runner(work_dir=tmp_path / 'a')
    whole.train()
    # 5 iterations per epoch: in the first, at its end, in the second
    for iteration in (3, 5, 8):
        resumed = make_runner(work_dir=tmp_path / 'b')
        resumed.resume(str(tmp_path / 'a' / f'iter_{iteration}.pth'))
        resumed.train()

        assert resumed.model.seen == whole.model.seen[iteration:]
        assert losses_of(resumed) == losses_of(whole)
        for got, expected in zip(resumed.model.parameters(), whole.model.parameters()):
            assert torch.equal(got, expected)
        assert (resumed.epoch, resumed.iter) == (2, 10)


def test_log_counts_on_from_where_the_run_stopped(make_runner, tmp_path):
    make_runner(work_dir=tmp_path / 'a').train()
    resumed = make_runner(
        work_dir=tmp_path / 'a',
        log_level='INFO',
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
    )
    resumed.resume(str(tmp_path / 'a' / 'iter_3.pth'))
    resumed.train()
    (log,) = (tmp_path / 'a' / resumed.timestamp).glob('*.log')
    lines = [line for line in log.read_text().splitlines() if 'Epoch(train)' in line]
    assert [line.split('Epoch(train)')[1].split()[0:2] for line in lines[:3]] == [
        ['[1][4/5]', 'lr:'],
        ['[1][5/5]', 'lr:'],
        ['[2][1/5]', 'lr:'],
    ]
    assert 'Resuming epoch 1 after 3 of 5 iterations' in log.read_text()


@pytest.mark.parametrize('batch_size', [2, 5, 6, 8])
def test_other_batch_size_goes_on_in_mid_epoch(make_runner, tmp_path, caplog, batch_size):
    whole = make_runner(work_dir=tmp_path / 'a')
    whole.train()
    order = [i for batch in whole.model.seen for i in batch]
    resumed = make_runner(NoisyRegression(), work_dir=tmp_path / 'b', batch_size=batch_size)
    resumed.resume(str(tmp_path / 'a' / 'iter_8.pth'))
    with caplog.at_level(logging.WARNING):
        resumed.logger.addHandler(caplog.handler)
        resumed.train()
    assert [i for batch in resumed.model.seen for i in batch] == order[32:]
    assert '12 of 20 samples of epoch 2 are left out' in caplog.text
    length = -(-20 // batch_size)
    assert (resumed.epoch, resumed.iter) == (2, 2 * length)

    again = make_runner(NoisyRegression(), work_dir=tmp_path / 'c', batch_size=3)
    last = max((tmp_path / 'b').glob('iter_*.pth'), key=lambda path: path.stat().st_mtime_ns)
    first = sorted((tmp_path / 'b').glob('iter_*.pth'), key=lambda p: int(p.stem[5:]))[0]
    again.resume(str(first))
    again.train()
    assert [i for batch in again.model.seen for i in batch] == order[32 + batch_size :]
    finished = make_runner(NoisyRegression(), work_dir=tmp_path / 'd', batch_size=3)
    finished.resume(str(last))
    finished.train()
    assert finished.model.seen == []


def test_other_data_begin_the_epoch_anew(make_runner, tmp_path, caplog):
    make_runner(work_dir=tmp_path / 'a').train()
    sampler = dict(type='ReproducibleSampler', shuffle=True)
    data = dict(batch_size=4, num_workers=0, sampler=sampler, dataset=Numbers(16))
    resumed = make_runner(NoisyRegression(), work_dir=tmp_path / 'b', train_dataloader=data)
    resumed.resume(str(tmp_path / 'a' / 'iter_8.pth'))
    with caplog.at_level(logging.WARNING):
        resumed.logger.addHandler(caplog.handler)
        resumed.train()
    assert sorted(i for batch in resumed.model.seen for i in batch) == list(range(16))
    assert '5 iterations per epoch, this one has 4' in caplog.text


@pytest.mark.parametrize('seed', [None, 4])
def test_seed_of_the_checkpoint_reaches_the_sampler(make_runner, tmp_path, seed):
    """Also if the config has none, or was given another one since."""
    whole = make_runner(work_dir=tmp_path / 'a', randomness=dict(seed=seed and 3))
    whole.train()
    resumed = make_runner(
        work_dir=tmp_path / 'b',
        randomness=dict(seed=seed),
        load_from=str(tmp_path / 'a' / 'iter_7.pth'),
        resume=True,
    )
    assert resumed.seed != whole.seed
    resumed.train()
    assert resumed.model.seen == whole.model.seen[7:]
    assert losses_of(resumed) == losses_of(whole)
