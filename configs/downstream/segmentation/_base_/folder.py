# Your own images and label maps in mmseg's layout: a folder of images and one of maps of the same
# names, each to train and to validate; a pixel of a map has the number of its class, or 255 to be
# left out. Change the first lines, or override what is made of them on the command line
# (docs/guide.md). As it stands: the images of `python tools/dataset/make_shapes.py data/shapes`.
data_root = 'data/shapes'
train_images, train_maps = 'images/train', 'semantic/train'
val_images, val_maps = 'images/val', 'semantic/val'
img_suffix, map_suffix = '.png', '.png'
classes = ('background', 'circle', 'square', 'triangle', 'star')
img_scale = (1024, 256)  # longer side at most, shorter side
crop_size = (256, 256)  # to train on
batch_size = 4
num_workers = 2

load = dict(type='LoadImageFromFile')
annotations = dict(type='LoadAnnotations')
pack = dict(type='PackSegInputs')
train_pipeline = [
    load,
    annotations,
    dict(type='RandomResize', scale=img_scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    pack,
]
# The map keeps its size: predictions are brought to it. mmseg.apis looks for this name.
test_pipeline = [load, dict(type='Resize', scale=img_scale, keep_ratio=True), annotations, pack]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset',
        data_root=data_root,
        data_prefix=dict(img_path=train_images, seg_map_path=train_maps),
        img_suffix=img_suffix,
        seg_map_suffix=map_suffix,
        metainfo=dict(classes=classes),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root=data_root,
        data_prefix=dict(img_path=val_images, seg_map_path=val_maps),
        img_suffix=img_suffix,
        seg_map_suffix=map_suffix,
        metainfo=dict(classes=classes),
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_dataloader = val_dataloader
test_evaluator = val_evaluator
