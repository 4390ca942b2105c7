# SimMIM, Swin-L at 192 pixels with windows of 12, 800 epochs of ImageNet-1k.
_base_ = 'simmim_swin-base-w6_16xb128-amp-steplr-800e_in1k-192px.py'

model = dict(backbone=dict(arch='large', window_size=12))
