# Fine-tuning on your own folders, data_root/train/<class>/* and data_root/val/<class>/*, on a
# workstation. As it is, on the images of `simmim make-shapes data/shapes`.
_base_ = 'finetune_simmim.py'

data_root = 'data/shapes/classification'
num_classes = 4
img_size = 96
batch_size = 64
num_workers = 2
epochs = 50
lr = 1e-3
crop = dict(_base_.crop, scale=img_size)
resize = dict(_base_.resize, scale=img_size * 256 // 224)
center = dict(_base_.center, crop_size=img_size)
train_pipeline = [_base_.load, crop, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.load, resize, center, _base_.pack]

# Without Mixup and CutMix, which need longer schedules.
model = dict(
    data_preprocessor=dict(num_classes=num_classes),
    head=dict(num_classes=num_classes),
    train_cfg=None,
)
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
    type='OptimWrapper', optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay_rate=0.75)
)
param_scheduler = [
    dict(_base_.warmup, end=5),
    dict(_base_.cosine, T_max=epochs, begin=5, end=epochs),
]
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=batch_size)
