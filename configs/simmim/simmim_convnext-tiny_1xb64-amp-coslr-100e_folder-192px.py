# Your own images and a ConvNeXt.
_base_ = 'simmim_swin-tiny-w6_1xb64-amp-coslr-100e_folder-192px.py'

model = dict(
    backbone=dict(_delete_=True, type='MaskedConvNeXt', arch='tiny', in_channels=_base_.in_channels)
)
