# MAE with ViT-B/16. Widths and patch sizes of decoder and target follow from the backbone.
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='MIMDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    backbone=dict(type='MaskedViT', arch='base', img_size=224, patch_size=16, mask_mode='gather'),
    neck=dict(
        type='TransformerDecoder', decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16
    ),
    target=[dict(type='NormPix')],
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2')),
)
