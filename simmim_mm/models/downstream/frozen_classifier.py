from simmim_mm.models.downstream.classifier import Classifier
from simmim_mm.registry import MODELS


@MODELS.register_module()
class FrozenClassifier(Classifier):
    """Probe: a :class:`Classifier` that trains neck and head on a frozen backbone.

    The backbone, of any kind, keeps its weights and stays in evaluation mode, so that neither
    dropout nor statistics of batches make its features depend on the training.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> 'FrozenClassifier':
        super().train(mode)
        self.backbone.eval()
        return self
