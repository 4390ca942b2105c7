# Your own images and a ResNet.
_base_ = 'simmim_swin-tiny-w6_1xb64-amp-coslr-100e_folder-192px.py'

model = dict(
    backbone=dict(_delete_=True, type='MaskedResNet', depth=50, in_channels=_base_.in_channels),
    neck=dict(in_channels=2048),
)
