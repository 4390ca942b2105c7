# ViT-B/16 as pretrained by configs/mae/mae_vit-base-p16_*.py, or by PixMIM on it.
backbone = dict(
    type='simmim_mm.MaskedViT', arch='base', img_size=224, patch_size=16, mask_mode='gather'
)
maps = dict(in_channels=768)
