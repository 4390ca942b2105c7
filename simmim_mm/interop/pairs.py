"""Which backbone goes to which library, and why the others do not."""

from collections.abc import Callable

from simmim_mm.interop import to_huggingface, to_mmdet, to_mmpretrain, to_mmseg, to_timm
from simmim_mm.interop.export import Export, ExportError
from simmim_mm.interop.source import Source

TARGETS = ('mmpretrain', 'mmdet', 'mmseg', 'timm', 'huggingface')
FAMILIES = ('MaskedSwin', 'MaskedSwinV2', 'MaskedViT', 'MaskedBEiT', 'MaskedConvViT')

_PAIRS: dict[tuple[str, str], Callable[[Source], Export]] = {
    ('MaskedSwin', 'mmpretrain'): to_mmpretrain.swin,
    ('MaskedSwin', 'mmdet'): to_mmdet.swin,
    ('MaskedSwin', 'mmseg'): to_mmseg.swin,
    ('MaskedSwin', 'timm'): to_timm.swin,
    ('MaskedSwin', 'huggingface'): to_huggingface.swin,
    ('MaskedSwinV2', 'mmpretrain'): to_mmpretrain.swin_v2,
    ('MaskedSwinV2', 'timm'): to_timm.swin_v2,
    ('MaskedSwinV2', 'huggingface'): to_huggingface.swin_v2,
    ('MaskedViT', 'mmpretrain'): to_mmpretrain.vit,
    ('MaskedViT', 'mmseg'): to_mmseg.vit,
    ('MaskedViT', 'timm'): to_timm.vit,
    ('MaskedViT', 'huggingface'): to_huggingface.vit,
    ('MaskedBEiT', 'mmpretrain'): to_mmpretrain.beit,
    ('MaskedBEiT', 'mmseg'): to_mmseg.beit,
    ('MaskedBEiT', 'timm'): to_timm.beit,
    ('MaskedBEiT', 'huggingface'): to_huggingface.beit,
}
_ABSENT = {
    ('MaskedSwinV2', 'mmdet'): 'mmdet has no Swin v2',
    ('MaskedSwinV2', 'mmseg'): 'mmseg has no Swin v2',
    ('MaskedViT', 'mmdet'): 'mmdet has no plain ViT',
    ('MaskedBEiT', 'mmdet'): 'mmdet has no plain ViT',
}


def refusal(family: str, target: str) -> str | None:
    """Why no export of the family to the library exists; None if one does."""
    if (family, target) in _PAIRS:
        return None
    if family == 'MaskedConvViT':
        return f'{target} has no ConvMAE encoder'
    return _ABSENT.get((family, target), f'no rule for {family} is written')


def supports(family: str, target: str) -> bool:
    """Whether the library has the architecture of our class."""
    return (family, target) in _PAIRS


def export_backbone(
    source: Source,
    target: str,
    window: int | None = None,
    size: tuple[int, int] | None = None,
) -> Export:
    """Bring a backbone to the architecture and the names of another library.

    The library need not be installed.

    Args:
        source: The checkpoint's backbone.
        target: One of ``TARGETS``.
        window: Side of the windows in tokens, for Swin; None = as trained.
        size: Image height and width in pixels; None = as trained.

    Raises:
        ExportError: If the library cannot hold it; the message says why and what to do instead.
    """
    if target not in TARGETS:
        raise ExportError(f'--to must be one of {", ".join(TARGETS)}, got {target!r}')
    if reason := refusal(source.family, target):
        elsewhere = [name for name in TARGETS if supports(source.family, name)]
        other = f', or export to {", ".join(elsewhere)}' if elsewhere else ''
        raise ExportError(
            f"{source.family} does not go to {target}: {reason}. Use ours, type='simmim_mm."
            f"{source.family}' with custom_imports=dict(imports=['simmim_mm']), in an mmpretrain, "
            f'mmdet or mmseg config{other}'
        )
    sized = source.sized(window, size)
    export = _PAIRS[source.family, target](sized)
    if size is not None and export.size != tuple(size):
        raise ExportError(
            f'--img-size {size[0]} {size[1]}: height and width must be multiples of '
            f'{export.ours.token_stride}, the size of a token'
        )
    if resized := sized.resized(export.ours):
        number = f' and {len(resized) - 1} more' if len(resized) > 1 else ''
        export.notes.append(f'Resized: {resized[0]}{number}.')
    if source.data:
        mean, std = source.data['mean'], source.data['std']
        export.notes.append(
            f'Normalize images as in pretraining: mean {mean}, std {std}, in 0..255, RGB.'
        )
    return export
