# SimMIM, ResNet-50 at 192 pixels, on a folder of your own images and one GPU.
#
# For a ConvNeXt: backbone=dict(_delete_=True, type='MaskedConvNeXt', arch='tiny').
_base_ = 'simmim_swin-tiny-w6_1xb64-amp-coslr-100e_folder-192px.py'

model = dict(backbone=dict(_delete_=True, type='MaskedResNet', depth=50))
