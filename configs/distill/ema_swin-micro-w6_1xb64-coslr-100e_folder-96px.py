# SimMIM with its own moving average as a teacher, a Swin of 5M parameters at 96 pixels.
#
# No other weights are needed; `teacher_rank` in the log guards against collapse.
_base_ = '../simmim/simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px.py'

model = dict(teacher=dict(type='EMATarget', loss='smooth_l1'))
