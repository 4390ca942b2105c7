"""Files that are damaged inside, or after the check, are skipped in a training and named."""

import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from test_label_checks import data, detector, error, segmenter, shapes  # noqa: F401

from simmim_mm.datasets.errors import TooManyBadFiles, UnreadableImage
from simmim_mm.datasets.skipping import counting_files
from simmim_mm.engine.checks import check_run
from simmim_mm.engine.hooks.bad_files_hook import BadFilesHook
from simmim_mm.engine.hooks.standard import STANDARD
from simmim_mm.experiments.shapes import CLASSES

MASK = dict(type='simmim_mm.RandomBlockMask', mask_patch_size=24)  # does not fit


def classifier(folder) -> ConfigDict:
    def loader():  # too few images to have every class in the validation
        dataset = dict(
            type='CustomDataset',
            data_root=str(folder / 'classification' / 'train'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
        )
        return dict(dataset=dataset)

    return ConfigDict(
        default_scope='mmpretrain', train_dataloader=loader(), val_dataloader=loader()
    )


def image_of(dataset, index):
    """Path of an image, below any wrapper."""
    while not hasattr(dataset, 'data_root'):
        dataset = dataset.dataset
    return dataset.get_data_info(index)['img_path']


def spoil_inside(path):
    """Change bytes in the middle: header and end are sound, and no decoder takes it."""
    with open(path, 'r+b') as file:
        content = file.read()
        file.seek(len(content) // 2)
        file.write(bytes(255 - byte for byte in content[len(content) // 2 :][:8]))


@pytest.fixture
def warnings(monkeypatch):
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            if record.levelno >= logging.WARNING:
                found.append(record.getMessage())

    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [Handler()])
    return found


@pytest.mark.parametrize(
    'config, num_workers', [(detector, 0), (detector, 2), (segmenter, 0), (classifier, 0)]
)
def test_a_training_goes_on_without_them_and_lists_them(data, config, num_workers, warnings):  # noqa: F811
    dataset = check_run(config(data)).datasets['train_dataloader']
    path = image_of(dataset, 2)
    spoil_inside(path)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=3, num_workers=num_workers, collate_fn=list
    )
    loaded = [sample['data_samples'].img_path for batch in loader for sample in batch]
    assert len(loaded) == len(dataset) and path not in loaded
    if not num_workers:  # the worker logs, in its process
        (text,) = [text for text in warnings if 'Unreadable' in text]
        assert text.startswith(f'Unreadable file skipped: {path}: ') and '\n' not in text
    (counted,) = counting_files(dataset)
    assert counted.bad_files() == [path]
    assert BadFilesHook in STANDARD


@pytest.mark.parametrize('config', [detector, segmenter])
def test_a_validation_takes_no_other_image(data, config):  # noqa: F811
    dataset = check_run(config(data)).datasets['val_dataloader']
    path = image_of(dataset, 1)
    spoil_inside(path)
    with pytest.raises(UnreadableImage) as caught:
        list(torch.utils.data.DataLoader(dataset, num_workers=1, collate_fn=list))
    assert str(path) in str(caught.value)


def test_a_map_counts_as_its_image(data, warnings):  # noqa: F811
    dataset = check_run(segmenter(data)).datasets['train_dataloader']
    info = dataset.get_data_info(3)
    Path(info['seg_map_path']).write_bytes(b'no map')
    assert dataset[3]['data_samples'].img_path != info['img_path']
    assert info['seg_map_path'] in warnings[-1]
    assert counting_files(dataset)[0].bad_files() == [info['img_path']]


def test_images_to_validate_a_detector_are_decoded_before_the_training(data):  # noqa: F811
    for split in ('train', 'val'):
        spoil_inside(sorted((data / 'images' / split).iterdir())[0])
    message = error(detector(data))
    assert message.startswith('val_dataloader.dataset')
    assert '1 of 2 images cannot be read' in message and '/val/' in message


def test_where_nothing_can_be_read_the_training_stops(data, warnings):  # noqa: F811
    cfg = detector(data)
    dataset = check_run(cfg).datasets['train_dataloader']
    for path in (data / 'images' / 'train').iterdir():
        path.unlink()
    with pytest.raises(TooManyBadFiles, match=r'files \(67%\) are unreadable') as caught:
        dataset[0]
    assert 'max_bad_fraction=0.5' in str(caught.value) and 'No such file' in str(caught.value)
    assert sum('Unreadable file skipped' in text for text in warnings) == 4


def test_a_map_that_no_loader_names_is_reported_by_its_image(data):  # noqa: F811
    dataset = check_run(detector(data)).datasets['val_dataloader'].dataset
    step = dataset.pipeline.transforms[1]
    assert type(step.step).__name__ == 'LoadAnnotations'
    with pytest.raises(UnreadableImage, match=r'^a\.png: '):
        step(dict(img_path='a.png', img=None, img_shape=(8, 8), instances=[None]))


def test_a_step_that_fails_is_named_with_the_image(data):  # noqa: F811
    cfg = detector(data, classes=CLASSES)
    cfg.train_dataloader.dataset.dataset.pipeline.insert(2, MASK)
    message = error(cfg)
    assert 'step 3 of the pipeline, RandomBlockMask(' in message and '.png: ' in message
