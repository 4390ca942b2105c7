# A folder of your own images, without a held-out part. To watch the loss on held-out images, set
# `val_dataloader`, `val_cfg` and `val_evaluator` as in imagenet_simmim.py, with a second folder.
_base_ = 'imagenet_simmim.py'

data_root = 'data/images'
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    drop_last=False,  # a folder may hold less than a batch
    dataset=dict(data_root=data_root),
)
val_dataloader = None
val_cfg = None
val_evaluator = None
