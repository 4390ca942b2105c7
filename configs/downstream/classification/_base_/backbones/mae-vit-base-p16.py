# Pretrained by configs/mae/mae_vit-base-p16_*.py or its PixMIM sibling.
channels = 768
backbone = dict(
    type='simmim_mm.MaskedViT', arch='base', img_size=224, patch_size=16, mask_mode='gather'
)
