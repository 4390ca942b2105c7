"""A plan as an ordinary config: short, and for its user to edit."""

from simmim_mm.catalog import configs_folder
from simmim_mm.pretraining.plan import Plan


def config_text(plan: Plan, work_dir: str, weights: str | None = None) -> str:
    """Python source of a config, on the base configs of the package.

    Args:
        plan: What it says.
        work_dir: Of the training.
        weights: File that the backbone starts from.
    """
    transformer = _is_gathering(plan)
    bases = [
        'datasets/folder.py',
        f'models/{"mae_vit-base" if transformer else "simmim_swin-base"}.py',
        f'schedules/{"mae_300e" if transformer else "simmim_100e"}.py',
        *(['pixmim.py'] if plan.method == 'pixmim' else []),
        'default_runtime.py',
    ]
    folder = configs_folder() / '_base_'
    lines = [
        f'# {plan.method} with {plan.backbone}, chosen by `simmim pretrain`. Edit it and run',
        f'#   simmim train {work_dir}/pretrain.py',
        '_base_ = [',
        *(f'    {str(folder / base)!r},' for base in bases),
        ']',
        '',
        f'data_root = {plan.facts.folder!r}',
        f'work_dir = {work_dir!r}',
        f'img_size = {plan.img_size}',
        f'lr = {plan.lr!r}',
        *_length(plan),
        '',
        f'load = dict(_base_.load, channels={plan.facts.channels!r})',
        *_views(plan, transformer),
        f'mean = [{", ".join(f"{x:.6g}" for x in plan.facts.mean)}]',
        f'std = [{", ".join(f"{x:.6g}" for x in plan.facts.std)}]',
        *_model(plan, transformer, weights),
        'train_dataloader = dict(',
        f'    batch_size={plan.micro_batch},',
        f'    num_workers={plan.workers},',
        '    dataset=dict(',
        '        data_root=data_root, pipeline=[load, crop, _base_.flip, mask, _base_.pack]',
        '    ),',
        ')',
        'optim_wrapper = dict(',
        f"    type='{'AmpOptimWrapper' if plan.amp else 'OptimWrapper'}',",
        '    optimizer=dict(lr=lr),',
        f'    accumulative_counts={plan.accumulate},',
        ')',
        f'randomness = dict(seed={plan.seed})',
    ]
    return '\n'.join(lines) + '\n'


def _length(plan: Plan) -> list[str]:
    if plan.epochs is not None:
        return [f'epochs = {plan.epochs}', *_by_epoch(plan)]
    return [f'iters = {plan.iters}', *_by_iter(plan)]


def _by_epoch(plan: Plan) -> list[str]:
    epochs = plan.epochs or 1
    if epochs == 1:
        schedule = ['param_scheduler = [dict(_base_.cosine, T_max=1, begin=0, end=1)]']
    else:
        warmup = max(1, epochs // 10)
        period = '' if _is_gathering(plan) else 'T_max=epochs, '
        schedule = [
            'param_scheduler = [',
            f'    dict(_base_.warmup, end={warmup}),',
            f'    dict(_base_.cosine, {period}begin={warmup}, end=epochs),',
            ']',
        ]
    interval = max(1, epochs // 10)
    return [
        *schedule,
        'train_cfg = dict(max_epochs=epochs)',
        f'default_hooks = dict(checkpoint=dict(interval={interval}))',
    ]


def _by_iter(plan: Plan) -> list[str]:
    iters = plan.iters or 1
    warmup = max(1, iters // 10)
    interval = max(1, warmup // plan.accumulate) * plan.accumulate
    unit = 'by_epoch=False, convert_to_iter_based=False'
    period = '' if _is_gathering(plan) else 'T_max=iters, '
    extend = '' if plan.may_extend else ', extend=False'
    return [
        f'seconds = {plan.seconds:.4g}  # of training: iterations become more or less by the pace',
        'param_scheduler = [',
        f'    dict(_base_.warmup, end={warmup}, {unit}),',
        f'    dict(_base_.cosine, {period}begin={warmup}, end=iters, {unit}),',
        ']',
        'train_cfg = dict(',
        f"    _delete_=True, type='TimedTrainLoop', max_iters=iters, seconds=seconds{extend}",
        ')',
        'default_hooks = dict(',
        "    param_scheduler=dict(type='TimedSchedulerHook'),",
        f'    logger=dict(interval={min(50, max(1, iters // 20))}),',
        f'    checkpoint=dict(by_epoch=False, interval={interval}),',
        ')',
        'log_processor = dict(by_epoch=False)',
    ]


def _is_gathering(plan: Plan) -> bool:
    """Whether it is MAE, or PixMIM on it."""
    return plan.arguments.get('mask_mode') == 'gather'


def _views(plan: Plan, transformer: bool) -> list[str]:
    if plan.method == 'pixmim':
        crop = 'crop = dict(_base_.pixmim_crop, size=img_size)'
    elif transformer:
        crop = (
            'crop = dict(\n    _base_.crop, scale=img_size, crop_ratio_range=(0.2, 1.0), '
            "interpolation='bicubic'\n)"
        )
    else:
        crop = 'crop = dict(_base_.crop, scale=img_size)'
    extra = ", mask_ratio=0.75, rounding='floor_visible'" if transformer else ''
    return [crop, f'mask = dict(_base_.mask, mask_patch_size={plan.block}{extra})']


def _model(plan: Plan, transformer: bool, weights: str | None) -> list[str]:
    arguments = dict(plan.arguments)
    if weights is not None:
        arguments['init_cfg'] = dict(type='Pretrained', checkpoint=weights, prefix='backbone.')
    given = ''.join(f'        {key}={value!r},\n' for key, value in arguments.items())
    neck = ''
    if transformer:
        widths = 'decoder_embed_dim=128, decoder_depth=2, decoder_num_heads=4'
        if plan.backbone != 'vit-micro':
            widths = 'decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16'
        neck = f'    neck=dict({widths}),\n'
    target = ''
    if plan.method == 'pixmim':
        parts = '_base_.pixmim_target'
        if transformer:
            parts = f'[*{parts}, *_base_.model.target]'
        target = f'    target={parts},\n'
    return [
        'model = dict(\n    data_preprocessor=dict(mean=mean, std=std),\n'
        f'    backbone=dict(\n        _delete_=True,\n{given}    ),\n{neck}{target})'
    ]
