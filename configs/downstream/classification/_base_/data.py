# Images in one folder per class, as ImageNet's: data_root/train/<class>/*, data_root/val/<class>/*.
# The augmentation is the one with which SimMIM, MAE and ConvMAE fine-tune. At the end, what a run
# does besides training.
_base_ = '../../../_base_/default_runtime.py'

data_root = 'data/imagenet'
num_classes = 1000
img_size = 224

load = dict(type='LoadImageFromFile')  # BGR; the preprocessor makes it RGB
crop = dict(type='RandomResizedCrop', scale=img_size, backend='pillow', interpolation='bicubic')
flip = dict(type='RandomFlip', prob=0.5)
# timm's rand-m9-mstd0.5-inc1. With it, timm leaves out the color jitter that the recipes name.
rand_augment = dict(
    type='RandAugment',
    policies='timm_increasing',
    num_policies=2,
    total_level=10,
    magnitude_level=9,
    magnitude_std=0.5,
    hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
)
erasing = dict(
    type='RandomErasing',
    erase_prob=0.25,
    mode='rand',
    min_area_ratio=0.02,
    max_area_ratio=1 / 3,
    fill_color=[103.53, 116.28, 123.675],
    fill_std=[57.375, 57.12, 58.395],
)
pack = dict(type='PackInputs')
resize = dict(
    type='ResizeEdge',
    scale=img_size * 256 // 224,
    edge='short',
    backend='pillow',
    interpolation='bicubic',
)
center = dict(type='CenterCrop', crop_size=img_size)
train_pipeline = [load, crop, flip, rand_augment, erasing, pack]
val_pipeline = [load, resize, center, pack]

preprocessor = dict(
    type='ClsDataPreprocessor',
    num_classes=num_classes,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='val',
        pipeline=val_pipeline,
    ),
)
val_cfg = dict()
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader, test_cfg, test_evaluator = val_dataloader, val_cfg, val_evaluator

default_scope = 'mmpretrain'
default_hooks = dict(
    checkpoint=dict(
        type='simmim_mm.AtomicCheckpointHook', max_keep_ckpts=1, save_best='accuracy/top1'
    )
)
custom_hooks = [dict(type='simmim_mm.LossHook'), dict(type='simmim_mm.ThroughputHook')]
# To average the weights over the training and to validate the average, add to a config
#   custom_hooks = [*_base_.custom_hooks, _base_.ema]
ema = dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL')
