"""A stand-in for a Weights & Biases server: it answers, keeps what it was sent, and can fall silent."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wandb_artifacts import TIME, Artifacts
from wandb_sweep import Sweep

VIEWER = {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}

PROJECT_NODE = {
    "__typename": "Project", "id": "p", "name": "x", "entityName": "me", "createdAt": TIME, "isBenchmark": False,
    "user": None,
}  # fmt: skip


class Server:
    """Listens on a free port of this machine until `stop`."""

    def __init__(self):
        self.bodies = []
        self.uploads = {}
        """What was put, by its path; a GET of that path returns it."""
        self.reports = []
        """What was saved as a Report: the variables of each request."""
        self.silent = threading.Event()
        self.stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._reply(outer.uploads.get(self.path, b"{}"))

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.bodies.append((self.path, body))
                if outer.silent.is_set():
                    outer.stopping.wait(60)
                    return
                self._reply(json.dumps(outer.answer(self.path, body)).encode())

            def do_PUT(self):
                length = int(self.headers.get("Content-Length") or 0)
                outer.uploads[self.path] = self.rfile.read(length)
                outer.bodies.append((self.path, outer.uploads[self.path]))
                self._reply(b"{}")

            def log_message(self, *arguments):
                pass

            def _reply(self, content):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # a client that hangs up is no news
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.artifacts = Artifacts(self.url, self.uploads)
        self.sweep = Sweep()
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def answer(self, path, body):
        """Return what the real server would answer, as far as the client looks."""
        if path != "/graphql":
            return {}
        request = json.loads(body)
        query, variables = request["query"], request.get("variables") or {}
        if "upsertBucket" in query:
            project = {"id": "p", "name": "x", "entity": {"id": "e", "name": "me"}}
            bucket = {
                "id": "b",
                "name": variables["name"],
                "displayName": "r",
                "config": "{}",
                "project": project,
            }
            return {"data": {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0}, "inserted": True}}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in variables["files"]]
            return {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        if (answer := self.sweep.answer(query, variables)) is not None:
            return answer
        if "query GetProjects" in query:
            page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
            return {"data": {"models": {"pageInfo": page, "edges": [{"node": PROJECT_NODE}]}}}
        if "upsertView" in query:
            self.reports.append(variables)
            view = {
                "id": "UmVwb3J0", "type": variables["type"], "name": variables["name"], "description": "",
                "displayName": variables["displayName"], "project": PROJECT_NODE, "spec": variables["spec"],
                "updatedAt": TIME,
            }  # fmt: skip
            return {"data": {"upsertView": {"view": view, "inserted": True}}}
        if (answer := self.artifacts.answer(query, variables)) is not None:
            return answer
        return {"data": {"viewer": VIEWER, "serverInfo": {"features": [], "cliVersionInfo": {}}}}

    def stop(self):
        """Free the port and every request that hangs."""
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
