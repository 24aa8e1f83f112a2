"""A FastAPI application as an argument of a task and captured by an actor's class."""

from __future__ import annotations

import pytest

from tests.guests.conftest import Guest

pytest.importorskip("fastapi", reason="fastapi is not installed (extra 'guests')")

APPLICATION = """
    import asyncio
    from typing import List, Optional

    import ray
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Tag(BaseModel):
        text: str

    class Item(BaseModel):
        name: str
        tags: List[Tag] = []
        best: Optional[Tag] = None

    app = FastAPI(title="of a test")
    app.state.where = {"kept": 1}

    @app.get("/items/{number}")
    def read(number: int, q: Optional[str] = None):
        return {"number": number, "q": q}

    @app.post("/items", response_model=Item)
    async def make(item: Item):
        return item

    def ask(app, method, path, body=b""):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"q=z", "headers": [(b"content-type", b"application/json")],
            "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
            "server": ("here", 80), "client": ("there", 1), "root_path": "",
        }
        asyncio.run(app(scope, receive, send))
        return sent[0]["status"], sent[1]["body"].decode()
"""


def test_an_application_works_where_it_arrives(guest: Guest) -> None:
    output = guest(
        APPLICATION
        + """
    @ray.remote
    def serve(app):
        item = b'{"name": "n", "tags": [{"text": "t"}], "best": {"text": "b"}}'
        return app.state.where, ask(app, "GET", "/items/3"), ask(app, "POST", "/items", item)

    @ray.remote
    class Ingress:
        def bad(self):
            return ask(app, "GET", "/items/three")[0]

    print(*ray.get(serve.remote(app)), sep="|")
    print(ray.get(Ingress.remote().bad.remote()), ray.get(ray.put(app.state)).where)
    """
    )
    first, second = output.splitlines()
    assert first.split("|") == [
        "{'kept': 1}",
        """(200, '{"number":3,"q":"z"}')""",
        """(200, '{"name":"n","tags":[{"text":"t"}],"best":{"text":"b"}}')""",
    ]
    assert second == "422 {'kept': 1}"
