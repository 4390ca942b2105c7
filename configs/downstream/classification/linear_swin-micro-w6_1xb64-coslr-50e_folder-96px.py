# Linear probe of a Swin of 5M parameters on your own class folders, at 96 pixels without a GPU.
_base_ = ['_base_/linear_folder.py', '../_base_/backbones/swin-micro.py']

model = dict(backbone=_base_.backbone)
