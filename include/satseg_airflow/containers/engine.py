"""The Docker engine: a connection, and the errors it answers with in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from docker import APIClient
from satseg.errors import ConfigurationError, SatsegError, TemporaryError

TIMEOUT_S = 60
BROKEN = (DockerException, RequestException)  # a refusal, or a connection that ends in the midst of a call


def connect(url: str, timeout_s: float = TIMEOUT_S) -> APIClient:
    """Return a connection of its own; close it after use.

    Raises:
        TemporaryError: the engine does not answer.
    """
    try:
        return APIClient(base_url=url, version="auto", timeout=timeout_s)
    except BROKEN as error:
        raise TemporaryError(
            f"The Docker engine at {url} does not answer: {error}. Start it, or correct SATSEG_DOCKER_URL; "
            "the user that runs Airflow must be allowed to use it."
        ) from error


@contextmanager
def connected(url: str, timeout_s: float = TIMEOUT_S) -> Iterator[APIClient]:
    """Yield a connection for the length of the block; see `connect`."""
    client = connect(url, timeout_s)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def explained(url: str, image: str) -> Iterator[None]:
    """Turn what the engine refuses into errors of satseg.

    Raises:
        ConfigurationError: there is no such image, no such folder to mount or no GPU for containers.
        TemporaryError: anything else.
    """
    try:
        yield
    except APIError as error:
        raise _in_words(error, url, image) from error
    except BROKEN as error:
        raise TemporaryError(f"The Docker engine at {url} broke off: {error}.") from error


def _in_words(error: APIError, url: str, image: str) -> SatsegError:
    said = str(error.explanation or error)
    where_from = "Build it with `make images`, or name another one: SATSEG_DOCKER_IMAGE, SATSEG_DOCKER_GPU_IMAGE."
    if isinstance(error, ImageNotFound) or "pull access denied" in said or "manifest unknown" in said:
        return ConfigurationError(
            f"Image {image} is not on the Docker engine at {url}, nor in a registry. {where_from}"
        )
    if "could not select device driver" in said:
        return ConfigurationError(
            f"The Docker engine at {url} cannot give GPUs to containers ({said}). "
            "Install the NVIDIA container toolkit there, or set SATSEG_GPU_COUNT=0."
        )
    if "bind source path does not exist" in said:
        return ConfigurationError(
            f"The engine's machine has no such folder to mount ({said}). When Airflow runs in a container itself, "
            "SATSEG_DOCKER_WORKSPACE says which folder or volume is the workspace there; see also SATSEG_DOCKER_MOUNTS."
        )
    if "images/create" in str(error):
        return TemporaryError(
            f"Image {image} is not on the Docker engine at {url}, nor to be pulled: {said} {where_from}"
        )
    return TemporaryError(f"The Docker engine at {url} refused: {said}")
