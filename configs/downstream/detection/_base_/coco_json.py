# Your own data, labeled in COCO's format: a json and a folder of images each to train and to
# validate. Change the first lines, or override what is made of them on the command line
# (docs/guide.md). As it stands: the images of `python tools/dataset/make_shapes.py data/shapes`.
data_root = 'data/shapes/'
train_json, train_images = 'annotations/instances_train.json', 'images/train/'
val_json, val_images = 'annotations/instances_val.json', 'images/val/'
classes = ('circle', 'square', 'triangle', 'star')  # names and order of the json's categories
img_scale = (640, 384)  # longer and shorter side, at most
batch_size = 4
num_workers = 2

load = dict(type='LoadImageFromFile')
resize = dict(type='Resize', scale=img_scale, keep_ratio=True)
annotations = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=train_json,
        data_prefix=dict(img=train_images),
        metainfo=dict(classes=classes),
        filter_cfg=dict(filter_empty_gt=True, min_size=16),
        pipeline=[
            load,
            annotations,
            resize,
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=val_json,
        data_prefix=dict(img=val_images),
        metainfo=dict(classes=classes),
        test_mode=True,
        pipeline=[load, resize, annotations, dict(type='PackDetInputs', meta_keys=meta_keys)],
    ),
)
val_evaluator = dict(type='CocoMetric', ann_file=data_root + val_json, metric=['bbox', 'segm'])
test_dataloader = val_dataloader
test_evaluator = val_evaluator
