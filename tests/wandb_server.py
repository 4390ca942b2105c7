"""What a server of W&B is told: wandb's own client syncs an offline run to a stand-in here."""

import gzip
import json
import os
import subprocess
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple


class SyncedRun(NamedTuple):
    """Config; lines of the history; summary; uploaded files by name; names of GraphQL calls."""

    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    files: dict[str, bytes]
    calls: set[str]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        if self.headers.get('Content-Encoding') == 'gzip':
            body = gzip.decompress(body)
        answer: dict = {}
        if self.path == '/graphql':
            answer = dict(data=self._graphql(json.loads(body)))
        elif self.path.endswith('/file_stream'):
            for name, chunk in (json.loads(body).get('files') or {}).items():
                self.server.streams[name] += chunk['content']
        else:
            self.server.files[self.path.removeprefix('/upload/')] = body
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PUT = _answer

    def _graphql(self, asked: dict) -> dict:
        call, values = asked['operationName'], asked['variables']
        self.server.calls.add(call)
        if call == 'UpsertBucket':
            self.server.config.update(json.loads(values['config'] or '{}'))
            project = dict(id='2', name='project', entity=dict(id='3', name='entity'))
            run = dict(id='1', name=values['name'], displayName=values['displayName'])
            run.update(description='', config='{}', project=project, historyLineCount=0)
            return dict(upsertBucket=dict(bucket=run, inserted=True))
        if call == 'CreateRunFiles':
            url = f'http://127.0.0.1:{self.server.server_port}/upload/'
            files = [dict(name=name, uploadUrl=url + name) for name in values['files']]
            return dict(createRunFiles=dict(runID='1', uploadHeaders=[], files=files))
        return {}

    def log_message(self, *args: Any) -> None:
        pass


def sync_offline_run(folder: Path) -> SyncedRun:
    """Have ``wandb sync`` read an offline run, and return what it sends.

    Args:
        folder: ``offline-run-...``, in which a mark is left that it is synced.
    """
    server: Any = ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
    server.config, server.streams = {}, defaultdict(list)
    server.files, server.calls = {}, set()
    Thread(target=server.serve_forever, daemon=True).start()
    own = dict.fromkeys(('HOME', 'WANDB_CONFIG_DIR', 'WANDB_CACHE_DIR'), str(folder.parent))
    own.update(WANDB_BASE_URL=f'http://127.0.0.1:{server.server_port}', WANDB_API_KEY='0' * 40)
    own.update(WANDB_ERROR_REPORTING='false', WANDB_MODE='online', WANDB_SILENT='false')
    try:
        command = [sys.executable, '-m', 'wandb', 'sync', str(folder)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=dict(os.environ, **own), timeout=60
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0 and 'Finished syncing' in done.stderr, done.stderr
    config = {name: entry['value'] for name, entry in server.config.items()}
    history = [json.loads(line) for line in server.streams['wandb-history.jsonl']]
    summary = json.loads(server.streams['wandb-summary.json'][-1])
    return SyncedRun(config, history, summary, server.files, server.calls)
