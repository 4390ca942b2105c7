from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from simmim_mm.masking import upsample_mask
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.models.necks import BaseDecoder
from simmim_mm.models.target_generators import TargetSequence
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedImageModel(BaseModel):
    """Masked image modeling on pixels: hide blocks of an image, encode, predict the pixels.

    SimMIM (arXiv 2111.09886) is this class with a backbone in token mode and a linear decoder; MAE,
    ConvMAE and LSMAE are the same class with a backbone in gather mode and a transformer decoder;
    PixMIM is a low-frequency ``target`` and a crop for either.

    What follows from another part need not be given: the channels of the images are those of the
    data preprocessor's mean, and what the decoder takes and predicts follows from the backbone,
    the target and the loss (:class:`BaseDecoder`). Values that are given win.

    Args:
        backbone: A :class:`BaseMaskedBackbone`, called as ``backbone(inputs, mask)``. Others work
            too; they get masks as they were drawn, and nothing follows from them.
        neck: The decoder, called as ``neck(feats, mask)``, predicts ``(B, C, H, W)``.
        head: ``head.loss(pred, target, mask)`` gives the losses.
        data_preprocessor: ``MIMDataPreprocessor`` or compatible; target generators and mask fill
            get its mean and std.
        target: Target generators, applied in order. Empty: the normalized pixels.
        fill: What takes the place of masked pixels in the image. None: the backbone's own mask
            token, or nothing in gather mode.
        foreground: A :class:`ForegroundBranch` on the same features; its loss is added.

    Raises:
        ValueError: If the parts do not go together.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        data_preprocessor: dict,
        target: Sequence[dict] = (),
        fill: dict | None = None,
        foreground: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        # built here: BaseModel would look it up in the default scope, which need not be ours
        super().__init__(MODELS.build(data_preprocessor), init_cfg)
        mean, std = self.data_preprocessor.mean, self.data_preprocessor.std
        self.backbone = MODELS.build(MODELS.with_defaults(backbone, in_channels=len(mean)))
        derived = self._check_backbone(backbone, fill)
        self.target = TargetSequence(
            [MODELS.build(MODELS.with_defaults(cfg, **derived)) for cfg in target]
        )
        self.fill = None if fill is None else MODELS.build(fill)
        for part in (*self.target, self.fill):
            if part is not None:
                part.set_pixel_stats(mean, std)

        channels = self.target.out_channels(len(mean))
        if isinstance(head.get('loss'), Mapping):
            head = dict(head, loss=MODELS.with_defaults(head['loss'], channels=channels))
        self.head = MODELS.build(head)
        self._check_value_range()
        predicted = self.head.loss_fn.pred_channels(channels)
        self.neck = MODELS.build(self._decoder_config(neck, predicted, self.target.stride))
        if getattr(self.neck, 'out_channels', predicted) != predicted:
            raise ValueError(
                f'the decoder {type(self.neck).__name__} predicts {self.neck.out_channels} '
                f'channels, but {type(self.head.loss_fn).__name__} on a target of {channels} '
                f'channels needs {predicted}: set out_channels={predicted} in neck or leave it out '
                "(or set mean and std of data_preprocessor to the images' channels)"
            )
        if foreground is not None:
            foreground = dict(foreground, neck=self._decoder_config(foreground['neck'], 1))
        self.foreground = None if foreground is None else MODELS.build(foreground)
        if self.fill is not None:  # no gradient reaches mask tokens: distributed training objects
            for name, parameter in self.backbone.named_parameters():
                parameter.requires_grad_(parameter.requires_grad and 'mask_token' not in name)

    def _check_backbone(self, cfg: dict, fill: dict | None) -> dict[str, int]:
        """Refuse a backbone that contradicts the other parts; what targets can know of it."""
        backbone, channels = self.backbone, len(self.data_preprocessor.mean)
        if not isinstance(backbone, BaseMaskedBackbone):
            return {}
        name = type(backbone).__name__
        if cfg.get('in_channels', channels) != channels:
            raise ValueError(
                f'in_channels={cfg["in_channels"]} in backbone, but data_preprocessor has mean and '
                f'std of {channels} channels: set it to {channels} or leave it out'
            )
        if fill is not None and backbone.mask_mode == 'gather':
            raise ValueError(
                f'fill={fill["type"]} has no effect on {name}, which encodes visible tokens only '
                'and never sees masked pixels: leave it out, or use a backbone in token mode '
                "(mask_mode='token')"
            )
        out_stride = backbone.out_strides[-1] if backbone.out_strides else backbone.token_stride
        return dict(token_stride=backbone.token_stride, out_stride=out_stride)

    def _check_value_range(self) -> None:
        """Refuse a target whose values are not what the loss takes."""
        loss, kind = type(self.head.loss_fn).__name__, self.head.loss_fn.target_value_range
        if kind and kind != self.target.value_range:
            hint = " (target=[dict(type='UnitRange')])" if kind == 'unit' else ''
            raise ValueError(
                f'{loss} needs a target of kind {kind!r}, but this one is '
                f'{self.target.value_range!r}: end the list of targets with one of kind '
                f'{kind!r}{hint}'
            )

    def _decoder_config(self, cfg: dict, out_channels: int, scale: int = 1) -> dict:
        """A decoder's config with what follows from the backbone and what it has to predict.

        Args:
            cfg: As given.
            out_channels: Channels to predict.
            scale: Pixels per value to predict, in each direction.
        """
        backbone, decoder = self.backbone, MODELS.class_of(cfg)
        derived: dict[str, Any] = dict(out_channels=out_channels)
        if not isinstance(backbone, BaseMaskedBackbone):
            return MODELS.with_defaults(cfg, **derived)
        gather = backbone.mask_mode == 'gather'
        if gather:
            derived['with_cls_token'] = backbone.with_cls_token
        if backbone.img_size is not None:
            derived['img_size'] = tuple(side // scale for side in backbone.img_size)
        if backbone.out_strides:
            derived['in_channels'] = backbone.out_channels[-1]
            if backbone.out_strides[-1] % scale == 0:
                derived['patch_size' if gather else 'stride'] = backbone.out_strides[-1] // scale
        if isinstance(decoder, type) and issubclass(decoder, BaseDecoder):
            _check_decoder(decoder, {**derived, **cfg}, backbone, scale)
        return MODELS.with_defaults(cfg, **derived)

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> dict | list | tuple:
        """mmengine's entry: ``'loss'`` (training), ``'predict'`` (validation), ``'tensor'``."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features ``(B, C, H/s, W/s)`` of whole, normalized images."""
        return self.backbone(inputs)

    def encode(self, inputs: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Features of normalized images under a mask."""
        if self.fill is None:
            return self.backbone(inputs, mask)
        return self.backbone(self.fill(inputs, mask))

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of normalized images ``(B, C, H, W)`` under their masks."""
        mask = self.stack_masks(data_samples, inputs)
        feats = self.encode(inputs, mask)
        pred = self.neck(feats, mask)
        target = self.target(inputs)
        losses = self.head.loss(pred, target, mask)
        if self.foreground is not None:
            labels = self.foreground.stack_labels(data_samples, inputs)
            losses.update(self.foreground.loss(self.foreground(feats, mask), labels))
        return losses

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: list) -> list:
        """Losses of each image on its own, for validation.

        Each data sample receives a field ``masked_losses``: the head's losses as floats. With a
        foreground branch also ``foreground_counts``, see :meth:`ForegroundBranch.counts`.
        """
        mask = self.stack_masks(data_samples, inputs)
        feats = self.encode(inputs, mask)
        pred, target = self.neck(feats, mask), self.target(inputs)
        for i, sample in enumerate(data_samples):
            one = slice(i, i + 1)
            losses = self.head.loss(pred[one], target[one], mask[one])
            losses = {k: float(v) for k, v in losses.items()}
            sample.set_field(losses, 'masked_losses', field_type='metainfo')
        if self.foreground is not None:
            labels = self.foreground.stack_labels(data_samples, inputs)
            counts = self.foreground.counts(self.foreground(feats, mask), labels)
            for sample, numbers in zip(data_samples, counts):
                sample.set_field(numbers, 'foreground_counts', field_type='metainfo')
        return data_samples

    @torch.no_grad()
    def reconstruct(self, inputs: Tensor, mask: Tensor, stats: str = 'true') -> dict[str, Tensor]:
        """Images of what the model predicts.

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

        Raises:
            ValueError: If the target cannot be brought back to pixels (HOG).
        """
        if not self.target.invertible:
            names = ', '.join(type(g).__name__ for g in self.target if not g.invertible)
            raise ValueError(f'what the model predicts is not an image ({names}): nothing to draw')
        mask = self.token_mask(mask, inputs)
        pixel_mask = upsample_mask(mask, inputs.shape[-2:])
        feats = self.encode(inputs, mask)
        pred = self.head.decode(self.neck(feats, mask).float())
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

    def stack_masks(self, data_samples: list | None, inputs: Tensor) -> Tensor:
        """The masks of the samples as ``(B, h, w)`` boolean on the grid of the tokens."""
        if not data_samples or any('mask' not in sample for sample in data_samples):
            raise ValueError(
                'no mask in the data samples: add a mask transform to the pipeline and pack its '
                "result with algorithm_keys=['mask']"
            )
        masks = torch.stack([torch.as_tensor(sample.mask) for sample in data_samples])
        return self.token_mask(masks.to(inputs.device, torch.bool), inputs)

    def token_mask(self, mask: Tensor, inputs: Tensor) -> Tensor:
        """Bring a mask ``(B, rows, columns)`` to the grid of the backbone's tokens.

        Raises:
            ValueError: If the mask does not fit the images.
        """
        if isinstance(self.backbone, BaseMaskedBackbone):
            return self.backbone.token_mask(mask, inputs)
        return mask


def _check_decoder(
    decoder: type[BaseDecoder], cfg: dict, backbone: BaseMaskedBackbone, scale: int
) -> None:
    """Refuse a decoder that contradicts the backbone or cannot predict at the scale."""
    name, mode = type(backbone).__name__, backbone.mask_mode
    if decoder.mask_mode != mode:
        takes = dict(gather='the visible tokens of a backbone in gather mode', token='a whole map')
        instead = dict(gather='TransformerDecoder', token='PixelShuffleDecoder')
        raise ValueError(
            f'the decoder {decoder.__name__} takes {takes[decoder.mask_mode]}, but {name} is in '
            f'{mode} mode: use {instead[mode]}, or a backbone in {decoder.mask_mode} mode'
        )
    if backbone.out_strides and cfg['in_channels'] not in backbone.out_channels:
        channels = backbone.out_channels[-1]
        raise ValueError(
            f'in_channels={cfg["in_channels"]} in {decoder.__name__}, but the features of {name} '
            f'have {channels} channels: set it to {channels} or leave it out'
        )
    if backbone.out_strides and not cfg.keys() & {'stride', 'patch_size'}:
        raise ValueError(
            f'the target has one value for {scale}x{scale} pixels, but {name} one position for '
            f'{backbone.out_strides[-1]}: set factor of LowResolution, or cell of HOG, to a divisor'
        )
