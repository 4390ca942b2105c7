from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.models.utils import to_2tuple
from torch import Tensor

from simmim_mm.masking import upsample_mask
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.models.backbones.cpu_linear import swap_linears
from simmim_mm.models.necks import BaseDecoder
from simmim_mm.models.target_generators import TargetSequence
from simmim_mm.models.teachers.base import BaseTeacher, StudentView
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedImageModel(BaseModel):
    """Masked image modeling on pixels: hide blocks of an image, encode, predict the pixels.

    SimMIM (arXiv 2111.09886) is this class with a backbone in token mode and a linear decoder; MAE,
    ConvMAE and LSMAE are the same class with a backbone in gather mode and a transformer decoder;
    PixMIM is a low-frequency ``target`` and a crop for either.

    A config need not repeat what follows from another part: the images' channels are those of the
    data preprocessor's mean; what the decoder takes and predicts follows from backbone, target and
    loss (:class:`BaseDecoder`). Values that are given win; :func:`check_parts` compares them.

    A ``teacher`` adds a second target, the features of another network. It may also stand in the
    place of the pixels: without neck and head, and where the teacher has ``whole_image=True``
    without masks.

    Args:
        backbone: A :class:`BaseMaskedBackbone`, called as ``backbone(inputs, mask)``. Others work
            too, but they get masks as they were drawn, and nothing follows from them.
        neck: The decoder, called as ``neck(feats, mask)``, predicts ``(B, C, H, W)``. None:
            no pixels, only a teacher.
        head: ``head.loss(pred, target, mask)`` gives the losses. None together with the neck.
        data_preprocessor: ``MIMDataPreprocessor`` or compatible.
        target: Target generators, applied in order. Empty: the normalized pixels.
        fill: What takes the place of masked pixels in the image. None: the backbone's own mask
            token, or nothing in gather mode.
        residual: A fill that the prediction is added to, so that the decoder predicts what is left
            of the pixels. The encoder sees no more than without it. None: the pixels themselves.
        foreground: A :class:`ForegroundBranch` on the same features; its loss is added.
        teacher: A :class:`BaseTeacher`: ``FeatureTeacher`` or ``EMATarget``; its losses are added.
        compile: Compile forward and loss of the training by ``torch.compile``; a dict has its
            arguments.
    """

    data_preprocessor: Any

    def __init__(
        self,
        backbone: dict,
        neck: dict | None,
        head: dict | None,
        data_preprocessor: dict,
        target: Sequence[dict] = (),
        fill: dict | None = None,
        foreground: dict | None = None,
        compile: bool | dict = False,
        init_cfg: dict | None = None,
        teacher: dict | None = None,
        residual: dict | None = None,
    ) -> None:
        # built here: BaseModel would look it up in the default scope, perhaps another package's
        super().__init__(MODELS.build(data_preprocessor), init_cfg)
        mean, std = self.data_preprocessor.mean, self.data_preprocessor.std
        if backbone.get('in_channels', len(mean)) != len(mean):
            raise ValueError(
                f'in_channels={backbone["in_channels"]} in backbone, but data_preprocessor has '
                f'mean and std of {len(mean)} channels: set it to {len(mean)} or leave it out'
            )
        self.backbone = MODELS.build(MODELS.with_defaults(backbone, in_channels=len(mean)))
        self.target = TargetSequence([MODELS.build(self._target_config(cfg)) for cfg in target])
        self.fill = None if fill is None else MODELS.build(fill)
        self.residual = None if residual is None else MODELS.build(residual)
        for part in filter(None, (*self.target, self.fill, self.residual)):
            part.set_pixel_stats(mean, std)
        if (neck is None) != (head is None) or (neck is None and teacher is None):
            raise ValueError(
                'neck and head predict pixels: give both, or none (neck=None, head=None) with a '
                'teacher in their place'
            )
        self.neck: Any = None
        self.head: Any = None
        if neck is not None and head is not None:
            channels = self.target.out_channels(len(mean))
            if isinstance(head.get('loss'), Mapping):
                head = dict(head, loss=MODELS.with_defaults(head['loss'], channels=channels))
            built = MODELS.build(head)
            predicted = built.loss_fn.pred_channels(channels)
            self.neck = MODELS.build(self._decoder_config(neck, predicted, self.target.stride))
            self.head = built  # after the decoder: the state of optimizers is stored in this order
        if foreground is not None:
            foreground = dict(foreground, neck=self._decoder_config(foreground['neck'], 1))
        self.foreground = None if foreground is None else MODELS.build(foreground)
        self.teacher: BaseTeacher | None = None
        if teacher is not None:
            derived = dict(student=self.backbone, in_channels=len(mean))
            built = MODELS.build(MODELS.with_defaults(teacher, **derived))
            built.set_pixel_stats(mean, std)
            self.teacher = built
        swap_linears(self)
        if compile:  # a function of the model: copies of it (of an average) share it
            options: dict[str, Any] = {'dynamic': False}
            options.update(compile if isinstance(compile, dict) else {})
            self.compute_losses = torch.compile(self.compute_losses, **options)
        check_parts(self)
        for name, parameter in self.backbone.named_parameters():
            if 'mask_token' in name:  # unused it gets no gradient, which DDP objects to
                parameter.requires_grad_(self.fill is None and self.masks)
        if self.teacher is not None and self.head is None and foreground is None:
            freeze_unused(self, self.teacher)

    @property
    def masks(self) -> bool:
        """Whether images are masked; not where whole ones are compared with a teacher's only."""
        whole = self.teacher is not None and self.teacher.whole_image
        return self.neck is not None or self.foreground is not None or not whole

    @property
    def invertible(self) -> bool:
        """Whether a prediction can be drawn as an image."""
        return self.neck is not None and self.target.invertible

    def _target_config(self, cfg: dict) -> dict:
        """A target's config, with the token if the decoder predicts token by token."""
        backbone, derived = self.backbone, {}
        if isinstance(backbone, BaseMaskedBackbone):
            stride = backbone.token_stride
            derived = dict(token_stride=stride) if backbone.out_strides[-1:] == (stride,) else {}
        return MODELS.with_defaults(cfg, **derived)

    def _decoder_config(self, cfg: dict, out_channels: int, scale: int = 1) -> dict:
        """A decoder's config with what follows; ``scale`` is in pixels per value to predict."""
        backbone = self.backbone
        derived: dict = dict(out_channels=out_channels)
        if not isinstance(backbone, BaseMaskedBackbone):
            return MODELS.with_defaults(cfg, **derived)
        if backbone.img_size is not None:
            derived['img_size'] = tuple(side // scale for side in to_2tuple(backbone.img_size))
        if backbone.out_strides:
            derived['in_channels'] = backbone.out_channels[-1]
            derived['stride'], rest = divmod(backbone.out_strides[-1], scale)
            if rest and not cfg.keys() & {'stride', 'patch_size'}:
                raise ValueError(
                    f'the target has one value for {scale}x{scale} pixels, but '
                    f'{type(backbone).__name__} one position for {backbone.out_strides[-1]}: set '
                    'factor of LowResolution, or cell of HOG, to a divisor'
                )
        if backbone.mask_mode == 'gather':
            derived['with_cls_token'] = backbone.with_cls_token
            if 'stride' in derived:
                derived['patch_size'] = derived['stride']
        return MODELS.with_defaults(cfg, **derived)

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """mmengine's entry: ``'loss'`` (training), ``'predict'`` (validation), ``'tensor'``."""
        if mode == 'loss':
            return self.loss(inputs, data_samples or [])
        if mode == 'predict':
            return self.predict(inputs, data_samples or [])
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features ``(B, C, H/s, W/s)`` of whole, normalized images."""
        return self.backbone(inputs)

    def encode(self, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        """Features of normalized images under a mask, if there is one."""
        if mask is None or self.fill is None:
            return self.backbone(inputs, mask)
        return self.backbone(self.fill(inputs, mask))

    def decode(self, feats: Sequence[Tensor], inputs: Tensor, mask: Tensor | None) -> Tensor:
        """What the head scores, from the features of normalized images under a mask."""
        pred = self.neck(feats, mask)
        return pred if self.residual is None else pred + self.residual(inputs, mask)

    def encode_for_teacher(
        self, inputs: Tensor, mask: Tensor | None
    ) -> tuple[tuple[Tensor, ...], StudentView | None]:
        """Features under a mask, and what the teacher sees: the same, or those of whole images."""
        if self.teacher is None:
            return self.encode(inputs, mask), None
        shown = None if self.teacher.whole_image else mask
        feats = self.encode(inputs, shown)
        view = self.teacher.view(self.backbone, feats, shown, inputs)
        return (feats if shown is mask else self.encode(inputs, mask)), view

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of normalized images ``(B, C, H, W)`` under their masks."""
        mask, labels = self.stack_masks(data_samples, inputs) if self.masks else None, None
        if self.foreground is not None:
            labels = self.foreground.stack_labels(data_samples, inputs)
        valid = self.stack_valid(data_samples, inputs)
        if self.teacher is None:
            return self.compute_losses(self, inputs, mask, labels, *valid)
        if self.training:
            self.teacher.before_step(self.backbone)
        taught = self.teacher(inputs)
        with self.teacher.watch(self.backbone):
            losses = self.compute_losses(self, inputs, mask, labels, *valid, taught=taught)
        return {**losses, **self.teacher.report(inputs)}

    @staticmethod
    def compute_losses(
        model: 'MaskedImageModel',
        inputs: Tensor,
        mask: Tensor | None,
        labels: Tensor | None,
        *valid: Tensor,
        taught: Sequence[Tensor] = (),
    ) -> dict[str, Tensor]:
        """The method, on tensors alone; compiled if asked for. ``taught``: of the teacher."""
        feats, view = model.encode_for_teacher(inputs, mask)
        losses: dict[str, Tensor] = {}
        if model.head is not None:
            pred = model.decode(feats, inputs, mask)
            target = model.target(inputs)
            losses.update(model.head.loss(pred, target, mask, *valid))
        if model.foreground is not None and labels is not None:
            losses.update(model.foreground.loss(model.foreground(feats, mask), labels))
        if model.teacher is not None and view is not None:
            losses.update(model.teacher.loss(view, taught))
        return losses

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: list) -> list:
        """Losses of each image on its own, for validation.

        Each data sample receives ``masked_losses``: the losses of head and teacher as floats. With
        a foreground branch also ``foreground_counts``, see :meth:`ForegroundBranch.counts`.
        """
        mask = self.stack_masks(data_samples, inputs) if self.masks else None
        with nullcontext() if self.teacher is None else self.teacher.watch(self.backbone):
            feats, view = self.encode_for_teacher(inputs, mask)
        losses: list[dict[str, Tensor]] = [{} for _ in data_samples]
        if self.head is not None and mask is not None:
            parts = self.decode(feats, inputs, mask), self.target(inputs), mask
            parts = [x.split(1) for x in (*parts, *self.stack_valid(data_samples, inputs))]
            for own, *one in zip(losses, *parts):
                own.update(self.head.loss(*one))
        if self.teacher is not None and view is not None:
            taught = [x.split(1) for x in self.teacher(inputs)]
            for own, one, *target in zip(losses, view.split(), *taught):
                own.update(self.teacher.loss(one, target))
        for sample, own in zip(data_samples, losses):
            values = {name: float(loss) for name, loss in own.items()}
            sample.set_field(values, 'masked_losses', field_type='metainfo')
        if self.foreground is not None:
            labels = self.foreground.stack_labels(data_samples, inputs)
            counts = self.foreground.counts(self.foreground(feats, mask), labels)
            for sample, numbers in zip(data_samples, counts):
                sample.set_field(numbers, 'foreground_counts', field_type='metainfo')
        return data_samples

    @torch.no_grad()
    def reconstruct(self, inputs: Tensor, mask: Tensor, stats: str = 'true') -> dict[str, Tensor]:
        """Images of what the model predicts; ValueError if it predicts none (HOG).

        Args:
            inputs: ``(B, C, H, W)`` normalized images.
            mask: ``(B, h, w)`` boolean, True = masked, on any grid that :meth:`token_mask` takes.
            stats: Where a normalizing target takes its statistics from when it is undone, see
                :meth:`TargetGenerator.invert`.

        Returns:
            ``(B, C, H, W)`` float tensors in the value range of the loaded images, not clipped:
            ``original``; ``masked`` (mean color under the mask); ``prediction`` (of every pixel);
            ``reconstruction`` (the prediction pasted under the mask); ``target`` (what the
            prediction is trained towards, as an image). Also ``mask``, ``(B, 1, H, W)`` boolean,
            and with a foreground branch ``foreground``, its probability, ``(B, 1, H, W)``.
        """
        if self.neck is None:
            raise ValueError('the model predicts features only: nothing to draw')
        if not self.target.invertible:
            names = ', '.join(type(g).__name__ for g in self.target if not g.invertible)
            raise ValueError(f'what the model predicts is not an image ({names}): nothing to draw')
        mask = self.token_mask(mask, inputs)
        pixel_mask = upsample_mask(mask, inputs.shape[-2:])
        feats = self.encode(inputs, mask)
        pred = self.head.decode(self.decode(feats, inputs, mask).float())
        pred = self.target.invert(pred, inputs, mask, stats)
        normalized = dict(
            original=inputs,
            masked=inputs.masked_fill(pixel_mask, 0.0),
            prediction=pred,
            reconstruction=torch.where(pixel_mask, pred, inputs),
            target=self.target.invert(self.target(inputs), inputs),
        )
        denormalize = self.data_preprocessor.denormalize
        images = {**{k: denormalize(v) for k, v in normalized.items()}, 'mask': pixel_mask}
        if self.foreground is not None:
            logits = self.foreground(feats, mask)
            images['foreground'] = self.foreground.probability(logits, inputs.shape[-2:])
        return images

    def stack_masks(self, data_samples: list, inputs: Tensor) -> Tensor:
        """The masks of the samples as ``(B, h, w)`` boolean on the grid of the tokens."""
        if not data_samples or any('mask' not in sample for sample in data_samples):
            raise ValueError(
                'no mask in the data samples: add a mask transform to the pipeline and pack its '
                "result with algorithm_keys=['mask']"
            )
        masks = torch.stack([torch.as_tensor(sample.mask) for sample in data_samples])
        return self.token_mask(masks.to(inputs.device, torch.bool), inputs)

    @staticmethod
    def stack_valid(data_samples: list, inputs: Tensor) -> list[Tensor]:
        """Bool ``(B, 1, H, W)``, False where there are no data; nothing where none are declared."""
        if not any('nodata' in sample for sample in data_samples):
            return []
        absent = torch.zeros(inputs.shape[-2:], dtype=torch.bool)
        maps = [torch.as_tensor(sample.get('nodata', absent)) for sample in data_samples]
        return [~torch.stack(maps).unsqueeze(1).to(inputs.device, torch.bool)]

    def token_mask(self, mask: Tensor, inputs: Tensor) -> Tensor:
        """A mask ``(B, rows, columns)`` on the grid of the tokens, see :func:`fit_mask`."""
        known = isinstance(self.backbone, BaseMaskedBackbone)
        return self.backbone.token_mask(mask, inputs) if known else mask


def freeze_unused(model: MaskedImageModel, teacher: BaseTeacher) -> None:
    """Ask for no gradient of parameters that the loss does not depend on, which DDP objects to.

    Without a decoder these are what comes after the last layer that is compared.
    """
    backbone, training = model.backbone, model.training
    size = to_2tuple(backbone.img_size or 224)
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.random.fork_rng([]):
        x = trained[0].new_zeros(1, len(model.data_preprocessor.mean), *size).normal_()
        mask = None
        if model.masks:
            h, w = backbone.token_grid(*size)
            mask = (torch.arange(w) % 2 > 0).repeat(1, h, 1)
        model.eval()
        taught = teacher(x)
        with teacher.watch(backbone):
            losses = MaskedImageModel.compute_losses(model, x, mask, None, taught=taught)
        model.train(training)
    loss = torch.stack(list(losses.values())).sum()
    found = torch.autograd.grad(loss, trained, allow_unused=True)
    for parameter, gradient in zip(trained, found):
        parameter.requires_grad_(gradient is not None)


def check_parts(model: MaskedImageModel) -> None:
    """Refuse parts that do not go together; ValueError names them and what to change.

    Sizes, which only show with an image, are checked on the first one by
    :func:`simmim_mm.engine.checks.check_model`, before a training starts.
    """
    if model.head is None:
        return
    backbone, neck, loss = model.backbone, model.neck, model.head.loss_fn
    name, decoder = type(backbone).__name__, type(neck).__name__
    known = isinstance(backbone, BaseMaskedBackbone)
    if known and model.fill is not None and backbone.mask_mode == 'gather':
        raise ValueError(
            f'fill={type(model.fill).__name__} has no effect on {name}, which encodes visible '
            'tokens only and never sees masked pixels: leave it out, or use a backbone in token '
            "mode (mask_mode='token')"
        )
    if known and isinstance(neck, BaseDecoder):
        mode, wanted = backbone.mask_mode, neck.mask_mode
        if mode != wanted:
            tokens = 'the visible tokens of a backbone in gather mode'
            instead = dict(gather='TransformerDecoder', token='PixelShuffleDecoder')[mode]
            raise ValueError(
                f'the decoder {decoder} takes {tokens if wanted == "gather" else "a whole map"}, '
                f'but {name} is in {mode} mode: use {instead}, or a backbone in {wanted} mode'
            )
        if backbone.out_strides and neck.in_channels not in (None, *backbone.out_channels):
            channels = backbone.out_channels[-1]
            raise ValueError(
                f'in_channels={neck.in_channels} in {decoder}, but the features of {name} have '
                f'{channels} channels: set it to {channels} or leave it out'
            )
    if model.residual is not None and (len(model.target) or loss.pred_channels(1) != 1):
        raise ValueError(
            f'residual={type(model.residual).__name__} is added to a prediction of pixels, but '
            f'{type(loss).__name__} on {len(model.target)} target generators has another: leave '
            'out residual, or target and this loss'
        )
    kind = loss.target_value_range
    if kind and kind != model.target.value_range:
        hint = " (target=[dict(type='UnitRange')])" if kind == 'unit' else ''
        raise ValueError(
            f'{type(loss).__name__} needs a target of kind {kind!r}, but this one is '
            f'{model.target.value_range!r}: end the list of targets with one that is{hint}'
        )
    channels = model.target.out_channels(len(model.data_preprocessor.mean))
    needed = loss.pred_channels(channels)
    given = getattr(neck, 'out_channels', needed)
    if given != needed:
        raise ValueError(
            f'the decoder {decoder} predicts {given} channels, but {type(loss).__name__} on a '
            f'target of {channels} channels needs {needed}: set out_channels={needed} in neck or '
            "leave it out (or set mean and std of data_preprocessor to the images' channels)"
        )
