"""Building the libraries' own models, and how their users write them."""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope
from torch import Tensor, nn

from simmim_mm.interop.export import Export, ExportError

# Entries before the names of the architecture, as each library's loader expects them.
PREFIX = dict(mmpretrain='backbone.', mmdet='backbone.', mmseg='', timm='', huggingface='')
_MODULES = dict(
    mmpretrain='mmpretrain.models',
    mmdet='mmdet.models',
    mmseg='mmseg.models',
    timm='timm',
    huggingface='transformers',
)


def load(export: Export) -> tuple[nn.Module, list[str], list[str]]:
    """Build the library's model and load the weights.

    Returns:
        The model in evaluation mode, the names that it misses, and those that it does not know.

    Raises:
        ExportError: If the library is not installed, or a weight has another shape.
    """
    module = _import(export.target)
    if export.target == 'huggingface':
        return _from_pretrained(module, export)
    if export.target == 'timm':
        model = module.create_model(export.architecture, **export.arguments)
    else:
        registry = importlib.import_module(f'{export.target}.registry').MODELS
        with DefaultScope.overwrite_default_scope(export.target):
            model = registry.build(dict(export.arguments, type=export.architecture))
    try:
        loaded = model.load_state_dict(dict(export.state_dict), strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ExportError(f"the weights do not fit {export.target}'s own model: {reason}") from None
    model.eval()  # mmpretrain's forgets to return the module
    return model, list(loaded.missing_keys), list(loaded.unexpected_keys)


def features(export: Export, model: nn.Module, x: Tensor) -> list[Tensor]:
    """The maps ``(B, C, h, w)`` that the library's model makes of ``(B, C, H, W)`` images."""
    if export.target not in ('timm', 'huggingface'):
        return list(model(x))
    if export.target == 'timm':
        out = model.forward_features(x)
    else:
        out = model(pixel_values=x).last_hidden_state
    if out.ndim == 4:  # timm's Swin: (B, h, w, C)
        return [out.permute(0, 3, 1, 2)]
    grid = tuple(n // export.ours.token_stride for n in export.size)
    if hasattr(export.ours, 'stages'):
        for _ in export.ours.stages[1:]:
            grid = tuple((n + 1) // 2 for n in grid)
    tokens = out[:, -grid[0] * grid[1] :]  # without class token
    return [tokens.transpose(1, 2).unflatten(2, grid)]


def snippet(export: Export, path: Path) -> str:
    """What the library's user writes to have this backbone with these weights."""
    if export.target == 'timm':
        arguments = dict(export.arguments, checkpoint_path=str(path))
        return f'model = timm.create_model(\n    {export.architecture!r},\n{_lines(arguments, 4)})'
    if export.target == 'huggingface':
        return f'model = transformers.{export.architecture}.from_pretrained({str(path)!r})'
    init = dict(type='Pretrained', checkpoint=str(path))
    if export.target == 'mmpretrain':
        init['prefix'] = PREFIX['mmpretrain']
    arguments = dict(type=export.architecture, **export.arguments)
    return f'backbone=dict(\n{_lines(dict(arguments, init_cfg=init), 4)})'


def _lines(arguments: dict[str, Any], indent: int) -> str:
    return ''.join(f'{" " * indent}{key}={_literal(v)},\n' for key, v in arguments.items())


def _literal(value: Any) -> str:
    if isinstance(value, dict) and all(str(key).isidentifier() for key in value):
        return f'dict({", ".join(f"{k}={_literal(v)}" for k, v in value.items())})'
    if isinstance(value, list):
        return f'[{", ".join(map(_literal, value))}]'
    return repr(value)


def _import(target: str) -> Any:
    name = _MODULES[target]
    # beside the environment, where `make setup` puts it: mmpretrain does not import next to it
    beside = str(Path(sys.prefix) / 'transformers')
    if target == 'huggingface' and beside not in sys.path:
        sys.path.append(beside)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = name.split('.')[0]
        raise ExportError(
            f"--verify builds {library}'s own model, but {library} does not import ({error}): "
            'install it, or export without --verify'
        ) from None


def _from_pretrained(transformers: Any, export: Export) -> tuple[nn.Module, list[str], list[str]]:
    from simmim_mm.interop.writing import write_folder

    with tempfile.TemporaryDirectory() as folder:
        write_folder(export, Path(folder))
        architecture = getattr(transformers, export.architecture)
        logging = transformers.utils.logging
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # what it would warn of is returned
        logging.disable_progress_bar()
        try:
            model, info = architecture.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True
            )
        finally:
            logging.set_verbosity(level)
            logging.enable_progress_bar()
    if info['mismatched_keys']:
        name = sorted(map(str, info['mismatched_keys']))[0]
        raise ExportError(f"the weights do not fit transformers' own model: {name}")
    return model.eval(), sorted(info['missing_keys']), sorted(info['unexpected_keys'])
