from .errors import DataError, TooManyBadFiles, UnreadableImage
from .image_dataset import ImageDataset, image_datasets
from .preflight import check_dataset
from .samplers import ReproducibleSampler
from .seeding import SeededIndex, sample_seed, seeded_rng
from .transforms import *  # noqa: F403

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
