import logging

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from PIL import Image

from simmim_mm.datasets import ImageDataset
from simmim_mm.datasets.transforms import LoadImage, RandomResizedCrop


class Numbers:
    """Packs an image as the toy model of this folder wants it: four numbers and an index."""

    def __call__(self, results):
        numbers = torch.from_numpy(results['img']).float().mean((0, 1)) / 255
        return dict(inputs=torch.nn.functional.pad(numbers, (0, 1)), index=results['sample_idx'])


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for i in range(10):
        Image.fromarray(np.full((40, 40, 3), 20 * i, dtype=np.uint8)).save(folder / f'{i}.png')
    (folder / 'empty.jpg').write_bytes(b'')
    (folder / 'text.jpg').write_text('no image')
    return ImageDataset(str(folder), pipeline=[LoadImage(), RandomResizedCrop(32), Numbers()])


def dataloader(dataset, num_workers=0):
    sampler = dict(type='ReproducibleSampler')
    return dict(batch_size=4, num_workers=num_workers, sampler=sampler, dataset=dataset)


def messages(caplog, runner):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    try:
        runner.train()
    finally:
        logger.removeHandler(caplog.handler)
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith('Unreadable files')]


@pytest.mark.parametrize('num_workers', [0, 2])
def test_count_and_list_at_the_end(make_runner, dataset, caplog, tmp_path, num_workers):
    runner = make_runner(
        hooks=[dict(type='BadFilesHook')], train_dataloader=dataloader(dataset, num_workers)
    )
    (message,) = messages(caplog, runner)
    bad = [str(tmp_path / 'photos' / name) for name in ('empty.jpg', 'text.jpg')]
    assert message.startswith('Unreadable files: 2 of 12')
    assert all(path in message for path in bad)
    listed = tmp_path / 'work' / 'bad_files.txt'
    assert str(listed) in message
    assert listed.read_text().splitlines() == bad


def test_no_bad_file_is_said_as_well(make_runner, dataset, caplog, tmp_path):
    runner = make_runner(
        hooks=[dict(type='BadFilesHook')], train_dataloader=dataloader(dataset.get_subset(10))
    )
    assert messages(caplog, runner) == ['Unreadable files: 0 of 10']
    assert not (tmp_path / 'work' / 'bad_files.txt').exists()


def test_a_resumed_run_knows_what_was_found_before(make_runner, dataset, caplog, tmp_path):
    settings = dict(hooks=[dict(type='BadFilesHook')], train_dataloader=dataloader(dataset))
    make_runner(max_epochs=2, **settings).train()  # its last checkpoint has what epoch 1 found
    for name in ('empty.jpg', 'text.jpg'):  # repaired meanwhile
        Image.new('RGB', (40, 40)).save(tmp_path / 'photos' / name)
    fresh = ImageDataset(str(tmp_path / 'photos'), pipeline=list(dataset.pipeline.transforms))
    settings['train_dataloader'] = dataloader(fresh)
    (message,) = messages(caplog, make_runner(max_epochs=3, resume=True, **settings))
    assert message.startswith('Unreadable files: 2 of 12')
