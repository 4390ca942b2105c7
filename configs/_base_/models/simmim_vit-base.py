# The authors' ViT is BEiT's: one relative position bias shared by all layers instead of a position
# embedding, layer scale 0.1.
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='MIMDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    backbone=dict(
        type='MaskedBEiT',
        arch='base',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        use_abs_pos_emb=False,
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
        layer_scale_init_value=0.1,
    ),
    neck=dict(type='PixelShuffleDecoder', in_channels=768, stride=16),
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
)
