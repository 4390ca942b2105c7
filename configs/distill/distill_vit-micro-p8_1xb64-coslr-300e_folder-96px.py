# MAE with a frozen teacher, a ViT of 4M parameters at 96 pixels, on a folder of your own images.
#
#   simmim distill TEACHER /my/images --student vit-micro
_base_ = [
    '../mae/mae_vit-micro-p8_1xb64-coslr-300e_folder-96px.py',
    '../_base_/teacher.py',
]

model = dict(teacher=_base_.teacher)
