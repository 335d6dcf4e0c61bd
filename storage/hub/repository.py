"""Repositories of the hub, by huggingface_hub: files of ours pushed there and fetched, never code.

huggingface_hub is imported where a repository is meant, so folders and files do without it. Its own cache, login and
environment variables hold (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmend import __version__
from genmend.storage.hub.kinds import KINDS, Kind, kind_of
from genmend.storage.hub.shelf import CARD, INDEX, MOST_OF_INDEX, checked_file, read_index

__all__ = ["HubError", "Shared", "find_shared", "is_repository", "told_in_one_sentence", "upload"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


class HubError(RuntimeError):
    """The hub could not be asked, or refused; the message says which and what to do.

    Attributes
    ----------
    not_reached : bool
        Whether the hub did not answer at all.
    """

    not_reached = False


@dataclass(frozen=True)
class Shared:
    """A file that was found: where it lies now, its kind, and where it is from, with the commit where that is known."""

    path: Path
    kind: Kind
    source: str
    commit: str | None = None


def is_repository(source: str) -> bool:
    """Whether a text has the form of a repository, OWNER/NAME."""
    return bool(_REPOSITORY.fullmatch(source)) and ".." not in source and "--" not in source


def find_shared(source: str | Path, *, revision: str | None = None) -> Shared:
    """Find the file that a path, a folder or a repository means, and check it.

    Parameters
    ----------
    source
        A file; a folder that `write_shelf` made, or that holds one file of a kind that can be shared; or, where there
        is no such path, a repository OWNER/NAME.
    revision
        A branch, tag or commit of the repository; a commit never changes.

    Raises
    ------
    ContainerError
        If the file is none of ours, or not the one that its folder says.
    FileNotFoundError, ValueError
        If there is nothing, or nothing of ours, or a revision is given for what has none.
    HubError, ModuleNotFoundError
        If the hub cannot be asked, or has no such repository.
    """
    path = Path(source)
    if path.exists():
        if revision is not None:
            raise ValueError(f"{source} lies on this machine and has no revision; leave it out.")
        found = path if path.is_file() else _in_folder(path)
        return Shared(found, kind_of(found)[0], str(source))
    if not is_repository(str(source)):
        raise FileNotFoundError(f"There is no {source}; give a file, a folder, or a repository of the hub, OWNER/NAME.")
    return _fetched(str(source), revision)


def upload(folder: Path, repo_id: str, *, private: bool, revision: str | None, message: str) -> str:
    """Push the files of a folder that `write_shelf` made, in one commit; the repository is made where it is not there.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    HubError, ModuleNotFoundError
        If the hub cannot be asked, or refuses.
    """
    if not is_repository(repo_id):
        raise ValueError(f"The repository is {repo_id!r}; write OWNER/NAME, e.g. you/faces-correction.")
    hub = _library()
    entry = read_index(folder / INDEX, str(folder))
    api = hub.HfApi(library_name="genmend", library_version=__version__)
    operations = [
        hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in (CARD, INDEX, entry.file)
    ]
    with told_in_one_sentence(repo_id, "pushed to"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.create_commit(
            repo_id,
            operations,
            commit_message=message or f"Share {entry.kind.noun} by genmend {__version__}",
            revision=revision,
        )
    return str(done.commit_url)


def _in_folder(folder: Path) -> Path:
    if (folder / INDEX).is_file():
        entry = read_index(folder / INDEX, str(folder))
        return checked_file(folder / entry.file, entry, str(folder))
    names = sorted({kind.file for kind in KINDS.values()})
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) != 1:
        found = f"several files ({', '.join(path.name for path in there)})" if there else "no file"
        raise FileNotFoundError(f"{folder} holds {found} of those that are shared; name one: {', '.join(names)}.")
    return there[0]


def _fetched(repo_id: str, revision: str | None) -> Shared:
    _library()
    with told_in_one_sentence(repo_id, "fetched from"):
        index, commit = _download(repo_id, INDEX, revision, MOST_OF_INDEX)
        entry = read_index(index, repo_id)
        path, _ = _download(repo_id, entry.file, commit or revision, entry.n_bytes)
    return Shared(checked_file(path, entry, repo_id), entry.kind, repo_id, commit)


def _download(repo_id: str, name: str, revision: str | None, most_bytes: int) -> tuple[Path, str | None]:
    """A file in the hub's cache, and the commit that it is of; nothing larger than expected is fetched."""
    import huggingface_hub as hub
    from huggingface_hub.constants import HF_HUB_OFFLINE

    in_cache = HF_HUB_OFFLINE
    if not in_cache:
        try:
            about = hub.get_hf_file_metadata(hub.hf_hub_url(repo_id, name, revision=revision))
        except _transport_error() as error:
            if isinstance(error, hub.errors.HfHubHTTPError):  # it has answered
                raise
            in_cache = True
        else:
            if about.size is None or about.size > most_bytes:
                raise HubError(f"{name} of {repo_id} has {about.size} bytes, more than {most_bytes}: not fetched.")
    found = hub.hf_hub_download(
        repo_id, name, revision=revision, library_name="genmend", local_files_only=bool(in_cache)
    )
    path = Path(found)
    commit = next((part for part in reversed(path.parts[:-1]) if re.fullmatch(r"[0-9a-f]{40}", part)), None)
    return path, commit


def _library() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Repositories of the hub need huggingface_hub, which is not installed: run `pip install 'genmend[hub]'`, "
            "or give a folder.",
            name=error.name,
        ) from error
    return huggingface_hub


@contextmanager
def told_in_one_sentence(repo_id: str, done: str, lacks: str = "") -> Iterator[None]:
    """Turn what huggingface_hub and its transport raise into a `HubError` of one sentence.

    Parameters
    ----------
    repo_id, done
        The repository, and what is done with it: "fetched from" or "pushed to".
    lacks
        Said where the repository lacks a file that is asked for; by default, that genmend did not push it.
    """
    from huggingface_hub import errors
    from huggingface_hub.constants import ENDPOINT

    cached = "" if done == "pushed to" else ", and the cache on this machine does not have it"
    not_reached = (
        f"{repo_id} cannot be {done} here: the hub ({ENDPOINT}) is not reached, or HF_HUB_OFFLINE is set{cached}; "
        "connect, or use a folder."
    )
    try:
        yield
    except HubError:
        raise
    except errors.GatedRepoError as error:
        raise HubError(f"{repo_id} is gated: accept its terms on {ENDPOINT} and log in (`hf auth login`).") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"{ENDPOINT} has no repository {repo_id}, or it is private and you are not logged in: check the name, or "
            "run `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{repo_id} has no such revision; give a branch, tag or commit of it, or none.") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise _unreached(not_reached) from error
    except errors.EntryNotFoundError as error:
        told = lacks or f"{repo_id} holds no {INDEX}, or not the file it names: genmend did not push it"
        raise HubError(f"{told}.") from error
    except (errors.HfHubHTTPError, RuntimeError) as error:
        raise HubError(
            f"{repo_id} cannot be {done}: {_first_line(error)}; check your login and your rights."
        ) from error
    except _transport_error() as error:
        raise _unreached(not_reached) from error


def _unreached(message: str) -> HubError:
    error = HubError(message)
    error.not_reached = True
    return error


def _transport_error() -> type[Exception]:
    """The error of the library that huggingface_hub asks by, which is another one in each of its versions."""
    from huggingface_hub.errors import HfHubHTTPError

    return next((base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"), OSError)


def _first_line(error: Exception) -> str:
    said = str(getattr(error, "server_message", None) or error).strip().splitlines()
    return said[0].rstrip(".") if said else type(error).__name__
