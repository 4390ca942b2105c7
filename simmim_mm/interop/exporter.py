"""From one of our checkpoint files to a file of another library."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simmim_mm.interop.export import Export, read_source
from simmim_mm.interop.libraries import check_output, snippet, write_export
from simmim_mm.interop.registry import export_backbone
from simmim_mm.interop.verification import Verification
from simmim_mm.interop.verification import verify as verify_export


@dataclass(frozen=True)
class ExportReport:
    """What was written; ``str(report)`` also says how to use it.

    Attributes:
        checkpoint: Where the backbone is from.
        family: Name of our class.
        export: What it is in the other library.
        out: The written file or folder.
        verification: The comparison with the library's own model, if one was asked for.
    """

    checkpoint: Path
    family: str
    export: Export
    out: Path
    verification: Verification | None = None

    @property
    def snippet(self) -> str:
        """What a user of the library writes to have this backbone with these weights."""
        return snippet(self.export, self.out)

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

    Nothing in the checkpoint is executed.

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

    Returns:
        The report; print it to see how the file is used and what starts fresh.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        CheckpointError: If it is none, or carries no config.
        ExportError: If the library cannot hold the backbone, the verification fails, or ``out``
            exists or cannot be written.
    """
    size = None
    if img_size is not None:
        values = [img_size] if isinstance(img_size, int) else list(img_size)
        if not 1 <= len(values) <= 2:
            raise ValueError(f'--img-size takes a height and a width, got {len(values)} numbers')
        size = values[0], values[-1]
    source = read_source(checkpoint)
    export = export_backbone(source, to, window, size)
    check_output(to, out, overwrite)
    outcome = verify_export(export) if verify else None
    write_export(export, out, overwrite)
    return ExportReport(Path(checkpoint), source.family, export, Path(out), outcome)
