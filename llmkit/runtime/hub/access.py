"""Turn errors of huggingface_hub into errors with advice.

Public: `hub_errors`, `NetworkError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import InputError, LLMKitError, did_you_mean, one_line
from llmkit.models.bundled import embedded_models
from llmkit.records.disk import is_full

# httpx is an implementation detail of huggingface_hub; only its class names are stable.
_NETWORK = {"ConnectError", "ConnectTimeout", "ReadTimeout", "ProxyError", "ReadError", "WriteError"}
_NETWORK |= {"RemoteProtocolError", "PoolTimeout", "WriteTimeout"}


class NetworkError(LLMKitError):
    """The Hub cannot be reached, or the connection broke."""


@contextmanager
def hub_errors(name: str, revision: str | None, cache_dir: Path | None = None) -> Iterator[None]:
    """Translate what huggingface_hub raises for a repository.

    Args:
        name: the repository.
        revision: the requested one.
        cache_dir: folder of downloads; None is the usual one.

    Raises:
        InputError: there is no such repository or revision, or access is refused.
        NetworkError: no connection, or a broken one.
        LLMKitError: the Hub failed otherwise, or the disk is full.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{name}"
    try:
        yield
    except HFValidationError as error:
        raise InputError(f"{name} is not the name of a model on the Hub, which is USER/MODEL") from error
    except GatedRepoError as error:
        raise InputError(
            f"{name} is gated: accept its terms at {page}, then log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"no model {name}: not embedded, not a folder, and not on the Hub (or private: see {page} and"
            f" log in with `hf auth login`){near(name)}"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{name} has no revision {revision}; see {page}/tree/main") from error
    except LocalEntryNotFoundError as error:
        raise NetworkError(f"{name}: the Hub did not answer ({_cause(error)})") from error
    except HfHubHTTPError as error:
        raise LLMKitError(f"the Hub refused {name}: {str(error).splitlines()[0]}") from error
    except LLMKitError:
        raise
    except OSError as error:
        if is_full(error):
            raise _full(name, cache_dir, error) from error
        if error.errno is not None and error.filename:
            raise  # an error of this disk, not of the network
        raise NetworkError(f"{name}: {one_line(error)}") from error
    except Exception as error:
        if type(error).__name__ in _NETWORK:
            raise NetworkError(
                f"{name}: the connection to {constants.ENDPOINT} was interrupted: {one_line(error)}"
            ) from error
        if is_full(error):  # of the library that downloads parts, which is in Rust
            raise _full(name, cache_dir, error) from error
        raise


def _full(name: str, cache_dir: Path | None, error: Exception) -> LLMKitError:
    from huggingface_hub import constants

    where = cache_dir or constants.HF_HUB_CACHE
    return LLMKitError(
        f"{name} does not fit into {where}: {one_line(error)}; free some space, or give another `cache_dir`"
    )


def near(name: str) -> str:
    """Return "; did you mean NAME?" for a name like that of an embedded model, else nothing."""
    return did_you_mean(name, [model.name for model in embedded_models()])


def _cause(error: BaseException) -> str:
    return one_line(error.__cause__ or error, 120)
