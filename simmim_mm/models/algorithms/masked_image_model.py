from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor

from simmim_mm.masking import upsample_mask
from simmim_mm.models.algorithms.compatibility import check_parts
from simmim_mm.models.target_generators import TargetSequence
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedImageModel(BaseModel):
    """Masked image modeling on pixels: hide blocks of an image, encode, predict the pixels.

    SimMIM (arXiv 2111.09886) is this class with a backbone in token mode and a linear decoder; MAE,
    ConvMAE and LSMAE are the same class with a backbone in gather mode and a transformer decoder;
    PixMIM is a low-frequency ``target`` and a crop for either.

    Args:
        backbone: Called as ``backbone(inputs, mask)``; without a mask it gives plain features.
        neck: The decoder, called as ``neck(feats, mask)``, predicts ``(B, C, H, W)``.
        head: ``head.loss(pred, target, mask)`` gives the losses.
        data_preprocessor: ``MIMDataPreprocessor`` or compatible; its mean and std are handed to the
            target generators.
        target: Target generators, applied in order. Empty: the pixels as normalized.
        fill: What stands in the place of masked pixels in the image. None: the backbone's own mask
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
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        self.head = MODELS.build(head)
        self.target = TargetSequence([MODELS.build(cfg) for cfg in target])
        self.fill = None if fill is None else MODELS.build(fill)
        for part in (*self.target, self.fill):
            if part is not None:
                part.set_pixel_stats(self.data_preprocessor.mean, self.data_preprocessor.std)
        self.foreground = None if foreground is None else MODELS.build(foreground)
        check_parts(self)
        if self.fill is not None:  # no gradient reaches mask tokens: distributed training objects
            for name, parameter in self.backbone.named_parameters():
                parameter.requires_grad_(parameter.requires_grad and 'mask_token' not in name)

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

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of normalized images ``(B, C, H, W)`` under their masks."""
        mask = self.stack_masks(data_samples, inputs)
        feats = self._encode(inputs, mask)
        with torch.no_grad():
            target = self.target(inputs)
        losses = self.head.loss(self.neck(feats, mask), target, mask)
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
        feats = self._encode(inputs, mask)
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
        """Pictures of what the model predicts.

        Args:
            inputs: ``(B, C, H, W)`` normalized images.
            mask: ``(B, h, w)`` boolean, True = masked.
            stats: Where a normalizing target takes its statistics from when it is undone, see
                :meth:`TargetGenerator.invert`.

        Returns:
            ``(B, C, H, W)`` float tensors in the value range of the loaded images, not clipped:
            ``original``; ``masked`` (mean color under the mask); ``prediction`` (of every pixel);
            ``reconstruction`` (the prediction pasted under the mask); ``target`` (what the
            prediction is trained towards, as an image). And ``mask``, ``(B, 1, H, W)`` boolean;
            with a foreground branch ``foreground``, its probability, ``(B, 1, H, W)``.

        Raises:
            ValueError: If the target cannot be brought back to pixels (HOG).
        """
        if not self.target.invertible:
            names = ', '.join(type(g).__name__ for g in self.target if not g.invertible)
            raise ValueError(f'what the model predicts is not an image ({names}): nothing to draw')
        pixel_mask = upsample_mask(mask, inputs.shape[-2:])
        feats = self._encode(inputs, mask)
        pred = self.head.decode(self.neck(feats, mask).float())
        pred = self.target.invert(pred, inputs, mask, stats)
        target = self.target.invert(self.target(inputs), inputs)
        pictures = dict(
            original=inputs,
            masked=inputs.masked_fill(pixel_mask, 0.0),
            prediction=pred,
            reconstruction=torch.where(pixel_mask, pred, inputs),
            target=target,
        )
        denormalize = self.data_preprocessor.denormalize
        pictures = {**{k: denormalize(v) for k, v in pictures.items()}, 'mask': pixel_mask}
        if self.foreground is not None:
            logits = self.foreground(feats, mask)
            pictures['foreground'] = self.foreground.probability(logits, inputs.shape[-2:])
        return pictures

    def _encode(self, inputs: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        if self.fill is None:
            return self.backbone(inputs, mask)
        return self.backbone(self.fill(inputs, mask))

    @staticmethod
    def stack_masks(data_samples: list | None, inputs: Tensor) -> Tensor:
        """The masks of the samples as ``(B, h, w)`` boolean on the device of ``inputs``."""
        if not data_samples or any('mask' not in sample for sample in data_samples):
            raise ValueError(
                'no mask in the data samples: add a mask transform to the pipeline and pack its '
                "result with algorithm_keys=['mask']"
            )
        masks = [torch.as_tensor(sample.mask) for sample in data_samples]
        return torch.stack(masks).to(inputs.device, torch.bool)
