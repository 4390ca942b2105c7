from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from torch import nn

from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.registry import MODELS


@MODELS.register_module()
class Classifier(ImageClassifier):
    """mmpretrain's ``ImageClassifier``, whose neck and head need no channels in the config.

    They are those of the backbone's last map. Values that are given win, and backbones that are
    not of this package need them.

    Args:
        backbone: From images to maps, or to vectors if there is no neck.
        neck: From maps to a vector for each image.
        head: From vectors to losses and predictions.
        **kwargs: See mmpretrain's ``ImageClassifier``.
    """

    backbone: nn.Module

    def __init__(
        self,
        backbone: dict | nn.Module,
        neck: dict | None = None,
        head: dict | None = None,
        **kwargs: Any,
    ) -> None:
        module = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        maps = module.out_channels if isinstance(module, BaseMaskedBackbone) else ()
        if maps:
            derived = dict(in_channels=maps[-1], input_features=maps[-1])  # ClsBatchNormNeck's name
            neck, head = (part and MODELS.with_defaults(part, **derived) for part in (neck, head))
        super().__init__(module, neck, head, **kwargs)  # type: ignore[arg-type]  a module will do
