"""What can go wrong in a download, each with its own class, and what to do about it in the message.

Messages name the file and an address without user, password and query, since signed addresses and tokens live
there; the text of a network library's own exception is never passed on for the same reason.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

EARTHDATA_LOGIN = "urs.earthdata.nasa.gov"
HOW_TO_LOG_IN = (
    f"make a free account at https://{EARTHDATA_LOGIN} and put the line `machine {EARTHDATA_LOGIN} login NAME "
    "password PASSWORD` into ~/.netrc, readable by you alone (chmod 600 ~/.netrc)"
)
HOW_TO_APPROVE = (
    f"log in at https://{EARTHDATA_LOGIN}, open Applications > Authorized Apps, and approve the archive "
    '(for NLDAS "NASA GESDISC DATA ARCHIVE"), and accept the licence it shows'
)


LATER = "go on later with the same command"
MANY = 1000


class FetchError(RuntimeError):
    """A download cannot go on; the message says what to do.

    Attributes
    ----------
    tries : int
        How often the same file may be tried where this goes wrong, if the settings allow as many.
    everywhere : bool
        Whether every other file would meet the same error, so that all stop.
    wait : float
        Seconds that the server asked to wait before another try.
    """

    tries = 1
    everywhere = False
    wait = 0.0


class MissingCredentials(FetchError):
    """No account, or one that the server does not know."""

    everywhere = True


class MissingLibrary(FetchError):
    """An optional library is not installed."""

    everywhere = True


class LicenceNotAccepted(FetchError):
    """The account is good, but the archive is not approved in it."""

    everywhere = True


class NotFound(FetchError):
    """The server has no such file."""


class TooManyRequests(FetchError):
    """The server asks to slow down."""

    tries = MANY


class ServerFailure(FetchError):
    """The server failed (5xx)."""

    tries = MANY


class Refused(FetchError):
    """Any other answer that is not the file."""


class Unreachable(FetchError):
    """No connection: no network, no such host, or the connection broke."""

    tries = MANY


class SlowServer(FetchError):
    """Nothing, or next to nothing, came for longer than is bearable."""

    tries = MANY


class ShortRead(FetchError):
    """The connection ended before the announced length."""

    tries = MANY


class LoginPage(FetchError):
    """A web page came in place of data."""

    everywhere = True


class WrongContent(FetchError):
    """The bytes are not of the kind of file that was asked for."""


class WrongChecksum(FetchError):
    """Length or SHA-256 are not those that the owner published."""

    tries = 2


class ForeignFile(FetchError):
    """A file that lies under the final name already is not the one to be fetched; it is left alone."""


class DiskFull(FetchError):
    """The disk has too little room."""

    everywhere = True


class NotWritable(FetchError):
    """The folder of the data does not take files."""

    everywhere = True


class Busy(FetchError):
    """Another process fetches into the same folder."""

    everywhere = True


class Stopped(FetchError):
    """Interrupted; what has arrived is kept and the same command goes on from there."""

    everywhere = True


class Incomplete(FetchError):
    """Some files could not be had."""


def shown(url: str) -> str:
    """Address without user, password, query and fragment, fit for messages and the manifest."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def of_status(
    status: int,
    path: str,
    url: str,
    *,
    earthdata: bool = False,
    approve: bool = False,
    retry_after: str | None = None,
) -> FetchError:
    """Turn an HTTP status that is not success into the error it means.

    Parameters
    ----------
    status : int
        HTTP status code.
    path, url : str
        File that was asked for and its address; the address is shortened by `shown`.
    earthdata : bool
        The server is one of NASA's.
    approve : bool
        The answer speaks of an application that is not approved.
    retry_after : str, optional
        Header Retry-After, seconds or an HTTP date.
    """
    at = f"{path}: {shown(url)} answers {status}"
    if status in (401, 403) and not earthdata:
        host = urlsplit(url).hostname
        error_class = MissingCredentials if status == 401 else Refused
        return error_class(
            f"{at}: its owner wants an account or refuses this one; `machine {host} login NAME password PASSWORD` in "
            "~/.netrc is sent to it"
        )
    if status == 403 or (status == 401 and approve):
        return LicenceNotAccepted(f"{at}: the account may not read this archive; {HOW_TO_APPROVE}")
    if status == 401:
        return MissingCredentials(f"{at}: it does not know the user; {HOW_TO_LOG_IN}")
    if status in (404, 410):
        return NotFound(
            f"{at}: no such file; it may not be published yet, or was replaced by a newer version (see the "
            "product's page)"
        )
    wait = seconds_of(retry_after)
    error: FetchError
    if status == 429:
        error = TooManyRequests(f"{at}: too many requests; use a smaller --parallel, or go on later")
    elif status >= 500:
        error = ServerFailure(f"{at}: the server failed; {LATER}")
    elif status == 408:
        error = SlowServer(f"{at}: it gave up waiting; {LATER}")
    else:
        error = Refused(f"{at}: not the file; open the address in a browser to see what it wants")
    error.wait = wait
    return error


def seconds_of(retry_after: str | None, now: datetime | None = None) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, section 10.2.3); 0 where it asks for none."""
    if not retry_after:
        return 0.0
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
