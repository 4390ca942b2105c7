from mmpretrain.models.classifiers import ImageClassifier
from torch import nn

from simmim_mm.registry import MODELS


@MODELS.register_module()
class FrozenClassifier(ImageClassifier):
    """Probe: mmpretrain's ``ImageClassifier`` that trains neck and head on a frozen backbone.

    The backbone, of any kind, keeps its weights and stays in evaluation mode, so that neither
    dropout nor statistics of batches make its features depend on the training.
    """

    backbone: nn.Module

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> 'FrozenClassifier':
        """As ``nn.Module.train`` for all but the backbone."""
        super().train(mode)
        self.backbone.eval()
        return self
