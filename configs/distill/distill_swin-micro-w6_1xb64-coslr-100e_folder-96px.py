# SimMIM with a frozen teacher, a Swin of 5M parameters at 96 pixels, on a folder of your images.
#
#   simmim distill TEACHER /my/images --student swin-micro
_base_ = [
    '../simmim/simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px.py',
    '../_base_/teacher.py',
]

model = dict(teacher=_base_.teacher)
