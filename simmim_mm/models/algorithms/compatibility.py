from torch import nn


def check_parts(model: nn.Module) -> None:
    """Refuse parts of an algorithm that do not go together, when it is built.

    Sizes, which only show with an image, are checked on the first one by
    :func:`simmim_mm.engine.check_model.check_model`, before a training starts.

    Args:
        model: Has ``backbone``, ``neck``, ``head``, ``target``, ``fill``, ``data_preprocessor``. A
            backbone or neck that does not tell its ``mask_mode``, or a neck that does not tell its
            ``out_channels``, is not checked for them.

    Raises:
        ValueError: Names the parts and what to change.
    """
    backbone, neck, loss = model.backbone, model.neck, model.head.loss_fn
    name, decoder = type(backbone).__name__, type(neck).__name__

    # modes
    mode = getattr(backbone, 'mask_mode', 'token' if hasattr(backbone, 'mask_token') else None)
    wanted = getattr(neck, 'mask_mode', None)
    if model.fill is not None and mode == 'gather':
        raise ValueError(
            f'fill={type(model.fill).__name__} has no effect on {name}, which encodes visible '
            'tokens only and never sees masked pixels: leave it out, or use a backbone in token '
            "mode (mask_mode='token')"
        )
    if mode and wanted and mode != wanted:
        takes = dict(gather='the visible tokens of a backbone in gather mode', token='a whole map')
        raise ValueError(
            f'the decoder {decoder} takes {takes[wanted]}, but {name} is in {mode} mode: use '
            f'{dict(gather="TransformerDecoder", token="PixelShuffleDecoder")[mode]}, or a '
            f'backbone in {wanted} mode'
        )

    # what the target's values are
    kind = loss.target_value_range
    if kind and kind != model.target.value_range:
        hint = " (target=[dict(type='UnitRange')])" if kind == 'unit' else ''
        raise ValueError(
            f'{type(loss).__name__} needs a target of kind {kind!r}, but this one is '
            f'{model.target.value_range!r}: end the list of targets with one that gives {kind!r}{hint}'
        )

    # channels
    channels = model.target.out_channels(len(model.data_preprocessor.mean))
    needed, given = loss.pred_channels(channels), getattr(neck, 'out_channels', None)
    if given is not None and given != needed:
        raise ValueError(
            f'the decoder {decoder} predicts {given} channels, but {type(loss).__name__} on a '
            f'target of {channels} channels needs {needed}: set out_channels={needed} in neck (or '
            "mean and std of data_preprocessor to the images' channels)"
        )


__all__ = ['check_parts']
