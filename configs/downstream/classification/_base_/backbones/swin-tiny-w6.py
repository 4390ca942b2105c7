# Pretrained by configs/simmim/simmim_swin-tiny-w6_*.py.
channels = 768
backbone = dict(type='simmim_mm.MaskedSwin', arch='tiny', img_size=192, window_size=6)
