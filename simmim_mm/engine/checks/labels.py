"""Labels of classifiers, detectors and segmenters, against what the config says of them."""

import os.path as osp
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mmengine import fileio
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS

from simmim_mm.datasets.errors import DataError, error_at, first_few
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.datasets.readers.class_folders import check_class_folders, nested_groups
from simmim_mm.datasets.readers.coco_report import CocoReport
from simmim_mm.datasets.readers.segmentation_maps import advise_loading
from simmim_mm.engine.checks.coco import check_coco, check_evaluator, evaluators
from simmim_mm.engine.checks.images import image_sizes
from simmim_mm.engine.checks.segmentation_maps import check_segmentation_maps
from simmim_mm.engine.checks.trust import TRUST

_FORMATS = {
    'mmpretrain.BaseDataset': 'classes',
    'mmdet.CocoDataset': 'coco',
    'mmseg.BaseSegDataset': 'maps',
}
_READERS = ('load_data_list', 'parse_data_info')  # with its own, a class has a format of its own
_FOLDERS = dict(coco=['img'], maps=['img_path', 'seg_map_path'])
# Where detectors and segmenters count classes; a classifier does so wherever it says num_classes.
_HEADS = ('bbox_head', 'mask_head', 'decode_head', 'auxiliary_head')


def check_label_files(dataset: dict, cls: type, place: str, cfg: Config) -> CocoReport | None:
    """Check what mmdet and mmseg would fail on, for no clear reason, when they build a data set.

    Args:
        dataset: Config of a single data set. Others than those for COCO and segmentation maps pass.
        cls: Its class.
        place: Where it stands in the config.
        cfg: The whole config.

    Returns:
        What was found in a json, and repaired.

    Raises:
        DataError: If a folder, file or the classes are missing, or a json cannot be trained on.
    """
    label_format = _format_of(cls)
    if label_format not in _FOLDERS:
        return None
    with error_at(place):
        built = DATASETS.build(dict(dataset, pipeline=[], lazy_init=True))
        classes = built.metainfo.get('classes')
        if not classes:
            raise DataError("no classes; set metainfo=dict(classes=('first', 'second', ...))")
        if isinstance(classes, str):
            raise DataError(f"classes is the string {classes!r}; write a single one ('{classes}',)")
        for key in _FOLDERS[label_format]:
            folder = built.data_prefix.get(key) or '.'
            if not osp.isdir(folder):
                root = built.data_root
                raise DataError(
                    f'there is no folder {folder}; set data_root ({root!r}) and data_prefix.{key}'
                )
        if label_format == 'coco':
            is_val = place.startswith('val_dataloader')
            if is_val:
                check_evaluator(cfg, built.ann_file, place)
            with_masks = is_val and any('segm' in e.get('metric', '') for e in evaluators(cfg))
            steps = dataset.get('pipeline', [])
            heads = [
                path for path, head in _heads(cfg.get('model'), 'model') if 'num_classes' in head
            ]
            return check_coco(built, steps, place, with_masks, bool(cfg.get(TRUST)), heads)
        if not built.ann_file:
            folder, suffix = built.data_prefix['img_path'], built.img_suffix
            if not any(fileio.list_dir_or_file(folder, False, suffix=suffix, recursive=True)):
                raise DataError(f'{folder} holds no file that ends in {suffix!r}; set img_suffix')
    return None


def check_labels(
    dataset: Any,
    name: str,
    train: Any | None = None,
    model: dict | None = None,
    most: int | None = None,
    trained: Collection[int] = (),
) -> set[int]:
    """Check images, labels and classes of a built data set.

    Args:
        dataset: One of mmpretrain, mmdet (for COCO) or mmseg, also in wrappers. Of others, the
            images are opened.
        name: Where it stands in the config, such as ``'val_dataloader.dataset'``.
        train: The training data, whose classes the validation data must have, in their order:
            with one less, all later labels would change.
        model: Config of the model, whose heads must have as many classes.
        most: Open this many images and segmentation maps, spread over the data set; None opens all.
        trained: Classes that occur in the segmentation maps of the training, by their number.

    Returns:
        Classes that occur in segmentation maps.

    Raises:
        DataError: If there is no sample, an image cannot be read, a class folder has none, a
            segmentation map does not fit its image or the classes, or the classes are not those of
            the training or the heads.
    """
    unused: set[str] | None = None
    occurring: set[int] = set()
    for place, part in single_datasets(dataset, name):
        label_format = _format_of(type(part))
        with error_at(place):
            # Of a COCO json, the headers have been read; a training skips what is worse inside.
            is_train = train is None
            sizes = {} if label_format == 'coco' and is_train else image_sizes(part, most)
        if label_format is None:
            continue
        classes, heads = part.metainfo.get('classes') or (), _HEADS
        with error_at(place):
            _check_names(classes, label_format)
            if label_format == 'maps':
                _check_ignored(part.ignore_index, model, place)
                seen = check_segmentation_maps(part, sizes, trained)
                occurring |= seen
                absent = {str(c) for i, c in enumerate(classes) if i not in seen}
                unused = absent if unused is None else unused & absent
            elif label_format == 'classes':
                heads = ()
                if not len(part):
                    raise DataError(f'no sample in {part.ann_file or part.img_prefix}')
                if folders := getattr(part, 'folder_to_idx', None):
                    _check_same_folders(folders, train)
                    check_class_folders(part.img_prefix, folders, part.extensions)
                    _check_nesting(part, warn=train is None)
            _check_same(classes, (getattr(train, 'metainfo', None) or {}).get('classes'))
        counts = {path: head.get('num_classes') for path, head in _heads(model, 'model', heads)}
        wrong = [
            f'{path}.num_classes is {number}'
            for path, number in counts.items()
            if classes and isinstance(number, int) and number != len(classes)
        ]
        if wrong:
            raise DataError(
                f'{", ".join(wrong)}, but {place} has {len(classes)} classes '
                f'({first_few(map(repr, classes))}): set {"it" if len(wrong) == 1 else "each"} to '
                f'{len(classes)}'
            )
    if unused and train is None and most is None:
        MMLogger.get_current_instance().warning(
            f'{name}: no pixel of the segmentation maps is {first_few(map(repr, sorted(unused)))}: '
            'a class that does not occur is not learned, and has an IoU of 0 where it is '
            'predicted; add maps that have it, or leave it listed: without it, all later classes '
            'would have other numbers than the maps'
        )
    return occurring


def _format_of(cls: type) -> str | None:
    for i, base in enumerate(cls.__mro__):
        found = _FORMATS.get(f'{base.__module__.split(".")[0]}.{base.__name__}')
        if found:
            own = any(reader in vars(c) for c in cls.__mro__[:i] for reader in _READERS)
            return None if own and found != 'classes' else found
    return None


def _check_nesting(dataset: Any, warn: bool) -> None:
    """Look below the class folders for what is taken along unseen."""
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    paths = [osp.relpath(path, dataset.img_prefix) for path in paths]
    if hidden := [path for path in paths if '/.' in path]:
        raise DataError(
            f'{len(hidden)} images lie in hidden folders of {dataset.img_prefix}: '
            f'{first_few(hidden, 3)}; mmpretrain trains on them, delete them'
        )
    if warn and (groups := nested_groups(paths)):
        MMLogger.get_current_instance().warning(
            f'{first_few(map(repr, groups))} in {dataset.img_prefix} hold folders of images, all '
            'of which get the name of the outer folder as their class: if the inner ones are the '
            'classes, move them up'
        )


def _check_names(classes: Sequence[str], label_format: str) -> None:
    """Names are unique, and a single class is one that a detector tells from the background."""
    if twice := [name for name, count in Counter(classes).items() if count > 1]:
        raise DataError(
            f'classes has names twice: {first_few(map(repr, twice))}; give each class its own'
        )
    if len(classes) == 1 and label_format != 'coco':
        advice = (
            f"list the other one, too, in metainfo.classes, in the order of the maps' values, such "
            f'as {("background", classes[0])}, and set num_classes of the heads to 2'
            if label_format == 'maps'
            else 'add the folder of another class'
        )
        raise DataError(
            f'the only class is {classes[0]!r}: with nothing to tell it from, the loss is 0 and '
            f'the accuracy 100%; {advice}'
        )


def _check_ignored(value: int, model: dict | None, place: str) -> None:
    """The head ignores what the data set does: mmseg reads ``ignore_index`` of the head alone."""
    for path, head in _heads(model, 'model'):
        number = head.get('ignore_index', 255)
        if number not in (value, None):
            raise DataError(
                f'ignore_index is {value}, but that of {path} is {number}, and mmseg pads with '
                f'255: take out {place}.ignore_index, and {advise_loading({value: 255})}'
            )


def _check_same(classes: Sequence[str], expected: Sequence[str] | None) -> None:
    if not expected or tuple(classes) == tuple(expected):
        return
    if not (differ := _difference(classes, expected)):
        order = f'{first_few(map(repr, classes))} instead of {first_few(map(repr, expected))}'
        raise DataError(
            f'its classes are in another order than those of the training: {order}; give both '
            'the same metainfo.classes'
        )
    raise DataError(
        f'its classes are not those of the training: {differ}; give both the same metainfo.classes'
    )


def _check_same_folders(folders: Collection[str], train: Any) -> None:
    """mmpretrain numbers class folders by their names, whatever metainfo.classes calls them."""
    parts = single_datasets(train, '') if train is not None else ()
    for _, part in parts:
        if differ := _difference(folders, getattr(part, 'folder_to_idx', folders)):
            raise DataError(
                f'its class folders are not those of the training: {differ}; rename folders so '
                'that both have the same'
            )


def _difference(names: Collection[str], expected: Collection[str]) -> str:
    """Which names are missing and unknown; empty if they are the same."""
    missing, unknown = (
        [repr(name) for name in some if name not in others]
        for some, others in ((expected, names), (names, expected))
    )
    if not missing and not unknown:
        return ''
    return f'missing {first_few(missing)}, unknown {first_few(unknown)}'


def _heads(cfg: Any, path: str, names: tuple[str, ...] = _HEADS) -> Iterator[tuple[str, dict]]:
    """The configs called ``names`` (all, if there are none) in a config, and where they stand."""
    if isinstance(cfg, dict):
        name = path.rstrip('.0123456789').rpartition('.')[2]
        if name in names or not names:
            yield path, cfg
    values = enumerate(cfg) if isinstance(cfg, (list, tuple)) else dict(cfg or {}).items()
    for key, value in values:
        if isinstance(value, (dict, list, tuple)):
            yield from _heads(value, f'{path}.{key}', names)
