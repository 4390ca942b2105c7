# Sparse SimMIM with Swin-B: the encoder takes the visible tokens only, and one transformer block
# on the grid of the last stage puts mask tokens between them and predicts the pixels.
_base_ = 'simmim_swin-base.py'

model = dict(
    backbone=dict(mask_mode='gather'),
    neck=dict(
        _delete_=True,
        type='TransformerDecoder',
        decoder_embed_dim=512,
        decoder_depth=1,
        decoder_num_heads=16,
    ),
)
