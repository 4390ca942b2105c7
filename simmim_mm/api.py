"""The Python API: what ``simmim_mm.NAME`` hands out, from a config or checkpoint to a result.

Nothing that a checkpoint holds is executed. Files of other code (the authors', timm, transformers,
OpenMMLab) will do: they are converted on the way.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from simmim_mm import checkpoint as _checkpoint
from simmim_mm.catalog import load_config
from simmim_mm.checkpoint import CheckpointError, LoadReport
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.shards import are_shards
from simmim_mm.deploy import export_onnx, quantize
from simmim_mm.engine.launch import complete_validation
from simmim_mm.evaluation.embedding import Embedding, check_format, embed_images
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.experiments.downstream import set_run
from simmim_mm.interop import convert_checkpoint as convert
from simmim_mm.interop import export_checkpoint as export
from simmim_mm.interop import read_source
from simmim_mm.interop.export import ExportError, Source
from simmim_mm.pretraining import Wishes
from simmim_mm.pretraining import pretrain as _pretrain
from simmim_mm.visualization import draw_grid
from simmim_mm.visualization.reconstructor import Reconstructor

__all__ = [
    'convert',
    'embed',
    'export',
    'export_onnx',
    'extract_features',
    'get_config',
    'get_model',
    'load_backbone',
    'pretrain',
    'quantize',
    'reconstruct',
]


def get_config(
    name: str | Path,
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    iters: int | None = None,
    batch_size: int | None = None,
    **overrides: Any,
) -> Config:
    """Read a config, and change settings.

    Args:
        name: A file, or a name out of :func:`simmim_mm.list_configs`.
        data: Folder of the images to train on.
        epochs: Length of the training; all schedules are scaled to it.
        iters: The same, of a config that counts iterations.
        batch_size: Images per process and step.
        **overrides: Settings, nested (``model=dict(backbone=dict(drop_path_rate=0.2))``) or by
            their path (``**{'model.backbone.drop_path_rate': 0.2}``). They win.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If the config counts in the other unit.
    """
    cfg = load_config(name)
    set_run(cfg, data, epochs, iters, batch_size)
    cfg.merge_from_dict(overrides)
    complete_validation(cfg)
    return cfg


def get_model(
    config: str | Path | Config, pretrained: str | Path | None = None, device: str = 'cpu'
) -> nn.Module:
    """Build the model of a config: for pretraining, or a classifier, detector or segmenter.

    Args:
        config: A config, or what :func:`get_config` takes.
        pretrained: A checkpoint of this model; None = initial weights.
        device: Where the model goes.

    Raises:
        FileNotFoundError: If there is no such config or checkpoint.
        CheckpointError: If the checkpoint lacks weights of the backbone, or does not fit.
    """
    cfg = config if isinstance(config, Config) else get_config(config)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'simmim_mm')):
        model = MODELS.build(cfg.model)
    if pretrained is not None:
        _checkpoint.load_into(model, pretrained, check=LoadReport.require_backbone)
    else:
        model.init_weights()
    return model.to(device)


def load_backbone(
    checkpoint: str | Path,
    *,
    family: str | None = None,
    arguments: dict[str, Any] | None = None,
    device: str = 'cpu',
    **changes: Any,
) -> tuple[nn.Module, LoadReport]:
    """A pretrained backbone, ready for features: ``backbone(x)`` gives a tuple of ``(B, C, h, w)``.

    Args:
        checkpoint: Of a pretraining, or of other code.
        family: Where a file of other code is from (``simmim convert --families``); None = detect.
        arguments: The authors' constructor arguments that such a file does not hold.
        device: Where the backbone goes.
        **changes: Arguments of the backbone that are other than in the pretraining, such as
            ``img_size=224`` or ``out_indices=(0, 1, 2, 3)``; weights are fitted.

    Returns:
        The backbone, in eval mode, and a report on every weight.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is of no known family, or its weights do not fit.
    """
    with _native(checkpoint, family, arguments) as (file, source):
        source = source or read_source(file)
        settings = {**source.config, **changes, 'type': f'simmim_mm.{source.family}'}
        backbone = MODELS.build(settings)
        report = _checkpoint.load_backbone(backbone, file, 'backbone.')
    report.file = str(checkpoint)
    return backbone.to(device).eval(), report


def pretrain(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    weights: str | Path | None = None,
    tune: str = 'all',
    backbone: str | None = None,
    method: str | None = None,
    img_size: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    channels: str | int | None = None,
    seed: int = 0,
    resume: bool = False,
    cfg_options: dict[str, Any] | None = None,
    report: Callable[[str], None] | None = None,
    loggers: Sequence[str] = (),
    probe: str | Path | None = None,
) -> Path:
    """Pretrain on a folder of images, with settings chosen for them and for this machine.

    Args:
        folder: Searched with its subfolders.
        out: Work dir, of a new run; None: ``work_dirs/NAME_OF_FOLDER``. The plan is in its
            ``pretrain.py``, an ordinary config.
        minutes: How long it takes; None: 30, unless ``epochs`` is given.
        epochs: Length of the training instead.
        weights: To start from: of timm, transformers, OpenMMLab, the authors, or ours.
        tune: ``'last'`` trains the last quarter of the backbone only.
        backbone: Such as ``'swin-tiny'``; None: chosen, like all that follows.
        method: ``'simmim'``, ``'mae'`` or ``'pixmim'``.
        img_size: Side of the crops, in pixels.
        batch_size: Images of a step of the optimizer.
        lr: Highest learning rate.
        channels: ``'rgb'``, ``'gray'``, or the number that every file has.
        seed: Of initial weights, order, crops and masks.
        resume: Continue the run in ``out``, by its config.
        cfg_options: Other settings of the config, by dotted key; they win.
        report: Takes the lines that ``simmim pretrain`` shows.
        loggers: Trackers besides files: ``'tensorboard'``, ``'mlflow'``, ``'wandb'``.
        probe: A folder of labeled images, one for each class, on which the features are measured
            while the training runs.

    Returns:
        The last checkpoint.

    Raises:
        FileNotFoundError: If ``weights`` do not exist.
        ValueError: If there are no images or too few, the settings do not go together, the weights
            are of another architecture, the work dir holds a run, or the disk is full.
    """
    wishes = Wishes(method, backbone, img_size, batch_size, epochs, minutes, lr, seed, tune)
    say = report or (lambda text: None)
    return _pretrain(
        *(folder, wishes, out, channels, weights, resume, cfg_options, say),
        loggers=loggers,
        probe=probe,
    )


def reconstruct(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    seed: int = 0,
    stats: str = 'true',
    config: Config | None = None,
    device: str = 'cpu',
) -> dict[str, Tensor]:
    """What a pretrained model predicts of masked images.

    Args:
        checkpoint: Of a pretraining with its decoder.
        images: A file, several, or a folder.
        out: Image file to draw the reconstructions to.
        seed: Chooses the random masks.
        stats: Mean and contrast of a normalized prediction are those of the whole image
            (``'true'``) or of its visible part (``'visible'``).
        config: Instead of the config in the checkpoint.
        device: Where the model runs.

    Returns:
        ``(N, C, H, W)`` float tensors in the value range of the images: ``original``, ``masked``,
        ``prediction`` (of every pixel), ``reconstruction`` (pasted under the mask), ``target``; and
        ``mask``, ``(N, 1, H, W)`` boolean, True = masked.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If the file is no checkpoint of a pretraining, or an image cannot be read.
    """
    with _native(checkpoint, config=config) as (file, _):
        reconstructor = Reconstructor.from_checkpoint(file, config, device)
    drawn = reconstructor.reconstruct(_files(images), seed, stats)
    if out is not None:
        draw_grid(drawn, note=reconstructor.note(stats)).save(out)
    return drawn


def extract_features(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    batch_size: int = 64,
    num_workers: int = 0,
    config: Config | None = None,
    device: str = 'cpu',
) -> Tensor:
    """Features of whole images: the last map of the backbone, averaged over its positions.

    Args:
        checkpoint: Of a pretraining, or of other code.
        images: A file, several, or a folder.
        batch_size: Images at once.
        num_workers: Processes that load images.
        config: Instead of the config in the checkpoint.
        device: Where the backbone runs.

    Returns:
        ``(N, C)`` float32, in the order of the files; of a folder, in that of
        :func:`~simmim_mm.datasets.image_folder.list_images`.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If weights of the backbone are missing, or an image cannot be read.
    """
    loading = dict(batch_size=batch_size, num_workers=num_workers)
    with _native(checkpoint, config=config) as (file, _):
        extractor = FeatureExtractor.from_checkpoint(file, config, device, **loading)
    return extractor([str(path) for path in _files(images)])


def embed(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    patches: bool = False,
    batch_size: int = 64,
    num_workers: int = 0,
    config: Config | None = None,
    device: str = 'cpu',
    progress: Callable[[int], None] | None = None,
) -> Embedding:
    """Features with the paths of their images; files that cannot be read are left out and named.

    Args:
        checkpoint: Of a pretraining, or of other code.
        images: A file, several, or a folder.
        out: File to write them to: ``.npy``, ``.csv`` or ``.parquet``, see
            :meth:`~simmim_mm.evaluation.embedding.Embedding.save`. What is returned stays on the
            disk, and a call that was interrupted is continued.
        patches: ``(N, h, w, C)``, a feature for each position of the last map, instead of their
            mean ``(N, C)``.
        batch_size: Images at once.
        num_workers: Processes that load images.
        config: Instead of the config in the checkpoint.
        device: Where the backbone runs.
        progress: Called after each image with the number of all.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If weights of the backbone are missing, no image can be read, or ``out`` cannot
            be written.
    """
    if out is not None:
        check_format(Path(out))
    loading = dict(batch_size=batch_size, num_workers=num_workers)
    with _native(checkpoint, config=config) as (file, _):
        extract = FeatureExtractor.from_checkpoint(file, config, device, **loading)
    return embed_images(extract, [str(path) for path in _files(images)], patches, progress, out)


def _files(images: str | Path | Sequence[str | Path]) -> list[str | Path]:
    if not isinstance(images, (str, Path)):
        return list(images)
    if Path(images).is_dir() or are_shards(str(images)):
        return [*list_images(images)]
    if not Path(images).is_file():
        raise FileNotFoundError(f'no image or folder at {images}')
    return [images]


@contextmanager
def _native(
    file: str | Path,
    family: str | None = None,
    arguments: dict[str, Any] | None = None,
    config: Config | None = None,
) -> Iterator[tuple[str | Path, Source | None]]:
    """The checkpoint and its backbone; or a converted one, which lasts as long as the context."""
    source = None
    if family is None and arguments is None and config is None:
        with suppress(CheckpointError, ExportError):
            source = read_source(file)
    if source is not None or config is not None:
        yield file, source
        return
    with TemporaryDirectory() as folder:
        target = Path(folder) / 'converted.pth'
        convert(file, target, family, arguments)
        yield target, None
