# Pretrained by configs/simmim/simmim_swin-base-w6_*.py, and fine-tuned at the same size.
channels = 1024
backbone = dict(type='simmim_mm.MaskedSwin', arch='base', img_size=192, window_size=6)
