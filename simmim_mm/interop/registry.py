"""The tables: which code bases are read, and which backbone goes to which library."""

from collections.abc import Callable, Mapping

from torch import Tensor

from simmim_mm.interop import beit, conv_mae, convnets, mae, swin, vit
from simmim_mm.interop.export import Export, ExportError, Source
from simmim_mm.interop.family import Family
from simmim_mm.interop.keymap import Conversion, apply_rules, undo_rules
from simmim_mm.interop.libraries import TARGETS

_SIMMIM = (swin.SIMMIM, swin.SIMMIM_V2, beit.SIMMIM)
# Microsoft and timm; before MAE, whose encoder has the names of a plain ViT.
TIMM = (swin.MICROSOFT, swin.MICROSOFT_V2, swin.TIMM, swin.TIMM_V2, beit.TIMM, vit.TIMM)
_MAE = (mae.FAMILY, conv_mae.FAMILY)
OPENMMLAB = (swin.OPENMMLAB, swin.OPENMMLAB_V2, beit.OPENMMLAB, vit.OPENMMLAB, mae.OPENMMLAB)
_HF_SWIN = (swin.HUGGINGFACE, swin.HUGGINGFACE_V2)
HUGGINGFACE = (*_HF_SWIN, beit.HUGGINGFACE, mae.HUGGINGFACE, vit.DINOV2, vit.HUGGINGFACE)
CONVNETS = (
    *(convnets.TIMM_NEXT, convnets.FACEBOOK_NEXT, convnets.HUGGINGFACE_NEXT),
    *(convnets.TIMM_RESNET, convnets.OPENMMLAB_NEXT, convnets.OPENMMLAB_RESNET),
)
# A state dict belongs to the first that detects it.
_ORDER = (*_SIMMIM, *TIMM, *_MAE, *OPENMMLAB, *HUGGINGFACE, *CONVNETS)
_FAMILIES = {family.name: family for family in _ORDER}

# By backbone, the architecture that another library may not have.
BACKBONES = {
    'MaskedSwin': 'Swin',
    'MaskedSwinV2': 'Swin v2',
    'MaskedViT': 'plain ViT',
    'MaskedBEiT': 'plain ViT',
    'MaskedConvViT': 'ConvMAE encoder',
}
EXPORTS: dict[tuple[str, str], Callable[[Source], Export]] = {
    ('MaskedSwin', 'mmpretrain'): swin.swin_to_mmpretrain,
    ('MaskedSwin', 'mmdet'): swin.swin_to_mmdet,
    ('MaskedSwin', 'mmseg'): swin.swin_to_mmseg,
    ('MaskedSwin', 'timm'): swin.swin_to_timm,
    ('MaskedSwin', 'huggingface'): swin.swin_to_huggingface,
    ('MaskedSwinV2', 'mmpretrain'): swin.swin_v2_to_mmpretrain,
    ('MaskedSwinV2', 'timm'): swin.swin_v2_to_timm,
    ('MaskedSwinV2', 'huggingface'): swin.swin_v2_to_huggingface,
    ('MaskedViT', 'mmpretrain'): vit.vit_to_mmpretrain,
    ('MaskedViT', 'mmseg'): vit.vit_to_mmseg,
    ('MaskedViT', 'timm'): vit.vit_to_timm,
    ('MaskedViT', 'huggingface'): vit.vit_to_huggingface,
    ('MaskedBEiT', 'mmpretrain'): beit.beit_to_mmpretrain,
    ('MaskedBEiT', 'mmseg'): beit.beit_to_mmseg,
    ('MaskedBEiT', 'timm'): beit.beit_to_timm,
    ('MaskedBEiT', 'huggingface'): beit.beit_to_huggingface,
}


def families() -> dict[str, Family]:
    """All families by name; a state dict belongs to the first that detects it."""
    return dict(_FAMILIES)


def get_family(name: str) -> Family:
    """The family of that name, or a ValueError that lists them."""
    if name not in _FAMILIES:
        raise ValueError(f'unknown family {name!r}: choose from {", ".join(_FAMILIES)}')
    return _FAMILIES[name]


def detect_family(state_dict: Mapping[str, Tensor]) -> str:
    """Which family a state dict is of, from its names, or a ValueError that shows some."""
    for family in _FAMILIES.values():
        if family.detect(family.bare(state_dict)):
            return family.name
    raise ValueError(
        'the weights are of no known family of Swin, Swin v2, ViT, BEiT, MAE, ConvMAE, ConvNeXt or '
        'ResNet (`simmim convert --families` lists them); their first names are '
        f'{", ".join(list(state_dict)[:4])}'
    )


def unwrap(state_dict: Mapping[str, Tensor], family: str | None) -> dict[str, tuple[str, dict]]:
    """Take off what wrappers (``module.``, ``teacher.backbone.``) put before a family's names.

    Args:
        state_dict: The weights.
        family: Name of the family; None = any.

    Returns:
        By prefix, the family and the entries under it without the prefix. Several where models of
        the same kind stand beside one another; empty where no prefix of up to three words helps.
    """
    known = list(_FAMILIES.values()) if family is None else [get_family(family)]
    for depth in range(4):
        parts = (key.split('.') for key in state_dict)
        found = {}
        for prefix in dict.fromkeys('.'.join([*p[:depth], '']) for p in parts if len(p) > depth):
            prefix = prefix if depth else ''
            bare = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
            name = next((f.name for f in known if f.detect(f.bare(bare))), None)
            if name is not None:
                found[prefix] = name, bare
        if found:
            return found
    return {}


def model_config(family: str, config: dict) -> dict:
    """Config of our model from the authors' constructor arguments (those of the parity cases)."""
    return get_family(family).model_config(config)


def infer_config(family: str, state_dict: Mapping[str, Tensor], hints: dict | None = None) -> dict:
    """The authors' constructor arguments of a state dict.

    ``hints``, a config or arguments stored beside it or given by hand, come before the shapes.

    Raises:
        ValueError: If they do not tell everything; the message names the argument.
    """
    return get_family(family).infer_config(state_dict, dict(hints or {}))


def convert(state_dict: Mapping[str, Tensor], family: str | None = None) -> Conversion:
    """The authors' weights under our names; the family is detected if not given."""
    found = get_family(family or detect_family(state_dict))
    return apply_rules(found.rules, found.bare(state_dict), found.name)


def revert(state_dict: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """Our weights under the authors' names, the exact inverse of :func:`convert`.

    Attention masks of shifted windows, which we do not store, are left out; their code builds them.
    """
    return undo_rules(get_family(family).rules, state_dict)


def supports(family: str, target: str) -> bool:
    """Whether the library has the architecture of our class."""
    return (family, target) in EXPORTS


def refusal(family: str, target: str) -> str | None:
    """Why no export of our class to the library exists; None if one does."""
    if supports(family, target):
        return None
    known = family in BACKBONES
    return f'{target} has no {BACKBONES[family]}' if known else f'no rule for {family} is written'


def export_backbone(
    source: Source, target: str, window: int | None = None, size: tuple[int, int] | None = None
) -> Export:
    """Bring a backbone to the architecture and the names of another library.

    Args:
        source: The checkpoint's backbone.
        target: One of ``TARGETS``; it need not be installed.
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
    export = EXPORTS[source.family, target](sized)
    if size is not None and export.size != tuple(size):
        raise ExportError(
            f'--img-size {size[0]} {size[1]}: height and width must be multiples of '
            f'{export.backbone.token_stride}, the size of a token'
        )
    if resized := sized.resized(export.backbone):
        number = f' and {len(resized) - 1} more' if len(resized) > 1 else ''
        export.notes.append(f'Resized: {resized[0]}{number}.')
    if source.data:
        statistics = 'mean {mean}, std {std}'.format(**source.data)
        export.notes.append(f'Normalize images as in pretraining: {statistics}, in 0..255, RGB.')
    return export
