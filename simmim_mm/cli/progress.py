"""A progress bar for the scripts in tools/."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_ticks(title: str) -> Iterator[Callable[[int], None]]:
    """Show a bar; the function that it gives moves it by one and takes the total."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(title, total=None)
        yield lambda total: progress.update(task, total=total, advance=1)
