# A frozen teacher beside the pixels (GFM, arXiv 2302.04476), for a config of any method to use. Its
# file says what it is of; `simmim distill` fills it in.
teacher = dict(type='FeatureTeacher', checkpoint='work_dirs/teacher.pth')
