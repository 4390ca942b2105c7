"""How to train on given images with given means: every choice, and its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simmim_mm.pretraining.facts import Facts, Machine

MIN_IMAGES = 8
DEFAULT_MINUTES = 30.0
MAX_EPOCHS = 1600  # of the papers, the longest
_GIB = 2**30

_MICRO = dict(_delete_=True, embed_dims=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16])
_MICRO_VIT = dict(
    _delete_=True, embed_dims=192, num_layers=8, num_heads=6, feedforward_channels=768
)
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
    """

    method: str | None = None
    backbone: str | None = None
    img_size: int | None = None
    batch_size: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    lr: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (('method', METHODS), ('backbone', tuple(BACKBONES))):
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
        backbone: Name of ``BACKBONES``.
        img_size: Side of what the model sees, in pixels.
        block: Side of a masked block, in pixels.
        patch: Side of a token, in pixels.
        batch_size: Images of a step of the optimizer.
        accumulate: Parts in which such a batch is computed.
        lr: Highest learning rate.
        workers: Processes that load images.
        amp: Mixed precision.
        epochs: Length; None where it is given in iterations.
        iters: Batches in memory; None where the length is given in epochs.
        seed: Of everything random.
        reasons: By what was chosen, why.
        notes: What the user should know besides, a sentence each.
    """

    facts: Facts
    method: str
    backbone: str
    img_size: int
    block: int
    patch: int
    batch_size: int
    accumulate: int
    lr: float
    workers: int
    amp: bool
    seed: int
    epochs: int | None = None
    iters: int | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def micro_batch(self) -> int:
        """Images that are in memory at once."""
        return self.batch_size // self.accumulate

    @property
    def batches_per_epoch(self) -> int:
        return -(-self.facts.number // self.micro_batch)

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

    def lasting(self, seconds: float, per_batch: float) -> 'Plan':
        """The plan with the length that fits.

        Args:
            seconds: There are for training.
            per_batch: Seconds of a batch in memory.
        """
        batches = max(1.0, seconds / per_batch)
        epochs = batches / self.batches_per_epoch
        pace = self.micro_batch / per_batch
        reason = f'{pace:.3g} images a second'
        if epochs > MAX_EPOCHS:
            reason = f'more would only learn {self.facts.number} images by heart'
            return self._of(epochs=MAX_EPOCHS, reason=reason)
        if epochs >= 20:  # else whole epochs would be too coarse
            return self._of(epochs=round(epochs), reason=reason)
        steps = max(2, round(batches / self.accumulate))
        return self._of(iters=steps * self.accumulate, reason=reason)

    def _of(self, reason: str, epochs: int | None = None, iters: int | None = None) -> 'Plan':
        reasons = {**self.reasons, 'length': reason}
        return replace(self, epochs=epochs, iters=iters, reasons=reasons)


def make_plan(facts: Facts, machine: Machine, wishes: Wishes) -> Plan:
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
    backbone, method = _architecture(facts, machine, wishes, reasons)
    is_vit = backbone.startswith('vit')
    img_size = _img_size(facts, machine, backbone, wishes.img_size, reasons)
    patch = (8 if img_size <= 128 else 16) if is_vit else 4
    # SimMIM masks blocks of a sixth of the side, MAE single patches.
    block = patch if is_vit and method != 'simmim' else _block(img_size, patch)
    batch = wishes.batch_size or _batch(facts, machine, reasons)
    base = 5e-4 if backbone.endswith('micro') else 2e-4
    reasons['lr'] = 'that of the recipe at 64 images, by the square root of the batch'
    lr = wishes.lr or float(f'{base * (batch / 64) ** 0.5:.2g}')
    on_gpu = machine.gpu_memory > 0
    workers = min(16, max(1, machine.cores - 1)) if on_gpu else max(1, machine.cores // 2)
    reasons['workers'] = f'{machine.cores} cores' + ('' if on_gpu else ', which also train')
    plan = Plan(
        facts,
        method,
        backbone,
        img_size,
        block,
        patch,
        batch,
        1,
        lr,
        workers,
        machine.bfloat16,
        wishes.seed,
        wishes.epochs,
        reasons=reasons,
        notes=list(facts.warnings),
    )
    for name in ('method', 'backbone', 'img_size', 'batch_size', 'lr'):
        if getattr(wishes, name) is not None:
            reasons[name] = 'as asked for'
    if wishes.epochs is not None:
        reasons['length'] = 'as asked for'
    if facts.pixels > 16 * img_size**2 and facts.pixels > 4e6:
        plan.notes.append(
            f'the images are far larger than the crop: smaller copies load several times faster '
            f'(simmim cache {facts.folder} COPIES)'
        )
    return plan


def _architecture(
    facts: Facts, machine: Machine, wishes: Wishes, reasons: dict[str, str]
) -> tuple[str, str]:
    backbone, method = wishes.backbone, wishes.method
    if backbone is None:
        family = 'vit' if method == 'mae' else 'swin'
        size, why = 'micro', 'no GPU'
        if machine.gpu_memory:
            large = facts.number >= 50_000 and machine.gpu_memory > 30 * _GIB
            size = 'base' if large else 'tiny'
            why = f'{facts.number:,} images are {"enough" if large else "few"} for a large model'
        if family == 'vit' and size == 'tiny':
            size = 'small'
        backbone = f'{family}-{size}'
        use = 'what MAE is made for' if family == 'vit' else 'maps for detection and segmentation'
        reasons['backbone'] = f'{use}; {why}'
    if method is None:
        method = 'mae' if backbone.startswith('vit') else 'simmim'
        reasons['method'] = f'the one for a {backbone.split("-")[0]}'
    if method == 'mae' and not backbone.startswith('vit'):
        raise PlanError(f'--method mae needs a ViT, and {backbone} is none: --backbone vit-small')
    return backbone, method


def _img_size(
    facts: Facts, machine: Machine, backbone: str, asked: int | None, reasons: dict[str, str]
) -> int:
    if asked is not None:
        if asked not in _WINDOWS:
            raise PlanError(
                f'--img-size must be one of {", ".join(map(str, _WINDOWS))}, got {asked}'
            )
        return asked
    usual = (224 if backbone.startswith('vit') else 192) if machine.gpu_memory else 96
    fitting = [size for size in _WINDOWS if size <= min(usual, max(32, facts.side))]
    reasons['img_size'] = f'usual {"on a GPU" if machine.gpu_memory else "without a GPU"}'
    if fitting[-1] < usual:
        reasons['img_size'] = f'the images are {facts.side} pixels on their shorter side'
    return fitting[-1]


def _block(img_size: int, patch: int) -> int:
    """The largest block of whole tokens up to a sixth of the side that divides it."""
    sides = [s for s in range(patch, img_size // 6 + 1, patch) if img_size % s == 0]
    return 32 if img_size == 224 else max(sides, default=patch)


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
    length = f'{plan.epochs} epochs'
    if plan.epochs is None:
        part = (plan.iters or 0) / plan.batches_per_epoch
        length = f'{plan.iters} iterations, {part:.3g} epochs'
    batch = f'{plan.batch_size} images'
    if plan.accumulate > 1:
        batch += f', {plan.accumulate} times {plan.micro_batch}'
    values = f'{facts.dtype}, {facts.low:g} to {facts.high:g}'
    return [
        ('images', f'{facts.number:,}', f'median shorter side {facts.side} pixels'),
        ('channels', f'{facts.channels}', f'{values}; normalized by their own mean and deviation'),
        ('method', plan.method, reasons.get('method', '')),
        ('backbone', plan.backbone, reasons.get('backbone', '')),
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
