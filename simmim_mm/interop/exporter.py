"""From a checkpoint file of ours to a file of another library, which must compute the same."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from simmim_mm.interop import libraries
from simmim_mm.interop.export import BUILT, Export, ExportError, read_source
from simmim_mm.interop.registry import export_backbone

TOLERANCE = 1e-4  # absolute


@dataclass(frozen=True)
class Verification:
    """Outcome of a comparison that succeeded."""

    difference: float  # the largest absolute one of any feature
    maps: list[tuple[int, ...]]  # shapes of the compared maps
    fresh: dict[str, str]  # names that the file does not have, to the reason


def verify(export: Export) -> Verification:
    """Load the weights into the library's own model, strictly, and compare features.

    Only names that ``export.fresh`` lists may be missing. Both models see the same two images of
    random numbers, in double precision.

    Raises:
        ExportError: If the library is not installed, names are missing or unknown, or a feature
            differs by more than ``TOLERANCE``.
    """
    model, missing, unexpected = libraries.load(export)
    starts = export.fresh.items()
    fresh = {name: why for name in missing for glob, why in starts if fnmatchcase(name, glob)}
    missing = [name for name in missing if name not in fresh]
    for what, names in (('misses', missing), ('does not know', unexpected)):
        names = [name for name in names if not BUILT.fullmatch(name)]
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
        other = libraries.features(export, model.double(), images)
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


_verify = verify  # an argument of export_checkpoint hides it


@dataclass(frozen=True)
class ExportReport:
    """What was written to ``out``; ``str(report)`` also says how to use it."""

    checkpoint: Path
    family: str
    export: Export
    out: Path
    verification: Verification | None = None

    @property
    def snippet(self) -> str:
        """See :meth:`~simmim_mm.interop.libraries.Library.snippet`."""
        return libraries.snippet(self.export, self.out)

    def __str__(self) -> str:
        export, (height, width) = self.export, self.export.size
        lines = [f'{self.checkpoint}: {self.family}, for images of {height}x{width} pixels']
        if self.verification:
            maps = ', '.join('x'.join(map(str, shape[1:])) for shape in self.verification.maps)
            lines.append(
                f"verified: {export.target}'s own {export.architecture} gives the same features "
                f'({maps}), largest difference {self.verification.difference:.1e}'
            )
        lines.append(f'wrote {self.out}\n\n{self.snippet}\n')
        for reason in dict.fromkeys(export.fresh.values()):
            names = [name for name, why in export.fresh.items() if why == reason]
            lines.append(f'- Starts fresh: {", ".join(names)}: {reason}.')
        lines += [f'- {note}' for note in export.notes]
        if export.target.startswith('mm') and self.out.suffix == '.safetensors':
            lines.append("- mmengine's init_cfg reads .pth only: load this file by other means.")
        return '\n'.join(lines)


def given_size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Height and width of what ``--img-size`` gives."""
    sizes = [] if size is None else [size] if isinstance(size, int) else list(size)
    if len(sizes) > 2:
        raise ValueError(f'--img-size takes a height and a width, got {len(sizes)} numbers')
    return (sizes[0], sizes[-1]) if sizes else None


def export_checkpoint(
    checkpoint: str | Path,
    to: str,
    out: str | Path,
    window: int | None = None,
    img_size: int | Sequence[int] | None = None,
    verify: bool = False,
    overwrite: bool = False,
) -> ExportReport:
    """Write the backbone of a checkpoint in another library's own architecture and names.

    Print the report to see how the file is used and what starts fresh.

    Args:
        checkpoint: Written by training or by :func:`~simmim_mm.interop.convert_checkpoint`.
        to: The library, one of ``TARGETS``; it need not be installed, unless ``verify`` is set.
        out: A ``.pth`` or ``.safetensors`` file; for transformers (``'huggingface'``) a folder.
        window: Side of Swin's windows in tokens; None = as pretrained.
        img_size: Height and width in pixels, or one number for a square; None = as pretrained.
            Position biases and embeddings are resized.
        verify: Build the library's own model, load strictly, and compare features, see
            :func:`~simmim_mm.interop.verify`; nothing is written if they differ.
        overwrite: Replace what is there.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        CheckpointError: If it is none, or carries no config.
        ExportError: If the library cannot hold the backbone, the verification fails, or ``out``
            exists or cannot be written.
    """
    size = given_size(img_size)
    source = read_source(checkpoint)
    export = export_backbone(source, to, window, size)
    libraries.check_output(to, out, overwrite)
    outcome = _verify(export) if verify else None
    libraries.write_export(export, out, overwrite)
    return ExportReport(Path(checkpoint), source.family, export, Path(out), outcome)
