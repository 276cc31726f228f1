"""What a server says that is no MLflow, or not quite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from fuzzing import one_line
from lockstep.core.errors import LockstepError
from lockstep.tracking.store import in_one_line
from raw_server import Raw

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def raw() -> Iterator[Raw]:
    server = Raw()
    yield server
    server.close()


_EXPERIMENT = {"experiment_id": "1", "name": "faces", "lifecycle_stage": "active", "tags": []}
_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e300, "", "x", [], {}, [[]], {"a": 1}, ["x"], "\x1b[31m", 10**30),
    *({"key": "a"}, [{"key": 1}], {"experiment": []}),
)
_STATUS = ("200 OK", "200 OK", "200 OK", "400 x", "401 x", "403 x", "404 x", "204 x", "302 x")
_TEXTS = ("<html>gone</html>", "", "{", "null", "[]", "5", '"x"', "NaN", "[" * 3000, "\0", "é")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(_STATUS),
    st.sampled_from(_TEXTS)
    | st.dictionaries(st.sampled_from([*_EXPERIMENT, "x"]), st.sampled_from(_ODD)).map(
        lambda odd: json.dumps({"experiment": {**_EXPERIMENT, **odd}})
    )
    | st.fixed_dictionaries(
        {},
        optional={
            "experiment": st.sampled_from(_ODD),
            # MLflow's client itself stumbles over a code that is a list or a mapping.
            "error_code": st.sampled_from([None, True, -1, 1e300, "", "x", "INTERNAL_ERROR"]),
            "message": st.sampled_from(_ODD),
        },
    ).map(json.dumps),
)
@example("200 OK", "[]")
@example("200 OK", '{"experiment": 5}')
@example("400 x", "[]")
@example("400 x", '{"error_code": "x", "message": "a\\nb"}')
def test_an_answer_is_an_experiment_or_one_line(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, status: str, text: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    body = text.encode()
    raw.answer = (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        "Content-Type: application/json\r\n\r\n"
    ).encode() + body
    uri = f"http://me:secret@127.0.0.1:{raw.port}"
    try:
        with in_one_line(uri):
            found = MlflowClient(uri).get_experiment_by_name("faces")
            assert found is None or found.name is not None
    except LockstepError as error:
        assert "secret" not in one_line(error)
