# Pretrained by configs/convmae/convmae_convvit-tiny_*.py.
channels = 192
backbone = dict(type='simmim_mm.MaskedConvViT', arch='tiny', img_size=128, fusion=False)
