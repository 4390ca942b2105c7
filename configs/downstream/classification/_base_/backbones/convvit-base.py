# Pretrained by configs/convmae/convmae_convvit-base_*.py.
channels = 768
backbone = dict(type='simmim_mm.MaskedConvViT', arch='base', img_size=224, fusion=False)
