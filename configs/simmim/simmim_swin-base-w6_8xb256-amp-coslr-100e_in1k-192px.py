# SimMIM, Swin-B at 192 pixels, 100 epochs of ImageNet-1k: the recipe of the paper's ablations.
_base_ = [
    '../_base_/datasets/imagenet_simmim.py',
    '../_base_/models/simmim_swin-base.py',
    '../_base_/schedules/simmim_100e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=256)
