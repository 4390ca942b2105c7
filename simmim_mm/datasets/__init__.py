from simmim_mm.datasets.checks import check_dataset
from simmim_mm.datasets.errors import DataError, TooManyBadFiles, UnreadableImage
from simmim_mm.datasets.image_dataset import ImageDataset, image_datasets
from simmim_mm.datasets.samplers import ReproducibleSampler
from simmim_mm.datasets.seeding import SeededIndex, sample_seed, seeded_rng
from simmim_mm.datasets.transforms import *  # noqa: F403

__all__ = [
    'DataError',
    'ImageDataset',
    'ReproducibleSampler',
    'SeededIndex',
    'TooManyBadFiles',
    'UnreadableImage',
    'check_dataset',
    'image_datasets',
    'sample_seed',
    'seeded_rng',
]
