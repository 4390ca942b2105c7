"""What is exported: modules from the values of pixels to what a model says of them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from simmim_mm.interop import ExportError


class Graph(nn.Module):
    """From images as they are loaded, ``(B, C, H, W)`` float32, to results.

    The normalization is part of it, so that whoever runs the file needs no statistics.

    Args:
        model: In evaluation mode.
        mean: Mean of each channel, in the value range of the images; empty: 0.
        std: Standard deviation of each channel; empty: 1.

    Attributes:
        kind: What it is, in a word.
        input_names: Of the arguments.
        output_names: Of the results.
        meaning: Of the results, a sentence.
    """

    kind: str
    input_names: tuple[str, ...] = ('images',)
    output_names: tuple[str, ...] = ()
    meaning: str

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model: Any = model
        self.normalizes = bool(mean)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', torch.tensor(list(mean) or [0.0]).view(-1, 1, 1))
        self.register_buffer('std', torch.tensor(list(std) or [1.0]).view(-1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.results((images - self.mean) / self.std)

    def results(self, x: Tensor) -> tuple[Tensor, ...]:
        """Results of normalized images."""
        raise NotImplementedError

    def names(self, count: int) -> tuple[str, ...]:
        """Names of so many results."""
        return self.output_names

    def examples(self, batch: int, channels: int, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Arguments to try it with: images of normal noise of the given mean and std."""
        noise = torch.Generator().manual_seed(batch)
        images = torch.randn(batch, channels, *size, generator=noise)
        return (images * self.std + self.mean,)


class BackboneGraph(Graph):
    """Feature maps of a backbone."""

    kind = 'backbone'
    meaning = 'feature maps (batch, channels, height / stride, width / stride)'

    def names(self, count: int) -> tuple[str, ...]:
        return tuple(f'features_{i}' for i in range(count)) if count > 1 else ('features',)

    def results(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(x))


class ClassifierGraph(Graph):
    """Probabilities of the classes, as ``model.predict`` of mmpretrain gives them."""

    kind = 'classifier'
    output_names = ('scores',)
    meaning = 'probability of each class (batch, classes)'

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(model, mean, std)
        from mmpretrain.models.heads import ClsHead, MultiLabelClsHead

        head = self.model.head
        if not isinstance(head, (ClsHead, MultiLabelClsHead)):
            raise ExportError(
                f'a classifier with {type(head).__name__} is not exported: its predictions are '
                'neither classes nor labels. Export the backbone: --part backbone'
            )
        self.exclusive = isinstance(head, ClsHead)

    def results(self, x: Tensor) -> tuple[Tensor, ...]:
        logits = self.model(x, mode='tensor')
        return (logits.softmax(1) if self.exclusive else logits.sigmoid(),)


class SegmenterGraph(Graph):
    """Class of each pixel, and the logits, as ``model.predict`` of mmseg on whole images."""

    kind = 'segmenter'
    output_names = ('labels', 'logits')
    meaning = 'class of each pixel (batch, height, width); logits (batch, classes, height, width)'

    def results(self, x: Tensor) -> tuple[Tensor, ...]:
        logits = self.model.encode_decode(x, [dict(img_shape=tuple(x.shape[2:]))])
        if logits.shape[1] > 1:
            return logits.argmax(1), logits
        threshold = self.model.decode_head.threshold or 0.3  # mmseg's default
        return (logits.sigmoid() > threshold).squeeze(1).long(), logits


class DetectorGraph(Graph):
    """Every box of a detector of one stage with its scores, before boxes are suppressed.

    Suppression gives as many boxes as the image has objects, which is left to the one who runs the
    file: keep scores above a threshold, then suppress within each class.
    """

    kind = 'detector'
    output_names = ('boxes', 'scores')
    meaning = (
        'boxes (batch, n, 4), left, top, right and bottom in pixels; score of each class (batch, '
        'n, classes). Before suppression: keep scores above a threshold, then suppress boxes of '
        'each class that overlap (NMS)'
    )

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(model, mean, std)
        from mmdet.models.dense_heads import RetinaHead, SSDHead
        from mmdet.models.task_modules import DeltaXYWHBBoxCoder

        head = self.model.bbox_head
        kinds = RetinaHead, SSDHead
        if not (isinstance(head, kinds) and isinstance(head.bbox_coder, DeltaXYWHBBoxCoder)):
            raise ExportError(
                f'a detector with {type(head).__name__} is not exported: of detectors of one stage '
                'RetinaNet and SSD are. Export the backbone: --part backbone'
            )

    def results(self, x: Tensor) -> tuple[Tensor, ...]:
        head = self.model.bbox_head
        logits, deltas = head(self.model.extract_feat(x))
        sizes = [level.shape[-2:] for level in logits]
        priors = torch.cat(head.prior_generator.grid_priors(sizes, device=x.device))

        def rows(levels: Sequence[Tensor], width: int) -> Tensor:
            """Maps ``(B, anchors * width, h, w)`` to ``(B, n, width)``, in the order of priors."""
            return torch.cat(
                [y.permute(0, 2, 3, 1).reshape(len(x), -1, width) for y in levels], dim=1
            )

        values = rows(logits, head.cls_out_channels)
        scores = values.sigmoid() if head.use_sigmoid_cls else values.softmax(-1)[..., :-1]
        anchors, moves = priors.expand(len(x), -1, -1).flatten(0, 1), rows(deltas, 4).flatten(0, 1)
        boxes = head.bbox_coder.decode(anchors, moves, max_shape=tuple(x.shape[2:]))
        return boxes.view(len(x), -1, 4), scores


class ReconstructionGraph(Graph):
    """What a pretrained model predicts under a mask, in the value range of the images."""

    kind = 'reconstruction'
    input_names = ('images', 'mask')
    output_names = ('reconstruction', 'prediction')
    meaning = (
        'images with the prediction under the mask; the prediction of every pixel, both (batch, '
        'channels, height, width) in the value range of the images'
    )

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(model, mean, std)
        backbone = self.model.backbone
        if not self.model.invertible:
            raise ExportError(
                'what the model predicts is not an image, so that there is nothing to show: export '
                'the backbone (--part backbone)'
            )
        if backbone.mask_mode == 'gather':
            raise ExportError(
                f'the reconstruction of {type(backbone).__name__} is not exported: it encodes '
                'visible tokens only, and how many there are depends on the mask, which a graph '
                'cannot express. Export the backbone (--part backbone)'
            )

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]  # one more
        self, images: Tensor, mask: Tensor
    ) -> tuple[Tensor, ...]:
        shown = self.model.reconstruct((images - self.mean) / self.std, mask)
        return shown['reconstruction'], shown['prediction']

    def examples(self, batch: int, channels: int, size: tuple[int, int]) -> tuple[Tensor, ...]:
        images = super().examples(batch, channels, size)
        grid = self.model.backbone.token_grid(*size)
        mask = torch.rand(batch, math.prod(grid), generator=torch.Generator().manual_seed(batch))
        return (*images, (mask < mask.median(1, keepdim=True)[0]).view(batch, *grid))
