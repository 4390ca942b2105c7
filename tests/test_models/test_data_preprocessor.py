import pytest
import torch

from simmim_mm.models.data_preprocessor import MIMDataPreprocessor

MEAN, STD = [10.0, 20.0, 30.0, 40.0, 50.0], [1.0, 2.0, 4.0, 8.0, 16.0]


@pytest.fixture
def preprocessor():
    return MIMDataPreprocessor(MEAN, STD)


def test_stacks_and_normalizes_each_channel(preprocessor):
    images = [torch.randint(0, 256, (5, 6, 9), dtype=torch.uint8) for _ in range(3)]
    samples = [object() for _ in images]
    out = preprocessor(dict(inputs=images, data_samples=samples))
    assert out['data_samples'] == samples
    assert out['inputs'].dtype == torch.float32
    for b, image in enumerate(images):
        for c in range(5):
            expected = (image[c].float() - MEAN[c]) / STD[c]
            torch.testing.assert_close(out['inputs'][b, c], expected)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32, torch.float64])
def test_a_stacked_batch_gives_the_same_and_is_not_changed(preprocessor, dtype):
    batch = torch.randint(0, 256, (2, 5, 4, 4)).to(dtype)
    before = batch.clone()
    out = preprocessor(dict(inputs=batch))['inputs']
    torch.testing.assert_close(out, preprocessor(dict(inputs=list(batch)))['inputs'])
    assert out.dtype == torch.float32
    assert torch.equal(batch, before)


def test_files_of_8_and_16_bits_may_share_a_batch(preprocessor):
    one = torch.full((5, 4, 4), 7, dtype=torch.uint8)
    out = preprocessor(dict(inputs=[one, one.float()]))['inputs']
    assert torch.equal(out[0], out[1])


def test_denormalize_is_the_inverse(preprocessor):
    loaded = torch.randint(0, 256, (2, 5, 4, 4)).float()
    normalized = preprocessor(dict(inputs=loaded))['inputs']
    torch.testing.assert_close(preprocessor.denormalize(normalized), loaded)


def test_statistics_are_no_part_of_the_state_dict(preprocessor):
    assert not preprocessor.state_dict()


def test_a_wrong_number_of_channels_is_told_with_both_numbers(preprocessor):
    with pytest.raises(ValueError, match=r'3 channels.*for 5'):
        preprocessor(dict(inputs=[torch.zeros(3, 4, 4)]))


def test_images_of_unequal_shape_are_named(preprocessor):
    with pytest.raises(ValueError, match=r'\(5, 4, 4\), \(5, 4, 6\).*add a crop'):
        preprocessor(dict(inputs=[torch.zeros(5, 4, 4), torch.zeros(5, 4, 6)]))


@pytest.mark.parametrize(('mean', 'std'), [([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([1.0], [-1.0])])
def test_wrong_statistics_fail_at_construction(mean, std):
    with pytest.raises(ValueError, match='std'):
        MIMDataPreprocessor(mean, std)
