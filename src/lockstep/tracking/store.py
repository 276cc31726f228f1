"""Where MLflow's store is, what of its address may be shown, and its failures as one line."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from lockstep.core import paths
from lockstep.core.errors import LockstepError

ADDRESS = "MLFLOW_TRACKING_URI"
_FILE = re.compile(r"sqlite(\+\w+)?:///")
_SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_NO_REASON = "(raised as a result of"  # what SQLAlchemy says before what the database says
_SECRET_NAMES = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)

# It shows a traceback of each failure, which then comes as an error too.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


class AwayError(LockstepError):
    """The store does not answer, or not as it should; it may do so later."""


class UnopenedError(AwayError):
    """It did not from the start."""


def address() -> str:
    """The store's: `MLFLOW_TRACKING_URI`, or that of a SQLite file in the main checkout.

    A relative file is the main checkout's, too: DVC's copies of the project are deleted.
    """
    given = os.environ.get(ADDRESS) or "sqlite:///mlflow.db"
    if _FILE.match(given) is None:
        return given
    url, (_, mark, query) = make_url(given), given.partition("?")
    file = str(paths.home() / (url.database or "mlflow.db"))
    quoted = file.replace("%", "%25").replace("?", "%3F")
    # MLflow makes the folder of a file, by its name as it stands here, if no driver is named.
    driver = url.drivername if quoted == file else "sqlite+pysqlite"
    return f"{driver}:///{quoted}{mark}{query}"


def is_database(uri: str) -> bool:
    """Whether MLflow keeps the store itself, without a server."""
    return uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES


def open_client(uri: str) -> MlflowClient:
    """A client; a database is asked first, once: MLflow would go on asking for minutes.

    Raises whatever the database says; a server is not asked yet.
    """
    if is_database(uri):
        engine = create_engine(uri, poolclass=NullPool)
        if _FILE.match(uri) and engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        inspect(engine).get_table_names()
    return MlflowClient(uri)


@contextmanager
def in_one_line(uri: str) -> Iterator[None]:
    """Inside, any failure of the store is a `LockstepError` without a secret in it.

    It is an `AwayError` if it may pass by itself.
    """
    try:
        yield
    # ImportError: SQLAlchemy loads the driver of a database when it is asked for.
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        said = (line for line in str(error).splitlines() if not line.startswith(_NO_REASON))
        reason = next(said, type(error).__name__)
        kind = AwayError if _may_pass(error) else LockstepError
        raise kind(_line(uri, without_secrets(reason, uri))) from None
    except (JSONDecodeError, ParseError):
        raise AwayError(_line(uri, "what answers there is no MLflow")) from None


@contextmanager
def opening(uri: str) -> Iterator[None]:
    """The same for what opens the store, whose address may be none."""
    try:
        with in_one_line(uri):
            yield
    except AwayError as error:
        raise UnopenedError(*error.args) from None
    except ValueError:  # what it says has pieces of the address in it
        raise LockstepError(_line(uri, "this is no address")) from None


def _line(uri: str, reason: str) -> str:
    return f"MLflow at {shown(uri)}: {reason}; is {ADDRESS} right?"


def _may_pass(error: Exception) -> bool:
    if isinstance(error, MlflowException):
        code = error.get_http_status_code()
        return code >= 500 or code in (408, 429)
    return not isinstance(error, ImportError)


def shown(uri: str) -> str:
    """The address without a user, a password, and what follows a question mark."""
    scheme, separator, rest = uri.partition("://")
    rest = rest.partition("?")[0] if rest.startswith("/") else rest.rpartition("@")[2]
    return f"{scheme}{separator}{rest.partition('?')[0]}"


def without_secrets(text: str, uri: str) -> str:
    """The text with stars where it has what the address or the environment keeps secret."""
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(uri: str) -> set[str]:
    rest = uri.partition("://")[2]
    user = "" if rest.startswith("/") else rest.rpartition("@")[0]
    name, colon, password = user.partition(":")
    own = {password if colon else name, *(os.environ.get(name, "") for name in _SECRET_VARIABLES)}
    own |= {v for k, v in parse_qsl(rest.partition("?")[2]) if _SECRET_NAMES.search(k)}
    # A character that should have been quoted cuts a password into pieces.
    pieces = {piece for secret in own for piece in re.split(r"[/:@?#\[\]]", secret)}
    found = {user, *own, *pieces}
    return (found | {unquote(secret) for secret in found}) - {""}


@contextmanager
def used_everywhere(uri: str) -> Iterator[None]:
    """Inside, MLflow's functions that are given no store use this one too."""
    before = os.environ.get(ADDRESS)
    os.environ[ADDRESS] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ[ADDRESS]
        else:
            os.environ[ADDRESS] = before
