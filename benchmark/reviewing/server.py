"""The local server of a review: one page, its pictures and its decisions, for who has the token, on 127.0.0.1 alone."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from ...core.errors import UserError
from ...core.web import asset, digest, render
from .session import Outdated, Session

HOST = "127.0.0.1"
MOST_BODY = 4096
"""Bytes of a request's body; a decision takes a hundred."""
SECONDS = 10
"""After which a connection that says nothing is closed."""

_PACKAGE = __package__
_PICTURE = re.compile(r"picture/([0-9]{1,12})")
_KEYS = "0123456789abcdefghijklmnopqrtvwxyz"
"""Keys of the first classes, in the order of their ids; s skips and u takes back."""


class ReviewServer(socketserver.ThreadingTCPServer):
    """Serves one session to one browser on this machine.

    Every request must carry the token in its path and this server's own name in `Host`, so that neither another user's
    guess nor a foreign site in the same browser (by DNS rebinding or a hidden form) reaches it; a POST must also come
    from its own page by `Origin`.

    Args:
        session: the review.
        port: 0 for a free one.

    Raises:
        UserError: the port is taken or not allowed.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session, self.token = session, secrets.token_urlsafe(32)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"Cannot serve on {HOST}:{port}: {reason}. --port 0 takes a free one.") from error
        self.hosts = tuple(f"{name}:{self.server_address[1]}" for name in (HOST, "localhost"))
        self.html, self.policy = _page(session)

    @property
    def url(self) -> str:
        """Where the page is; who knows it may decide."""
        return f"http://{self.hosts[0]}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request, answered and closed."""

    timeout: ClassVar[int] = SECONDS
    server_version = "noisyfer"
    sys_version = ""
    server: ReviewServer

    def do_GET(self) -> None:
        """The page, the state, or a picture by its row."""
        place = self._place()
        if place is None:
            return
        if place == "":
            self._reply(HTTPStatus.OK, "text/html; charset=utf-8", self.server.html)
        elif place == "state":
            self._json(HTTPStatus.OK, self.server.session.state())
        elif picture := _PICTURE.fullmatch(place):
            found = self.server.session.picture(int(picture[1]))
            if isinstance(found, bytes):
                self._reply(HTTPStatus.OK, "image/jpeg", found)
            else:
                self._say(HTTPStatus.NOT_FOUND, found or "There is no such picture.")
        else:
            self._say(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        """A decision, or its undoing; answered with the state after it."""
        place = self._place(changing=True)
        body = None if place is None else self._body()
        if body is None:
            return
        session = self.server.session
        try:
            if place == "undo":
                self._json(HTTPStatus.OK, session.undo())
            elif place == "decide":
                row, decision, given = (body.get(key) for key in ("row", "decision", "class"))
                if type(row) is not int or not isinstance(decision, str) or type(given) not in (int, type(None)):
                    raise UserError("A row, a decision and perhaps a class were expected.")
                self._json(HTTPStatus.OK, session.decide(row, decision, given))
            else:
                self._say(HTTPStatus.NOT_FOUND, "There is nothing here.")
        except Outdated as error:
            self._say(HTTPStatus.CONFLICT, str(error))
        except UserError as error:
            self._say(HTTPStatus.BAD_REQUEST, str(error))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the token off the terminal's log."""

    def _place(self, *, changing: bool = False) -> str | None:
        """What is asked for, behind the token; None where the request was refused."""
        hosts, origins = self.headers.get_all("Host") or [], self.headers.get_all("Origin") or []
        known = [f"http://{host}" for host in self.server.hosts]
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            self._refuse("This server is known by another name.")
            return None
        if any(origin not in known for origin in origins) or (changing and len(origins) != 1):
            self._refuse("The request comes from another page.")
            return None
        _, _, rest = self.path.partition("/")
        token, slash, place = rest.partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()) or not slash:
            self._refuse("The address is not the one that 'noisyfer review' printed.")
            return None
        return place

    def _refuse(self, why: str) -> None:
        self._say(HTTPStatus.FORBIDDEN, why)

    def _body(self) -> dict[str, Any] | None:
        """The JSON object of a request; None where it was refused."""
        lengths = self.headers.get_all("Content-Length") or []
        if len(lengths) != 1 or not re.fullmatch(r"[0-9]{1,9}", lengths[0]) or self.headers.get("Transfer-Encoding"):
            self._say(HTTPStatus.LENGTH_REQUIRED, "A body of a known length was expected.")
            return None
        if int(lengths[0]) > MOST_BODY:
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {MOST_BODY} bytes were expected.")
            return None
        try:
            found = json.loads(self.rfile.read(int(lengths[0])))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._say(HTTPStatus.BAD_REQUEST, "A JSON object was expected.")
            return None
        return found

    def _json(self, status: HTTPStatus, value: Any) -> None:
        self._reply(status, "application/json", json.dumps(value, ensure_ascii=False).encode())

    def _say(self, status: HTTPStatus, text: str) -> None:
        self._reply(status, "text/plain; charset=utf-8", text.encode("utf-8", "replace"))

    def _reply(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(body)


def _page(session: Session) -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that goes with it."""
    queue = session.queue
    style, script = asset("page.css") + asset("review.css", _PACKAGE), asset("review.js", _PACKAGE)
    classes = queue.opinions.task.classes
    keys = [_KEYS[place] if place < len(_KEYS) else "" for place in range(len(classes))]
    html = render(
        "review.html",
        _PACKAGE,
        name=queue.name,
        source=queue.source,
        file=session.file.path.name,
        classes=list(zip(keys, classes, strict=True)),
        data={"classes": classes, "keys": keys},
        style=_markup(style),
        script=_markup(script),
    )
    policy = (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.encode(), policy


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)
