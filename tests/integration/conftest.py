"""What integration tests share: registries that run for all tests of a process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.misbehaving import Misbehaving, misbehaving
from services.registry import Certificate, RunningRegistry, TokenService, htpasswd, running_registry

from gadgetops.fleet.spark_engine import SparkEngine


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """Spark in this process, as the engine of fleets; it takes ten seconds to start, so there is one."""
    pytest.importorskip("pyspark", reason="no pyspark")
    # What it would compile for a few rows, and what Java would of itself, takes longer than they do.
    options = (
        "spark.sql.codegen.wholeStage=false",
        "spark.sql.codegen.factoryMode=NO_CODEGEN",
        "spark.sql.adaptive.enabled=false",
        "'spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'",
    )
    arguments = " ".join(f"--conf {option}" for option in options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_SUBMIT_ARGS", f"{arguments} pyspark-shell")
        engine = SparkEngine("local[2]")
    yield engine
    engine.session.stop()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that is open to everybody; tests use repositories of their own."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def password_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that wants a name and a password."""
    folder = tmp_path_factory.mktemp("password_registry")
    with running_registry(folder, auth=htpasswd(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for loopback that nobody trusts by default."""
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def token_service(certificate: Certificate) -> Iterator[TokenService]:
    """The token service of `token_registry`."""
    with TokenService(certificate).running() as service:
        yield service


@pytest.fixture
def token_registry(token_service: TokenService, tmp_path: Path) -> Iterator[RunningRegistry]:
    """A registry that wants tokens of its token service."""
    with running_registry(tmp_path / "token_registry", auth=token_service.section()) as running:
        yield running


@pytest.fixture(scope="session")
def tls_registry(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningRegistry]:
    """A registry that speaks TLS with a certificate of its own."""
    tls = {"certificate": str(certificate.ca_file), "key": str(certificate.key_file)}
    folder = tmp_path_factory.mktemp("tls_registry")
    with running_registry(folder, ca_file=certificate.ca_file, http={"tls": tls}) as running:
        yield running


@pytest.fixture
def faulty() -> Iterator[Misbehaving]:
    """A registry that breaks rules when told to."""
    with misbehaving() as running:
        yield running
