"""Is the answer the file? Statuses, login pages, wrong kinds of content and broken connections, each by its name.

It asks and judges; it writes nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from smapnb import fetch_errors as errors
from smapnb.fetch_errors import shown
from smapnb.fetch_job import SIGNATURES, Job, Settings

# A web page or XML, an error in JSON: no text file of the archives begins so. Before it may stand a byte-order mark.
MARKUP, JSON = b"<", b"{"
BLANK = b"\xef\xbb\xbf \t\r\n"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def get(
    session: requests.Session, job: Job, headers: dict[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """Ask for the file; the body is left to be read."""
    parts = urlsplit(job.url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise errors.Refused(f"{job.path}: {shown(job.url)} is not https; accounts are not sent in the open")
    try:
        return session.get(job.url, headers=headers, timeout=timeout, stream=True)
    except requests.RequestException:
        raise
    except ValueError:  # the address of a redirection; it may hold a signature
        raise errors.Refused(f"{job.path}: {shown(job.url)} leads to what is no address; {errors.LATER}") from None


def check_answer(job: Job, response: requests.Response) -> None:
    """Raise for whatever is not the file: a status, a page of the login service, an unexpected encoding."""
    moves = [response.url, *(r.headers.get("Location", "") for r in response.history)]
    denied = any("error=access_denied" in url for url in moves)
    host = urlsplit(response.url).hostname
    if response.status_code not in (200, 206):
        words = response.raw.read(4096, decode_content=True).lower() if response.status_code in (401, 403) else b""
        approve = denied or b"approve" in words or b"eula" in words
        raise errors.of_status(
            response.status_code,
            job.path,
            job.url,
            earthdata=job.earthdata,
            approve=approve,
            retry_after=response.headers.get("Retry-After"),
        )
    if denied:
        raise errors.LicenceNotAccepted(
            f"{job.path}: {shown(job.url)} leads to a page that denies access; {errors.HOW_TO_APPROVE}"
        )
    if host == errors.EARTHDATA_LOGIN:
        raise errors.LoginPage(_login_page(job))
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise errors.WrongContent(f"{job.path}: {shown(job.url)} comes re-encoded, though the plain file was asked for")


def _login_page(job: Job) -> str:
    said = f"{job.path}: {shown(job.url)} gives a web page in place of data"
    if not job.earthdata:
        return f"{said}; open the address in a browser to see what it wants"
    return f"{said}, most likely a login page; {errors.HOW_TO_LOG_IN}; then {errors.HOW_TO_APPROVE}"


def check_head(job: Job, head: bytes) -> None:
    """Refuse a file whose first bytes are not of its kind."""
    start = head[:512].lstrip(BLANK)
    if job.kind != "listing" and start.startswith(MARKUP):
        raise errors.LoginPage(_login_page(job))
    known = SIGNATURES[job.kind]
    # A first chunk may be shorter than the signature; what is there must fit, the whole is looked at again.
    other = known and not any(head[: len(s)] == s[: len(head)] for s in known)
    if other or (job.kind == "text" and start.startswith(JSON)):
        raise errors.WrongContent(
            f"{job.path}: {shown(job.url)} is no {job.kind} file: it begins with {head[:16]!r}; look whether the "
            "address still holds this product"
        )


@contextmanager
def disk_errors(path: str, root: Path) -> Iterator[None]:
    """Give the errors of the disk a name of ours; all others pass."""
    try:
        yield
    except OSError as error:
        # Network errors are OSErrors too; those with an own error number that disks give are told apart here.
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise errors.DiskFull(
                f"{path}: the disk of {root} is full; make room and run the same command, which goes on from here"
            ) from None
        if isinstance(error, PermissionError | FileExistsError | NotADirectoryError) or error.errno == errno.EROFS:
            raise errors.NotWritable(
                f"{path}: {root} cannot be written to; set SMAPNB_DATA to a folder of yours"
            ) from None
        raise


@contextmanager
def network_errors(job: Job, settings: Settings) -> Iterator[None]:
    """Give the errors of the network libraries a name of ours; their texts hold whole addresses."""
    slow = f"{job.path}: nothing came for {settings.read_timeout:g} s from {shown(job.url)}; {errors.LATER}"
    host = urlsplit(job.url).hostname
    try:
        yield
    except (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError):
        raise errors.Unreachable(f"{job.path}: {host} does not answer; look at the network and proxy") from None
    except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
        raise errors.SlowServer(slow) from None
    except requests.exceptions.SSLError:
        raise errors.Unreachable(
            f"{job.path}: the certificate of {host} is not trusted here; look at the proxy and the certificates "
            "of this system"
        ) from None
    except (requests.TooManyRedirects, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        raise errors.LoginPage(_login_page(job)) from None
    except (urllib3.exceptions.HTTPError, ConnectionError):  # cut, reset, or spoiled under TLS
        raise errors.ShortRead(f"{job.path}: the connection to {host} broke; {errors.LATER}") from None
    except requests.RequestException as error:
        text = f"{job.path}: no connection to {host} ({type(error).__name__}); look at the network and proxy"
        raise errors.Unreachable(text) from None
