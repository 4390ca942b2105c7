# A linear probe on your own folders, data_root/train/<class>/* and data_root/val/<class>/*, on a
# workstation. As it is, on the images of `simmim make-shapes data/shapes`. The schedule is ours.
_base_ = 'linear.py'

data_root = 'data/shapes/classification'
num_classes = 4
img_size = 96
batch_size = 64
num_workers = 2
epochs = 50
lr = 1e-2
crop = dict(_base_.crop, scale=img_size)
resize = dict(_base_.resize, scale=img_size * 256 // 224)
center = dict(_base_.center, crop_size=img_size)
train_pipeline = [_base_.load, crop, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.load, resize, center, _base_.pack]

model = dict(data_preprocessor=dict(num_classes=num_classes), head=dict(num_classes=num_classes))
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    drop_last=False,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=num_workers, dataset=dict(data_root=data_root, pipeline=val_pipeline)
)
val_evaluator = dict(topk=(1,))
test_dataloader, test_evaluator = val_dataloader, val_evaluator
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(_delete_=True, type='AdamW', lr=lr, weight_decay=0.0),
    paramwise_cfg=dict(_delete_=True),
)
param_scheduler = [dict(_base_.warmup, end=5), dict(_base_.cosine, begin=5, end=epochs)]
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=batch_size)
