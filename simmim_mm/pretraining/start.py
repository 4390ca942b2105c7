"""Weights that a pretraining starts from: ours, or public ones of other code."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.registry import DefaultScope

from simmim_mm.checkpoint import CheckpointError, load_backbone
from simmim_mm.interop import ExportError, Source, convert_checkpoint, read_source
from simmim_mm.registry import MODELS

NATIVE = 'start.pth'
TUNES = ('all', 'last')


class Start(NamedTuple):
    """A backbone with weights.

    Attributes:
        name: The user's file, for messages.
        file: The same weights under our names.
        source: The backbone.
        masked_autoencoder: Whether it was pretrained without mask tokens, as MAE does.
    """

    name: str
    file: Path
    source: Source
    masked_autoencoder: bool

    @property
    def kind(self) -> str:
        """The class of the backbone, such as ``'MaskedSwin'``."""
        return self.source.family

    @property
    def patch(self) -> int | None:
        """Side of a token of a ViT, in pixels; None for others."""
        if self.kind not in ('MaskedViT', 'MaskedBEiT'):
            return None
        return int(self.source.config.get('patch_size', 16))

    def arguments(self, img_size: int, window: int | None) -> dict[str, Any]:
        """Those of the backbone at another image size."""
        sized = self.source
        if self.kind.startswith('MaskedSwin'):
            sized = sized.sized(window, (img_size, img_size))
        elif 'img_size' in sized.config or self.patch:
            sized = sized.sized(size=(img_size, img_size))
        left_out = ('in_channels', 'out_indices', 'pad_small_map')
        kept = {key: value for key, value in sized.config.items() if key not in left_out}
        if 'img_size' in kept:
            kept['img_size'] = img_size
        return dict(type=self.kind, **kept)


def read_start(file: str | Path, folder: str | Path) -> Start:
    """Read weights, convert them where they are of other code.

    Args:
        file: A checkpoint of ours, the authors', timm, transformers or OpenMMLab.
        folder: Takes the converted file.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is of no known architecture.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f'--from: no file {file}')
    with suppress(CheckpointError, ExportError):
        source = read_source(file)
        return Start(str(file), Path(file).absolute(), source, False)
    native = Path(folder) / NATIVE
    family, _, _ = convert_checkpoint(file, native, overwrite=True)
    return Start(str(file), native, read_source(native), 'mae' in family)


def check_start(start: Start, backbone: dict[str, Any], channels: int) -> None:
    """Load the weights into the backbone that is planned.

    Raises:
        CheckpointError: If they are of another architecture; one line.
    """
    planned = str(backbone['type'])
    if planned != start.kind:
        raise CheckpointError(
            f'{start.name} holds a {start.kind}, and the backbone asked for is a {planned}: leave '
            '--backbone out, or give weights of that architecture'
        )
    with DefaultScope.overwrite_default_scope('simmim_mm'):
        model = MODELS.build(dict(backbone, in_channels=channels))
    load_backbone(model, start.file, 'backbone.')


def frozen_stages(backbone: dict[str, Any]) -> int:
    """``frozen_stages`` so that the last quarter of a backbone is trained."""
    with DefaultScope.overwrite_default_scope('simmim_mm'):
        model: Any = MODELS.build(backbone)
    kind = backbone['type']
    if kind in ('MaskedViT', 'MaskedBEiT'):
        return len(model.layers) - max(1, len(model.layers) // 4)
    if kind.startswith('MaskedSwin'):
        return len(model.stages) - 2  # counted from 0
    return model.num_stages - 1
