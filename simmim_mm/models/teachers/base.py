import time
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import isqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from simmim_mm.masking import visible_ids
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.models.teachers.attention import (
    as_map,
    attention_modules,
    heads_and_width,
    queries_keys_values,
    record_attention,
)
from simmim_mm.models.teachers.relations import DISTANCES, feature_distance, relation_divergence
from simmim_mm.processor import cpu_has_bfloat16

MAPS = ('features', 'pooled')
PARTS = dict(qk=(0, 1), vv=(2, 2))  # which of queries, keys and values a relation is among


class StudentView(NamedTuple):
    """What is compared of the student.

    Attributes:
        feats: Of its backbone: maps ``(B, C, h, w)``; under a mask in gather mode, tokens
            ``(B, extra + n, C)``.
        qkv: Queries, keys and values of each attention, ``(B, N, 3 * C)``.
        mask: ``(B, h, w)`` boolean, True = masked; None: it saw whole images.
        size: Of the images in pixels.
    """

    feats: tuple[Tensor, ...]
    qkv: tuple[Tensor, ...]
    mask: Tensor | None
    size: tuple[int, ...]

    def split(self) -> list['StudentView']:
        """Each image on its own."""
        count = len(self.feats[-1])
        return [
            StudentView(
                tuple(x[i : i + 1] for x in self.feats),
                tuple(x[i : i + 1] for x in self.qkv),
                None if self.mask is None else self.mask[i : i + 1],
                self.size,
            )
            for i in range(count)
        ]


class BaseTeacher(BaseModule, metaclass=ABCMeta):
    """A network that sees the whole image, and whose features the student has to match.

    The teacher runs without gradients, in half precision, at its own image size. What it gives is
    brought to the student's grid, and the student's features to the teacher's width by a linear
    layer or MLP, which is trained and not used afterwards. Widths follow from both networks.

    Args:
        student: The backbone that is trained; the algorithm hands it over.
        relation: What is compared, one or several of: ``'features'``, at every position;
            ``'pooled'``, their mean over the positions (GFM, arXiv 2302.04476); ``'qk'`` and
            ``'vv'``, how queries relate to keys and values to values within the attention
            (TinyMIM, arXiv 2301.01296; :func:`~.relations.relation_divergence`).
        layers: Of the teacher. Of ``features`` and ``pooled``, numbers of blocks (ViT) or stages
            (Swin, CNN), or -1, the last; of ``qk`` and ``vv``, numbers of attention blocks, counted
            through all stages, from the end if negative.
        student_layers: Of the student, as many; blocks or stages other than the last have to be
            among the ``out_indices`` of the backbone.
        loss: Distance of ``features`` and ``pooled``, see :func:`~.relations.feature_distance`:
            ``'cosine'`` (the default), ``'l1'``, ``'l2'`` or ``'smooth_l1'``. ``qk`` and ``vv`` are
            always compared by the Kullback-Leibler divergence, ``'kl'``.
        loss_weight: Weight of each of these losses; that of the pixels is 1.
        projector: From the student's width to the teacher's: ``'linear'``, ``'mlp'`` (a hidden
            layer of the teacher's width) or ``'none'``.
        heads: Groups of channels in ``qk`` and ``vv``; None: the teacher's heads.
        img_size: ``H`` or ``(H, W)`` in pixels of the teacher's images; None: as the student's.
        half: Compute the teacher in half precision where that is faster: fp16 on a GPU, bfloat16 on
            a CPU that has instructions for it.
        whole_image: The student too sees the whole image here, as in distillation without masks.
            Beside pixels, that is a second pass of the student.
    """

    def __init__(
        self,
        student: BaseMaskedBackbone,
        relation: str | Sequence[str] = 'features',
        layers: int | Sequence[int] = -1,
        student_layers: int | Sequence[int] = -1,
        loss: str | None = None,
        loss_weight: float = 1.0,
        projector: str = 'linear',
        heads: int | None = None,
        img_size: int | Sequence[int] | None = None,
        half: bool = True,
        whole_image: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.name = type(self).__name__
        self.relations = (relation,) if isinstance(relation, str) else tuple(relation)
        self.layers = (layers,) if isinstance(layers, int) else tuple(layers)
        given = student_layers
        self.student_layers = (given,) if isinstance(given, int) else tuple(given)
        self.maps = [name for name in self.relations if name in MAPS]
        self.pairs = [name for name in self.relations if name in PARTS]
        self._heads: list[int] = []
        self._seen: dict[int, Tensor] = {}
        self.loss_weight, self.heads, self.half_precision = loss_weight, heads, half
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.whole_image = whole_image
        self._check(student, loss, projector)
        self.distance = loss or 'cosine'
        self.projector = projector
        self._watch = _Stopwatch()

    def _check(self, student: Any, loss: str | None, projector: str) -> None:
        known = (*MAPS, *PARTS)
        wrong = [name for name in self.relations if name not in known]
        if wrong or not self.relations:
            raise ValueError(
                f'relation of {self.name} is one or several of {", ".join(known)}, got '
                f'{", ".join(wrong) or "none"}'
            )
        kinds = DISTANCES if self.maps else ('kl',)
        if loss not in (None, *kinds):
            raise ValueError(
                f'loss={loss!r} of {self.name} does not go with relation={self.relations}: choose '
                f'{" or ".join(map(repr, kinds))}, or leave it out'
            )
        if projector not in ('linear', 'mlp', 'none'):
            raise ValueError(
                f"projector of {self.name} is 'linear', 'mlp' or 'none', got {projector!r}"
            )
        if len(self.layers) != len(self.student_layers):
            raise ValueError(
                f'layers={self.layers} and student_layers={self.student_layers} of {self.name} are '
                'to be as many'
            )
        if not isinstance(student, BaseMaskedBackbone) or not student.out_channels:
            raise ValueError(
                f'{self.name} does not know the width of {type(student).__name__}: use one of the '
                'backbones of simmim_mm, or derive yours from BaseMaskedBackbone and set '
                'out_channels'
            )

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """The teacher itself: images to a tuple of maps."""

    def connect(self, student: BaseMaskedBackbone, channels: Sequence[int]) -> None:
        """Compare student and teacher, and make the projectors.

        Args:
            student: The backbone that is trained.
            channels: Of each map that the teacher gives.
        """
        if self.maps:
            found = positions(self.network, self.layers, f'layers of {self.name}')
            own = positions(student, self.student_layers, f'student_layers of {self.name}')
            self._found, self._own = found, own
            widths = [(student.out_channels[i], channels[j]) for i, j in zip(own, found)]
            if self.projector == 'none' and any(a != b for a, b in widths):
                raise ValueError(
                    f"projector='none' of {self.name} needs equal widths, but student and teacher "
                    f"have {', '.join(f'{a} and {b}' for a, b in widths)} channels: use 'linear'"
                )
            self.projectors = nn.ModuleDict(
                {
                    r: nn.ModuleList(_projector(self.projector, *w) for w in widths)
                    for r in self.maps
                }
            )
        if self.pairs:
            self._connect_attention(student)

    def _connect_attention(self, student: Any) -> None:
        asked = f'relation={self.pairs[0]!r} of {self.name}'
        sides = (self.network, self.layers, 'teacher'), (student, self.student_layers, 'student')
        chosen = []
        for network, layers, role in sides:
            modules = attention_modules(network)
            name = type(network).__name__
            if not modules:
                raise ValueError(
                    f"{asked} needs attention, which the {role} {name} has not: use 'features' or "
                    "'pooled'"
                )
            if any(not -len(modules) <= layer < len(modules) for layer in layers):
                raise ValueError(
                    f'{asked}: the {role} {name} has attention blocks 0 to {len(modules) - 1}, got '
                    f'{layers}'
                )
            if self.maps and set(layers) != {-1} and hasattr(modules[0], 'w_msa'):
                raise ValueError(
                    f'{asked} numbers blocks, and features number stages of the {role} {name}: '
                    'use the last, -1, or one kind of relation'
                )
            chosen.append([modules[layer] for layer in layers])
        masked = student.mask_mode == 'gather' and not self.whole_image
        if masked and any(hasattr(module, 'w_msa') for module in chosen[1]):
            raise ValueError(
                f"{asked} is not defined for windows of visible tokens: use 'features', or "
                "mask_mode='token' of the student"
            )
        self._heads = [self.heads or heads_and_width(module)[0] for module in chosen[0]]
        for heads, teacher, module in zip(self._heads, *chosen):
            for width in (heads_and_width(teacher)[1], heads_and_width(module)[1]):
                if width % heads:
                    raise ValueError(
                        f'{asked}: {heads} heads do not divide a width of {width} channels: set '
                        'heads to a divisor of the widths of student and teacher'
                    )

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """What the teacher says of whole, normalized images ``(B, C, H, W)``.

        Returns:
            Maps ``(B, C_i, h, w)`` of the layers, in float32: of ``features`` and ``pooled``, if
            asked for; then queries, keys and values, ``(B, 3 * C_i, h, w)``, if asked for.
        """
        network = self.network
        self._watch.start(inputs)
        x = self.prepare(inputs)
        layers, seen = self.layers if self.pairs else (), {}
        with self._precision(x), record_attention(network, layers, seen):
            maps = network(x)
            given = [maps[i] for i in self._found] if self.maps else []
            for i, layer in enumerate(layers):
                if len(seen[i]) != len(x):
                    raise ValueError(
                        f'the attention of the teacher {type(network).__name__} is given windows, '
                        'in an order of its own: bring it to this package by simmim convert, or '
                        "use relation='features'"
                    )
                module = attention_modules(network)[layer]
                given.append(as_map(queries_keys_values(module, seen[i]), x.shape[-2:]))
        given = tuple(x.float() if x.dtype.itemsize < 4 else x for x in given)
        self._watch.stop()
        return given

    def set_pixel_stats(self, mean: Tensor, std: Tensor) -> None:
        """Take over what the student's images are normalized by, ``(C, 1, 1)`` each."""

    def prepare(self, inputs: Tensor) -> Tensor:
        """The images as the teacher takes them."""
        if self.img_size is None or tuple(inputs.shape[-2:]) == tuple(self.img_size):
            return inputs
        size = list(self.img_size)
        return F.interpolate(inputs.float(), size, mode='bicubic', antialias=True).to(inputs)

    def _precision(self, x: Tensor) -> Any:
        kind = x.device.type
        faster = kind != 'cpu' or bool(cpu_has_bfloat16())
        dtype = torch.bfloat16 if kind == 'cpu' else torch.float16
        enabled = self.half_precision and faster and x.dtype == torch.float32
        return torch.autocast(kind, dtype=dtype, enabled=enabled)

    def before_step(self, student: nn.Module) -> None:
        """Called before each step of the training, with the student's backbone."""

    def watch(self, student: nn.Module) -> AbstractContextManager:
        """While it lasts, what :meth:`view` needs of the student's attention is noted."""
        layers = self.student_layers if self.pairs else ()
        return record_attention(student, layers, self._seen)

    def view(
        self, student: nn.Module, feats: Sequence[Tensor], mask: Tensor | None, inputs: Tensor
    ) -> 'StudentView':
        """What is compared of the student's last forward, which gave ``feats``."""
        layers = self.student_layers if self.pairs else ()
        modules = attention_modules(student) if layers else []
        inputs_of = [(modules[layer], self._seen[i]) for i, layer in enumerate(layers)]
        qkv = tuple(queries_keys_values(*one) for one in inputs_of)
        return StudentView(tuple(feats), qkv, mask, tuple(inputs.shape[-2:]))

    def loss(self, view: 'StudentView', targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """Weighted losses by the name of their relation, ``loss_features`` and so on.

        Args:
            view: What :meth:`watch` gave.
            targets: What :meth:`forward` gave for the same images.
        """
        found: dict[str, list[Tensor]] = {f'loss_{relation}': [] for relation in self.relations}
        indices = self._own if self.maps else []
        for n, (i, target) in enumerate(zip(indices, targets)):
            tokens, grid, ids = place(view.feats[i], view.mask)
            for relation in self.maps:
                if relation == 'pooled':
                    own, target_tokens = tokens.mean(1), target.mean((2, 3))
                else:
                    own, target_tokens = tokens, tokens_at(target, grid, ids)
                pred = self.projectors[relation][n](own)  # type: ignore[index]  # a ModuleList
                distance = feature_distance(pred, target_tokens, self.distance)
                found[f'loss_{relation}'].append(distance)
        for heads, qkv, target in zip(self._heads, view.qkv, targets[len(indices) :]):
            gathered = view.feats[-1].ndim == 3
            tokens, grid, ids = place(qkv if gathered else as_map(qkv, view.size), view.mask)
            student, teacher = tokens.chunk(3, -1), tokens_at(target, grid, ids).chunk(3, -1)
            for relation in self.pairs:
                i, j = PARTS[relation]
                pairs = (student[i], student[j]), (teacher[i], teacher[j])
                found[f'loss_{relation}'].append(relation_divergence(*pairs, heads))
        return {name: self.loss_weight * torch.stack(x).mean() for name, x in found.items()}

    def report(self, inputs: Tensor) -> dict[str, Tensor]:
        """What else goes to the log: ``teacher_time``, seconds of the teacher's forward."""
        return dict(teacher_time=inputs.new_tensor(self._watch.seconds()))


class _Stopwatch:
    """Seconds between two calls, on a GPU those of its work between them."""

    def start(self, x: Tensor) -> None:
        self._gpu = x.device.type == 'cuda'
        self._start: Any = self._now()

    def stop(self) -> None:
        self._end: Any = self._now()

    def _now(self) -> Any:
        if not self._gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> float:
        if not self._gpu:
            return self._end - self._start
        self._end.synchronize()
        return self._start.elapsed_time(self._end) / 1000


def _projector(kind: str, width: int, out: int) -> nn.Module:
    if kind == 'none':
        return nn.Identity()
    if kind == 'linear':
        return nn.Linear(width, out)
    return nn.Sequential(nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))


def positions(network: Any, layers: Sequence[int], what: str) -> list[int]:
    """Which of the maps that a network returns are those of its blocks or stages ``layers``."""
    given = list(getattr(network, 'out_indices', ()) or ())
    found = []
    for layer in layers:
        if layer != -1 and layer not in given:
            raise ValueError(
                f'{what}: {type(network).__name__} gives no map of {layer}, but of '
                f'{given or "its last"}: add it to out_indices of that backbone'
            )
        found.append(given.index(layer) if layer in given else -1)
    return found


def place(x: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[int, int], Tensor | None]:
    """A student's map ``(B, C, h, w)`` or visible tokens ``(B, extra + n, C)``, as tokens.

    Returns:
        ``(B, N, C)`` without class token; the grid that they lie on; and, of visible tokens, which
        of the grid's they are, ``(B, N)``.
    """
    if x.ndim == 4:
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3]), None
    assert mask is not None
    ids = visible_ids(mask)
    factor = isqrt(x.shape[1] // ids.shape[1])  # of an earlier stage than the mask's
    if factor > 1:
        mask = mask.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        ids = visible_ids(mask)
    return x[:, x.shape[1] - ids.shape[1] :], (mask.shape[1], mask.shape[2]), ids


def tokens_at(target: Tensor, grid: tuple[int, int], ids: Tensor | None) -> Tensor:
    """A teacher's map ``(B, C, h, w)`` as tokens on the student's grid, ``(B, N, C)``."""
    if tuple(target.shape[-2:]) != tuple(grid):
        target = F.interpolate(target, list(grid), mode='bilinear', antialias=True)
    tokens = target.flatten(2).transpose(1, 2)
    return (
        tokens if ids is None else tokens.gather(1, ids[..., None].expand(-1, -1, len(target[0])))
    )
