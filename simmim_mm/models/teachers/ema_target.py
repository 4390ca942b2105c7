from copy import deepcopy
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.models.teachers.base import BaseTeacher
from simmim_mm.models.teachers.relations import rank_me
from simmim_mm.registry import MODELS

_MOST_TOKENS = 1024  # of a batch, in the rank


@MODELS.register_module()
class EMATarget(BaseTeacher):
    """The teacher is the moving average of the student (data2vec, arXiv 2202.03555; dBOT, SMIT).

    Before each training step, ``average = m * average + (1 - m) * student`` with
    ``m = min(momentum, (1 + t) / (10 + t))`` after t updates; the first one copies the student. The
    average is part of the checkpoint, so that a resumed training goes on bit by bit.

    Such targets may collapse: student and teacher agree on the same features for every image. The
    effective rank of the teacher's features (:func:`~.relations.rank_me`) goes to the log as
    ``teacher_rank``, and a warning is given when it has fallen to a fraction of its highest value.

    Args:
        student: See :class:`BaseTeacher`.
        momentum: The highest.
        layers: See :class:`BaseTeacher`; those of the student are the same.
        loss: See :class:`BaseTeacher`.
        projector: See :class:`BaseTeacher`; without any, collapse is likelier.
        rank_interval: Updates from one measurement of the rank to the next.
        rank_ratio: Of the highest rank, below which is warned.
        **kwargs: Others of :class:`BaseTeacher`.
    """

    def __init__(
        self,
        student: BaseMaskedBackbone,
        momentum: float = 0.998,
        layers: Any = -1,
        loss: str | None = None,
        projector: str = 'mlp',
        rank_interval: int = 50,
        rank_ratio: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            student, layers=layers, student_layers=layers, loss=loss, projector=projector, **kwargs
        )
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum of EMATarget is at least 0 and below 1, got {momentum}')
        self.momentum, self.rank_interval, self.rank_ratio = momentum, rank_interval, rank_ratio
        self.average = deepcopy(student).requires_grad_(False).eval()
        self.updates: Tensor
        self.rank: Tensor
        self.highest_rank: Tensor
        self.register_buffer('updates', torch.zeros((), dtype=torch.long))
        self.register_buffer('rank', torch.zeros(()))
        self.register_buffer('highest_rank', torch.zeros(()))
        self._count: int | None = None  # as `updates`, without asking the GPU
        self.connect(student, student.out_channels)

    @property
    def network(self) -> nn.Module:
        return self.average

    def init_weights(self) -> None:
        """Nothing to do: the first update copies the student."""

    def train(self, mode: bool = True) -> 'EMATarget':
        super().train(mode)
        self.average.eval()
        return self

    @torch.no_grad()
    def before_step(self, student: nn.Module) -> None:
        """Follow the student by one update."""
        t = self._count = int(self.updates) if self._count is None else self._count
        m = min(self.momentum, (1 + t) / (10 + t)) if t else 0.0
        own = self.average.state_dict()
        for name, value in student.state_dict().items():
            if value.is_floating_point() and m:
                own[name].lerp_(value.to(own[name]), 1 - m)
            else:
                own[name].copy_(value)
        self.updates += 1
        self._count += 1

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._count = None

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        targets = super().forward(inputs)
        if self.training and self._count and (self._count - 1) % self.rank_interval == 0:
            self._guard(targets[0])
        return targets

    @torch.no_grad()
    def _guard(self, features: Tensor) -> None:
        """Measure the rank of a map ``(B, C, h, w)``, and warn where it has fallen."""
        rows = features.flatten(2).transpose(1, 2).flatten(0, 1)
        rank = rank_me(rows[:: -(-len(rows) // _MOST_TOKENS)].float())
        floor = self.rank_ratio * self.highest_rank
        if rank < floor <= self.rank:  # once, until it has recovered
            MMLogger.get_current_instance().warning(
                f'EMATarget: the effective rank of the features (RankMe) has fallen to {rank:.1f}, '
                f'from {self.highest_rank:.1f} at its highest: they collapse. Keep the loss on '
                'pixels beside it, lower loss_weight or the learning rate, raise momentum, or use '
                "projector='mlp'."
            )
        self.rank.copy_(rank)
        self.highest_rank.copy_(torch.maximum(self.highest_rank, rank))

    def report(self, inputs: Tensor) -> dict[str, Tensor]:
        return dict(super().report(inputs), teacher_rank=self.rank.clone())
