import hashlib
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from simmim_mm.checkpoint import CheckpointError, load_backbone, load_weights, read_config
from simmim_mm.checkpoint.fetch import fetch
from simmim_mm.checkpoint.stored_config import check_types, refused_config
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.models.teachers.base import BaseTeacher
from simmim_mm.models.teachers.timm_features import TimmFeatures
from simmim_mm.registry import MODELS


@MODELS.register_module()
class FeatureTeacher(BaseTeacher):
    """A pretrained, frozen backbone as the teacher, often a larger one (GFM, DMAE, TinyMIM).

    It is read from its file whenever a model is built, and not part of the model's checkpoints,
    which hold the SHA-256 of its weights: another teacher in the place of the one of the training
    is refused. It is no submodule: optimizers, averages and distributed training never see it.

    Args:
        student: See :class:`BaseTeacher`.
        checkpoint: Weights of the teacher, a path or address. With a file that a training of ours,
            of a classifier on our backbone, or ``simmim convert`` wrote, this is enough: it says
            itself what it is of.
        backbone: Config of the teacher, where the file does not say: of a backbone of this package,
            of mmpretrain (with ``out_type='featmap'`` where it has that argument), or
            ``dict(type='TimmFeatures', model_name=..., pretrained=True)``. It may hold the file as
            ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)`` instead.
        mean: That the teacher's images are normalized by, in the range of the loaded images; None:
            as the file says, else as the model.
        std: The same.
        in_channels: Of the images; the algorithm hands it over.
        **kwargs: Others of :class:`BaseTeacher`.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it does not say what it is, does not fit, or the teacher does not suit the
            images or the student.
    """

    def __init__(
        self,
        student: BaseMaskedBackbone,
        checkpoint: str | PathLike[str] | None = None,
        backbone: dict | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        in_channels: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        network, stats = self._build(checkpoint, backbone, in_channels)
        network.requires_grad_(False).eval()  # those of mmpretrain do not return themselves
        self._frozen = [network]  # a list: no submodule
        self.own_stats = mean or stats.get('mean'), std or stats.get('std')
        self.fingerprint: Tensor
        self.register_buffer('fingerprint', fingerprint(network))
        for name in ('shift', 'scale'):  # from the student's normalization to the teacher's
            self.register_buffer(name, torch.zeros(1), persistent=False)
        self.set_pixel_stats(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
        self.connect(student, self._measure(student, in_channels))

    @property
    def network(self) -> nn.Module:
        return self._frozen[0]

    def _build(
        self, given: Any, backbone: dict | None, in_channels: int
    ) -> tuple[nn.Module, Mapping]:
        cfg, stats = dict(backbone or {}), {}
        init = cfg.pop('init_cfg', None) or {}
        prefix = None if given else init.get('prefix')
        weights = given or init.get('checkpoint')
        if not weights and not cfg.get('pretrained'):
            raise ValueError('the teacher has no weights: give checkpoint=FILE in model.teacher')
        if weights and not cfg:
            cfg, stats = stored_backbone(weights)
        if self.maps and self.layers != (-1,):
            if min(self.layers) < 0:
                raise ValueError(
                    f'layers={self.layers} of FeatureTeacher: of several, or of one that is not '
                    'the last, give the numbers from 0'
                )
            cfg['out_indices'] = tuple(sorted(set(self.layers)))
        derived: dict[str, Any] = dict(in_channels=in_channels, out_type='featmap')
        if self.img_size and MODELS.class_of(cfg) is TimmFeatures:
            derived['img_size'] = self.img_size  # the others interpolate by themselves
        network = MODELS.build(MODELS.with_defaults(cfg, **derived))
        if weights:
            inner = network.model if isinstance(network, TimmFeatures) else network
            try:
                load_backbone(inner, weights, prefix)
            except CheckpointError as error:
                raise CheckpointError(f'model.teacher: {error}') from error
        return network, stats

    @torch.no_grad()
    def _measure(self, student: Any, in_channels: int) -> list[int]:
        """Channels of the teacher's maps, from an image of zeros; or what it does not take."""
        size = tuple(self.img_size or student.img_size or (224, 224))
        image = torch.zeros(1, in_channels, *size)
        name, half, self.half_precision = type(self.network).__name__, self.half_precision, False
        try:
            maps = self.network(image)
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(
                f'the teacher {name} does not take images of {in_channels} channels and '
                f'{size[0]}x{size[1]} pixels ({reason}): set img_size of model.teacher to a size '
                'that it takes, or use a teacher of as many channels'
            ) from error
        self.half_precision = half
        if not all(isinstance(m, Tensor) and m.ndim == 4 for m in maps):
            raise ValueError(
                f"the teacher {name} gives no maps (B, C, h, w): set out_type='featmap', or "
                'gap_before_final_norm=False, in its backbone'
            )
        count = sum(p.numel() for p in self.network.parameters())
        MMLogger.get_current_instance().info(
            f'FeatureTeacher: {name} of {count / 1e6:.1f}M parameters at {size[0]}x{size[1]} '
            'pixels, frozen and not part of the checkpoints'
        )
        return [m.shape[1] for m in maps]

    def set_pixel_stats(self, mean: Tensor, std: Tensor) -> None:
        """Take over what the student's images are normalized by, ``(C, 1, 1)`` each."""
        own = [
            given if values is None else torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            for values, given in zip(self.own_stats, (mean, std))
        ]
        self.scale, self.shift = std / own[1], (mean - own[0]) / own[1]

    def prepare(self, inputs: Tensor) -> Tensor:
        return super().prepare(inputs * self.scale.to(inputs) + self.shift.to(inputs))

    def _apply(self, fn: Callable, recurse: bool = True) -> 'FeatureTeacher':
        """Move along to another device: submodules do by themselves."""
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        stored = state_dict.get(f'{prefix}fingerprint')
        if stored is not None and not torch.equal(stored.cpu(), self.fingerprint.cpu()):
            raise CheckpointError(
                'the checkpoint is of a training with another teacher: its weights have SHA-256 '
                f'{_hex(stored)}..., those of model.teacher {_hex(self.fingerprint)}...; give the '
                'teacher of that training, or begin anew with model.backbone.init_cfg'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def stored_backbone(checkpoint: str | PathLike[str]) -> tuple[dict, Mapping]:
    """Config of the backbone that a checkpoint is of, and of its data preprocessor."""
    instead = 'give the config of its backbone, model.teacher.backbone, or run simmim convert'
    file = fspath(checkpoint)
    config = read_config(load_weights(fetch(file)), file, instead)
    with refused_config(file, instead):
        model = config.get('model') or {}
        if not model.get('backbone'):
            raise CheckpointError(f'the config in {file} has no model.backbone: {instead}')
        cfg = {k: v for k, v in model['backbone'].to_dict().items() if k != 'init_cfg'}
        cfg.setdefault('_scope_', config.get('default_scope', 'simmim_mm'))
        check_types(cfg, MODELS)
        return cfg, model.get('data_preprocessor') or config.get('data_preprocessor') or {}


def fingerprint(network: nn.Module) -> Tensor:
    """SHA-256 of the names and values of all weights, 32 bytes as a tensor."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _hex(digest: Tensor) -> str:
    return bytes(digest.tolist()).hex()[:12]
