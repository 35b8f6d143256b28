"""
Odd registries, as data: each behaviour is a few rules that change what a registry of the books answers.

`tests/data/registries/*.toml` has them. A rule applies to requests of its `method` whose path matches `path`
and whose headers match `when` and do not match `unless`, at most `times` times. With a `status` from 300 on
the request is refused; otherwise it is done, and the answer is changed: `status`, `headers` (an empty text
takes one away), `body`, `encoding` (`gzip`, `chunked`, or `until-closed`, without any length), `sends` (so
many bytes of the body, and a connection that is cut; with `until-closed` nobody can see that).

`{url}` and `{host}` are the registry's, `{other}` is a second one with the same content, `{path}` is the
request's path with its query, `{digest}` a digest of nothing, `{location}` the right path for the header
Location, and `{upload}` its last part.
"""

import gzip
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from services.misbehaving import Misbehaving, Reply, Request

FOLDER = Path(__file__).parents[1] / "data/registries"


@dataclass
class Rule:
    """One change of what a registry answers; the module says what its members mean."""

    path: str
    method: str = "."
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    encoding: str = ""
    sends: int | None = None
    times: int = 1 << 30
    when: Mapping[str, str] = field(default_factory=dict)
    unless: Mapping[str, str] = field(default_factory=dict)

    def applies(self, request: Request) -> bool:
        """Return whether *request* is to be answered by this rule."""
        if not (re.fullmatch(self.method, request.method) or self.method == "."):
            return False
        if self.times <= 0 or not re.search(self.path, request.path):
            return False
        sent = {name.lower(): value for name, value in request.headers.items()}
        wanted = all(re.search(text, sent.get(name.lower(), "")) for name, text in self.when.items())
        return wanted and not any(
            re.search(text, sent.get(name.lower(), "")) for name, text in self.unless.items()
        )

    @property
    def is_refusal(self) -> bool:
        """Whether the request is not done."""
        return self.status is not None and self.status >= 300

    def change(self, reply: Reply, places: Mapping[str, str]) -> Reply:
        """Return *reply* as this rule has it."""
        headers = {**reply.headers}
        for name, value in self.headers.items():
            headers.pop(name, None)
            headers[name] = _filled(value, places)
        body = reply.body if self.body is None else _filled(self.body, places).encode()
        if self.encoding == "gzip":
            body = gzip.compress(body, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return replace(
            reply,
            status=self.status or reply.status,
            body=body,
            headers=headers,
            cut_after=self.sends,
            framing=self.encoding if self.encoding != "gzip" else "",
        )


def _filled(text: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


@dataclass
class Oddity:
    """
    A registry that answers oddly, and what is right then.

    Attributes:
        name: What it does, for people.
        rules: How; the first that applies counts.
        odd: While what: `push`, `pull`, `list` its tags, or all of that.
        says: What the error has to say; empty where all goes well.
        credentials: Whether we have a name and a password there.
        referrers_api: Whether it lists referrers.
    """

    name: str
    rules: list[Rule]
    odd: tuple[str, ...] = ("push", "pull", "list")
    says: tuple[str, ...] = ()
    credentials: bool = False
    referrers_api: bool = False


def oddities() -> Iterator[Oddity]:
    """Yield all behaviours; one with several statuses is several."""
    for path in sorted(FOLDER.glob("*.toml")):
        for table in tomllib.loads(path.read_text())["oddity"]:
            for status in table.pop("statuses", [None]):
                yield _oddity(path.stem, table, status)


def _oddity(area: str, table: Mapping[str, Any], status: int | None) -> Oddity:
    members = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    rules = [Rule(**rule) for rule in table["rules"]]
    if status is not None:
        rules = [replace(rule, status=rule.status or status) for rule in rules]
        members["name"] = f"{table['name']}: {status}"
    return Oddity(**{**members, "name": f"{area}: {members['name']}", "rules": rules})


class OddRegistry(Misbehaving):
    """A registry that answers by an oddity as long as it is asked to."""

    def __init__(self, oddity: Oddity, other: Misbehaving | None = None) -> None:
        super().__init__()
        self.oddity = oddity
        self.is_odd = False
        self.has_referrers_api = oddity.referrers_api
        self._other = other
        self._left = {id(rule): rule.times for rule in oddity.rules}
        if other is not None:
            self.blobs, self.manifests, self.tags = other.blobs, other.manifests, other.tags
            self.uploads = other.uploads

    def _answer(self, request: Request, body: bytes) -> Reply:
        rule = next((each for each in self.oddity.rules if self._applies(each, request)), None)
        if rule is None:
            return super()._answer(request, body)
        self._left[id(rule)] -= 1
        reply = Reply(rule.status or 0) if rule.is_refusal else super()._answer(request, body)
        places = {
            "url": self.url,
            "host": self.host,
            "other": self._other.url if self._other is not None else "",
            "other-without-scheme": f"//{self._other.host}" if self._other is not None else "",
            "path": request.path,
            "digest": f"sha256:{'9' * 64}",
            "location": (location := reply.headers.get("Location", "")),
            "upload": urlsplit(location).path.rpartition("/")[2],
        }
        return rule.change(reply, places)

    def _applies(self, rule: Rule, request: Request) -> bool:
        return self.is_odd and self._left[id(rule)] > 0 and rule.applies(request)
