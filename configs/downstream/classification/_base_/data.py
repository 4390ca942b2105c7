# Images in one folder per class (ImageNet's layout, and your own): data_root/train/<class>/* and
# data_root/val/<class>/*. The augmentation is that with which SimMIM, MAE and ConvMAE fine-tune.
data_root = 'data/imagenet'
num_classes = 1000
img_size = 224

load = dict(type='LoadImageFromFile')  # BGR; the preprocessor makes it RGB
crop = dict(type='RandomResizedCrop', scale=img_size, backend='pillow', interpolation='bicubic')
flip = dict(type='RandomFlip', prob=0.5)
# timm's rand-m9-mstd0.5-inc1. timm leaves the color jitter of the recipes out when it is on.
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
        pipeline=[load, crop, flip, rand_augment, erasing, pack],
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
        pipeline=[load, resize, center, pack],
    ),
)
val_cfg = dict()
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader, test_cfg, test_evaluator = val_dataloader, val_cfg, val_evaluator
