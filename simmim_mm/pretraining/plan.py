"""How to train on given images with given means: every choice, and its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simmim_mm.pretraining.facts import Facts, Machine
from simmim_mm.pretraining.start import TUNES, Start, frozen_stages

MIN_IMAGES = 8
FEW_IMAGES = 2000
DEFAULT_MINUTES = 30.0
MIN_STEPS, MIN_BATCH = 500, 8  # that a smaller batch is chosen for
ASKED = 'as asked for'
MAX_EPOCHS = 1600  # of the papers, the longest
_GIB = 2**30
_VITS = ('MaskedViT', 'MaskedBEiT')

_MICRO = dict(embed_dims=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16])
_MICRO_VIT = dict(embed_dims=192, num_layers=8, num_heads=6, feedforward_channels=768)
# By name: arguments of the backbone.
BACKBONES: Mapping[str, dict[str, Any]] = {
    'swin-micro': dict(type='MaskedSwin', arch=_MICRO),
    'swin-tiny': dict(type='MaskedSwin', arch='tiny'),
    'swin-small': dict(type='MaskedSwin', arch='small'),
    'swin-base': dict(type='MaskedSwin', arch='base'),
    'swinv2-tiny': dict(type='MaskedSwinV2', arch='tiny'),
    'swinv2-base': dict(type='MaskedSwinV2', arch='base'),
    'vit-micro': dict(type='MaskedViT', arch=_MICRO_VIT),
    'vit-small': dict(type='MaskedViT', arch='deit-small'),
    'vit-base': dict(type='MaskedViT', arch='base'),
    'convnext-tiny': dict(type='MaskedConvNeXt', arch='tiny'),
    'resnet50': dict(type='MaskedResNet', depth=50),
}
METHODS = ('simmim', 'mae', 'pixmim')
# Side of the image to side of a window, so that windows tile the maps of every stage.
_WINDOWS = {32: 4, 64: 4, 96: 6, 128: 4, 160: 5, 192: 6, 224: 7, 256: 8, 384: 12, 448: 7}


class PlanError(ValueError):
    """What was asked for does not go together; the message says what to change."""


@dataclass(frozen=True)
class Wishes:
    """What the user has chosen; None leaves a choice to the plan.

    Attributes:
        method: One of ``METHODS``.
        backbone: One of ``BACKBONES``.
        img_size: Side of what the model sees, in pixels.
        batch_size: Images of a step of the optimizer.
        epochs: Length of the training.
        minutes: Length of everything, from the start of the command.
        lr: Highest learning rate.
        seed: Of initial weights, order, crops and masks.
        tune: ``'all'``, or ``'last'``: the last quarter of the backbone alone.
    """

    method: str | None = None
    backbone: str | None = None
    img_size: int | None = None
    batch_size: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    lr: float | None = None
    seed: int = 0
    tune: str = 'all'

    def __post_init__(self) -> None:
        for name, known in (('method', METHODS), ('backbone', tuple(BACKBONES)), ('tune', TUNES)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise PlanError(f'--{name} must be one of {", ".join(known)}, got {value!r}')
        for name in ('img_size', 'batch_size', 'epochs', 'minutes', 'lr'):
            value = getattr(self, name)
            if value is not None and not 0 < value < float('inf'):
                raise PlanError(f'--{name.replace("_", "-")} must be positive, got {value}')
        if self.epochs is not None and self.minutes is not None:
            raise PlanError('--epochs and --minutes both set the length: give one of them')


@dataclass(frozen=True)
class Plan:
    """A training, before it is timed.

    Attributes:
        facts: The images.
        method: One of ``METHODS``.
        backbone: Its name, for the user.
        arguments: Of its class, with ``type``.
        img_size: Side of what the model sees, in pixels.
        block: Side of a masked block, in pixels.
        batch_size: Images of a step of the optimizer.
        accumulate: Parts in which such a batch is computed.
        lr: Highest learning rate.
        workers: Processes that load images.
        amp: Mixed precision.
        epochs: Length; None where it is given in iterations.
        iters: Batches in memory; None where the length is given in epochs.
        seconds: There are for ``iters``, of which there will be more or less if the pace changes.
        start: Weights to start from.
        seed: Of everything random.
        reasons: By what was chosen, why.
        notes: What the user should know besides, a sentence each.
    """

    facts: Facts
    method: str
    backbone: str
    arguments: dict[str, Any]
    img_size: int
    block: int
    batch_size: int
    accumulate: int
    lr: float
    workers: int
    amp: bool
    seed: int
    epochs: int | None = None
    iters: int | None = None
    seconds: float | None = None
    start: Start | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def micro_batch(self) -> int:
        """Images that are in memory at once."""
        return self.batch_size // self.accumulate

    @property
    def batches_per_epoch(self) -> float:
        """Work of an epoch; its last batch counts by its images."""
        return self.facts.number / self.micro_batch

    def halved(self) -> 'Plan':
        """The same training with half as many images in memory.

        Raises:
            PlanError: If it is one already.
        """
        if self.micro_batch < 2:
            raise PlanError(
                f'out of memory with one image of {self.img_size} pixels: choose a smaller '
                '--backbone or --img-size'
            )
        iters = self.iters and self.iters * 2
        return replace(self, accumulate=self.accumulate * 2, iters=iters)

    def in_enough_steps(self, seconds: float, per_batch: float) -> 'Plan':
        """The plan with a batch of which enough fit into the time: a model learns from steps.

        Args:
            seconds: There are for training.
            per_batch: Seconds of a batch; taken to be proportional to its images.
        """
        plan = self
        while seconds / per_batch / plan.accumulate < MIN_STEPS and plan.batch_size > MIN_BATCH:
            batch, per_batch = plan.batch_size // 2, per_batch / 2
            reasons = {**plan.reasons, 'batch_size': 'more steps in the time'}
            rate = plan.lr if reasons['lr'] == ASKED else float(f'{plan.lr / 2**0.5:.2g}')
            plan = replace(plan, batch_size=batch, lr=rate, reasons=reasons)
        return plan

    def lasting(self, seconds: float, per_batch: float) -> 'Plan':
        """The plan with the length that fits.

        Args:
            seconds: There are for training.
            per_batch: Seconds of a batch in memory.
        """
        batches = max(1.0, seconds / per_batch)
        reason = f'{self.micro_batch / per_batch:.3g} images a second'
        if batches > self._most:
            batches = self._most
            reason = f'more would only learn {self.facts.number} images by heart'
        steps = max(2, round(batches / self.accumulate))
        reasons = {**self.reasons, 'length': reason}
        return replace(self, iters=steps * self.accumulate, seconds=seconds, reasons=reasons)

    @property
    def _most(self) -> float:
        return MAX_EPOCHS * self.batches_per_epoch

    @property
    def may_extend(self) -> bool:
        """Whether more iterations than planned would still teach something."""
        return (self.iters or 0) < 0.99 * self._most


def make_plan(facts: Facts, machine: Machine, wishes: Wishes, start: Start | None = None) -> Plan:
    """Choose everything but the length of the training.

    Raises:
        PlanError: If there are too few images, or the wishes do not go together.
    """
    if facts.number < MIN_IMAGES:
        images = 'image' if facts.number == 1 else 'images'
        raise PlanError(
            f'{facts.folder} holds {facts.number} {images}: pretraining needs at least '
            f'{MIN_IMAGES}, and pays from some hundred on'
        )
    reasons: dict[str, str] = {}
    notes = list(facts.warnings)
    backbone, method = _architecture(facts, machine, wishes, start, reasons)
    kind = start.kind if start and wishes.backbone is None else BACKBONES[backbone]['type']
    is_vit = kind in _VITS
    img_size = _img_size(facts, machine, kind, start, wishes.img_size, reasons)
    patch = 4
    if is_vit:
        patch = (start and start.patch) or (8 if img_size <= 128 else 16)
    # SimMIM masks blocks of a sixth of the side, MAE single patches.
    transformer = is_vit and method != 'simmim'
    block = patch if transformer else _block(img_size, patch)
    if start is not None and wishes.backbone is None:
        arguments = start.arguments(img_size, _WINDOWS.get(img_size))
    else:
        arguments = _arguments(backbone, img_size, patch)
    if is_vit:
        arguments['mask_mode'] = 'gather' if transformer else 'token'
    if wishes.tune == 'last':
        if start is None:
            raise PlanError('--tune last leaves the first blocks as they are: give --from WEIGHTS')
        arguments['frozen_stages'] = frozen_stages(arguments)
    batch = wishes.batch_size or _batch(facts, machine, reasons)
    base = 5e-4 if backbone.endswith('micro') else 2e-4
    reasons['lr'] = 'that of the recipe at 64 images, by the square root of the batch'
    if start is not None:
        base /= 2
        reasons['lr'] = 'half of the recipe, since the weights have learned'
    lr = wishes.lr or float(f'{base * (batch / 64) ** 0.5:.2g}')
    on_gpu = machine.gpu_memory > 0
    workers = min(16, max(1, machine.cores - 1)) if on_gpu else max(1, machine.cores // 2)
    reasons['workers'] = f'{machine.cores} cores' + ('' if on_gpu else ', which also train')
    for name in ('method', 'backbone', 'img_size', 'batch_size', 'lr'):
        if getattr(wishes, name) is not None:
            reasons[name] = ASKED
    if wishes.epochs is not None:
        reasons['length'] = ASKED
    if facts.pixels > 16 * img_size**2 and facts.pixels > 4e6:
        notes.append(
            f'the images are far larger than the crop: smaller copies load several times faster '
            f'(simmim cache {facts.folder} COPIES)'
        )
    if facts.number < FEW_IMAGES and start is None:
        notes.append(
            f'{facts.number} images are few to learn from scratch: public weights are the better '
            'start (--from FILE, of timm, transformers, OpenMMLab or the authors)'
        )
    if facts.number < FEW_IMAGES and start is not None and wishes.tune == 'all':
        notes.append(f'for {facts.number} images, --tune last trains the last blocks alone')
    if start is not None and start.source.data and len(facts.mean) == 3:
        facts = facts._replace(mean=start.source.data['mean'], std=start.source.data['std'])
    return Plan(
        facts,
        method,
        backbone,
        arguments,
        img_size,
        block,
        batch,
        1,
        lr,
        workers,
        machine.bfloat16,
        wishes.seed,
        wishes.epochs,
        start=start,
        reasons=reasons,
        notes=notes,
    )


def _arguments(name: str, img_size: int, patch: int) -> dict[str, Any]:
    arguments = dict(BACKBONES[name])
    if arguments['type'].startswith('MaskedSwin'):
        arguments.update(img_size=img_size, window_size=_WINDOWS[img_size])
    elif arguments['type'] in _VITS:
        arguments.update(img_size=img_size, patch_size=patch)
    return arguments


def _architecture(
    facts: Facts,
    machine: Machine,
    wishes: Wishes,
    start: Start | None,
    reasons: dict[str, str],
) -> tuple[str, str]:
    backbone, method = wishes.backbone, wishes.method
    kind = start.kind if start else ''
    if backbone is not None:
        kind = BACKBONES[backbone]['type']
    elif start is not None:
        backbone = kind
        reasons['backbone'] = f'that of {start.name}'
    else:
        family = 'vit' if method == 'mae' else 'swin'
        size, why = 'micro', 'no GPU'
        if machine.gpu_memory:
            large = facts.number >= 50_000 and machine.gpu_memory > 30 * _GIB
            size = 'base' if large else 'tiny'
            why = f'{facts.number:,} images are {"enough" if large else "few"} for a large model'
        if family == 'vit' and size == 'tiny':
            size = 'small'
        backbone = f'{family}-{size}'
        kind = BACKBONES[backbone]['type']
        use = 'what MAE is made for' if family == 'vit' else 'maps for detection and segmentation'
        reasons['backbone'] = f'{use}; {why}'
    if method is None:
        method = 'mae' if kind == 'MaskedViT' else 'simmim'
        reasons['method'] = f'the one for a {"ViT" if kind == "MaskedViT" else kind[6:]}'
        if start is not None and kind == 'MaskedViT' and not start.masked_autoencoder:
            method = 'simmim'
            reasons['method'] = (
                'the weights have seen whole images, and mask tokens keep them whole'
            )
    if method == 'mae' and kind != 'MaskedViT':
        raise PlanError(f'--method mae needs a ViT, and {backbone} is none: --backbone vit-small')
    return backbone, method


def _img_size(
    facts: Facts,
    machine: Machine,
    kind: str,
    start: Start | None,
    asked: int | None,
    reasons: dict[str, str],
) -> int:
    sizes = list(_WINDOWS)
    usual = (224 if kind in _VITS else 192) if machine.gpu_memory else 96
    if start is not None and start.patch:  # whole patches, in an even number
        sizes = [2 * start.patch * n for n in range(1, 512 // (2 * start.patch))]
    if asked is not None:
        if asked not in sizes:
            raise PlanError(f'--img-size must be one of {", ".join(map(str, sizes))}, got {asked}')
        return asked
    fitting = [size for size in sizes if size <= min(usual, max(32, facts.side))]
    reasons['img_size'] = f'usual {"on a GPU" if machine.gpu_memory else "without a GPU"}'
    if facts.side < usual:
        reasons['img_size'] = f'the images are {facts.side} pixels on their shorter side'
    return fitting[-1]


def _block(img_size: int, patch: int) -> int:
    """The largest block of whole tokens up to a sixth of the side that divides it."""
    sides = [s for s in range(patch, img_size // 6 + 1, patch) if img_size % s == 0]
    if img_size == 224 and 32 % patch == 0:
        return 32  # as the authors' ViT
    return max(sides, default=patch)


def _batch(facts: Facts, machine: Machine, reasons: dict[str, str]) -> int:
    usual = 64
    if machine.gpu_memory > 30 * _GIB:
        usual = 128
    batch = usual
    while batch > 4 and batch * 4 > facts.number:
        batch //= 2
    reasons['batch_size'] = 'usual for ' + ('a GPU' if machine.gpu_memory else 'a CPU')
    if batch < usual:
        reasons['batch_size'] = f'several steps in an epoch of {facts.number} images'
    return batch


def describe(plan: Plan, ends: str) -> list[tuple[str, str, str]]:
    """Rows for the user: what, its value, and why."""
    facts, reasons = plan.facts, plan.reasons
    length = f'{plan.epochs} epoch' + 's' * (plan.epochs != 1)
    if plan.epochs is None:
        part = (plan.iters or 0) / plan.batches_per_epoch
        length = f'{part:.3g} epochs, {plan.iters:,} iterations'
    batch = f'{plan.batch_size} images'
    if plan.accumulate > 1:
        batch += f', {plan.accumulate} times {plan.micro_batch}'
    values = f'{facts.dtype}, {facts.low:g} to {facts.high:g}'
    return [
        ('images', f'{facts.number:,}', f'median shorter side {facts.side} pixels'),
        ('channels', f'{facts.channels}', f'{values}; normalized by their own mean and deviation'),
        ('method', plan.method, reasons.get('method', '')),
        ('backbone', plan.backbone, reasons.get('backbone', '')),
        *([('from', plan.start.name, reasons.get('tune', ''))] if plan.start else []),
        ('image size', f'{plan.img_size} pixels', reasons.get('img_size', '')),
        ('masked', f'blocks of {plan.block} pixels', _MASKS[plan.method]),
        ('batch', batch, reasons.get('batch_size', '')),
        ('rate', f'{plan.lr:g}', reasons.get('lr', '')),
        ('precision', 'mixed' if plan.amp else 'float32', ''),
        ('workers', str(plan.workers), reasons.get('workers', '')),
        ('length', length, reasons.get('length', '')),
        ('ends', ends, ''),
    ]


_MASKS = dict(simmim='60%, as in SimMIM', mae='75%, as in MAE', pixmim='as the method below it')


def default_out(folder: str) -> Path:
    """The work dir of a pretraining on a folder."""
    return Path('work_dirs') / (Path(folder).resolve().name or 'images')
