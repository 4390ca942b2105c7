"""Requests of other pages are refused: a browser sends them too."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

LOCAL = frozenset({'127.0.0.1', 'localhost', '::1'})


class OnlyThisPage:
    """ASGI middleware that answers 403 to requests that do not come from the page itself.

    A page on the internet can have a browser call a server on this machine, and, by a name of its
    own that it points here (DNS rebinding), read the answers. The first kind names another page in
    ``Origin`` or ``Sec-Fetch-Site``, the second another machine in ``Host``.

    What is answered has a policy by which the browser loads nothing from elsewhere, and shows the
    page in no other.

    Args:
        app: The application that answers the other requests.
    """

    def __init__(self, app: Callable) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope['type'] not in ('http', 'websocket'):
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode('latin-1') for name, value in scope['headers']}
        if not is_own(headers):
            await _refuse(scope['type'], send)
            return

        async def answer(message: Any) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message['headers'], *_HEADERS]
            await send(message)

        await self.app(scope, receive, answer)


def is_own(headers: dict[bytes, str]) -> bool:
    """Whether a request is meant for this machine, and made by its user or its own page."""
    host = headers.get(b'host', '')
    origin = headers.get(b'origin')
    return (
        urlsplit(f'//{host}').hostname in LOCAL
        and origin in (None, f'http://{host}')
        and headers.get(b'sec-fetch-site', 'none') in ('none', 'same-origin')
    )


_HEADERS = (
    (
        b'content-security-policy',
        b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        b"style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    ),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'same-origin'),
)


async def _refuse(kind: str, send: Callable[[dict], Awaitable[None]]) -> None:
    if kind == 'websocket':
        await send(dict(type='websocket.close', code=1008))
        return
    text = [(b'content-type', b'text/plain; charset=utf-8')]
    await send(dict(type='http.response.start', status=403, headers=text))
    await send(dict(type='http.response.body', body=b'This page answers its own machine only.\n'))
