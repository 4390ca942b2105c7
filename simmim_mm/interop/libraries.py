"""The libraries that backbones go to: how each builds, names, writes and is used.

A new one is a :class:`Library` in :data:`LIBRARIES`, and a function for each architecture that it
has (:mod:`simmim_mm.interop.registry`).
"""

import importlib
import json
import sys
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope
from torch import Tensor, nn

from simmim_mm.checkpoint import AtomicLocalBackend, write_checkpoint
from simmim_mm.checkpoint.file_backend import remove_stale_files
from simmim_mm.interop.export import Export, ExportError
from simmim_mm.version import __version__

SUFFIXES = ('.pth', '.safetensors')
# A model in evaluation mode, the names that it misses, and those that it does not know.
Loaded = tuple[nn.Module, list[str], list[str]]


@dataclass(frozen=True)
class Library(ABC):
    """What is peculiar to a library."""

    name: str  # as in --to
    module: str  # to import, so that its models are known
    prefix: str = ''  # before the names in its files, as its loader expects it

    @abstractmethod
    def load(self, export: Export) -> Loaded:
        """Build the library's own model and load the weights, or raise an ExportError."""

    @abstractmethod
    def features(self, export: Export, model: Any, x: Tensor) -> list[Tensor]:
        """The maps ``(B, C, h, w)`` that its model makes of ``(B, C, H, W)`` images."""

    @abstractmethod
    def snippet(self, export: Export, path: Path) -> str:
        """What its user writes to have this backbone with these weights."""

    def imported(self) -> Any:
        """The library's module."""
        try:
            return importlib.import_module(self.module)
        except ImportError as error:
            library = self.module.split('.')[0]
            raise ExportError(
                f"--verify builds {library}'s own model, but {library} does not import ({error}): "
                'install it, or export without --verify'
            ) from None

    def files(self, path: Path) -> list[Path]:
        """The files that are written; refuses a name that will not do."""
        if path.suffix not in SUFFIXES:
            raise ExportError(f'{path} must end in {" or ".join(SUFFIXES)}')
        if path.is_dir():
            raise ExportError(f'{path} is a folder: give the name of a file')
        return [path]

    def write(self, export: Export, path: Path) -> None:
        """Write the weights and what ``contents`` adds."""
        state = {f'{self.prefix}{k}': v.contiguous() for k, v in export.state_dict.items()}
        if path.suffix == '.safetensors':
            _write_safetensors(state, path)
        else:
            write_checkpoint(self.contents(export, state), path)

    def contents(self, export: Export, state: dict) -> dict:
        """What a ``.pth`` holds."""
        return state


class _OpenMMLab(Library):
    def load(self, export: Export) -> Loaded:
        self.imported()
        registry = importlib.import_module(f'{self.name}.registry').MODELS
        with DefaultScope.overwrite_default_scope(self.name):
            model = registry.build(dict(export.arguments, type=export.architecture))
        return _fill(export, model)

    def features(self, export: Export, model: Any, x: Tensor) -> list[Tensor]:
        return list(model(x))

    def snippet(self, export: Export, path: Path) -> str:
        init = dict(type='Pretrained', checkpoint=str(path))
        if self.name == 'mmpretrain':
            init['prefix'] = self.prefix
        arguments = dict(type=export.architecture, **export.arguments, init_cfg=init)
        return f'backbone=dict(\n{_lines(arguments)})'

    def contents(self, export: Export, state: dict) -> dict:
        meta = dict(
            exported_by=f'simmim_mm {__version__}',
            architecture=f'{self.name}.{export.architecture}',
            arguments=repr(export.arguments),
        )
        return dict(meta=meta, state_dict=state)


class _Timm(Library):
    def load(self, export: Export) -> Loaded:
        return _fill(export, self.imported().create_model(export.architecture, **export.arguments))

    def features(self, export: Export, model: Any, x: Tensor) -> list[Tensor]:
        return [_last_map(export, model.forward_features(x))]

    def snippet(self, export: Export, path: Path) -> str:
        arguments = dict(export.arguments, checkpoint_path=str(path))
        return f'model = timm.create_model(\n    {export.architecture!r},\n{_lines(arguments)})'


class _Transformers(Library):
    """Reads a folder, with ``from_pretrained``."""

    def load(self, export: Export) -> Loaded:
        # beside the environment, where `make setup` puts it: mmpretrain does not import next to it
        beside = str(Path(sys.prefix) / 'transformers')
        if beside not in sys.path:
            sys.path.append(beside)
        transformers = self.imported()
        logging = transformers.utils.logging
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # what it would warn of is returned
        logging.disable_progress_bar()
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.write(export, Path(folder))
                model, info = getattr(transformers, export.architecture).from_pretrained(
                    folder, output_loading_info=True, ignore_mismatched_sizes=True
                )
        finally:
            logging.set_verbosity(level)
            logging.enable_progress_bar()
        if info['mismatched_keys']:
            name = sorted(map(str, info['mismatched_keys']))[0]
            raise ExportError(f"the weights do not fit transformers' own model: {name}")
        return model.eval(), sorted(info['missing_keys']), sorted(info['unexpected_keys'])

    def features(self, export: Export, model: Any, x: Tensor) -> list[Tensor]:
        return [_last_map(export, model(pixel_values=x).last_hidden_state)]

    def snippet(self, export: Export, path: Path) -> str:
        return f'model = transformers.{export.architecture}.from_pretrained({str(path)!r})'

    def files(self, path: Path) -> list[Path]:
        if path.suffix in SUFFIXES or path.is_file():
            raise ExportError(
                f'{path}: from_pretrained reads a folder (config.json and model.safetensors), give '
                'the name of one'
            )
        return [path / 'config.json', path / 'model.safetensors']

    def write(self, export: Export, path: Path) -> None:
        config = dict(export.arguments, architectures=[export.architecture])
        config_file, weights_file = self.files(path)
        _write_safetensors(export.state_dict, weights_file)
        AtomicLocalBackend().put_text(json.dumps(config, indent=2) + '\n', config_file)


_ALL = (
    _OpenMMLab('mmpretrain', 'mmpretrain.models', prefix='backbone.'),
    _OpenMMLab('mmdet', 'mmdet.models', prefix='backbone.'),
    _OpenMMLab('mmseg', 'mmseg.models'),
    _Timm('timm', 'timm'),
    _Transformers('huggingface', 'transformers'),
)
LIBRARIES: dict[str, Library] = {library.name: library for library in _ALL}
TARGETS = tuple(LIBRARIES)
PREFIX = {name: library.prefix for name, library in LIBRARIES.items()}


def load(export: Export) -> Loaded:
    """See :meth:`Library.load`."""
    return LIBRARIES[export.target].load(export)


def features(export: Export, model: nn.Module, x: Tensor) -> list[Tensor]:
    """See :meth:`Library.features`."""
    return LIBRARIES[export.target].features(export, model, x)


def snippet(export: Export, path: Path) -> str:
    """See :meth:`Library.snippet`."""
    return LIBRARIES[export.target].snippet(export, path)


def check_output(target: str, path: str | Path, overwrite: bool = False) -> None:
    """Raise an ExportError at a name that does not suit the library, or a file that exists."""
    if any(file.exists() for file in LIBRARIES[target].files(Path(path))) and not overwrite:
        raise ExportError(f'{path} exists: give another name, or --force to replace it')


def write_export(export: Export, path: str | Path, overwrite: bool = False) -> None:
    """Write the weights, all of them or nothing; for OpenMMLab beside what they are.

    Raises:
        ExportError: If the name will not do, the file exists, or it cannot be written.
    """
    check_output(export.target, path, overwrite)
    remove_stale_files(Path(path).parent, Path(path).name)
    try:
        LIBRARIES[export.target].write(export, Path(path))
    except OSError as error:
        raise ExportError(f'cannot write {path}: {error.strerror or error}') from None


def _fill(export: Export, model: nn.Module) -> Loaded:
    try:
        loaded = model.load_state_dict(dict(export.state_dict), strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ExportError(f"the weights do not fit {export.target}'s own model: {reason}") from None
    model.eval()  # mmpretrain's forgets to return the module
    return model, list(loaded.missing_keys), list(loaded.unexpected_keys)


def _last_map(export: Export, out: Tensor) -> Tensor:
    if out.ndim == 4:  # timm's Swin: (B, h, w, C)
        return out.permute(0, 3, 1, 2)
    h, w = export.backbone.patch_resolution
    for _ in getattr(export.backbone, 'stages', ())[1:]:
        h, w = (h + 1) // 2, (w + 1) // 2
    return out[:, -h * w :].transpose(1, 2).unflatten(2, (h, w))  # without class token


def _write_safetensors(state: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save

    state = {k: v.clone().contiguous() for k, v in state.items()}
    AtomicLocalBackend().put(save(state, metadata=dict(format='pt')), path)


def _lines(arguments: dict[str, Any]) -> str:
    return ''.join(f'    {key}={_literal(value)},\n' for key, value in arguments.items())


def _literal(value: Any) -> str:
    if isinstance(value, dict) and all(str(key).isidentifier() for key in value):
        return f'dict({", ".join(f"{k}={_literal(v)}" for k, v in value.items())})'
    if isinstance(value, list):
        return f'[{", ".join(map(_literal, value))}]'
    return repr(value)
