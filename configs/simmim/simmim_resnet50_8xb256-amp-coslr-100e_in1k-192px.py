# SimMIM, ResNet-50 at 192 pixels, 100 epochs of ImageNet-1k.
#
# The CNN of the paper was four times as wide and trained for 300 epochs (appendix E).
_base_ = 'simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py'

model = dict(backbone=dict(_delete_=True, type='MaskedResNet', depth=50))
