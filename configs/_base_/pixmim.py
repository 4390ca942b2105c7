# The two parts of PixMIM (arXiv 2303.02416), for any pixel method to place: a target without high
# frequencies, put before the method's own target, and a crop that keeps the foreground.

# A share of the Nyquist frequency: a radius of 40 bins at the paper's 224 pixels, and the same
# detail in cycles per pixel at other sizes. `mode='centered'` is the exact filter.
pixmim_target = [dict(type='LowFreq', radius_ratio=40 / 112, mode='reference')]
pixmim_crop = dict(type='SimpleResizedCrop', size=224)
