# ViT-B/16 as pretrained by configs/simmim/simmim_vit-base-p16_*.py. The position bias that all
# blocks share in the pretraining is copied to every block.
backbone = dict(
    type='simmim_mm.MaskedBEiT',
    arch='base',
    img_size=224,
    patch_size=16,
    use_abs_pos_emb=False,
    use_rel_pos_bias=True,
    use_shared_rel_pos_bias=False,
    layer_scale_init_value=0.1,
)
