# Pretrained by configs/simmim/simmim_swin-base-w6_*.py, then at 224 pixels with a window of 7.
channels = 1024
backbone = dict(type='simmim_mm.MaskedSwin', arch='base', img_size=224, window_size=7)
