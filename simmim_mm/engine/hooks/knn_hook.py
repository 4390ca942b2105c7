from simmim_mm.engine.hooks.probe_hook import ProbeHook
from simmim_mm.registry import HOOKS


@HOOKS.register_module()
class KNNHook(ProbeHook):
    """Reports during a pretraining how well its features classify a small labeled set.

    :class:`ProbeHook` with nearest neighbors alone: ``knn/accuracy``.

    Args:
        data_root: As all that follows, see :class:`ProbeHook`.
        interval: Epochs, iterations if not ``by_epoch``, from one measurement to the next.
        k: Neighbors.
        temperature: See :func:`weighted_knn`.
        batch_size: Images encoded at once.
        num_workers: Processes that load images.
    """

    priority = 'LOW'  # it has to do with no validation

    def __init__(
        self,
        data_root: str,
        interval: int = 1,
        by_epoch: bool = True,
        k: int = 20,
        temperature: float = 0.07,
        batch_size: int = 64,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            data_root, interval, by_epoch, ('knn',), k, temperature, batch_size, num_workers
        )
