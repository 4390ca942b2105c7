"""Whether another library's own model computes what our backbone computes."""

import re
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from simmim_mm.interop.export import Export, ExportError
from simmim_mm.interop.libraries import features, load

TOLERANCE = 1e-4  # absolute
# Libraries make these anew.
_BUILT = re.compile(r'(.*\.)?(relative_position_index|relative_coords_table|attn_mask)')


@dataclass(frozen=True)
class Verification:
    """Outcome of a comparison that succeeded.

    Attributes:
        difference: Largest absolute difference of any feature.
        maps: Shapes of the compared maps.
        fresh: Names that the file does not have and that start fresh, to the reason.
    """

    difference: float
    maps: list[tuple[int, ...]]
    fresh: dict[str, str]


def verify(export: Export) -> Verification:
    """Load the weights into the library's own model, strictly, and compare features.

    Only names that ``export.fresh`` lists may be missing. Both models see the same two images of
    random numbers, in double precision.

    Raises:
        ExportError: If the library is not installed, names are missing or unknown, or a feature
            differs by more than ``TOLERANCE``.
    """
    model, missing, unexpected = load(export)
    fresh, lost = {}, []
    for name in missing:
        reasons = [r for pattern, r in export.fresh.items() if fnmatchcase(name, pattern)]
        if reasons:
            fresh[name] = reasons[0]
        elif not _BUILT.fullmatch(name):
            lost.append(name)
    unexpected = [name for name in unexpected if not _BUILT.fullmatch(name)]
    for what, names in (('misses', lost), ('does not know', unexpected)):
        if names:
            raise ExportError(
                f"{export.target}'s {export.architecture} {what} {len(names)} of the names, such "
                f'as {names[0]}: nothing is written'
            )

    channels = export.backbone.patch_embed.projection.in_channels
    images = torch.randn(2, channels, *export.size, generator=torch.Generator().manual_seed(0))
    images = images.double()  # outputs before the last norm may be large, and so their rounding
    with torch.inference_mode():
        native = list(deepcopy(export.backbone).double()(images))
        other = features(export, model.double(), images)
    shapes = [[tuple(x.shape) for x in maps] for maps in (native, other)]
    if shapes[0] != shapes[1]:
        raise ExportError(f'features are {shapes[1]} in {export.target}, {shapes[0]} here')
    difference = max((a - b).abs().max().item() for a, b in zip(native, other))
    if not difference <= TOLERANCE:  # also of NaN
        raise ExportError(
            f"features of {export.target}'s {export.architecture} differ by {difference:.1e} from "
            f'ours, more than {TOLERANCE:.0e}: nothing is written'
        )
    return Verification(difference, shapes[0], fresh)
