import logging
import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from simmim_mm.datasets import (
    DataError,
    ImageDataset,
    ReproducibleSampler,
    SeededIndex,
    TooManyBadFiles,
    UnreadableImage,
)
from simmim_mm.datasets.transforms import LoadImage, RandomBlockMask, RandomResizedCrop


class Sample:
    """Packs what a test looks at: the file, the crop, the mask, and a number from torch."""

    def __call__(self, results):
        return dict(
            path=results['img_path'],
            img=results['img'],
            mask=results['mask'],
            noise=torch.rand(1).item(),
        )


def pipeline():
    return [LoadImage(), RandomResizedCrop(32), RandomBlockMask(8), Sample()]


def paths_of(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def loaded(dataset, num_workers=0, epoch=0, **kwargs):
    sampler = ReproducibleSampler(dataset, seed=3)
    sampler.set_epoch(epoch)
    loader = DataLoader(
        dataset, batch_size=2, sampler=sampler, num_workers=num_workers, collate_fn=list, **kwargs
    )
    return [sample for batch in loader for sample in batch]


def fingerprint(sample):
    return sample['path'], sample['img'].tobytes(), sample['mask'].tobytes(), sample['noise']


# What is found.


def test_all_images_of_a_folder_sorted(folder):
    paths = paths_of(ImageDataset(str(folder)))
    assert len(paths) == 14
    assert paths == sorted(paths)
    assert paths_of(ImageDataset(str(folder.parent), data_prefix='photos')) == paths
    assert paths_of(ImageDataset(str(folder), lazy_init=True)) == paths
    assert paths_of(ImageDataset(str(folder), serialize_data=False)) == paths


def test_several_folders_follow_one_another(folder):
    roots = [str(folder / 'class2'), str(folder / 'class0')]
    assert paths_of(ImageDataset(roots)) == [
        path for root in roots for path in paths_of(ImageDataset(root))
    ]


def test_indices_and_subsets(folder, bad_files):
    whole = paths_of(ImageDataset(str(folder)))
    assert paths_of(ImageDataset(str(folder), indices=5)) == whole[:5]
    assert paths_of(ImageDataset(str(folder), indices=[7, 1])) == [whole[7], whole[1]]
    subset = ImageDataset(str(folder), pipeline=pipeline()).get_subset(
        [0, whole.index(bad_files[0])]
    )
    loaded(subset)
    assert subset.bad_files() == bad_files[:1]


def test_a_list_file(folder):
    (folder.parent / 'list.txt').write_bytes(
        b'\xef\xbb\xbf# chosen by hand\r\n\r\nclass1/01.jpg\r\n  class0/00.jpg  \r\n'
        + os.fsencode(folder / 'class2' / '02.jpg')
    )
    expected = [str(folder / name) for name in ('class1/01.jpg', 'class0/00.jpg', 'class2/02.jpg')]
    by_root = ImageDataset(str(folder), ann_file=str(folder.parent / 'list.txt'))
    assert paths_of(by_root) == expected
    by_prefix = ImageDataset(str(folder.parent), ann_file='list.txt', data_prefix='photos')
    assert paths_of(by_prefix) == expected


def test_a_list_file_relative_to_the_working_directory(folder, monkeypatch):
    (folder.parent / 'list.txt').write_text('class1/01.jpg')
    monkeypatch.chdir(folder.parent)
    assert paths_of(ImageDataset('photos', ann_file='list.txt')) == ['photos/class1/01.jpg']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'list.txt.* cannot be read'),
        ('', 'list.txt.* names no image'),
        ('# nothing\n\n', 'names no image'),
        ('class0/00.jpg 3\nclass1/01.jpg 4', "2 of 2 files .*00.jpg 3'.*no label"),
    ],
)
def test_a_bad_list_file_is_named(folder, text, message):
    if text is not None:
        (folder / 'list.txt').write_text(text)
    with pytest.raises(DataError, match=message):
        ImageDataset(str(folder), ann_file='list.txt')


def test_missing_files_of_a_list_are_skipped_and_named(folder):
    (folder / 'list.txt').write_text('class0/00.jpg\nclass0/gone.jpg\nclass1/01.jpg')
    dataset = ImageDataset(str(folder), ann_file='list.txt', pipeline=pipeline())
    loaded(dataset)
    assert dataset.bad_files() == [str(folder / 'class0/gone.jpg')]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(), 'data_root'),
        (dict(data_root='/no/such/folder'), '/no/such/folder'),
        (dict(data_root=['a', 'b'], ann_file='list.txt'), 'list.txt.* 2 folders'),
        (dict(data_root='a', max_bad_fraction=10), 'max_bad_fraction .*10'),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(DataError, match=message):
        ImageDataset(**kwargs)


def test_no_indices_leave_nothing(folder):
    with pytest.raises(DataError, match='indices=0'):
        ImageDataset(str(folder), indices=0)


# Unreadable files.


@pytest.mark.parametrize(
    'workers',
    [
        dict(num_workers=0),
        dict(num_workers=2),
        dict(num_workers=2, persistent_workers=True),
        pytest.param(dict(num_workers=1, multiprocessing_context='spawn'), marks=pytest.mark.slow),
    ],
    ids=['main process', 'fork', 'persistent', 'spawn'],
)
def test_unreadable_files_are_replaced_and_listed(folder, bad_files, workers):
    dataset = ImageDataset(str(folder), pipeline=pipeline())
    samples = loaded(dataset, **workers)
    assert len(samples) == len(dataset) == 18
    assert not {sample['path'] for sample in samples} & set(bad_files)
    assert dataset.bad_files() == bad_files
    assert dataset.num_bad == 4


def test_each_path_is_logged_once_with_the_reason(folder, bad_files, caplog):
    dataset = ImageDataset(str(folder), pipeline=pipeline())
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING):
            loaded(dataset)
            loaded(dataset, epoch=1)
    finally:
        logger.removeHandler(caplog.handler)
    logged = sorted(r.getMessage() for r in caplog.records if 'Unreadable' in r.getMessage())
    assert [path in line for path, line in zip(bad_files, logged)] == [True] * 4
    reasons = ['truncated', 'empty file', 'not an image', 'no pixels']
    assert [reason in line for reason, line in zip(reasons, logged)] == [True] * 4


def test_the_replacement_follows_from_the_seed(folder, bad_files):
    dataset = ImageDataset(str(folder), pipeline=pipeline())
    bad = paths_of(dataset).index(bad_files[0])
    picks = {dataset[SeededIndex(bad, seed)]['path'] for seed in range(30)}
    assert len(picks) > 8
    for seed in range(3):
        first, second = (fingerprint(dataset[SeededIndex(bad, seed)]) for _ in range(2))
        assert first == second


@pytest.mark.parametrize('num_workers', [0, 1])
def test_too_many_bad_files_stop_training(folder, bad_files, num_workers):
    dataset = ImageDataset(str(folder), pipeline=pipeline(), max_bad_fraction=3 / 18)
    message = r'4 of 18 files .22%.*max_bad_fraction=0\.166667'
    with pytest.raises(TooManyBadFiles, match=message) as caught:
        loaded(dataset, num_workers)
    assert sum(path in str(caught.value) for path in bad_files) >= 3
    assert (
        len(loaded(ImageDataset(str(folder), pipeline=pipeline(), max_bad_fraction=4 / 18))) == 18
    )


def test_no_bad_file_is_tolerated_at_fraction_zero(folder, bad_files):
    with pytest.raises(TooManyBadFiles, match='1 of 18'):
        loaded(ImageDataset(str(folder), pipeline=pipeline(), max_bad_fraction=0))


def test_the_fraction_is_of_the_files_read_so_far_in_a_large_dataset(folder):
    # 3000 names, of which the first 1500 lead nowhere. 10% of the files read is 100 of 1000.
    good = str(folder / 'class0' / '00.jpg')
    lines = [f'gone{i}.jpg' for i in range(1500)] + [good] * 1500
    (folder / 'list.txt').write_text('\n'.join(lines))
    dataset = ImageDataset(str(folder), ann_file='list.txt')
    dataset.max_bad_fraction = 0.1

    def exists(results):
        if not os.path.exists(results['img_path']):
            raise UnreadableImage(results['img_path'], 'gone')
        return results

    dataset.pipeline.transforms = [exists]
    with pytest.raises(TooManyBadFiles, match='101 of 1000 files'):
        for i in range(1500):
            dataset[SeededIndex(i, i)]


def test_a_folder_of_rubbish_stops_at_once(folder):
    for path in folder.rglob('*.jpg'):
        path.write_bytes(b'rubbish')
    dataset = ImageDataset(str(folder), pipeline=pipeline(), max_bad_fraction=1)
    with pytest.raises(TooManyBadFiles, match=r'51 files drawn in a row.*not an image'):
        dataset[0]


def test_other_errors_are_not_swallowed(folder):
    dataset = ImageDataset(str(folder), pipeline=[LoadImage(), RandomBlockMask(7 * 4)])
    with pytest.raises(ValueError, match='mask_patch_size=28'):
        dataset[0]


def test_a_pipeline_may_return_none_without_blaming_the_file(folder):
    first = paths_of(ImageDataset(str(folder)))[0]
    dataset = ImageDataset(
        str(folder), pipeline=[lambda results: None if results['img_path'] == first else results]
    )
    assert dataset[SeededIndex(0, 1)]['img_path'] != first
    assert dataset.num_bad == 0


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(UnreadableImage('a.jpg', 'empty')))
    assert (error.path, error.reason, str(error)) == ('a.jpg', 'empty', 'a.jpg: empty')


# Reproducibility.


def test_samples_do_not_depend_on_the_workers(folder, bad_files):
    dataset = ImageDataset(str(folder), pipeline=pipeline())
    alone = [fingerprint(sample) for sample in loaded(dataset)]
    for num_workers in (1, 3):
        np.random.seed(num_workers)
        assert [fingerprint(sample) for sample in loaded(dataset, num_workers)] == alone


def test_crops_and_masks_differ_between_samples_and_epochs(folder):
    dataset = ImageDataset(str(folder), pipeline=pipeline())
    samples = [s for epoch in range(3) for s in loaded(dataset, epoch=epoch)]
    assert len({sample['mask'].tobytes() for sample in samples}) == len(samples) == 42
    assert len({sample['noise'] for sample in samples}) == 42


def test_loading_leaves_the_random_state_of_the_process_alone(folder):
    dataset = ImageDataset(str(folder), pipeline=pipeline())
    np.random.seed(0), torch.manual_seed(0)
    expected = np.random.rand(), torch.rand(1)
    np.random.seed(0), torch.manual_seed(0)
    dataset[SeededIndex(0, 5)]
    assert (np.random.rand(), torch.rand(1)) == expected


def test_a_plain_index_draws_from_the_process(folder):
    dataset = ImageDataset(str(folder), pipeline=pipeline())
    np.random.seed(0)
    first = dataset[0]['mask'].tobytes()
    assert dataset[0]['mask'].tobytes() != first


def _read_as_rank(rank, folder, rendezvous, found):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{rendezvous}', rank=rank, world_size=2
    )
    dataset = ImageDataset(folder, pipeline=pipeline())
    loaded(dataset)  # the sampler knows its rank
    found.put((rank, dataset.bad_files(), dataset.bad_files(all_ranks=True)))
    torch.distributed.destroy_process_group()


def test_bad_files_of_all_ranks(folder, bad_files, tmp_path):
    context = torch.multiprocessing.get_context('fork')
    found = context.SimpleQueue()
    args = (str(folder), str(tmp_path / 'rendezvous'), found)
    processes = [context.Process(target=_read_as_rank, args=(rank, *args)) for rank in range(2)]
    for process in processes:
        process.start()
    (_, mine, all_here), (_, theirs, all_there) = sorted(found.get() for _ in processes)
    for process in processes:
        process.join(30)
    assert mine != bad_files  # each rank reads half of the files
    assert sorted({*mine, *theirs}) == bad_files
    assert all_here == all_there == bad_files
