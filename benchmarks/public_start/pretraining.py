# SimMIM on EfficientNet-Lite0, at 96 pixels without a GPU.
_base_ = [
    '../../configs/simmim/simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px.py',
    'backbone.py',
]

custom_imports = dict(imports=['simmim_mm', 'lite0'])
model = dict(
    data_preprocessor=_base_.pixels,
    backbone=dict(_base_.lite0, _delete_=True, type='MaskedLite0'),
)
