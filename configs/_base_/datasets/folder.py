# A folder of your own images. To watch the loss on held-out images, name a second folder:
# `val_dataloader = dict(dataset=dict(data_root='/my/held-out'))`.
_base_ = 'simmim.py'

data_root = 'data/images'
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    drop_last=False,  # a folder may hold less than a batch
    dataset=dict(data_root=data_root),
)
