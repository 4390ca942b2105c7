"""The page, made with gradio."""

import io
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from html import escape
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from simmim_mm.board.guard import OnlyThisPage
from simmim_mm.board.runs import COLUMNS, NUMBERS, Run, find_runs
from simmim_mm.checkpoint import plain_dict
from simmim_mm.experiments.run_report import (
    draw_curves,
    drawings,
    image_tag,
    is_pretraining,
    read_drawing,
)
from simmim_mm.visualization.grid import display_range, shrink, to_rgb
from simmim_mm.visualization.reconstructor import MAX_SIDE, Reconstructor

HOST = '127.0.0.1'
_HOLE = '#ff00ff'
_WIDTHS = ['260px', '90px', '120px', *['90px'] * len(NUMBERS), '110px', '150px', '110px', '240px']
_CSS = """
.side {display: flex; flex-wrap: wrap; gap: 1em}
.side figure {flex: 1 1 18em; min-width: 0; margin: 0}
.side img {max-width: 100%; height: auto; background: white}
.side figcaption {font-weight: bold; overflow-wrap: anywhere}
"""
_EXPLANATION = """
The model sees the part of the image around the hole, at the size it was trained on. A cell of its
grid counts as masked if **any** pixel of it is painted; only painted pixels are replaced. Of other
than one or three channels the first three are shown as red, green and blue (the first as gray, of
two), each stretched from its 1st to its 99th percentile; all are filled.
"""


class BoardError(ValueError):
    """The page cannot be shown; the message says what to do."""


class Board:
    """What the page shows, of trainings below some folders.

    Args:
        roots: Searched for trainings.
        images: To choose from for the painted hole.
        device: Where models run.

    Raises:
        DataError: If one of the folders does not exist.
    """

    def __init__(
        self, roots: Sequence[str | Path], images: Sequence[str] = (), device: str = 'cpu'
    ) -> None:
        self._roots, self._device = roots, device
        self.images = {Path(path).name: path for path in images}
        self._lock = Lock()  # of the models: two are kept, one fills at a time
        self._reconstructor = lru_cache(maxsize=2)(self._load)
        self.runs = find_runs(roots)

    def refresh(self, column: str = COLUMNS[0], descending: bool = False) -> list[list]:
        """Look at the folders again; the rows of the table, see :meth:`rows`."""
        self.runs = find_runs(self._roots)
        return self.rows(column, descending)

    def rows(self, column: str = COLUMNS[0], descending: bool = False) -> list[list]:
        """The table, sorted; runs without a value in the column come last."""
        index = COLUMNS.index(column)
        rows = [run.row() for run in self.runs.values()]
        known = [row for row in rows if row[index] is not None]
        known.sort(key=lambda row: row[index], reverse=descending)
        return known + [row for row in rows if row[index] is None]

    def fillable(self) -> list[str]:
        """Names of the runs that have a checkpoint to draw with."""
        return [name for name, run in self.runs.items() if run.checkpoint and _draws(run)]

    def side_by_side(self, names: Sequence[str]) -> str:
        """HTML with the curves of some runs in one plot each, and their last reconstructions."""
        chosen = [self.runs[name] for name in names if name in self.runs]
        figures = []
        for label, curve in NUMBERS.items():
            curves = {run.name: run.curves[curve] for run in chosen if curve in run.curves}
            if curves:
                figures.append(_figure(draw_curves(curves, label), label))
        for run in chosen:
            step, path = next(reversed(drawings(run.work_dir).items()), (0, None))
            picture = path and read_drawing(path)
            if picture is None:
                figures.append(f'<figure><figcaption>{escape(run.name)}: no pictures</figure>')
                continue
            buffer = io.BytesIO()
            picture.save(buffer, 'PNG')
            figures.append(_figure(buffer.getvalue(), f'{run.name}, iteration {step}'))
        return f'<div class="side">{"".join(figures)}</div>' if figures else ''

    def show(self, name: str | None, choice: str | None, upload: str | None) -> np.ndarray | None:
        """The image to paint on, as the run loads it: ``(H, W, 3)`` uint8, at most 640 pixels."""
        path = self._path(choice, upload)
        if name is None or path is None:
            return None
        with self._lock:
            image = self._of(name).load(path).astype(np.float32).transpose(2, 0, 1)
        return shrink(to_rgb(image, display_range(image)), MAX_SIDE)

    def fill(
        self, name: str | None, choice: str | None, upload: str | None, painted: Any
    ) -> Image.Image:
        """Fill what was painted over the image, see :meth:`Reconstructor.fill`.

        Args:
            name: Of the run.
            choice: One of the images that the page was started with.
            upload: A file of the user's, which goes first.
            painted: What gradio's image editor gives: ``layers``, of RGBA at the size of the image.

        Raises:
            ValueError: If something was not chosen, nothing is painted, or all of it.
        """
        path = self._path(choice, upload)
        if name is None or path is None:
            raise ValueError('choose a run and an image')
        layers = [layer[..., 3] > 0 for layer in (painted or {}).get('layers') or ()]
        if not layers:
            raise ValueError('nothing is painted: draw the hole over the image')
        with self._lock:
            return self._of(name).draw_filled(path, np.logical_or.reduce(layers))

    def _path(self, choice: str | None, upload: str | None) -> str | None:
        if upload or choice is None:
            return upload
        if choice not in self.images:  # by a name of the list, not a path
            raise ValueError(f'{choice}: no such image')
        return self.images[choice]

    def _of(self, name: str) -> Reconstructor:
        run = self.runs.get(name)
        if run is None or run.checkpoint is None:
            raise ValueError(f'{name}: no such run with a checkpoint; refresh the list')
        return self._reconstructor(run.checkpoint, run.checkpoint.stat().st_mtime_ns)

    def _load(self, checkpoint: Path, modified: int) -> Reconstructor:
        return Reconstructor.from_checkpoint(checkpoint, device=self._device)


def build(board: Board) -> Any:
    """The page as ``gradio.Blocks``."""
    gr = _gradio()

    def told(function: Callable) -> Callable:
        """The user's errors as a line on the page."""

        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except (ValueError, OSError) as error:
                raise gr.Error(escape(str(error)), print_exception=False) from None

        return call

    def refreshed(column: str, descending: bool) -> list:
        rows = board.refresh(column, descending)
        return [
            rows,
            gr.Dropdown(choices=list(board.runs)),
            gr.Dropdown(choices=board.fillable()),
        ]

    fillable = board.fillable()
    with gr.Blocks(title='simmim board', analytics_enabled=False) as page:
        gr.Markdown('# Trainings')
        with gr.Tab('Runs'):
            with gr.Row():
                column = gr.Dropdown(list(COLUMNS), value=COLUMNS[0], label='Sort by')
                descending = gr.Checkbox(label='Largest or latest first')
            table = gr.Dataframe(
                board.rows(),
                headers=list(COLUMNS),
                datatype=['number' if name in NUMBERS else 'str' for name in COLUMNS],
                interactive=False,
                label='Runs',
                show_search='filter',
                column_widths=_WIDTHS,
                wrap=True,  # names are paths
            )
            refresh = gr.Button('Refresh')
            names = list(board.runs)
            chosen = gr.Dropdown(
                names, value=names[:2], multiselect=True, label='Runs to show side by side'
            )
            pictures = gr.HTML(board.side_by_side(names[:2]))
        with gr.Tab('Fill a hole'):
            with gr.Row():
                run = gr.Dropdown(
                    fillable, value=next(iter(fillable), None), label='Run (its last checkpoint)'
                )
                choice = gr.Dropdown(
                    list(board.images),
                    value=None,
                    label='Image',
                    visible=bool(board.images),
                )
                upload = gr.File(label='Or a file of yours', height=120)
            editor = gr.ImageEditor(
                type='numpy',
                label='Paint the hole',
                height=520,
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(colors=[_HOLE], default_color=_HOLE, color_mode='fixed'),
                buttons=[],
            )
            fill = gr.Button('Fill', variant='primary')
            filled = gr.Image(
                label='Filled',
                show_label=False,  # it would cover a caption
                type='pil',
                format='png',
                interactive=False,
                buttons=['download', 'fullscreen'],
            )
            gr.Markdown(_EXPLANATION)

        source = [run, choice, upload]
        order = [column, descending]  # by keyboard too, which the headings of the table are not
        refresh.click(refreshed, order, [table, chosen, run], api_name='refresh')
        for part in order:
            part.change(board.rows, order, table, api_name=False)
        chosen.change(board.side_by_side, chosen, pictures, api_name='side_by_side')
        for part in source:
            part.change(told(board.show), source, editor, api_name=False)
        fill.click(told(board.fill), [*source, editor], filled, api_name='fill')
    return page


def application(page: Any) -> OnlyThisPage:
    """The page as an ASGI application, for this machine alone.

    What is uploaded or drawn lies in ``GRADIO_TEMP_DIR``, the only folder that files are served
    from.
    """
    gr, fastapi = _gradio(), import_module('fastapi')
    app = gr.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path='/',
        server_name=HOST,
        footer_links=[],
        allowed_paths=[],
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=False,
        max_file_size='500mb',
        # without fonts of the internet
        theme=gr.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace']),
        css=_CSS,
    )
    # Where an application is mounted, gradio leaves this out, and then takes any path of the
    # machine for a file that was uploaded.
    page.has_launched = True
    return OnlyThisPage(app)


def show_board(
    roots: Sequence[str | Path],
    images: Sequence[str] = (),
    port: int = 7860,
    device: str = 'cpu',
    report: Callable[[str], None] = print,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        roots: As all but the last two, see :class:`Board`.
        images: See there.
        port: Of 127.0.0.1.
        device: See there.
        report: Takes the address.

    Raises:
        BoardError: If gradio is not installed, or the port is in use.
        DataError: If one of the folders does not exist.
    """
    _gradio()  # to know now that it is there
    with TemporaryDirectory(prefix='simmim_board_') as cache:
        os.environ['GRADIO_TEMP_DIR'] = cache
        board = Board(roots, images, device)
        app = application(build(board))
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                held.bind((HOST, port))
            except (OSError, OverflowError) as error:
                raise BoardError(
                    f'--port {port} cannot be used ({error}): choose another'
                ) from None
            report(f'{len(board.runs)} runs: http://{HOST}:{port} (Ctrl-C ends it)')
            uvicorn: Any = import_module('uvicorn')
            server = uvicorn.Server(uvicorn.Config(app, log_level='warning'))
            with suppress(KeyboardInterrupt):
                server.run(sockets=[held])


def _gradio() -> Any:
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # read when it is imported
    os.environ.setdefault('HF_HUB_DISABLE_TELEMETRY', '1')
    try:
        return import_module('gradio')
    except ImportError as error:
        raise BoardError(
            f"simmim board needs gradio ({error}): pip install '.[board]' in the repository"
        ) from error


def _draws(run: Run) -> bool:
    model = plain_dict((run.config or {}).get('model'))
    return is_pretraining(run.config) and bool(model.get('neck'))


def _figure(content: bytes, caption: str) -> str:
    image = image_tag(content, 'png', caption)
    return f'<figure><figcaption>{escape(caption)}</figcaption>{image}</figure>'
