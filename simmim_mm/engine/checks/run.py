"""The data of a run: built, checked, and sent through pipeline and model."""

import io
from contextlib import redirect_stdout
from copy import deepcopy
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, init_default_scope

from simmim_mm.datasets.errors import DataError, error_at
from simmim_mm.datasets.image_dataset import ImageDataset, image_datasets, single_datasets
from simmim_mm.datasets.readers.coco_report import CocoReport
from simmim_mm.datasets.skipping import skip_unreadable
from simmim_mm.engine.checks.batches import check_batches
from simmim_mm.engine.checks.labels import check_label_files, check_labels
from simmim_mm.engine.checks.repaired import RepairedCopies
from simmim_mm.engine.checks.sizes import check_sizes
from simmim_mm.engine.checks.trace import Trace, trace_images
from simmim_mm.engine.checks.trust import TRUST, check_annotated_paths, check_annotation_files
from simmim_mm.engine.checks.values import check_contrast, check_values
from simmim_mm.engine.launch import launched_processes, launched_rank

_MODES = dict(train_dataloader='loss', val_dataloader='predict')
_MAX_OPENED = 200  # labeled images, where not all are


class CheckedRun(NamedTuple):
    """What a run works on.

    Attributes:
        datasets: The built data set of each dataloader, by its name in the config.
        samples: A sample by mode of the model: ``'loss'`` of the training data, ``'predict'`` of
            the validation data.
        evaluators: The built ``val_evaluator`` if it has to read a repaired json.
        warnings: What may be wrong, for the user.
    """

    datasets: dict[str, Any]
    samples: dict[str, dict]
    evaluators: dict[str, Evaluator]
    warnings: list[str]


def check_run(cfg: Config) -> CheckedRun:
    """Build and check the data that a config trains and validates on.

    Some images are sent through the pipeline. Labeled ones are all opened, with
    ``check_images=False`` in the config some; of the images of a COCO json for training, headers
    and ends are read. What turns out to be unreadable later is skipped in the training, as it is
    without labels, and an error with its name in the validation.

    Labels (class folders, COCO jsons, segmentation maps) are compared with the classes, heads and
    evaluation of the config, for OpenMMLab is silent where they differ: mmpretrain numbers the
    class folders that are there, mmdet leaves out objects of unknown categories, mmseg trains on
    whatever values a map has. What can be repaired in a COCO json is repaired in what data set and
    metric read, not in the file.

    Annotations that lead out of ``data_root``, or run code as they are read, are refused, unless
    the config has ``trust_annotations=True``.

    Raises:
        DataError: The message names the place in the config, the file and the values.
    """
    init_default_scope(cfg.get('default_scope') or 'simmim_mm')
    # In several processes the first opens all images; they are the same files.
    is_first = launched_rank(cfg.get('launcher') or 'none') == 0
    most = None if is_first and cfg.get('check_images', True) else _MAX_OPENED
    MMLogger.get_current_instance()  # made now, or its output would be redirected below
    checked = CheckedRun({}, {}, {}, [])
    traces: dict[str, list[Trace]] = {}
    places = {name: f'{name}.dataset' for name in _MODES if cfg.get(name)}
    with TemporaryDirectory() as folder:
        copies = RepairedCopies(folder)
        trained: set[int] = set()  # classes in the segmentation maps of the training, checked first
        known: set[str] = set()  # places of data sets whose paths the report on their json covers
        reports: list[CocoReport] = []  # logged when nothing is refused
        configs: dict[str, Any] = {name: deepcopy(cfg[name].dataset) for name in places}
        for name, place in places.items():
            for part_place, part in single_datasets(configs[name], place):
                cls = _class_of(part)
                if issubclass(cls, ImageDataset):
                    if isinstance(part, dict) and cfg.get(TRUST):
                        part.setdefault(TRUST, True)
                    continue
                if isinstance(part, dict) and not cfg.get(TRUST):
                    with error_at(part_place):
                        check_annotation_files(part)
                report = check_label_files(part, cls, part_place, cfg)
                if report:
                    reports.append(report)
                    known.add(part_place)
                    if report.repaired:
                        copies.replace(part, report)
        for name, place in places.items():
            try:
                with redirect_stdout(io.StringIO()):  # pycocotools reports its progress
                    dataset = DATASETS.build(configs[name])
                    if hasattr(dataset, 'full_init'):
                        dataset.full_init()
            except (DataError, AssertionError, RuntimeError, FileNotFoundError) as error:
                raise DataError(f'{place}: {error}') from error
            copies.restore_names(part for _, part in single_datasets(dataset))
            for part_place, part in single_datasets(dataset, place):
                if isinstance(part, ImageDataset) or cfg.get(TRUST) or part_place in known:
                    continue
                with error_at(part_place):
                    check_annotated_paths(part)
            if not any(image_datasets(dataset)):
                train = checked.datasets.get('train_dataloader')
                trained |= check_labels(dataset, place, train, cfg.get('model'), most, trained)
            if name == 'train_dataloader':
                check_batches(cfg[name], dataset, launched_processes(cfg.get('launcher') or 'none'))
            checked.datasets[name] = dataset
            samples, traces[name] = trace_images(dataset, place)
            skip_unreadable(dataset, skips=name == 'train_dataloader')
            checked.samples[_MODES[name]] = _first_sample(dataset, samples, place)
        with redirect_stdout(io.StringIO()):
            if evaluator := copies.build_evaluator(cfg):
                checked.evaluators['val_evaluator'] = evaluator
    checked.warnings.extend(_look_at_images(cfg, traces))
    for report in reports:
        report.log()
    return checked


def _look_at_images(cfg: Config, traces: dict[str, list[Trace]]) -> list[str]:
    """Warnings about values, of the training data, and sizes, of the first data that have any."""
    preprocessor = (cfg.get('model') or {}).get('data_preprocessor') or cfg.get('data_preprocessor')
    values, sizes = [], []
    trained = traces.get('train_dataloader', [])
    for name, found in traces.items():
        place = f'{name}.dataset'
        if name == 'train_dataloader':
            values = check_values(found, preprocessor or {}, place)
            targets = (cfg.get('model') or {}).get('target') or []
            values = values or check_contrast(found, preprocessor or {}, targets, place)
        sizes = check_sizes(found, cfg.get('default_scope') or '', place, trained) or sizes
    return values + sizes


def _class_of(dataset: Any) -> type:
    cls = dataset.get('type') if isinstance(dataset, dict) else ImageDataset  # built: not checked
    if isinstance(cls, str):
        with DATASETS.switch_scope_and_registry(None) as registry:
            cls = registry.get(cls)
    return cls if isinstance(cls, type) else object  # the build reports unknown types


def check_dataset(dataset: Any, name: str = 'dataset') -> dict:
    """Send a few images, spread over the data set, through the pipeline; returns the first sample.

    Args:
        dataset: An :class:`ImageDataset`, one of mmpretrain, mmdet or mmseg, or a wrapper around
            some. Others are asked for their first sample.
        name: Where it stands in the config, such as ``'train_dataloader.dataset'``.

    Raises:
        DataError: If no image can be read, or a step of the pipeline fails; of images without
            labels, too, if the pipeline does not end in packed inputs, or the images come out in
            different shapes.
    """
    return _first_sample(dataset, trace_images(dataset, name)[0], name)


def _first_sample(dataset: Any, samples: list[dict], name: str) -> dict:
    if not any(image_datasets(dataset)):
        return dataset[0]
    if any('inputs' not in sample for sample in samples):
        raise DataError(
            f"{name}: the pipeline does not end in dict(type='mmpretrain.PackInputs'): add it as "
            "the last step, with algorithm_keys=['mask'] if a step before makes masks"
        )
    shapes = {tuple(sample['inputs'].shape) for sample in samples}
    if len(shapes) > 1:
        raise DataError(
            f'{name}: images leave the pipeline in different shapes (channels, height, width): '
            f'{", ".join(map(str, sorted(shapes)))}; add a crop or resize, and give LoadImage a '
            f'number of channels'
        )
    return samples[0]


def check_model(model: BaseModel, sample: dict, mode: str = 'loss') -> None:
    """Run one sample through the model, before a training starts.

    Finds what only shows when data and model meet: another number of channels, an image size or a
    mask grid that the backbone does not take. Weights, buffers and random numbers stay as they are.

    Args:
        model: The algorithm, or a model of mmpretrain, mmdet or mmseg, not wrapped for distributed
            training.
        sample: What the pipeline of the data returns: ``inputs`` and ``data_samples``.
        mode: ``'loss'``, or ``'predict'`` for a sample of a validation pipeline, whose labels need
            not have the size of the image.

    Raises:
        ValueError: If they do not fit; the message names the sizes.
    """
    image = sample['inputs']
    size = 'x'.join(map(str, image.shape[-2:]))
    training, device = model.training, next(model.parameters()).device
    devices = [device] if device.type == 'cuda' else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            data = model.eval().data_preprocessor(pseudo_collate([sample]), False)
            model(**data, mode=mode)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f'the model does not take an image of {image.shape[0]} channels and {size} pixels '
            f'({reason}): check img_size, in_channels, and the decoder or head of the model '
            'against the pipeline'
        ) from error
    finally:
        model.train(training)
