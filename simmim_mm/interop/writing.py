"""Files that the libraries read."""

import io
import json
from pathlib import Path

import torch

from simmim_mm.interop.export import Export, ExportError
from simmim_mm.interop.libraries import PREFIX
from simmim_mm.version import __version__

SUFFIXES = ('.pth', '.safetensors')


def check_output(target: str, path: str | Path, overwrite: bool = False) -> None:
    """Refuse a name that will not do, before any work.

    Raises:
        ExportError: If the suffix does not suit the library, or the file exists.
    """
    path = Path(path)
    if target == 'huggingface':
        if path.suffix in SUFFIXES or path.is_file():
            raise ExportError(
                f'{path}: from_pretrained reads a folder (config.json and model.safetensors), give '
                'the name of one'
            )
        exists = [path / name for name in ('config.json', 'model.safetensors')]
    else:
        if path.suffix not in SUFFIXES:
            raise ExportError(f'{path} must end in {" or ".join(SUFFIXES)}')
        exists = [path]
    if path.is_dir() and target != 'huggingface':
        raise ExportError(f'{path} is a folder: give the name of a file')
    if any(p.exists() for p in exists) and not overwrite:
        raise ExportError(f'{path} exists: give another name, or --force to replace it')


def write_export(export: Export, path: str | Path, overwrite: bool = False) -> None:
    """Write the weights, all of them or nothing.

    A ``.pth`` for OpenMMLab has them under ``state_dict``, beside what they are; other files have
    nothing but the weights. For transformers a folder is written.

    Raises:
        ExportError: If the name will not do, the file exists, or it cannot be written.
    """
    path = Path(path)
    check_output(export.target, path, overwrite)
    try:
        if export.target == 'huggingface':
            write_folder(export, path)
        else:
            _put(_file(export, path.suffix), path)
    except OSError as error:
        raise ExportError(f'cannot write {path}: {error.strerror or error}') from None


def write_folder(export: Export, folder: Path) -> None:
    """``config.json`` and ``model.safetensors``, as ``from_pretrained`` reads them."""
    config = dict(export.arguments, architectures=[export.architecture])
    _put(_safetensors(export.state_dict), folder / 'model.safetensors')
    _put((json.dumps(config, indent=2) + '\n').encode(), folder / 'config.json')


def _file(export: Export, suffix: str) -> bytes:
    prefix = PREFIX[export.target]
    state = {prefix + key: tensor.contiguous() for key, tensor in export.state_dict.items()}
    if suffix == '.safetensors':
        return _safetensors(state)
    checkpoint = state
    if export.target != 'timm':  # its users give torch.load's result to load_state_dict
        arguments = repr(export.arguments)
        meta = dict(
            exported_by=f'simmim_mm {__version__}',
            architecture=f'{export.target}.{export.architecture}',
            arguments=arguments,
        )
        checkpoint = dict(meta=meta, state_dict=state)
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def _safetensors(state: dict) -> bytes:
    from safetensors.torch import save

    return save({k: v.clone().contiguous() for k, v in state.items()}, metadata=dict(format='pt'))


def _put(data: bytes, path: Path) -> None:
    from simmim_mm.checkpoint.file_backend import AtomicLocalBackend

    AtomicLocalBackend().put(data, path)
