"""Features of image files by a pretrained backbone."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from simmim_mm.checkpoint import LoadReport, building_from, load_into, open_run
from simmim_mm.datasets.errors import UnreadableImage
from simmim_mm.datasets.evaluation_pipeline import evaluation_pipeline
from simmim_mm.datasets.seeding import seeded_rng
from simmim_mm.models import backbones  # noqa: F401 - registered before types are checked
from simmim_mm.models.data_preprocessor import MIMDataPreprocessor
from simmim_mm.models.teachers.feature_teacher import fingerprint
from simmim_mm.registry import MODELS, TRANSFORMS

T = TypeVar('T')


class FeatureExtractor:
    """The pooled last map of a backbone for whole images, loaded as in its pretraining.

    Calling it with image files gives ``(N, C)`` float32 features on the CPU. It draws no random
    numbers that anybody else would miss, and leaves the mode of the modules as it was.

    Args:
        backbone: Called without a mask.
        data_preprocessor: Normalizes a batch, see :class:`MIMDataPreprocessor`.
        config: Config of the run; its pipeline says how images are loaded and to which size.
        batch_size: Images at once.
        num_workers: Processes that load images.
    """

    def __init__(
        self,
        backbone: nn.Module,
        data_preprocessor: nn.Module,
        config: Config,
        batch_size: int = 64,
        num_workers: int = 0,
    ) -> None:
        self.backbone, self.data_preprocessor = backbone, data_preprocessor
        self.batch_size, self.num_workers = batch_size, num_workers
        self.config, self.pipeline = config, Compose(loading_steps(config))

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, config: Config | None = None, device: str = 'cpu', **kwargs
    ) -> 'FeatureExtractor':
        """From a checkpoint of a pretraining; nothing that the file holds is executed.

        Args:
            path: The checkpoint.
            config: Instead of the config in the checkpoint.
            **kwargs: ``batch_size``, ``num_workers``.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it carries no config, or weights of the backbone are missing.
        """
        given = config
        config, state = open_run(path, given, _parts)
        with building_from(path, given):
            backbone_cfg = {k: v for k, v in config.model.backbone.items() if k != 'init_cfg'}
            preprocessor = MODELS.build(config.model.data_preprocessor)
            if isinstance(preprocessor, MIMDataPreprocessor):  # as the whole model derives it
                number = len(preprocessor.mean)
                backbone_cfg = MODELS.with_defaults(backbone_cfg, in_channels=number)
            model = nn.ModuleDict(dict(backbone=MODELS.build(backbone_cfg)))
            found = cls(model['backbone'].to(device), preprocessor.to(device), config, **kwargs)
        load_into(model, state, file=str(path), check=LoadReport.require_backbone)
        return found

    def __call__(self, paths: Sequence[str], tick: Callable[[int], None] | None = None) -> Tensor:
        """Features ``(N, C)`` of image files; ``UnreadableImage`` if one cannot be loaded.

        ``tick`` is called after each batch, with the number of images in it.
        """
        features = []
        for batch, failed in self.batches(paths):
            for path, reason in failed.items():
                raise UnreadableImage(path, reason)
            features.append(batch)
            if tick is not None:
                tick(len(batch))
        return torch.cat(features)

    def identity(self) -> list:
        """What its features depend on besides the images: weights, and how they are loaded."""
        model, weights = self.config.model, bytes(fingerprint(self.backbone).tolist()).hex()
        return [weights, model.backbone, model.data_preprocessor, loading_steps(self.config)]

    @torch.no_grad()
    def batches(
        self, paths: Sequence[str], patches: bool = False, start: int = 0
    ) -> Iterator[tuple[Tensor, dict[str, str]]]:
        """Features batch by batch, and the files of the batch that cannot be loaded.

        Args:
            paths: Image files.
            patches: All positions of the map instead of their mean.
            start: Number of files to leave out, at the beginning.

        Yields:
            ``(n, C)`` float32, or ``(n, h, w, C)`` of patches, of those that can; and path to
            reason of the others.
        """
        size, count = self.batch_size, len(paths)
        # Paths travel with their batch: workers that share a list come to hold copies of it.
        batches = (
            [(i, str(paths[i])) for i in range(first, min(first + size, count))]
            for first in range(start, count, size)
        )
        loader = DataLoader(
            _Loading(self.pipeline),
            batch_sampler=batches,  # type: ignore[arg-type]  # an iterator will do
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
        )
        training = self.backbone.training
        self.backbone.eval()
        try:
            with seeded_rng(0):
                for images, failed in loader:
                    features = self._features(images, patches) if len(images) else images
                    yield features, failed
        finally:
            self.backbone.train(training)

    def _features(self, batch: Tensor, patches: bool) -> Tensor:
        inputs = self.data_preprocessor(dict(inputs=batch), False)['inputs']
        features = self.backbone(inputs)[-1].float()
        features = features.permute(0, 2, 3, 1) if patches else features.flatten(2).mean(2)
        return features.cpu()


class _Loading(Dataset):
    """Loads batches of numbered files."""

    def __init__(self, pipeline: Callable) -> None:
        self.pipeline = pipeline

    def __getitems__(self, files: list[tuple[int, str]]) -> tuple[Tensor, dict[str, str]]:
        """Images ``(B, C, H, W)``, and the reasons of those that failed by path."""
        images, failed = [], {}
        for i, path in files:
            try:
                image = self.pipeline(dict(img_path=path, sample_idx=i))['img']
            except UnreadableImage as error:
                failed[path] = error.reason
            else:
                images.append(torch.from_numpy(image).permute(2, 0, 1))
        return torch.stack(images) if images else torch.empty(0), failed


def _as_it_is(batch: T) -> T:
    return batch


def _parts(config: Config) -> list:
    models = [config.model.backbone, config.model.data_preprocessor]
    return [(models, MODELS), (loading_steps(config), TRANSFORMS)]


def loading_steps(config: Config) -> list[dict]:
    """The steps of a run's pipeline that load an image and bring it to the training size."""
    kinds = ('LoadImage', 'Crop', 'Resize')
    return [s for s in evaluation_pipeline(config) if any(kind in s['type'] for kind in kinds)]
