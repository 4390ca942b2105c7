_base_ = 'simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py'

model = dict(
    backbone=dict(_delete_=True, type='MaskedConvNeXt', arch='tiny'), neck=dict(in_channels=768)
)
