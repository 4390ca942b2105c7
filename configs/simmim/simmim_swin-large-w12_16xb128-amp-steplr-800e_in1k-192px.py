_base_ = 'simmim_swin-base-w6_16xb128-amp-steplr-800e_in1k-192px.py'

model = dict(backbone=dict(arch='large', window_size=12), neck=dict(in_channels=1536))
