"""From a checkpoint file of other code to one that our tools and mmpretrain load."""

import json
import warnings
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from simmim_mm.checkpoint import (
    CheckpointError,
    LoadReport,
    load_into,
    require_finite,
    write_checkpoint,
)
from simmim_mm.checkpoint.load import choice
from simmim_mm.checkpoint.safe_load import (
    find_state_dict,
    load_weights,
    plain_dict,
    state_dicts,
)
from simmim_mm.interop.family import Family
from simmim_mm.interop.keymap import Conversion
from simmim_mm.interop.registry import convert, detect_family, get_family, unwrap
from simmim_mm.registry import MODELS
from simmim_mm.version import __version__


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    family: str | None = None,
    arguments: dict[str, Any] | None = None,
    overwrite: bool = False,
    entry: str | None = None,
) -> tuple[str, Config, LoadReport]:
    """Convert a checkpoint file, without running anything it carries.

    The written file, complete or none, holds what was loaded, index tables, and the config of the
    model with a pipeline for looking at images. Weights that the source lacks are not made up.

    Args:
        source: The authors' file.
        target: The file to write.
        family: Name of the family; None = by the names of the weights.
        arguments: Constructor arguments of the authors that the file does not tell, by name.
        overwrite: Replace an existing ``target``.
        entry: Which weights, of a file that holds several, such as ``'student'``; None = the
            likeliest (of teacher and student, the teacher). The report says which were taken.

    Returns:
        The family, the config, and the report on all entries.

    Raises:
        CheckpointError: If the source is no checkpoint or unsafe, holds NaN or infinity, the
            encoder is incomplete, or the target exists.
        ValueError: If there is no family of that name, or the architecture is unknown.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise CheckpointError(f'{target} exists: give another name, or --force to replace it')
    checkpoint = load_weights(source)
    state, known, notes = choose_weights(checkpoint, source, family, entry)
    hints = plain_dict(checkpoint.get('config')) | plain_dict(checkpoint.get('args'))
    hints |= stored_arguments(Path(source))
    init_default_scope('simmim_mm')
    try:
        config = _build_config(known, state, hints, arguments or {})
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of layers without weights: none of them fits
            model = MODELS.build(config.model)
        conversion = convert(state, known.name)
    except CheckpointError:
        raise
    except ValueError as error:  # says what is wrong, and not of which file
        raise CheckpointError(f'{source}: {error}') from error
    except _FAILURES as error:
        raise CheckpointError(
            f'{source} does not fit {known.title} ({type(error).__name__}: {error})'
        ) from error
    require_finite(conversion.state_dict, source)
    report = load_converted(model, conversion)
    report.notes = notes
    absent = [*report.missing, *report.mismatched]
    # of a file that was not pretrained with mask tokens, it starts anew
    lost = [n for n in absent if n.startswith('backbone.') and n != 'backbone.mask_token']
    if lost:
        raise CheckpointError(
            f'{source} does not fit {known.title}: {len(lost)} weights of the '
            f'encoder are missing or of another shape, such as {report.with_shapes(lost[0])}'
        )
    weights = {k: v for k, v in model.state_dict().items() if k not in absent}
    meta = dict(cfg=config.pretty_text, converted_from=Path(source).name, family=known.name)
    meta['simmim_mm_version'] = __version__
    write_checkpoint(dict(meta=meta, state_dict=weights), target)
    return known.name, config, report


def choose_weights(
    checkpoint: dict, source: str | Path, family: str | None = None, entry: str | None = None
) -> tuple[dict[str, Tensor], Family, list[str]]:
    """The weights of a loaded checkpoint that a family knows, without what wrappers put around.

    Args:
        checkpoint: Of :func:`~simmim_mm.checkpoint.load_weights`.
        source: The file, for messages.
        family: See :func:`convert_checkpoint`.
        entry: See there.

    Returns:
        Names to tensors; the family; and what was taken off or chosen, a sentence each.

    Raises:
        CheckpointError: If no family knows the names, or there is no such entry.
    """
    found = {}
    for where, tensors in state_dicts(checkpoint).items():
        for prefix, (name, bare) in unwrap(tensors, family).items():
            notes = [f"prefix '{prefix}' taken off {len(bare)} of {len(tensors)} names"]
            label = f'{where}.{prefix}'.strip('.')
            found[label] = bare, get_family(name), notes if prefix else []
    labels = sorted(found, key=lambda label: 'student' in label)
    if entry is not None:
        labels = [label for label in labels if f'{label}.'.startswith(f'{entry}.')]
    if labels:
        state, known, notes = found[labels[0]]
        return state, known, notes + choice(labels)
    if entry is not None:
        raise CheckpointError(
            f'{source} has no weights of a known family under {entry!r}: '
            + (f'choose from {", ".join(found)}' if found else 'it has none at all')
        )
    state = find_state_dict(checkpoint, source)
    try:
        return state, get_family(family or detect_family(state)), []
    except ValueError as error:
        raise CheckpointError(f'{source}: {error}') from None


def load_converted(model: nn.Module, conversion: Conversion) -> LoadReport:
    """Load converted weights into one of our models as they are.

    Nothing is raised for an incomplete file: the report tells.
    """
    report = load_into(model, conversion.state_dict, resize=False)
    report.regenerated, report.left_over = conversion.regenerated, conversion.left_over
    report.listed = None
    return report


_HINTS = dict(
    image_size='img_size',
    num_attention_heads='num_heads',
    decoder_num_attention_heads='decoder_num_heads',
    **{n: n for n in ('num_heads', 'window_size', 'pretrained_window_sizes', 'norm_pix_loss')},
)


def stored_arguments(checkpoint: Path) -> dict:
    """The authors' constructor arguments in a ``config.json`` beside the weights, if there is one.

    So timm and transformers publish what the weights do not tell (heads, windows).
    """
    try:
        config = json.loads((checkpoint.parent / 'config.json').read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    if not isinstance(config, dict):
        return {}
    arguments = {native: config[name] for name, native in _HINTS.items() if name in config}
    timm_size = plain_dict(config.get('pretrained_cfg')).get('input_size')
    if isinstance(timm_size, list) and timm_size:
        arguments['img_size'] = timm_size[-1]
    return {**arguments, **plain_dict(config.get('model_args'))}


# What wrong shapes or arguments of the wrong kind come to, in the arithmetic or in a constructor.
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
)


def _build_config(family: Family, state: dict, hints: dict, arguments: dict) -> Config:
    inferred = family.infer_config(state, {**hints, **arguments})
    known = {**inferred, **inferred.get('encoder', {})}
    if unknown := sorted(set(arguments) - set(known)):
        raise CheckpointError(
            f'{family.title} has no argument {", ".join(unknown)}: choose from '
            f'{", ".join(sorted(set(known) - {"encoder"}))}'
        )
    model = Config(family.model_config(inferred)).to_dict()
    config = dict(
        default_scope='simmim_mm',
        custom_imports=dict(imports=['simmim_mm'], allow_failed_imports=False),
        model=model,
        data_preprocessor=model['data_preprocessor'],
        val_dataloader=dict(dataset=dict(type='ImageDataset', pipeline=_pipeline(model))),
    )
    return Config(config)


def _pipeline(model: dict) -> list[dict]:
    """Steps that show an image to the model under a mask like those it was trained with."""
    size, interpolation = model['backbone'].get('img_size', 224), 'bilinear'
    if model['neck']['type'] == 'TransformerDecoder':
        stride, interpolation = model['neck']['patch_size'], 'bicubic'
        # LSMAE masks blocks of 2 x 2 tokens at 448 pixels
        block = 2 * stride if size // stride >= 28 else stride
        mask = dict(mask_patch_size=block, mask_ratio=0.75, rounding='floor_visible')
    else:
        block = 32 if size % 32 == 0 else model['backbone']['patch_size']
        mask = dict(mask_patch_size=block, mask_ratio=0.6)
    return [
        dict(type='LoadImage'),
        dict(type='ResizeToCover', size=size, interpolation=interpolation),
        dict(type='mmpretrain.CenterCrop', crop_size=size),
        dict(type='RandomBlockMask', **mask),
        dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
    ]
