import math
from collections import Counter

import numpy as np
from mmengine.registry import init_default_scope
from PIL import Image

from simmim_mm.registry import DATASETS


def test_rare_classes_are_repeated_as_documented(tmp_path):
    """docs/how-to/curation.md: ceil(sqrt(0.2 / f)) times, f the fraction of the class."""
    counts = (70, 27, 3)
    lines = []
    for label, count in enumerate(counts):
        (tmp_path / str(label)).mkdir()
        for i in range(count):
            lines.append(f'{label}/{i}.png {label}')
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / '0/0.png')
    (tmp_path / 'train_labels.txt').write_text('\n'.join(lines))
    init_default_scope('simmim_mm')
    dataset = DATASETS.build(
        dict(
            type='ClassBalancedDataset',
            oversample_thr=0.2,
            dataset=dict(
                type='mmpretrain.CustomDataset',
                data_root=str(tmp_path),
                ann_file=str(tmp_path / 'train_labels.txt'),
                pipeline=[],
            ),
        )
    )
    drawn = Counter(dataset.get_data_info(i)['gt_label'] for i in range(len(dataset)))
    for label, count in enumerate(counts):
        assert drawn[label] == count * max(1, math.ceil(math.sqrt(0.2 / (count / 100))))
