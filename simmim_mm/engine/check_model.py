import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel


def check_model(model: BaseModel, sample: dict, mode: str = 'loss') -> None:
    """Run one sample through the model, before a training starts.

    Finds what only shows when data and model meet: another number of channels, an image size or a
    mask grid that the backbone does not take. Leaves weights, buffers and random numbers as they
    are.

    Args:
        model: The algorithm, or a model of mmpretrain, mmdet or mmseg, not wrapped for distributed
            training.
        sample: What the data set's pipeline gives: ``inputs`` and ``data_samples``.
        mode: ``'loss'``, or ``'predict'`` for a sample of a validation pipeline, whose labels need
            not have the size of the image.

    Raises:
        ValueError: If they do not fit; the message names the sizes.
    """
    image = sample['inputs']
    size = 'x'.join(map(str, image.shape[-2:]))
    training, device = model.training, next(model.parameters()).device
    devices = [device] if device.type == 'cuda' else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            data = model.eval().data_preprocessor(pseudo_collate([sample]), False)
            model(**data, mode=mode)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f'the model does not take an image of {image.shape[0]} channels and {size} pixels '
            f'({reason}): check img_size, in_channels, and the decoder or head of the model '
            'against the pipeline'
        ) from error
    finally:
        model.train(training)
