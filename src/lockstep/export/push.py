"""`lockstep push`: an exported model as a repository of a hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.config.load import load_changed
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.export.command import write

_FIXES = {
    401: "it does not know the token; run `hf auth login`",
    403: "the token may not write to {repo}; give it the right, or name another",
    404: "there is no {repo} that this token may see; name another",
}


def push(
    workload: str,
    repo: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    weights: str | int | None = None,
    license: str | None = None,
) -> None:
    """Export a workload's model and upload it in one commit; the repository is made if need be.

    The hub is that of HF_ENDPOINT, else huggingface.co; the token is HF_TOKEN or that of
    `hf auth login`. A private repository stays what it is, and so do files that are there already
    under other names.

    Parameters
    ----------
    repo
        OWNER/NAME.
    private
        Whether a new repository is.
    dry_run
        List what would be uploaded, and ask the hub nothing.

    Raises
    ------
    LockstepError
        As `export`, or if there is no token, or the hub cannot be reached or refuses.
    """
    # Here: quick commands do without, and errors of the hub want its classes.
    import huggingface_hub as hub
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise LockstepError(f"{repo}: {_line(error)}; give OWNER/NAME") from None
    if not dry_run and hub.get_token() is None:
        raise LockstepError(
            f"{hub.constants.ENDPOINT} wants a token: set HF_TOKEN, or run `hf auth login`"
        )
    params = load_changed(workload, paths.PARAMS, weights=weights)
    with tempfile.TemporaryDirectory(prefix="lockstep-push-") as temporary:
        folder = Path(temporary) / repo.rpartition("/")[2]
        folder.mkdir()
        write(folder, params, repo, license)
        if dry_run:
            _list(folder)
            return
        api = hub.HfApi()
        with _refusals(repo):
            api.create_repo(repo, private=private or None, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message=f"lockstep push {workload}"
            )
    print(done.commit_url)


def _list(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        print(f"{path.stat().st_size:>12,}  {path.relative_to(folder).as_posix()}")
    print(f"{sum(path.stat().st_size for path in files):>12,}  in all; nothing was uploaded")


@contextmanager
def _refusals(repo: str) -> Iterator[None]:
    """Inside, what the hub or the way to it says is a `LockstepError` of one line."""
    from huggingface_hub import errors

    try:
        yield
    # What goes wrong on the way is an HTTPError of whichever package makes the library's requests.
    except (errors.HTTPError, OSError, RuntimeError, ValueError) as error:
        # An upload that fails in a thread is a RuntimeError, and why is its cause.
        reason = error.__cause__ if isinstance(error, RuntimeError) else None
        raise LockstepError(_said(reason or error, repo)) from None


def _said(error: BaseException, repo: str) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = error.server_message or error.response.reason_phrase
        fix = _FIXES.get(status, "run the same command again later").format(repo=repo)
        return f"{constants.ENDPOINT} refuses {repo}: {status} {_line(said)}; {fix}"
    if isinstance(error, ValueError):  # such as a card that it does not accept
        return f"{constants.ENDPOINT} refuses {repo}: {_line(error)}"
    return (
        f"{constants.ENDPOINT} cannot be reached ({_line(error)}); run the same command again, "
        "what was uploaded is not uploaded twice"
    )


def _line(said: object) -> str:
    return " ".join(str(said).split())[:200] or type(said).__name__
