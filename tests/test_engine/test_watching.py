"""What a training tells trackers is read back by their own code, and probes choose checkpoints."""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from vis_toys import tiny_config
from wandb_server import sync_offline_run

from simmim_mm.catalog import configs_folder, load_config
from simmim_mm.cli.common import add_watching
from simmim_mm.engine import watching
from simmim_mm.engine.launch import adapt_dataloaders, complete_validation
from simmim_mm.engine.stop_request import StopRequest
from simmim_mm.engine.training import train
from simmim_mm.engine.watching import TRACKERS, add_trackers, require_tracker, watch
from simmim_mm.pretraining.config_file import watching_text
from simmim_mm.visualization.guarded_backend import TrackerError


@pytest.fixture
def root(tmp_path):
    """Bright and dark images, 6 of each."""
    rng = np.random.default_rng(0)
    for name, level in (('bright', 190), ('dark', 60)):
        (tmp_path / 'data' / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.normal(level, 20, (32, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'data' / name / f'{i}.png')
    return tmp_path / 'data'


def run(root, work_dir, loggers=(), **hooks) -> list[dict]:
    """Three epochs of three iterations, validated; the lines of ``scalars.json``."""
    cfg = tiny_config()
    cfg.merge_from_dict(
        dict(
            work_dir=str(work_dir),
            experiment_name=str(work_dir),
            launcher='none',
            train_cfg=dict(by_epoch=True, max_epochs=3),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
            custom_hooks=[dict(type='ReconstructionHook', interval=4, num_images=1)],
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1), **hooks),
            randomness=dict(seed=0),
            log_level='ERROR',
        )
    )
    cfg.train_dataloader.merge(
        dict(batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True))
    )
    cfg.train_dataloader.dataset.data_root = str(root)
    cfg.val_dataloader = dict(dataset=dict(data_root=str(root)))
    complete_validation(cfg)
    watch(cfg, loggers, root)
    adapt_dataloaders(cfg)
    with StopRequest() as request:
        train(cfg, [], request)
    (log,) = Path(work_dir).glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def numbers(lines, name) -> dict[int, float]:
    return {line['step']: line[name] for line in lines if name in line}


def test_trackers_hold_the_curves_and_pictures_of_a_run(root, tmp_path, monkeypatch):
    mlflow = pytest.importorskip('mlflow')
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    monkeypatch.setenv('WANDB_CONSOLE', 'off')
    monkeypatch.chdir(tmp_path)  # neither of them writes where the command runs
    before = set(tmp_path.iterdir())
    lines = run(root, tmp_path / 'runs' / 'first', ['tensorboard', 'mlflow', 'wandb'])
    assert set(tmp_path.iterdir()) == before | {tmp_path / 'runs'}

    client = mlflow.MlflowClient(f'sqlite:///{tmp_path / "runs" / "mlflow.db"}')
    experiment = client.get_experiment_by_name('simmim_mm')
    assert experiment.artifact_location == (tmp_path / 'runs' / 'mlartifacts').as_uri()
    (found,) = client.search_runs(experiment.experiment_id)
    assert (found.info.run_name, found.info.status) == ('first', 'FINISHED')
    assert found.data.params['optim_wrapper.optimizer.lr'] == '0.001'
    for name in ('loss', 'linear/accuracy', 'rankme'):
        history = client.get_metric_history(found.info.run_id, name)
        assert {x.step: x.value for x in history} == pytest.approx(numbers(lines, name))
    pictures = {f.path for f in client.list_artifacts(found.info.run_id)} & {
        f'reconstruction_{step:07d}.png' for step in range(20)
    }
    assert pictures == {f'reconstruction_{step:07d}.png' for step in (4, 8, 9)}
    local = client.download_artifacts(found.info.run_id, 'reconstruction_0000004.png')
    drawn = tmp_path / 'runs' / 'first' / 'vis_data' / 'reconstruction_0000004.png'
    np.testing.assert_array_equal(np.asarray(Image.open(local)), np.asarray(Image.open(drawn)))
    text = Path(client.download_artifacts(found.info.run_id, 'config.py')).read_text()
    assert Config.fromstring(text, '.py').train_cfg.max_epochs == 3

    (folder,) = (tmp_path / 'runs' / 'first').glob('wandb/offline-run-*')
    synced = sync_offline_run(folder)
    for name in ('loss', 'linear/accuracy', 'rankme'):
        history = {line['iter']: line[name] for line in synced.history if name in line}
        assert history == pytest.approx(numbers(lines, name))
        assert synced.summary[name] == history[max(history)]
    assert synced.config['optim_wrapper']['optimizer']['lr'] == 0.001
    named = [line['reconstruction']['path'] for line in synced.history if 'reconstruction' in line]
    assert len(named) == 3 and {*named} <= {*synced.files}
    sent = Image.open(io.BytesIO(synced.files[named[0]]))
    np.testing.assert_array_equal(np.asarray(sent), np.asarray(Image.open(drawn)))
    assert synced.calls == {'UpsertBucket', 'CreateRunFiles'}  # no artifact: no code of the user's


def test_a_probe_at_validations_chooses_the_best_checkpoint_and_the_end(root, tmp_path):
    save = dict(type='AtomicCheckpointHook', save_best='linear/accuracy', rule='greater')
    stop = dict(type='EarlyStoppingHook', monitor='rankme', rule='greater', patience=1)
    stop['min_delta'] = 1e9  # nothing is an improvement
    lines = run(root, tmp_path / 'run', checkpoint=save, stop=stop)
    assert [*numbers(lines, 'linear/accuracy')] == [3, 6]  # of three epochs the last is left out
    (best,) = (tmp_path / 'run').glob('best_linear_accuracy_epoch_1.pth')
    assert torch.load(best, weights_only=False)['meta']['iter'] == 3


def test_a_tracker_that_the_config_has_stays_as_it_is(monkeypatch):
    own = dict(type='MLflowVisBackend', tracking_uri='http://elsewhere')
    cfg = Config(dict(work_dir='w', visualizer=dict(type='Visualizer', vis_backends=[own])))
    monkeypatch.setattr(watching, 'find_spec', bool)
    add_trackers(cfg, ['mlflow'])
    assert cfg.visualizer.vis_backends == [own]


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch):
    monkeypatch.setattr(watching, 'find_spec', lambda name: None)
    with pytest.raises(TrackerError, match=r"--logger wandb needs wandb: .*'\.\[trackers\]'"):
        require_tracker('wandb')


def test_the_lines_of_a_written_config_add_to_its_base():
    base = configs_folder() / '_base_' / 'default_runtime.py'
    backends, hooks = [dict(type='A', uri='a b', keys=['x'])], [dict(type='ProbeHook', interval=2)]
    given = Config(dict(backends=backends, hooks=hooks))
    text = f'_base_ = [{str(base)!r}]\n' + watching_text(given.backends, given.hooks)
    found, plain = Config.fromstring(text, '.py'), load_config(base)
    assert found.visualizer.vis_backends == [*plain.vis_backends, *backends]
    assert found.custom_hooks == [*plain.custom_hooks, *hooks]


def test_the_command_offers_every_tracker():
    parser = argparse.ArgumentParser()
    add_watching(parser)
    for name in TRACKERS:
        assert parser.parse_args(['--logger', name]).logger == [name]
    with pytest.raises(SystemExit):
        parser.parse_args(['--logger', 'paper'])
