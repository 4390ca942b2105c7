"""Configs of small trainings on labeled data, for whichever backbone a checkpoint holds."""

from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config

from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.experiments.labeled_data import IMAGE_SUFFIXES, LabeledData, Split
from simmim_mm.models.backbones.masked_swin import clamped_windows
from simmim_mm.registry import MODELS

TASK_METRICS = dict(classification='accuracy/top1', detection='coco/bbox_mAP', segmentation='mIoU')
_CHECKPOINT_ITERS = 500  # from one to the next where the length is a time
_STRIDES = (4, 8, 16, 32)  # of the maps that detectors and segmenters work on

# What each backbone needs on images of any size. Those that are not here take --config.
_SETTINGS = dict(
    MaskedSwin=dict(pad_small_map=True, drop_path_rate=0.1),
    MaskedSwinV2=dict(pad_small_map=True, drop_path_rate=0.1),
    MaskedConvNeXt=dict(drop_path_rate=0.1),
    MaskedResNet=dict(),
    MaskedConvViT=dict(frozen_pos_embed=False, fusion=False, drop_path_rate=0.1),
    MaskedViT=dict(frozen_pos_embed=False, drop_path_rate=0.1),
)


class Features(NamedTuple):
    """Channels and strides of a backbone's maps."""

    channels: list[int]
    strides: list[int]


def downstream_config(
    task: str, configs: str | Path, backbone: dict, preprocessor: dict, data: LabeledData
) -> Config:
    """The project's small config of a task, with a backbone and data put in.

    Args:
        task: ``'finetune'`` or ``'linear'``, of a classifier; ``'detection'``; ``'segmentation'``.
        configs: The folder ``configs`` of the project.
        backbone: Config from the pretraining.
        preprocessor: Config from the pretraining: ``mean`` and ``std`` are kept.
        data: What to train on.

    Raises:
        ValueError: If the backbone does not suit the task.
    """
    folder = Path(configs) / 'downstream'
    if task == 'detection':
        cfg = _detection(folder / task, backbone, data)
    elif task == 'segmentation':
        cfg = _segmentation(folder / task, backbone, data)
    else:
        cfg = _classification(folder / 'classification', task, backbone, data)
    for loader, split in ((cfg.train_dataloader, data.train), (cfg.val_dataloader, data.val)):
        loader.dataset.update(data_root='', **_source(task, split, data))
    own = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
    own.update({key: preprocessor[key] for key in ('mean', 'std') if preprocessor.get(key)})
    cfg.test_dataloader = deepcopy(cfg.val_dataloader)
    cfg.test_evaluator = deepcopy(cfg.val_evaluator)
    return cfg


def set_budget(cfg: Config, iters: int | None = None, epochs: int | None = None) -> None:
    """Shorten or lengthen a training, its schedule of learning rates included.

    All times of the schedulers are scaled alike; a time in which it should end is dropped. There
    are validations and checkpoints at every fifth of the training, at least.

    Raises:
        ValueError: If the config counts in the other unit.
    """
    if iters is None and epochs is None:
        return
    unit, other = ('iters', 'epochs') if iters else ('epochs', 'iters')
    number, key = iters or epochs or 0, f'max_{unit}'
    former = cfg.train_cfg.get(key)
    if not former:
        raise ValueError(
            f'{unit}={number}, but the config counts {other} '
            f'({cfg.train_cfg.get("max_" + other)}): give {other}'
        )
    cfg.train_cfg[key] = number
    if cfg.train_cfg.pop('seconds', None):  # of a TimedTrainLoop: the length is no time any more
        cfg.train_cfg.pop('extend', None)
        cfg.train_cfg.type = 'IterBasedTrainLoop' if iters else 'simmim_mm.EpochTrainLoop'
    interval = max(1, number // 5)
    cfg.train_cfg.val_interval = min(cfg.train_cfg.get('val_interval', interval), interval)
    checkpoint = cfg.setdefault('default_hooks', {}).setdefault('checkpoint', {})
    checkpoint['interval'] = min(checkpoint.get('interval', interval), interval)
    if unit == 'iters':
        checkpoint['by_epoch'] = False
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        for time in ('end', 'T_max', 'total_steps'):
            if scheduler.get(time):
                scheduler[time] = max(1, round(scheduler[time] * number / former))
        if scheduler.get('milestones'):
            scheduler.milestones = [round(t * number / former) for t in scheduler.milestones]
        if scheduler.get('begin'):
            begin = round(scheduler.begin * number / former)
            scheduler.begin = min(begin, scheduler.get('end', begin + 1) - 1)


def set_minutes(cfg: Config, minutes: float) -> None:
    """Train for a time, with the schedule of the config passing in it; see ``TimedTrainLoop``.

    There are validations, which are not counted, at every fifth of the schedule.

    Raises:
        ValueError: If a schedule depends on the validations, or the config has no length.
    """
    unit = next((u for u in ('iters', 'epochs') if cfg.train_cfg.get(f'max_{u}')), None)
    schedulers = cfg.get('param_scheduler') or []
    schedulers = schedulers if isinstance(schedulers, list) else [schedulers]
    if unit is None or any('OnPlateau' in scheduler['type'] for scheduler in schedulers):
        raise ValueError(
            'minutes need a config with max_iters or max_epochs in train_cfg, and schedules that '
            'do not depend on validations'
        )
    number = cfg.train_cfg[f'max_{unit}']
    cfg.train_cfg = dict(
        type='simmim_mm.TimedTrainLoop',
        seconds=60 * minutes,
        val_interval=max(1, number // 5),
        **{f'max_{unit}': number},
    )
    for scheduler in schedulers:
        if scheduler.get('by_epoch', True):
            scheduler.update(by_epoch=True, convert_to_iter_based=True)
    hooks = cfg.setdefault('default_hooks', {})
    hooks['param_scheduler'] = dict(type='simmim_mm.TimedSchedulerHook')
    checkpoint = hooks.setdefault('checkpoint', {})
    checkpoint.update(by_epoch=False, interval=_CHECKPOINT_ITERS)
    cfg.log_processor = dict(cfg.get('log_processor') or {}, by_epoch=False)


def set_run(
    cfg: Config,
    data: str | Path | None = None,
    epochs: int | None = None,
    iters: int | None = None,
    batch_size: int | None = None,
) -> None:
    """Change what nearly every run changes; None leaves a setting as it is.

    Args:
        data: ``data_root`` of the images to train on, whatever wraps the data set.
        epochs, iters: See :func:`set_budget`.
        batch_size: Images per process and step.

    Raises:
        ValueError: If a number is below 1, the config counts in the other unit, or ``data`` is
            given and there are several data sets.
    """
    for name, number in dict(epochs=epochs, iters=iters, batch_size=batch_size).items():
        if number is not None and number < 1:
            raise ValueError(f'{name} must be at least 1, got {number}')
    if data is not None:
        set_data_root(cfg.train_dataloader.dataset, data)
    if batch_size is not None:
        cfg.train_dataloader.batch_size = batch_size
    set_budget(cfg, iters, epochs)


def set_data_root(dataset: Any, folder: str | Path) -> None:
    """Change the folder of the one data set in a config; a ValueError if it has several."""
    parts = [part for _, part in single_datasets(dataset)]
    if len(parts) > 1:
        raise ValueError(
            f'the config has {len(parts)} data sets there: change the data_root of each in it'
        )
    parts[0].data_root = str(folder)


def set_validation(cfg: Config, task: str, data: LabeledData) -> None:
    """Validate on other data of the same classes; ``task`` as for :func:`downstream_config`."""
    dataset = cfg.val_dataloader.dataset
    source = _source(task, data.val, data)
    if dataset.get('metainfo'):  # the order of the model's classes stays
        source.pop('metainfo', None)
    dataset.update(data_root='', **source)
    if task == 'detection':
        cfg.val_evaluator.ann_file = str(data.val.labels)


def _source(task: str, split: Split, data: LabeledData) -> dict:
    """What a data set of a task reads, as its arguments."""
    images, labels = str(split.images), str(split.labels)
    metainfo = dict(classes=data.classes)
    if task == 'detection':
        return dict(ann_file=labels, data_prefix=dict(img=images), metainfo=metainfo)
    if task == 'segmentation':
        prefix = dict(img_path=images, seg_map_path=labels)
        suffixes = dict(zip(('img_suffix', 'seg_map_suffix'), data.suffixes))
        return dict(data_prefix=prefix, metainfo=metainfo, **suffixes)
    return dict(data_prefix=images, extensions=IMAGE_SUFFIXES)


def _classification(folder: Path, probe: str, backbone: dict, data: LabeledData) -> Config:
    kind = _kind(backbone)
    family = 'swin-micro-w6_1xb64-coslr-50e_folder-96px'
    if probe == 'finetune' and kind in ('MaskedViT', 'MaskedBEiT'):
        family = 'vit-micro-p8_1xb64-coslr-50e_folder-96px'
    elif probe == 'finetune' and kind == 'MaskedConvViT':
        family = 'convvit-tiny_1xb64-coslr-50e_folder-128px'
    cfg = Config.fromfile(folder / f'{probe}_{family}.py')
    steps = [*cfg.train_dataloader.dataset.pipeline, *cfg.val_dataloader.dataset.pipeline]
    own_size = next(step.crop_size for step in steps if 'crop_size' in step)
    size = _as_pair(backbone.get('img_size', own_size))
    own = {key: value for key, value in backbone.items() if key != 'init_cfg'}
    own['type'] = f'simmim_mm.{kind}'
    if kind == 'MaskedBEiT' and own.get('use_shared_rel_pos_bias', True):
        own.update(use_rel_pos_bias=True, use_shared_rel_pos_bias=False)
    if kind == 'MaskedConvViT':
        own['fusion'] = False
    if probe == 'finetune':
        settings = cfg.model.backbone
        for key in ('drop_path_rate', 'frozen_pos_embed', 'out_type', 'final_norm'):
            if key in settings and not (kind == 'MaskedBEiT' and key == 'frozen_pos_embed'):
                own[key] = settings[key]
        if kind == 'MaskedResNet':
            own.pop('drop_path_rate')
    cfg.model.backbone = own
    cfg.model.head.num_classes = cfg.model.data_preprocessor.num_classes = len(data.classes)
    scale = size[0] if size[0] == size[1] else size
    for step in steps:
        if step['type'] == 'RandomResizedCrop':
            step['scale'] = scale
        elif step['type'] == 'ResizeEdge':
            step['scale'] = max(size) * 256 // 224
        elif step['type'] == 'CenterCrop':
            step['crop_size'] = scale
    return cfg


def _detection(folder: Path, backbone: dict, data: LabeledData) -> Config:
    kind = 'mask-rcnn' if data.with_masks else 'faster-rcnn'
    cfg = Config.fromfile(folder / f'{kind}_swin-micro-w6_1xb4-coslr-36e_coco-json.py')
    if _kind(backbone) == 'MaskedViT':
        grid = _as_pair(backbone.get('img_size', 224))[0] // backbone.get('patch_size', 16)
        backbone = {**backbone, 'type': 'WindowedViT', 'window_size': grid}
    cfg.model.backbone, features = _with_maps(backbone)
    if len(features.channels) == 1:
        cfg.model.neck = dict(
            type='simmim_mm.SimpleFeaturePyramid',
            in_channels=features.channels[0],
            out_channels=cfg.model.neck.out_channels,
            scales=tuple(features.strides[0] / stride for stride in _STRIDES),
        )
    else:
        _check_strides(backbone, features.strides)
        cfg.model.neck.in_channels = features.channels
    for name in ('bbox_head', 'mask_head'):
        if head := cfg.model.roi_head.get(name):
            head.num_classes = len(data.classes)
    cfg.val_evaluator.ann_file = str(data.val.labels)
    return cfg


def _segmentation(folder: Path, backbone: dict, data: LabeledData) -> Config:
    family = 'vit-micro-p8' if _kind(backbone) == 'MaskedViT' else 'swin-micro-w6'
    cfg = Config.fromfile(folder / f'upernet_{family}_1xb4-coslr-4k_folder.py')
    cfg.model.backbone, (channels, strides) = _with_maps(backbone, num_maps=4)
    if len(set(strides)) == 1:  # one map of each of four blocks, brought to the usual strides
        scales = [strides[0] / stride for stride in _STRIDES]
        cfg.model.neck.update(in_channels=channels, out_channels=channels[0], scales=scales)
    else:
        _check_strides(backbone, strides)
    index = list(range(len(channels)))
    cfg.model.decode_head.update(in_channels=channels, in_index=index)
    third = min(2, index[-1])
    cfg.model.auxiliary_head.update(in_channels=channels[third], in_index=third)
    cfg.model.data_preprocessor.test_cfg = dict(size_divisor=max(strides))
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        head.num_classes = len(data.classes)
    for loader in (cfg.train_dataloader, cfg.val_dataloader) if data.values else ():
        for step in loader.dataset.pipeline:
            if step['type'] == 'LoadAnnotations':
                step.update(type='simmim_mm.LoadSegmentationMap', values=data.values)
    return cfg


def _kind(backbone: dict) -> str:
    return backbone['type'].rpartition('.')[2]


def _as_pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _with_maps(backbone: dict, num_maps: int = 1) -> tuple[dict, Features]:
    """The backbone for images of any size, giving all its maps, and what these are.

    A plain ViT gives ``num_maps`` of them, from blocks equally far apart.
    """
    kind = _kind(backbone)
    settings = _SETTINGS.get('MaskedViT' if kind == 'WindowedViT' else kind)
    if settings is None:
        raise ValueError(
            f'there is no ready-made config for a {kind} here: give one of your own with --config'
        )
    cfg = {**backbone, **settings, 'type': f'simmim_mm.{kind}'}
    cfg = {k: v for k, v in cfg.items() if k not in ('init_cfg', 'out_indices', 'frozen_stages')}
    module = MODELS.build(cfg)
    if 'ViT' in kind and kind != 'MaskedConvViT':
        depth = len(module.layers)
        indices = [depth * (i + 1) // num_maps - 1 for i in range(num_maps)]
    else:
        indices = list(range(_num_stages(module)))
    cfg['out_indices'] = indices
    if kind == 'MaskedSwinV2':
        window, size = backbone.get('window_size', 8), backbone.get('img_size', 256)
        windows = [window] * len(indices) if isinstance(window, int) else window
        patch = backbone.get('patch_size', 4)
        cfg['pretrained_window_sizes'] = clamped_windows(windows, size, patch)
    size = 128
    with torch.no_grad():
        maps = MODELS.build(cfg).eval()(torch.zeros(1, cfg.get('in_channels', 3), size, size))
    return cfg, Features([x.shape[1] for x in maps], [size // x.shape[-1] for x in maps])


def _num_stages(module: torch.nn.Module) -> int:
    if hasattr(module, 'blocks3'):  # ConvViT
        return 3
    stages: Any = module.num_stages if hasattr(module, 'num_stages') else module.stages
    return stages if isinstance(stages, int) else len(stages)


def _check_strides(backbone: dict, strides: list[int]) -> None:
    if tuple(strides) != _STRIDES[: len(strides)]:
        raise ValueError(
            f'the maps of this {_kind(backbone)} have strides {strides}, the ready-made '
            'configs work on 4, 8, 16 and 32: give a config of your own with --config'
        )
