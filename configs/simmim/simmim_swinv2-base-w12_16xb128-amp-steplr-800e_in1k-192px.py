# SimMIM, Swin v2-B at 192 pixels, 800 epochs of ImageNet-1k, with a locally normalized target.
#
# From the Swin Transformer repository: each pixel is normalized by its surroundings (47 pixels).
_base_ = 'simmim_swin-base-w6_16xb128-amp-steplr-800e_in1k-192px.py'

model = dict(
    backbone=dict(type='MaskedSwinV2', window_size=12, drop_path_rate=0.1),
    target=[dict(type='LocalNorm', patch_size=47)],
)
