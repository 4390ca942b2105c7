# SimMIM with Swin-B. Width and stride of the decoder follow from the backbone.
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='MIMDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    backbone=dict(type='MaskedSwin', arch='base', img_size=192, window_size=6, drop_path_rate=0.0),
    neck=dict(type='PixelShuffleDecoder'),
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
)
