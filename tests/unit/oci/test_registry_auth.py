"""Challenges of registries: what is asked for, and what is not given."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetops.errors import RegistryError, Unauthorized
from gadgetops.oci.registry.auth import Authenticator, Challenge, parse_challenges
from gadgetops.oci.registry.credentials import Credentials

TOKEN = Credentials(registry_token="sesame")
REALM = "https://auth.example/token"
BEARER = f'Bearer realm="{REALM}",service="s",scope="repository:a:pull,push repository:b:pull"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ('BASIC Realm = "a, b"', [("basic", {"realm": "a, b"})]),
        (
            'Basic realm="x", Bearer realm="https://y/?a=b",scope="r:a:pull,push"',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "https://y/?a=b", "scope": "r:a:pull,push"})],
        ),
        ("Negotiate", [("negotiate", {})]),
        ("Basic, Bearer realm=y", [("basic", {}), ("bearer", {"realm": "y"})]),
        (r'Basic realm="a \"b\", c"', [("basic", {"realm": 'a "b", c'})]),
        ("", []),
    ],
)
def test_challenges_are_told_apart(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == [Challenge(scheme, parameters) for scheme, parameters in expected]


@given(st.text(alphabet=string.printable))
def test_any_header_is_read(header: str) -> None:
    """Whatever a registry sends, it is a list of challenges, perhaps an empty one."""
    assert isinstance(parse_challenges(header), list)


class Service:
    """A token service that answers as told and remembers what it was asked."""

    def __init__(self, *answers: bytes | RegistryError) -> None:
        self.answers = [*answers] or [b'{"token":"T"}']
        self.asked: list[tuple[str, str, list[tuple[str, str]], str | None]] = []

    def __call__(
        self, method: str, url: str, *, params: list[tuple[str, str]], authorization: str | None
    ) -> bytes:
        self.asked.append((method, url, params, authorization))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, RegistryError):
            raise answer
        return answer


def authenticator(service: Service, credentials: Credentials | None = None) -> Authenticator:
    """Return one of the registry a.b."""
    return Authenticator("a.b", lambda: credentials, service)


def answer(asked: Authenticator, header: str, refused: str | None = None) -> str | None:
    """Meet the challenge *header* and return the proof."""
    asked.answer("pull", refused, header, method="GET", url="https://a.b/v2/")
    return asked.proof("pull")


def test_a_token_is_asked_for_each_scope() -> None:
    service = Service()
    credentials = Credentials("alice", "x")
    assert answer(authenticator(service, credentials), BEARER) == "Bearer T"
    scopes = [("scope", "repository:a:pull,push"), ("scope", "repository:b:pull")]
    assert service.asked == [("GET", REALM, [("service", "s"), *scopes], credentials.basic)]


def test_a_token_goes_before_a_password() -> None:
    """Where a registry takes both, it sees the password least often."""
    assert answer(authenticator(Service(), Credentials("a", "b")), f'Basic realm="x", {BEARER}') == "Bearer T"


def test_a_proof_is_for_its_kind_of_request_only() -> None:
    asked = authenticator(Service())
    answer(asked, BEARER)
    assert asked.proof("push") is None


def test_what_another_thread_renewed_is_not_renewed_again() -> None:
    service = Service()
    asked = authenticator(service)
    answer(asked, BEARER)
    answer(asked, BEARER, refused=None)
    assert len(service.asked) == 1
    answer(asked, BEARER, refused="Bearer T")
    assert len(service.asked) == 2


@pytest.mark.parametrize("header", ["Basic", "Basic,", 'Basic realm=""', "basic", "Negotiate, Basic", ""])
def test_basic_needs_no_parameters(header: str) -> None:
    """Some registries name no realm, or ask without any challenge."""
    credentials = Credentials("a", "b")
    assert answer(authenticator(Service(), credentials), header) == credentials.basic


@pytest.mark.parametrize("header", [BEARER, "Bearer", 'Basic realm="x"', ""])
def test_a_registry_token_is_sent_as_it_is(header: str) -> None:
    service = Service()
    assert answer(authenticator(service, TOKEN), header) == "Bearer sesame"
    assert not service.asked


@pytest.mark.parametrize("status", [400, 401, 404, 405, 501])
def test_a_service_without_oauth2_gets_the_identity_token_as_a_password(status: int) -> None:
    identity = Credentials("alice", identity_token="t")
    service = Service(RegistryError("POST", REALM, "no", status=status), b'{"token":"T"}')
    assert answer(authenticator(service, identity), BEARER) == "Bearer T"
    assert [(method, proof) for method, _, _, proof in service.asked] == [
        ("POST", None),
        ("GET", Credentials("alice", "t").basic),
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token":5}', b'{"token":"a\\nb"}', b'{"token":"secr', b"[]"])
def test_no_token_is_an_error_without_the_answer(body: bytes) -> None:
    """A token that would break a header is none either."""
    with pytest.raises(Unauthorized, match=r"auth\.example sent no token") as raised:
        answer(authenticator(Service(body)), BEARER)
    assert "secr" not in repr(raised.value) + repr(raised.value.__cause__)


@pytest.mark.parametrize(
    ("header", "credentials", "refused", "reason"),
    [
        ('Basic realm="x"', None, None, "no credentials"),
        ('Basic realm="x"', Credentials("a", "b"), Credentials("a", "b").basic, "wrong username or password"),
        ('Negotiate realm="x"', Credentials("a", "b"), None, "no proof that is known here"),
        ("Bearer", Credentials("a", "b"), None, "no proof that is known here"),
        ("Basic", Credentials("a", "b"), Credentials("a", "b").basic, "wrong username or password"),
        ("Bearer", TOKEN, "Bearer sesame", "the registry token was refused"),
    ],
)
def test_what_cannot_be_proved(
    header: str, credentials: Credentials | None, refused: str | None, reason: str
) -> None:
    """The error says why, and how to log in."""
    asked = authenticator(Service(), credentials)
    if refused is not None:
        answer(asked, header)
    with pytest.raises(Unauthorized, match=reason) as raised:
        answer(asked, header, refused)
    assert raised.value.hint == "run `gadgetops login a.b`"


def test_a_token_service_that_refuses_is_named() -> None:
    refusal = RegistryError("GET", REALM, "no", status=401)
    with pytest.raises(Unauthorized, match=r"wrong username or password \(says auth\.example\)"):
        answer(authenticator(Service(refusal), Credentials("a", "b")), BEARER)


def test_a_token_service_that_is_out_of_order_is_not_our_fault() -> None:
    with pytest.raises(RegistryError) as raised:
        answer(authenticator(Service(RegistryError("GET", REALM, "no", status=500))), BEARER)
    assert raised.value.status == 500 and not isinstance(raised.value, Unauthorized)
