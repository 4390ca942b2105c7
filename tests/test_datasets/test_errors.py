import pytest

from simmim_mm.datasets.errors import (
    DataError,
    UnreadableImage,
    error_at,
    first_few,
    reason_of,
)


def test_an_error_says_where_it_is():
    message = r'^train_dataloader\.dataset: a\.json: no images$'
    outer, inner = error_at('train_dataloader.dataset'), error_at('a.json')
    with pytest.raises(DataError, match=message), outer, inner:
        raise DataError('no images')
    with pytest.raises(KeyError), error_at('other errors stay as they are'):
        raise KeyError('x')


@pytest.mark.parametrize(
    ('values', 'text'),
    [([], 'none'), ([1], '1'), ('abc', 'a, b, c'), (range(9), '0, 1, 2, ... (9 in all)')],
)
def test_the_first_few(values, text):
    assert first_few(values, 3) == text


def test_a_reason_keeps_its_quotes_and_settings_to_paste():
    text = "'NoneType' object has no attribute 'shape'"
    assert reason_of(AttributeError(text), 'a.png') == text
    assert reason_of(ValueError("no such file: 'a.png'"), 'a.png') == 'no such file'
    settings = 'x' * 400
    assert reason_of(UnreadableImage('a.png', settings), 'a.png') == settings
