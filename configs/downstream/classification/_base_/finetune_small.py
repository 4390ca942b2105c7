# Fine-tuning on your own folders, data_root/train/<class>/* and data_root/val/<class>/*, on a
# workstation. As it stands: the images of `python tools/dataset/make_shapes.py data/shapes`.
#
#   python tools/train.py CONFIG --pretrained PRETRAINED.pth --cfg-options \
#       train_dataloader.dataset.data_root=/my/images val_dataloader.dataset.data_root=/my/images \
#       model.head.num_classes=7 model.data_preprocessor.num_classes=7
_base_ = 'finetune_simmim.py'

data_root = 'data/shapes/classification'
num_classes = 4
batch_size = 64
num_workers = 2
epochs = 50
lr = 1e-3

# Without Mixup and CutMix, which need longer schedules: `train_cfg=_base_.model.train_cfg`.
model = dict(
    data_preprocessor=dict(num_classes=num_classes),
    head=dict(num_classes=num_classes),
    train_cfg=None,
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    drop_last=False,
    dataset=dict(data_root=data_root),
)
val_dataloader = dict(num_workers=num_workers, dataset=dict(data_root=data_root))
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
