# The plain ViT (position embedding, no relative bias, no layer scale) instead of BEiT's form.
_base_ = 'simmim_vit-small-p16_1xb128-amp-coslr-100e_in1k-224px.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='MaskedViT',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        mask_mode='token',
        drop_path_rate=0.1,
    )
)
