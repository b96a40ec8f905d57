"""The DVC side of the data repository: large files go into DVC's cache and, where set, to a remote.

The one module that imports DVC, and only when one of these functions runs. A `Repo` is opened, used and closed:
a handle that is kept goes stale when files change behind it. Targets are absolute because DVC takes relative ones
from the working directory.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from satseg.datasets.checksums import sha256_of
from satseg.datasets.repository import GitRepository
from satseg.errors import BadDataError, ConfigurationError, LockHeldError, SatsegError, TemporaryError
from satseg.storage.atomic import replacing_directory, replacing_file

_REMOTE = "satseg"
_HISTORY = "history.bundle"
_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 60
_NEVER_VERSIONED = (".tmp-*", "*.aux.xml", "*.msk", "*.ovr", "*.qmd", "*.qml")  # QGIS and GDAL leave them beside scenes


def create(root: Path, when: datetime | None = None) -> None:
    """Make the git + DVC repository at `root`: whole or not at all; its first commit gets the time `when`."""
    with replacing_directory(root) as temp:
        GitRepository(temp).initialise()
        with _quiet(temp):
            from dvc.repo import Repo

            Repo.init(str(temp)).close()
        (temp / ".dvcignore").write_text("".join(f"{pattern}\n" for pattern in _NEVER_VERSIONED), encoding="utf-8")
        GitRepository(temp).commit([".dvc/config", ".dvc/.gitignore", ".dvcignore"], "New data repository", when)


def add(root: Path, folders: list[Path]) -> None:
    """Put the present content of folders into DVC's cache and write their `.dvc` files.

    Raises:
        LockHeldError: another DVC process works on the repository.
    """
    with _open(root) as repo:
        repo.add([str(folder) for folder in folders])


def restore(root: Path) -> None:
    """Bring the tracked folders back to what the `.dvc` files of the working tree say; other files there go."""
    (root / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)  # a killed DVC leaves its entries behind
    with _open(root) as repo:
        repo.checkout(force=True)


def fetch(root: Path, commit: str, name: str, target: Path, checksum: str) -> None:
    """Copy one file of a commit from DVC's cache, or from the remote, to `target`.

    Args:
        root: the data repository.
        commit: git commit of the version.
        name: path of the file relative to `root`.
        target: where to put it; appears whole or not at all.
        checksum: SHA-256 it must have.

    Raises:
        TemporaryError: the file is neither in the cache nor reachable at the remote.
        BadDataError: the cached file has been changed.
    """
    from satseg.config.settings import settings

    with replacing_file(target) as temp:
        try:
            with _open(root, settings().dvc_remote, rev=commit) as repo:
                repo.dvcfs.get_file(f"/{name}", str(temp))
        except FileNotFoundError as error:
            raise TemporaryError(
                f"{name} of commit {commit[:12]} is not in DVC's cache ({root / '.dvc' / 'cache'}), nor at a remote. "
                "Set SATSEG_DVC_REMOTE to the remote it was pushed to, then run this again."
            ) from error
        if (found := sha256_of(temp)) != checksum:
            raise BadDataError(
                f"{name} of commit {commit[:12]} has SHA-256 {found[:12]}… instead of {checksum[:12]}…: the file in "
                f"{root / '.dvc' / 'cache'} was changed. Restore it from the remote or a backup."
            )


def push(root: Path, remote: str) -> int:
    """Send the files of all versions that the remote lacks, and the git history; returns how many files were sent.

    With `history.bundle` the remote alone is enough to have everything again: `git clone history.bundle data`, then
    `dvc pull`.

    Raises:
        ConfigurationError: nothing can talk to such a remote.
        TemporaryError: the remote cannot be reached; the version exists all the same.
    """
    try:
        with _open(root, remote) as repo:
            sent = int(repo.push(remote=_REMOTE, all_tags=True))
            _push_history(root, repo.cloud.get_remote(_REMOTE))
            return sent
    except ConfigurationError:
        raise
    except Exception as error:  # each kind of remote has its own errors
        cause = error.__cause__ if isinstance(error, SatsegError) and error.__cause__ else error
        raise TemporaryError(
            f"The dataset version is made, but the DVC remote {shown_remote(remote)} (SATSEG_DVC_REMOTE) did not take "
            f"it: {type(cause).__name__}: {_without_password(str(cause), remote)}. Nothing is lost: when the remote is "
            "back, the next ingest or satseg datasets push sends it."
        ) from error


def shown_remote(remote: str) -> str:
    """Return a remote's address without the user and password it may hold."""
    return _without_password(remote, remote)


def _without_password(text: str, remote: str) -> str:
    secret = urlsplit(remote).netloc.rpartition("@")[0]
    return text.replace(f"{secret}@", "") if secret else text


def _push_history(root: Path, remote: Any) -> None:
    bundle = root / ".git" / _HISTORY
    GitRepository(root).run("bundle", "create", "--quiet", str(bundle), "--all")
    part = remote.fs.join(remote.path, f".{_HISTORY}.part")
    remote.fs.makedirs(remote.path, exist_ok=True)
    remote.fs.put_file(str(bundle), part)
    remote.fs.move(part, remote.fs.join(remote.path, _HISTORY))
    bundle.unlink()


def _remote_settings(remote: str) -> dict[str, Any]:
    from satseg.config.settings import settings

    if "://" not in remote:
        return {"url": str(Path(remote).expanduser().resolve())}
    if not remote.startswith("s3://"):
        return {"url": remote}
    # the keys come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or a profile: boto reads them, satseg does not
    values = {"url": remote, "connect_timeout": _CONNECT_TIMEOUT_S, "read_timeout": _READ_TIMEOUT_S}
    endpoint = settings().dvc_endpoint_url
    return values if endpoint is None else {**values, "endpointurl": endpoint}


def _configuration(remote: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        # hard links would be faster, but root writes through them and silently changes old versions
        "cache": {"type": "reflink,copy", "slow_link_warning": False},
        "core": {"analytics": False, "check_update": False, "autostage": False},
    }
    if remote is not None:
        values["remote"] = {_REMOTE: _remote_settings(remote)}
        values["core"]["remote"] = _REMOTE
    return values


@contextlib.contextmanager
def _quiet(root: Path) -> Iterator[None]:
    os.environ["DVC_NO_ANALYTICS"] = "1"
    # the default lies outside the workspace, where a container forgets it and another user may not write
    os.environ["DVC_SITE_CACHE_DIR"] = str(root / ".dvc" / "tmp" / "site")
    logging.getLogger("dvc").setLevel(logging.ERROR)
    # DVC prints hints on stdout, which belongs to the result
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _open(root: Path, remote: str | None = None, rev: str | None = None) -> Iterator[Any]:
    with _quiet(root):
        from dvc.config import ConfigError, RemoteConfigError
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import Repo

        try:
            with Repo(str(root), rev=rev, config=_configuration(remote)) as repo:
                yield repo
        except LockError as error:
            raise LockHeldError(f"Another DVC process works on {root}. Wait for it, then run this again.") from error
        except (ConfigError, RemoteConfigError) as error:
            raise ConfigurationError(f"DVC remote {shown_remote(remote or '')} (SATSEG_DVC_REMOTE): {error}") from error
        except DvcException as error:
            where = f" (remote {shown_remote(remote)}, from SATSEG_DVC_REMOTE)" if remote else ""
            raise TemporaryError(
                f"DVC failed on {root}{where}: {error}. Mend the cause and run the same command again."
            ) from error
