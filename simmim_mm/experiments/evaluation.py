"""Trained models together with the data that they are measured on, clean and changed."""

import io
import json
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine import registry
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.registry import Registry
from mmengine.runner import Runner

from simmim_mm import datasets
from simmim_mm._stack import require_mmcv_ops
from simmim_mm.checkpoint import CheckpointError, LoadReport, load_into, load_weights, open_run
from simmim_mm.checkpoint.file_backend import write_lines
from simmim_mm.checkpoint.stored_config import stored_classes
from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.datasets.image_folder import spread
from simmim_mm.datasets.readers.class_folders import load_class_folders
from simmim_mm.datasets.skipping import SkippingLoader
from simmim_mm.datasets.transforms.corrupt import Corrupt
from simmim_mm.engine.checks import check_run
from simmim_mm.engine.launch import adapt_dataloaders, build_runner, complete_validation
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.evaluation.knn import LabeledImages, load_split, percent_right, weighted_knn
from simmim_mm.experiments.coco_json import find_and_read_coco
from simmim_mm.experiments.downstream import set_data_root, set_validation
from simmim_mm.experiments.knn_probe import METRIC as KNN_METRIC
from simmim_mm.experiments.pretrained import named_file, read_paths
from simmim_mm.experiments.segmentation_maps import find_segmentation_maps, read_segmentation_maps
from simmim_mm.experiments.trial import fingerprint

# What is taken over of a config. Hooks, trackers and optimizers are of trainings.
_USED = ('default_scope', 'custom_imports', 'model', 'data_preprocessor', 'train_dataloader')
_USED += ('val_dataloader', 'val_evaluator', 'val_cfg')
IMAGENET_WNIDS = Path(datasets.__file__).parent / 'imagenet_wnids.txt'  # in the order of labels
_WNID = re.compile(r'n\d{8}')
_NUMBERS = count()  # of the evaluations of a process


class Checkpoint(NamedTuple):
    """A file, and the name of its group: checkpoints of one name differ by their seed."""

    name: str
    path: str


def read_groups(texts: Sequence[str]) -> list[Checkpoint]:
    """Checkpoints given as ``FILE`` or ``NAME=FILE``, several of which may have one name.

    Raises:
        FileNotFoundError: If a file does not exist.
    """
    found = []
    for text in texts:
        name, path = named_file(text)
        if not Path(path).is_file():
            raise FileNotFoundError(f'no checkpoint {path}')
        own = '/'.join(Path(path).with_suffix('').parts[-2:])
        found.append(Checkpoint(name or own, path))
    return found


@dataclass
class Options:
    """How models are measured.

    Attributes:
        data: Folder, instead of the validation data of the config.
        limit: Images to take, spread over the data.
        amp: Mixed precision.
        seed: Of masks.
        settings: Of the config, by dotted key.
    """

    data: str | None = None
    limit: int | None = None
    amp: bool = False
    seed: int = 0
    settings: dict = field(default_factory=dict)


class StoredModel(NamedTuple):
    """The file of a model, and the names of its classes, if it says them."""

    file: str
    classes: list[str]


class Evaluation(ABC):
    """A model with weights and data, whose images can be corrupted on their way.

    Attributes:
        key: Changes with all that the metrics depend on, corruptions aside.
        steps: The pipeline of clean images.
        place: Number of the step before which they are corrupted. Classifiers and reconstructions
            get corrupted crops, as ImageNet-C has them; detectors and segmenters corrupted files,
            as in the benchmark of Michaelis et al. (arXiv 1907.07484).
        channel_order: Of the images there.
        progress: Called with what of the clean or corrupted images is done, and all of it.
    """

    key: str
    steps: list[Any]
    place: int
    channel_order: str = 'rgb'
    progress: Callable[[int, int], None] | None = None

    @abstractmethod
    def _metrics(self, steps: list) -> dict[str, float]:
        """Metrics of all images, sent through ``steps``."""

    @abstractmethod
    def _info(self, index: int) -> dict:
        """What the pipeline is given of an image."""

    def measure(self, corrupt: dict | None = None) -> dict[str, float]:
        """Metrics by name; ``corrupt`` has the arguments of :class:`Corrupt`, None = clean."""
        return self._metrics(self.corrupted(corrupt) if corrupt else self.steps)

    def _count(self, total: int) -> Callable[[int], None]:
        """What is told how many more are done, and reports it as ``progress``."""
        done = 0

        def tick(number: int) -> None:
            nonlocal done
            done += number
            if self.progress is not None:
                self.progress(done, total)

        return tick

    def corrupted(self, corrupt: dict) -> list:
        """The pipeline with a corruption."""
        step = Corrupt(channel_order=self.channel_order, **corrupt)
        return [*self.steps[: self.place], step, *self.steps[self.place :]]

    def image(self, corrupt: dict | None = None, index: int = 0) -> np.ndarray:
        """An image where it would be corrupted, or is: ``(H, W, 3)`` or ``(H, W, 1)``, RGB."""
        results: Any = self._info(index)
        steps = self.corrupted(corrupt) if corrupt else self.steps
        for step in steps[: self.place + bool(corrupt)]:
            results = step(results)
        image = results['img']
        return image[..., ::-1] if self.channel_order == 'bgr' else image


class ModelEvaluation(Evaluation):
    """A classifier, detector or segmenter by its metrics; a pretraining by its held-out loss.

    Args:
        checkpoint: With a config, unless ``config`` is given.
        config: Config of the model and its validation.
        options: See :class:`Options`.
        work_dir: Folder for logs and lists of images.
        use: Enters the data of the options into the config.

    Raises:
        DataError: If there are no validation data, or these cannot be used.
        CheckpointError: If a weight of the model is not in the file.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: Config | None,
        options: Options,
        work_dir: Path,
        use: Callable[[Config, StoredModel, Path, Path], None] | None = None,
    ) -> None:
        loaded = load_weights(checkpoint.path)
        run, state = open_run(checkpoint.path, config, _built, loaded)
        cfg = Config(deepcopy({name: run[name] for name in _USED if name in run}))
        cfg.merge_from_dict(options.settings)
        if options.data:
            stored = StoredModel(checkpoint.path, stored_classes(loaded))
            (use or use_data)(cfg, stored, Path(options.data), work_dir)
        complete_validation(cfg)
        cfg.train_dataloader = None
        if not cfg.get('val_dataloader') or not cfg.get('val_evaluator'):
            raise DataError(
                f'the config of {checkpoint.path} has nothing to measure it by (val_dataloader, '
                'val_evaluator): give DATA, or a config with --config'
            )
        cfg.val_dataloader.persistent_workers = False  # they would keep the first pipeline
        adapt_dataloaders(cfg)
        cfg.val_cfg = dict(cfg.get('val_cfg') or {}, **(dict(fp16=True) if options.amp else {}))
        cfg.randomness = dict(seed=options.seed)
        settings = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
        checked = check_run(cfg)
        dataset = checked.datasets['val_dataloader']
        self._datasets = [part for _, part in single_datasets(dataset)]
        if options.limit:
            if self._datasets[0] is not dataset:
                raise DataError('a limit takes validation data without wrappers')
            dataset.get_subset_(spread(len(dataset), options.limit))
        self.steps = list(self._datasets[0].pipeline.transforms)
        plain = [x.step if isinstance(x, SkippingLoader) else x for x in self.steps]
        self.place = _place(plain, cfg.get('default_scope') in ('mmdet', 'mmseg'))
        self.channel_order = _channel_order(plain)
        known = fingerprint([checkpoint.path, *read_paths(dataset)])
        self.key = _digest(settings, known, options.limit)

        cfg.val_dataloader.dataset = {}  # built, and slow to print with a thousand classes
        cfg.default_hooks = dict.fromkeys(('logger', 'checkpoint', 'param_scheduler'))
        cfg.work_dir, cfg.log_level = str(work_dir / 'log'), 'WARNING'
        # mmengine adds the second, and warns where a name stands twice
        cfg.experiment_name = f'robustness_{self.key}_{next(_NUMBERS)}'
        with redirect_stdout(io.StringIO()):  # pycocotools reports its progress
            self._runner = build_runner(cfg, checked.datasets | checked.evaluators)
            evaluator: Any = self._runner.val_loop.evaluator  # type: ignore[union-attr]
        self._progress = _Progress(self)
        self._runner.register_hook(self._progress)
        load_into(self._runner.model, state, file=checkpoint.path, check=_require_all)
        coco = [metric for metric in evaluator.metrics if hasattr(metric, 'img_ids')]
        # mmdet reports no AP, instead of 0, where nothing at all is detected
        self._absent = {f'coco/{kind}_mAP': 0.0 for metric in coco for kind in metric.metrics}
        for metric in coco if options.limit else ():  # objects of other images would be missed
            infos = (dataset.get_data_info(i) for i in range(len(dataset)))
            metric.img_ids = [info['img_id'] for info in infos]

    def _info(self, index: int) -> dict:
        return self._datasets[0].get_data_info(index)

    def _metrics(self, steps: list) -> dict[str, float]:
        for part in self._datasets:
            part.pipeline = Compose(steps)
        self._progress.stdout = sys.stdout
        with redirect_stdout(io.StringIO()):  # pycocotools prints its table
            found = self._runner.val()
        return self._absent | {name: float(value) for name, value in found.items()}


class _Progress(Hook):
    stdout: TextIO  # the one that people see

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def before_val(self, runner: Runner) -> None:
        self._tick = self._evaluation._count(len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        with redirect_stdout(self.stdout):
            self._tick(1)


class KnnEvaluation(Evaluation):
    """A pretrained backbone by the accuracy of nearest neighbors: clean ones vote.

    Args:
        checkpoint: Of a pretraining.
        config: Instead of the config in the checkpoint.
        options: ``data`` has ``train/CLASS`` and ``val/CLASS``.

    Raises:
        DataError: If there is no val.
    """

    def __init__(self, checkpoint: Checkpoint, config: Config | None, options: Options) -> None:
        bank, queries = load_split(options.data or '')
        if queries is None:
            raise DataError(f'{options.data} has no val: neighbors from train classify its images')
        indices = spread(len(queries.paths), options.limit)
        paths = [queries.paths[i] for i in indices]
        self._queries = LabeledImages(paths, queries.labels[indices], queries.classes)
        self._bank, self._features = bank, None
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self._extract = FeatureExtractor.from_checkpoint(checkpoint.path, config, device)
        self.steps = list(self._extract.pipeline.transforms)
        self.place = len(self.steps)
        known = fingerprint([checkpoint.path, str(options.data)])
        self.key = _digest('knn', list(map(repr, self.steps)), known, options.limit)

    def _info(self, index: int) -> dict:
        return dict(img_path=self._queries.paths[index], sample_idx=index)

    def _metrics(self, steps: list) -> dict[str, float]:
        if self._features is None:
            self._extract.pipeline = Compose(self.steps)
            self._features = self._extract(self._bank.paths, self._count(len(self._bank.paths)))
        self._extract.pipeline = Compose(steps)
        paths = self._queries.paths
        features = self._extract(paths, self._count(len(paths)))
        predicted = weighted_knn(self._features, self._bank.labels, features)
        return {KNN_METRIC: percent_right(predicted, self._queries.labels)}


def _built(cfg: Config) -> list:
    """What will be built of a config, with the registries that know its types."""
    scope = cfg.get('default_scope') or 'simmim_mm'
    if scope == 'mmdet':
        require_mmcv_ops()
    import_module(f'{scope}.registry')
    import_module('simmim_mm.models.downstream')  # registered before types are checked

    def registries(names: str) -> list[Registry]:
        roots = [getattr(registry, name) for name in names.split()]
        return [root.children.get(scope, root) for root in roots]

    model = registries('MODELS TASK_UTILS WEIGHT_INITIALIZERS DATA_SAMPLERS')
    loader = cfg.get('val_dataloader') or cfg.get('train_dataloader') or {}
    return [
        (_without_ops(cfg.model), *model),
        (loader, *registries('DATASETS TRANSFORMS DATA_SAMPLERS FUNCTIONS')),
        (cfg.get('val_evaluator') or {}, *registries('METRICS EVALUATOR')),
    ]


def _without_ops(node: Any) -> Any:
    """A config of a model without what mmdet takes from mmcv.ops, and not from a registry."""
    if isinstance(node, dict):
        return {k: _without_ops(v) for k, v in node.items() if not _is_op(k, v)}
    return [_without_ops(x) for x in node] if isinstance(node, (list, tuple)) else node


def _is_op(key: str, value: Any) -> bool:
    """Whether it names an operator; mmcv evaluates the name of an NMS, so others are refused."""
    if key not in ('roi_layer', 'nms') or not isinstance(value, dict):
        return False
    return value.get('type') in vars(import_module('mmcv.ops'))


def use_data(cfg: Config, model: StoredModel, data: Path, work_dir: Path) -> None:
    """Validate on a folder, by the layouts of `simmim compare`.

    Args:
        cfg: Changed in place.
        model: The checkpoint.
        data: The folder.
        work_dir: Where lists of images are written.
    """
    scope = cfg.get('default_scope')
    loaders = [cfg.get(name) or {} for name in ('val_dataloader', 'train_dataloader')]
    kinds = {part.get('type') for x in loaders for _, part in single_datasets(x.get('dataset', {}))}
    if {'ImageDataset', 'simmim_mm.ImageDataset'} & kinds:
        loader = cfg.get('val_dataloader') or {}
        cfg.val_dataloader = {'dataset': dict(data_root=''), **loader}
        set_data_root(cfg.val_dataloader.dataset, data)
        return
    if not cfg.get('val_dataloader'):
        raise DataError(f'the config of {model.file} has no val_dataloader: give one with --config')
    if scope == 'mmdet':
        set_validation(cfg, 'detection', find_and_read_coco(data))
    elif scope == 'mmseg':
        found = read_segmentation_maps(*find_segmentation_maps(data))
        set_validation(cfg, 'segmentation', found)
    else:
        _use_class_folders(cfg, model, data, work_dir)


def _use_class_folders(cfg: Config, model: StoredModel, data: Path, work_dir: Path) -> None:
    """Validate on folders that are all or some of the classes of a classifier."""
    folder = data / 'val' if (data / 'val').is_dir() else data
    found = load_class_folders(folder)
    number = cfg.model.head.num_classes
    names = class_names(model.classes, number, found.classes)
    if unknown := [name for name in found.classes if name not in names]:
        raise DataError(
            f'{folder}: {first_few(map(repr, unknown))} are not among the {number} classes of '
            f'{model.file} ({first_few(map(repr, names))})'
        )
    numbers = [names.index(name) for name in found.classes]
    images = write_list(found.paths, folder, work_dir, [numbers[i] for i in found.labels])
    dataset = next(part for _, part in single_datasets(cfg.val_dataloader.dataset))
    cfg.val_dataloader.dataset = dict(
        type='mmpretrain.CustomDataset',
        ann_file=str(images),
        data_prefix=str(folder),
        metainfo=dict(classes=names),
        pipeline=dataset.pipeline,
    )
    if len(numbers) < number:
        cfg.val_evaluator = dict(type='simmim_mm.SubsetAccuracy', subset=numbers)


def write_list(
    paths: Sequence[str], folder: Path, work_dir: Path, labels: Sequence[int] | None = None
) -> Path:
    """Write a list of images, and perhaps labels, as mmpretrain reads it."""
    lines = [str(Path(path).relative_to(folder)) for path in paths]
    if labels is not None:
        lines = [f'{line} {label}' for line, label in zip(lines, labels)]
    file = work_dir / f'images_{_digest(str(folder), lines)}.txt'
    write_lines(lines, file)
    return file


def class_names(stored: list[str], number: int, folders: Sequence[str] = ()) -> list[str]:
    """Names of a classifier's classes, in the order of its outputs.

    Those that the checkpoint has ``stored``; of 1000 classes and folders that are called by wnid,
    the wnids of ImageNet; else the folders.
    """
    if len(stored) == number and set(folders) <= set(stored):
        return stored
    if number == 1000 and folders and all(_WNID.fullmatch(name) for name in folders):
        return IMAGENET_WNIDS.read_text().split()
    return list(folders) if len(folders) == number and not stored else stored


def _place(steps: Sequence[Any], at_loader: bool) -> int:
    """Behind the last step that loads or crops; or that loads, at once (see Evaluation.place)."""
    words = ('LoadImage',) if at_loader else ('LoadImage', 'Crop', 'Resize')
    names = [type(step).__name__ for step in steps]
    return max((i + 1 for i, name in enumerate(names) if any(w in name for w in words)), default=0)


def _channel_order(steps: Sequence[Any]) -> str:
    """OpenMMLab's loaders give BGR; ours, and data sets that hold arrays, RGB."""
    theirs = any(isinstance(step, LoadImageFromFile) for step in steps)
    return 'bgr' if theirs else 'rgb'


def _digest(*parts: Any) -> str:
    return sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _require_all(report: LoadReport) -> None:
    absent = [name for name in report.missing if not name.endswith('mask_token')]
    if absent := [*absent, *report.mismatched]:
        raise CheckpointError(
            f'{report.file} lacks {len(absent)} weights of the model, such as '
            f'{report.with_shapes(absent[0])}: it is not a checkpoint of this config'
        )
