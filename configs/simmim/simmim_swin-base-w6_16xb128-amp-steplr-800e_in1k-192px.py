# SimMIM, Swin-B at 192 pixels, 800 epochs of ImageNet-1k.
_base_ = [
    '../_base_/datasets/imagenet_simmim.py',
    '../_base_/models/simmim_swin-base.py',
    '../_base_/schedules/simmim_800e.py',
    '../_base_/default_runtime.py',
]
