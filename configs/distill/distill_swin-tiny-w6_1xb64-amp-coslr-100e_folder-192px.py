# SimMIM with a frozen teacher, Swin-T at 192 pixels, on a folder of your own images and one GPU.
#
#   simmim distill TEACHER /my/images --student swin-tiny
_base_ = [
    '../simmim/simmim_swin-tiny-w6_1xb64-amp-coslr-100e_folder-192px.py',
    '../_base_/teacher.py',
]

model = dict(teacher=_base_.teacher)
