"""The page as its own client sees it: a drawn hole is filled; other pages are refused."""

import http.client
import json
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from board_toys import write_run
from PIL import Image
from vis_toys import save_checkpoint, tiny_config, write_photos

from simmim_mm.board.page import Board, BoardError, application, build, show_board
from simmim_mm.visualization.reconstructor import Reconstructor

RUN = 'runs/<b>a</b>'


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """Two runs, of which the second has 5 channels, and photographs; the port and the folder."""
    pytest.importorskip('gradio')
    import uvicorn

    folder = tmp_path_factory.mktemp('board')
    for name, channels in (('<b>a<', 3), ('many', 5)):
        work_dir = folder / 'runs' / (f'{name}/b>' if channels == 3 else name)
        write_run(work_dir, losses=(3.0, 2.0))
        cfg = tiny_config(channels)
        text = cfg.pretty_text + '\ntrain_cfg = dict(max_epochs=2)\n'
        (work_dir / '20260101_000000/vis_data/config.py').write_text(text)
        save_checkpoint(work_dir / 'epoch_2.pth', cfg)
    write_photos(folder / 'photos')
    scene = np.random.default_rng(0).integers(0, 4000, (40, 60, 5)).astype(np.uint16)
    np.save(folder / 'photos' / 'scene.npy', scene)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('GRADIO_TEMP_DIR', str(folder / 'cache'))
        images = sorted(map(str, (folder / 'photos').iterdir()))
        app = application(build(Board([folder / 'runs'], images)))
        server = uvicorn.Server(uvicorn.Config(app, log_level='error'))
        with socket.create_server(('127.0.0.1', 0)) as held:
            thread = threading.Thread(target=server.run, kwargs=dict(sockets=[held]))
            thread.start()
            yield held.getsockname()[1], folder
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope='module')
def client(served):
    from gradio_client import Client

    return Client(f'http://127.0.0.1:{served[0]}', verbose=False, analytics_enabled=False)


def get(port, path='/config', **headers):
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
    names = {name.replace('_', '-'): value for name, value in headers.items()}
    connection.request('GET', path, headers=names)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def upload(port, file) -> str:
    """Send a file as a browser does; its path on the server."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    head = f'Content-Disposition: form-data; name="files"; filename="{file.name}"'
    body = b'--x\r\n' + head.encode() + b'\r\n\r\n' + file.read_bytes() + b'\r\n--x--\r\n'
    kind = {'Content-Type': 'multipart/form-data; boundary=x'}
    connection.request('POST', '/gradio_api/upload', body, kind)
    return json.loads(connection.getresponse().read())[0]


def call(port, name, data) -> str:
    """The events that answer a call."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    body = json.dumps(dict(data=data))
    kind = {'Content-Type': 'application/json'}
    connection.request('POST', f'/gradio_api/call/{name}', body, kind)
    event = json.loads(connection.getresponse().read())['event_id']
    return get(port, f'/gradio_api/call/{name}/{event}')[1].decode()


def painted(folder, size, box):
    """What the editor sends: a layer that is transparent but for the paint."""
    from gradio_client import handle_file

    layer = np.zeros((size[1], size[0], 4), np.uint8)
    left, top, right, bottom = box
    layer[top:bottom, left:right] = (255, 0, 255, 255)
    Image.fromarray(layer).save(folder / 'layer.png')
    file = handle_file(str(folder / 'layer.png'))
    return dict(background=None, layers=[file], composite=None), layer[..., 3] > 0


@pytest.mark.parametrize(
    ('run', 'name', 'size'),
    [(RUN, 'chelsea.jpg', (451, 300)), ('runs/many', 'scene.npy', (60, 40))],
)
def test_a_drawn_hole_is_filled_by_the_model_of_the_run(served, client, run, name, size):
    folder = served[1]
    editor, hole = painted(folder, size, (20, 10, 40, 25))
    found = client.predict(run, name, None, editor, api_name='/fill')
    model = Reconstructor.from_checkpoint(folder / run / 'epoch_2.pth')
    expected = model.draw_filled(folder / 'photos' / name, hole)
    shown = np.asarray(Image.open(found['path'] if isinstance(found, dict) else found))
    np.testing.assert_array_equal(shown[..., :3], np.asarray(expected))
    image, _, filled = model.fill(folder / 'photos' / name, hole)
    assert (image != filled).any(-1)[hole].mean() > 0.9
    np.testing.assert_array_equal(image[~hole], filled[~hole])


def test_what_cannot_be_filled_is_one_line_on_the_page(served, client):
    folder = served[1]
    editor, _ = painted(folder, (451, 300), (0, 0, 0, 0))
    for arguments, said in (
        ((RUN, 'chelsea.jpg', None, editor), 'nothing is painted'),
        ((None, 'chelsea.jpg', None, editor), 'choose a run'),
    ):
        with pytest.raises(Exception, match=said):
            client.predict(*arguments, api_name='/fill')


def test_no_file_of_the_machine_is_served_or_read(served, client):
    port, folder = served
    secret = folder / 'runs' / 'notes.txt'
    secret.write_text('secret')
    for path in (secret, folder / 'photos' / 'chelsea.jpg', Path('/etc/hostname')):
        status, body, _ = get(port, f'/gradio_api/file={path}')
        assert status in (403, 404) and b'secret' not in body
    # The client would upload what it is told to send: these are the requests themselves.
    painted(folder, (451, 300), (20, 10, 40, 25))
    data = dict(meta=dict(_type='gradio.FileData'))
    layer = dict(data, path=upload(port, folder / 'layer.png'))
    editor = dict(background=None, layers=[layer], composite=None)
    assert 'event: complete' in call(port, 'fill', [RUN, 'chelsea.jpg', None, editor])
    photo = dict(data, path=str(folder / 'photos' / 'chelsea.jpg'))
    for choice, file in ((None, photo), (photo['path'], None)):
        events = call(port, 'fill', [RUN, choice, file, editor])
        assert 'event: error' in events and 'event: complete' not in events


def test_requests_of_other_pages_are_refused(served):
    port, _ = served
    status, body, headers = get(port)
    assert status == 200 and b'"title"' in body
    assert "default-src 'self'" in headers['content-security-policy']
    own = dict(Host=f'localhost:{port}', Origin=f'http://localhost:{port}')
    assert get(port, **own)[0] == 200
    for foreign in (
        dict(Host='rebound.example'),
        dict(Host=f'rebound.example:{port}', Origin=f'http://rebound.example:{port}'),
        dict(Origin='http://elsewhere.example'),
        dict(Origin='null'),
        dict(Origin='http://elsewhere.example', Access_Control_Request_Method='POST'),
        dict(Origin='http://localhost:1'),
        dict(Sec_Fetch_Site='cross-site'),
    ):
        assert get(port, **foreign)[0] == 403


def test_names_of_runs_are_text_and_nothing_calls_elsewhere(served, client):
    port, _ = served
    shown = client.predict([RUN, 'runs/many'], api_name='/side_by_side')
    assert '<b>a</b>' not in shown and '&lt;b&gt;a&lt;/b&gt;: no pictures' in shown
    assert shown.count('data:image/png') == 1  # the curves of the loss
    config = json.loads(get(port)[1])
    assert config['analytics_enabled'] is False and not config.get('space_id')
    assert b'fonts.googleapis' not in get(port, '/')[1]


def test_without_gradio_one_line_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(BoardError, match=r"needs gradio .*pip install '\.\[board\]'"):
        show_board([tmp_path])


def test_the_table_sorts_by_any_column_and_what_has_no_value_comes_last(tmp_path):
    for name, losses in (('a', (3.0, 2.0)), ('b', (3.0, 1.0)), ('c', (3.0, 4.0))):
        write_run(tmp_path / name, losses=losses)
    write_run(tmp_path / 'none', losses=())
    board = Board([tmp_path])

    def names(*order):
        return [row[0].rpartition('/')[2] for row in board.rows(*order)]

    assert names('loss') == ['b', 'a', 'c', 'none']
    assert names('loss', True) == ['c', 'a', 'b', 'none']
    assert names('run', True) == ['none', 'c', 'b', 'a']
