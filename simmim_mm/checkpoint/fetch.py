"""Checkpoint files from where a config names them."""

import os
from pathlib import Path
from urllib.parse import unquote, urlparse

import torch
from mmengine.dist import barrier, get_local_rank

from simmim_mm.checkpoint.safe_load import CheckpointError


def fetch(checkpoint: str | os.PathLike[str]) -> Path:
    """The local file of a path, a ``file://`` or an ``http(s)://`` address.

    A download is kept where PyTorch and mmengine keep theirs (``$TORCH_HOME/hub/checkpoints``) and
    done once per machine; nothing of it is run or unpickled.

    Raises:
        CheckpointError: If the address is of another kind or cannot be reached.
    """
    checkpoint = os.fspath(checkpoint)
    address = urlparse(checkpoint)
    if address.scheme == 'file':
        return Path(unquote(address.path))
    if '://' not in checkpoint:
        return Path(checkpoint).expanduser()
    if address.scheme not in ('http', 'https'):
        raise CheckpointError(
            f'{checkpoint}: only paths, file:// and http(s):// are loaded without running what a '
            'file carries: download it first'
        )
    target = Path(torch.hub.get_dir(), 'checkpoints', Path(unquote(address.path)).name)
    error = None
    if get_local_rank() == 0 and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:  # into a temporary file, which then takes the name
            torch.hub.download_url_to_file(checkpoint, str(target), progress=False)
        except OSError as failure:
            error = failure
    barrier()
    if not target.exists():
        raise CheckpointError(f'{checkpoint} cannot be downloaded: {error or "see process 0"}')
    return target
