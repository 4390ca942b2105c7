"""From a checkpoint file of other code to one that our tools and mmpretrain load."""

import io
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from simmim_mm.checkpoint.safe_load import (
    CheckpointError,
    find_state_dict,
    load_weights,
    plain_dict,
)
from simmim_mm.interop.families import (
    convert,
    detect_family,
    get_family,
    infer_config,
    model_config,
)
from simmim_mm.interop.huggingface import stored_arguments
from simmim_mm.interop.load import LoadReport, load_converted
from simmim_mm.registry import MODELS
from simmim_mm.version import __version__


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    family: str | None = None,
    arguments: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> tuple[str, Config, LoadReport]:
    """Convert a checkpoint file.

    The written file holds what was loaded, index tables, and the config of the model with a
    pipeline for looking at images. Weights that the source lacks (a file without decoder) are not
    made up.

    Args:
        source: The authors' file; read without running anything it carries.
        target: The file to write; appears complete or not at all.
        family: Name of the family; None = by the names of the weights.
        arguments: Constructor arguments of the authors that the file does not tell, by name.
        overwrite: Replace an existing ``target``.

    Returns:
        The family, the config, and the account of all entries.

    Raises:
        CheckpointError: If the source is no checkpoint or unsafe, the encoder is incomplete, or the
            target exists.
        ValueError: If the family is unknown or the architecture cannot be told.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise CheckpointError(f'{target} exists: give another name, or --force to replace it')
    checkpoint = load_weights(source)
    state = find_state_dict(checkpoint, source)
    family = get_family(family).name if family else detect_family(state)
    hints = {
        **plain_dict(checkpoint.get('config')),
        **plain_dict(checkpoint.get('args')),
        **stored_arguments(Path(source)),
    }
    init_default_scope('simmim_mm')
    try:
        config = _build_config(family, state, hints, arguments or {})
        model = MODELS.build(config.model)
        conversion = convert(state, family)
    except _FAILURES as error:
        raise CheckpointError(
            f'{source} does not fit {get_family(family).title} ({type(error).__name__}: {error})'
        ) from error
    report = load_converted(model, conversion)
    absent = [n for n in (*report.missing, *report.mismatched) if n.startswith('backbone.')]
    # of a file that was not pretrained with mask tokens, it starts anew
    absent = [n for n in absent if n != 'backbone.mask_token']
    if absent:
        raise CheckpointError(
            f'{source} does not fit {get_family(family).title}: {len(absent)} weights of the '
            f'encoder are missing or of another shape, such as {absent[0]}'
        )

    absent = {*report.missing, *(line.split(':')[0] for line in report.mismatched)}
    weights = {k: v for k, v in model.state_dict().items() if k not in absent}
    meta = dict(
        cfg=config.pretty_text,
        converted_from=Path(source).name,
        family=family,
        simmim_mm_version=__version__,
    )
    _save(dict(meta=meta, state_dict=weights), target)
    return family, config, report


# What wrong shapes or arguments of the wrong kind come to, in the arithmetic or in a constructor.
_FAILURES = (AssertionError, IndexError, KeyError, RuntimeError, TypeError, ZeroDivisionError)


def _build_config(family: str, state: dict, hints: dict, arguments: dict) -> Config:
    inferred = infer_config(family, state, {**hints, **arguments})
    known = {**inferred, **inferred.get('encoder', {})}
    if unknown := sorted(set(arguments) - set(known)):
        raise CheckpointError(
            f'{get_family(family).title} has no argument {", ".join(unknown)}: choose from '
            f'{", ".join(sorted(set(known) - {"encoder"}))}'
        )
    model = model_config(family, inferred)
    model = Config(model).to_dict()
    return Config(
        dict(
            default_scope='simmim_mm',
            custom_imports=dict(imports=['simmim_mm'], allow_failed_imports=False),
            model=model,
            data_preprocessor=model['data_preprocessor'],
            val_dataloader=dict(dataset=dict(type='ImageDataset', pipeline=_pipeline(model))),
        )
    )


def _pipeline(model: dict) -> list[dict]:
    """Steps that show an image to the model under a mask like those it was trained with."""
    backbone, size = model['backbone'], model['backbone']['img_size']
    if model['neck']['type'] == 'TransformerDecoder':
        stride = model['neck']['patch_size']
        # LSMAE masks blocks of 2 x 2 tokens at 448 pixels
        block = 2 * stride if size // stride >= 28 else stride
        mask = dict(mask_patch_size=block, mask_ratio=0.75, rounding='floor_visible')
    else:
        stride = backbone['patch_size']
        mask = dict(mask_patch_size=32 if size % 32 == 0 else stride, mask_ratio=0.6)
    interpolation = 'bicubic' if 'rounding' in mask else 'bilinear'
    return [
        dict(type='LoadImage'),
        dict(type='ResizeToCover', size=size, interpolation=interpolation),
        dict(type='mmpretrain.CenterCrop', crop_size=size),
        dict(type='RandomBlockMask', token_stride=stride, **mask),
        dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
    ]


def _save(checkpoint: dict, target: Path) -> None:
    from simmim_mm.checkpoint.file_backend import AtomicLocalBackend

    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    AtomicLocalBackend().put(buffer.getbuffer(), target)
