"""From a checkpoint to one with a smaller backbone, and the config to train it on."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import Tensor, nn

from simmim_mm.checkpoint import LoadReport, load_into, open_run, write_checkpoint
from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
from simmim_mm.checkpoint.stored_config import find_type
from simmim_mm.compression.importance import loss_importance, weight_importance
from simmim_mm.compression.selection import Costs, select_units
from simmim_mm.datasets.evaluation_pipeline import evaluation_pipeline
from simmim_mm.datasets.image_folder import list_images, spread
from simmim_mm.datasets.seeding import sample_seed, seeded_rng
from simmim_mm.experiments.downstream import set_budget, set_data_root
from simmim_mm.models.algorithms import MaskedImageModel
from simmim_mm.models.backbones import BaseMaskedBackbone
from simmim_mm.models.backbones.units import keep_units, unit_counts, zero_units
from simmim_mm.registry import MODELS, TRANSFORMS
from simmim_mm.version import __version__

PREFIX = 'backbone.'
TOLERANCE = 1e-5  # between pruned and dense with zeros, in parts of the largest feature
RECOVERY = 0.1  # of the original training
# Of the run that is over.
_PAST = ('work_dir', 'resume', 'launcher', 'experiment_name')


class PruneError(ValueError):
    """Pruning that is not possible; the message says why and what to do instead."""


@dataclass(frozen=True)
class PruneReport:
    """What was written; ``str(report)`` also says how to use it."""

    checkpoint: Path
    out: Path
    config: Path  # trains the pruned model on
    backbone: dict[str, Any]  # config of the pruned backbone
    shape: tuple[int, ...]  # images for which operations were counted, (1, C, H, W)
    operations: tuple[int, int]  # before and after, of the backbone
    parameters: tuple[int, int]
    by_loss: bool  # by the loss on images, or by the weights alone
    difference: float  # from the dense backbone with zeros, in parts of the largest feature

    def __str__(self) -> str:
        height, width = self.shape[2:]
        lines = [f'{self.checkpoint}: {self.backbone["type"]}']
        for name, unit, (before, after) in (
            (f'operations at {height}x{width}', 1e9, self.operations),
            ('parameters', 1e6, self.parameters),
        ):
            sign = 'G' if unit == 1e9 else 'M'
            lines.append(
                f'{name}: {before / unit:.3g} {sign} to {after / unit:.3g} {sign} '
                f'({after / before:.1%})'
            )
        lines.append(
            'features equal those of the dense backbone with the pruned units at zero, largest '
            f'difference {self.difference:.1e} of the largest feature'
        )
        if not self.by_loss:
            lines.append('ranked by the weights alone; --images ranks by the loss')
        lines.append(f'wrote {self.out} and {self.config}. To recover:')
        lines.append(f'\n  simmim train {self.config}\n')
        lines.append('In a config of mmdet, mmseg or mmpretrain:\n')
        lines.append(f"  custom_imports = dict(imports=['simmim_mm'])\n  {self.snippet}")
        return '\n'.join(lines)

    @property
    def snippet(self) -> str:
        """Line of a config that takes the backbone."""
        kind = f'simmim_mm.{self.backbone["type"].rpartition(".")[2]}'
        own = {'type': kind, **self.backbone, **dict(type=kind)}
        init = dict(type='Pretrained', checkpoint=str(self.out), prefix=PREFIX)
        arguments = ', '.join(f'{k}={v!r}' for k, v in dict(own, init_cfg=init).items())
        return f'model = dict(backbone=dict({arguments}))'


def prune_checkpoint(
    checkpoint: str | Path,
    out: str | Path,
    *,
    operations: float | None = None,
    parameters: float | None = None,
    images: str | Path | None = None,
    num_images: int = 256,
    batch_size: int = 8,
    img_size: int | Sequence[int] | None = None,
    config: Config | None = None,
    device: str = 'cpu',
    overwrite: bool = False,
) -> PruneReport:
    """Take the least important units out of the backbone of a checkpoint.

    Units are heads of attentions and channels inside blocks. What blocks give stays as wide, so
    that decoder, neck and head fit as before. Two files are written: ``out``, with the whole model
    and its config, and beside it a config of the same name that trains it on.

    Args:
        checkpoint: Of a training, with a backbone of ours. Nothing in it is executed.
        out: The ``.pth`` file to write.
        operations: Ratio of the multiply-adds of the backbone to keep.
        parameters: Ratio of the parameters of the backbone to keep, instead.
        images: Folder of images by which units are judged: by what the loss of the pretraining
            loses without them. None: by the size of their weights.
        num_images: How many of them.
        batch_size: Images at once.
        img_size: Side or ``(H, W)`` in pixels for which operations are counted; None = as trained.
        config: Instead of the config in the checkpoint.
        device: Where the loss is computed.
        overwrite: Replace what is there.

    Raises:
        FileNotFoundError: If there is no checkpoint, or no images.
        CheckpointError: If it is no checkpoint, carries no config, or one of another model.
        PruneError: If a ratio is out of range or out of reach, the backbone has nothing to prune,
            there is no loss of a pretraining, or a file exists.
    """
    out, recipe = Path(out), Path(out).with_suffix('.py')
    ratio = _only_ratio(operations, parameters)
    if num_images < 1:
        raise PruneError(f'--num must be at least 1, got {num_images}')
    for path in (out, recipe):
        if path.exists() and not overwrite:
            raise PruneError(f'{path} exists: give another name with --out, or --force')
    cfg, state = open_run(checkpoint, config, _parts)
    known = {k: v for k, v in state.items() if k.startswith(PREFIX)}
    settings = without_init(cfg.model.backbone)
    if _pretrains(cfg.model):  # as the whole model derives it
        mean = cfg.model.data_preprocessor.mean
        settings = MODELS.with_defaults(settings, in_channels=len(mean))
    dense = build_backbone(settings, known, checkpoint)
    if dense.pruned_arguments:
        settings.update(dense.pruned_arguments)
        dense = build_backbone(settings, known, checkpoint)
    groups = dense.unit_groups()
    if not groups:
        raise PruneError(
            f'the {type(dense).__name__} of {checkpoint} has no units to prune: MaskedSwin, '
            'MaskedSwinV2, MaskedViT, MaskedBEiT, MaskedConvNeXt and MaskedResNet have'
        )

    channels = dense.get_parameter(dense.stem_weight).shape[1]
    shape = (1, channels, *(_size(img_size) or trained_size(cfg, dense)))
    by_operations = Costs.of_operations(dense, groups, shape)
    by_parameters = Costs.of_parameters(dense, groups)
    costs = by_parameters if operations is None else by_operations
    if images is None:
        scores = [weight_importance(dense, group) for group in groups]
    else:
        model = _pretraining(cfg, settings, state, checkpoint)
        model.to(device)
        steps = Compose(evaluation_pipeline(cfg))
        found = list_images(images)
        files = [found[i] for i in spread(len(found), num_images)]
        importance = loss_importance(
            cast(nn.Module, model.backbone),
            groups,
            lambda: _losses(model, steps, files, batch_size),
        )
        scores = [x / costs.of_unit(i) for i, x in enumerate(importance)]
    try:
        kept = select_units(groups, scores, costs, ratio)
    except ValueError as error:
        raise PruneError(f'{checkpoint}: {error}') from None

    pruned, zeroed = deepcopy(dense), deepcopy(dense)
    for group, keep in zip(groups, kept):
        keep_units(pruned, group, keep)
        gone = [unit for unit in range(group.count) if unit not in set(keep.tolist())]
        zero_units(zeroed, group, torch.tensor(gone, dtype=torch.long))
    settings.update(unit_counts(pruned.unit_groups()))
    weights = {PREFIX + name: tensor for name, tensor in pruned.state_dict().items()}
    difference = _compare(build_backbone(settings, weights, checkpoint), zeroed, shape)

    cfg = deepcopy(cfg)
    cfg.model.backbone = settings
    others = {k: v for k, v in state.items() if not k.startswith(PREFIX)}
    meta = dict(cfg=cfg.pretty_text, pruned_from=Path(checkpoint).name)
    meta['simmim_mm_version'] = __version__
    write_checkpoint(dict(meta=meta, state_dict={**others, **weights}), out)
    AtomicLocalBackend().put_text(_recovery(cfg, out, images).pretty_text, recipe)
    counts = [len(keep) for keep in kept]
    return PruneReport(
        Path(checkpoint),
        out,
        recipe,
        settings,
        shape,
        operations=(round(by_operations.total()), round(by_operations.total(counts))),
        parameters=(round(by_parameters.total()), round(by_parameters.total(counts))),
        by_loss=images is not None,
        difference=difference,
    )


def build_backbone(
    settings: dict, weights: dict[str, Tensor], path: str | Path
) -> BaseMaskedBackbone:
    """A backbone with weights of names ``backbone.*``, all that it needs, in evaluation mode."""
    backbone = MODELS.build(settings)
    if not isinstance(backbone, BaseMaskedBackbone):
        raise PruneError(
            f'the backbone of {path} is a {type(backbone).__name__}, not one of ours (MaskedSwin, '
            'MaskedViT, ...)'
        )
    model = nn.ModuleDict(dict(backbone=backbone))
    load_into(model, weights, file=str(path), check=LoadReport.require_backbone)
    return backbone.eval()


def trained_size(cfg: Config, backbone: BaseMaskedBackbone) -> tuple[int, int]:
    """Height and width in pixels of the images of a run, or else those the backbone is built for.

    224 if neither says.
    """
    try:
        steps = evaluation_pipeline(cfg)
    except ValueError:  # no pretraining
        steps = []
    sizes = [step['scale'] for step in steps if 'Crop' in step['type'] and 'scale' in step]
    return _size(sizes[-1] if sizes else backbone.img_size or 224)


def without_init(config: dict) -> dict:
    """The same without ``init_cfg``: the weights come from the checkpoint."""
    return {key: value for key, value in config.items() if key != 'init_cfg'}


def _only_ratio(operations: float | None, parameters: float | None) -> float:
    given = [ratio for ratio in (operations, parameters) if ratio is not None]
    if len(given) != 1:
        raise PruneError('give one ratio to keep: of --operations or of --parameters')
    if not 0 < given[0] < 1:
        raise PruneError(f'the ratio to keep is between 0 and 1, got {given[0]:g}')
    return given[0]


def _size(size: Any) -> Any:
    if size is None:
        return None
    sides = [size] if isinstance(size, int) else list(size)
    if len(sides) > 2 or min(sides) < 1:
        raise PruneError(f'--img-size takes a height and a width above 0, got {sides}')
    return sides[0], sides[-1]


def _pretraining(
    cfg: Config, settings: dict, state: dict[str, Tensor], path: str | Path
) -> MaskedImageModel:
    """The whole model, whose loss judges the units."""
    if not _pretrains(cfg.model):
        raise PruneError(
            f'{path} holds a {cfg.model.type}: the loss on --images is that of a pretraining. '
            'Leave --images out, or prune the pretrained checkpoint'
        )
    model = MODELS.build(dict(without_init(cfg.model), backbone=dict(settings)))
    report = load_into(model, state, file=str(path), check=LoadReport.require_backbone)
    absent = [name for name in (*report.missing, *report.mismatched) if name.startswith('neck.')]
    if absent:
        raise PruneError(
            f'{path} lacks weights of the decoder, such as {absent[0]}: there is no loss on '
            '--images without. Leave --images out'
        )
    model.requires_grad_(False)
    return model.eval()


def _pretrains(model: dict) -> bool:
    found = find_type(str(model['type']), MODELS)  # it is not checked yet
    return isinstance(found, type) and issubclass(found, MaskedImageModel)


def _losses(
    model: MaskedImageModel, steps: Compose, files: Sequence[str], batch_size: int
) -> Iterator[Tensor]:
    """The loss of batch after batch, under masks as in the training, the same in each call."""
    for start in range(0, len(files), batch_size):
        samples = []
        for i, path in enumerate(files[start : start + batch_size], start):
            with seeded_rng(sample_seed(0, -1, i)):
                samples.append(steps(dict(img_path=path, sample_idx=i)))
        data = model.data_preprocessor(pseudo_collate(samples), False)
        with seeded_rng(start):
            losses = model.loss(data['inputs'], data['data_samples'])
        yield model.parse_losses(losses)[0]


@torch.no_grad()
def _compare(pruned: Any, zeroed: Any, shape: Sequence[int]) -> float:
    """Largest difference of features at batch sizes 1 and 2, in parts of the largest feature.

    A PruneError if it is not rounding.
    """
    worst = 0.0
    for batch in (1, 2):
        generator = torch.Generator().manual_seed(batch)
        images = torch.randn(batch, *shape[1:], generator=generator)
        for ours, expected in zip(pruned(images), zeroed(images)):
            difference = (ours - expected).abs().max().item()
            difference /= expected.abs().max().clamp_min(1e-30).item()
            if not difference <= TOLERANCE:  # also of NaN
                raise PruneError(
                    f'features differ by {difference:.1e} of the largest one from those of the '
                    'dense backbone with the pruned units at zero: nothing is written. Please '
                    'report it'
                )
            worst = max(worst, difference)
    return worst


def _recovery(cfg: Config, out: Path, images: str | Path | None) -> Config:
    """The config of the training, short, starting from the pruned model."""
    cfg = deepcopy(cfg)
    for key in _PAST:
        cfg.pop(key, None)
    cfg.load_from = str(out)
    if images is not None:
        set_data_root(cfg.train_dataloader.dataset, images)
    for unit in ('epochs', 'iters'):
        if number := (cfg.get('train_cfg') or {}).get(f'max_{unit}'):
            set_budget(cfg, **{unit: max(1, round(number * RECOVERY))})
    return cfg


def _parts(config: Config) -> list:
    model = without_init(config.model)
    try:
        steps = evaluation_pipeline(config)
    except ValueError:
        steps = []
    own = model if _pretrains(model) else without_init(model['backbone'])
    return [(own, MODELS), (steps, TRANSFORMS)]
