from simmim_mm._renamed import old_names
from simmim_mm.datasets.collate import stack_images
from simmim_mm.datasets.errors import DataError, TooManyBadFiles, UnreadableImage
from simmim_mm.datasets.image_dataset import ImageDataset, image_datasets, single_datasets
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
    'image_datasets',
    'sample_seed',
    'seeded_rng',
    'single_datasets',
    'stack_images',
]

__getattr__ = old_names(__name__)
