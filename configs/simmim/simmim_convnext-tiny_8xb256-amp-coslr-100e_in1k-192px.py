# SimMIM, ConvNeXt-T at 192 pixels, 100 epochs of ImageNet-1k.
#
# Not from the paper.
_base_ = 'simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py'

model = dict(backbone=dict(_delete_=True, type='MaskedConvNeXt', arch='tiny'))
