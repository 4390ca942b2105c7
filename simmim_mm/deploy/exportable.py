"""From a checkpoint to a model that is ready to be exported."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import mmengine.registry as root
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from simmim_mm._stack import require_mmcv_ops
from simmim_mm.checkpoint import load_into, load_weights, open_run
from simmim_mm.checkpoint.stored_config import (
    GIVE_CONFIG,
    check_types,
    refused_config,
    stored_classes,
)
from simmim_mm.deploy.graphs import (
    BackboneGraph,
    ClassifierGraph,
    DetectorGraph,
    Graph,
    ReconstructionGraph,
    SegmenterGraph,
)
from simmim_mm.deploy.loading import channel_order, loading_pipeline, trained_size, type_name
from simmim_mm.interop import ExportError
from simmim_mm.interop.export import BUILT, source_of
from simmim_mm.models import backbones, downstream  # noqa: F401 - before types are checked

PARTS = ('backbone', 'model')
_LIBRARIES = ('mmpretrain', 'mmseg', 'mmdet')
# What initializes and trains a model; nothing of it is built.
_TRAINING = ('init_cfg', 'train_cfg', 'pretrained', 'batch_augments')
_GRAPHS: dict[str, type[Graph]] = {
    'MaskedImageModel': ReconstructionGraph,
    'ImageClassifier': ClassifierGraph,
    'EncoderDecoder': SegmenterGraph,
    'SingleStageDetector': DetectorGraph,
}


@dataclass
class Exportable:
    """A model that is ready to be exported, and what its user has to know.

    Attributes:
        checkpoint: Where it is from.
        name: Class of the model.
        graph: The module.
        size: Height and width in pixels.
        channels: Of the images.
        channel_order: ``'RGB'``, ``'BGR'`` or, of other than three channels, ``'as loaded'``.
        classes: Their names, as far as the checkpoint has them.
        pipeline: Steps that load an image file, with types that name their registry.
        resized: Weights that were fitted to another window or size.
    """

    checkpoint: Path
    name: str
    graph: Graph
    size: tuple[int, int]
    channels: int
    channel_order: str
    classes: tuple[str, ...]
    pipeline: list[dict]
    resized: Sequence[str] = ()

    def examples(self, batch: int, size: tuple[int, int] | None = None) -> tuple[Tensor, ...]:
        """Arguments of the graph, see :meth:`Graph.examples`."""
        return self.graph.examples(batch, self.channels, size or self.size)

    @property
    def statistics(self) -> dict[str, list[float]]:
        """``mean`` and ``std`` of the normalization in the graph; empty if there is none."""
        if not self.graph.normalizes:
            return {}
        values = dict(mean=self.graph.mean, std=self.graph.std)
        return {name: [round(v, 4) for v in x.flatten().tolist()] for name, x in values.items()}


def read_exportable(
    checkpoint: str | Path,
    part: str | None = None,
    config: Config | None = None,
    window: int | None = None,
    size: tuple[int, int] | None = None,
) -> Exportable:
    """Build what a checkpoint holds, with its weights; nothing in the file is executed.

    Args:
        checkpoint: Of a pretraining, a classifier, a segmenter or a detector.
        part: ``'backbone'``; or ``'model'``, which of a pretraining reconstructs images. None: the
            backbone of a pretraining, else the whole model.
        config: Instead of the config in the checkpoint.
        window: Side of Swin's windows in tokens; None: as trained.
        size: Height and width in pixels; None: as trained.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is no checkpoint, or its weights do not fit its config.
        ExportError: If it cannot be exported; the message says why.
    """
    if part not in (*PARTS, None):
        raise ExportError(f'--part must be one of {", ".join(PARTS)}, got {part!r}')
    path, loaded = Path(checkpoint), load_weights(checkpoint)
    run, state = open_run(path, deepcopy(config), partial(_parts, path, part), loaded)
    part = part or _default_part(run)

    preprocessor = run.model.get('data_preprocessor') or run.get('data_preprocessor') or {}
    statistics = preprocessor.get('mean') or [], preprocessor.get('std') or []
    given, size = size, size or trained_size(run)
    resized, changes = [], {}
    ours = type_name(run.model.backbone).startswith(('Masked', 'WindowedViT'))
    if ours or part == 'backbone' or window:
        source = source_of(run, state, path)
        sized = source.sized(window, given)
        backbone: Any = sized.build()
        resized = sized.resized(backbone)
        changes = {k: v for k, v in sized.config.items() if v != source.config.get(k, ...)}
    if part == 'backbone':
        model = backbone
        graph: Graph = BackboneGraph(model, *statistics)
    else:
        run.model.backbone.update(changes)
        model = _build(run, state, path)
        graph = _graph(type(model), path)(model, *statistics)
        backbone = model.backbone
    _refuse_counted_windows(model)
    size = size or getattr(backbone, 'img_size', None)
    if not size:
        raise ExportError(f'{path} does not say for which image size: give it, as --img-size 224')
    size = _checked_size(size, preprocessor, given is not None)
    channels = len(statistics[0]) or _channels(backbone)
    pipeline = loading_pipeline(run, size)
    return Exportable(
        path,
        type(model).__name__,
        graph.eval(),
        size,
        channels,
        channel_order(pipeline, preprocessor) if channels == 3 else 'as loaded',
        tuple(stored_classes(loaded)),
        pipeline,
        resized,
    )


def _default_part(run: Config) -> str:
    return 'backbone' if type_name(run.model) == 'MaskedImageModel' else 'model'


def _parts(path: Path, part: str | None, run: Config) -> list[tuple]:
    """What is built of a config, and the registries of its types."""
    scope = run.get('default_scope', 'simmim_mm')
    if scope == 'mmdet':
        require_mmcv_ops()
    if scope in _LIBRARIES:
        try:
            import_module(f'{scope}.models')
        except ImportError as error:
            raise ExportError(
                f'{path}: the model is one of {scope}, which does not import ({error}): install it'
            ) from None
    elif scope != 'simmim_mm':
        raise ExportError(f'{path}: models of default_scope={scope!r} are not exported to ONNX')
    if not run.get('model', {}).get('backbone'):
        raise ExportError(f'{path}: the config has no model with a backbone: nothing to export')
    registries = [r.children[scope] for r in (root.MODELS, root.TASK_UTILS) if scope in r.children]
    if (part or _default_part(run)) == 'backbone':
        return [(run.model.backbone, *registries)]
    with refused_config(path, GIVE_CONFIG):  # its class may refuse the rest
        check_types(dict(type=run.model.type), *registries)
    kind: Any = registries[0].get(run.model.type)
    _graph(kind, path)  # refuses others
    return [(untrained(run.model, 'test_cfg'), *registries)]


def untrained(cfg: Any, *others: str) -> Any:
    """A model's config without what initializes and trains it, and without ``others``."""
    if isinstance(cfg, Mapping):
        left_out = (*_TRAINING, *others)
        return {k: untrained(v, *others) for k, v in cfg.items() if k not in left_out}
    return [untrained(v, *others) for v in cfg] if isinstance(cfg, (list, tuple)) else cfg


def _build(run: Config, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The whole model with its weights."""
    cfg = ConfigDict(untrained(run.model))  # parts of mmdet and mmseg read it by attribute
    if not cfg.get('data_preprocessor') and run.get('data_preprocessor'):
        cfg['data_preprocessor'] = run.data_preprocessor
    try:
        with DefaultScope.overwrite_default_scope(run.get('default_scope', 'simmim_mm')):
            model = root.MODELS.build(cfg)
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ExportError(f'{path}: the {type_name(cfg)} cannot be built ({error})') from error
    report = load_into(model, state, file=str(path))
    if missing := [name for name in report.missing if not BUILT.fullmatch(name)]:
        raise ExportError(
            f'{path} lacks {len(missing)} weights of the {type_name(cfg)}, such as {missing[0]}: '
            'its weights and its config do not belong together'
        )
    return model.eval()


def _graph(model: type, path: Path) -> type[Graph]:
    """What is exported of whole models of a class."""
    names = [kind.__name__ for kind in model.__mro__]
    if graph := next((_GRAPHS[name] for name in names if name in _GRAPHS), None):
        return graph
    reason = (
        ': it pools the regions of boxes, whose number depends on the image'
        if 'TwoStageDetector' in names
        else ''
    )
    raise ExportError(
        f'{path}: a whole {names[0]} is not exported{reason}. Export its backbone: --part backbone'
    )


def _refuse_counted_windows(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if type(module).__name__ == 'ShiftWindowMSA':
            raise ExportError(
                f"{name} is OpenMMLab's own shifted-window attention, which divides by the number "
                'of windows that it counted: the file would be wrong at every number of images '
                "but one. Use type='simmim_mm.MaskedSwin', which takes the same weights"
            )


def _checked_size(size: int | Sequence[int], preprocessor: Mapping, given: bool) -> tuple[int, int]:
    """Height and width; multiples of what the preprocessor pads to, or an ExportError."""
    height, width = (size, size) if isinstance(size, int) else size
    test = preprocessor.get('test_cfg') or {}
    divisor = preprocessor.get('pad_size_divisor') or test.get('size_divisor') or 1
    rounded = [-(-side // divisor) * divisor for side in (height, width)]
    if given and rounded != [height, width]:
        raise ExportError(
            f'--img-size {height} {width}: height and width must be multiples of {divisor}, to '
            'which the model pads its images'
        )
    return rounded[0], rounded[1]


def _channels(backbone: nn.Module) -> int:
    convolutions = (m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    return next(convolutions).in_channels
