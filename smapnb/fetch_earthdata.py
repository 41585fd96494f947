"""NASA Earthdata: login, the catalogue's granules, windows by OPeNDAP, points by Giovanni.

Login and search are the library `earthaccess`'s (optional extra ``fetch``); bytes are moved by `fetch_download`, for
its checks and resumption. Credentials stay in ~/.netrc, the environment and the sessions.
"""

from __future__ import annotations

import importlib
import logging
import netrc
import os
import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from smapnb import fetch_errors as errors
from smapnb.fetch_download import read_text
from smapnb.fetch_job import Job, Settings
from smapnb.fetch_plan import PIECE_DAYS, Window, window_cells
from smapnb.fetch_products import OPENDAP, Product
from smapnb.places import reply_name

GIOVANNI = "https://api.giovanni.earthdata.nasa.gov"
TOKEN_HEADER = "authorizationtoken"
# A token is one word (RFC 9110, section 11.2); a page or a message in JSON is none.
TOKEN = re.compile(r"[\w.~+/=-]+", re.ASCII)
# SMAP_L3_SM_P_20150401_R19240_001.h5, SMAP_L4_SM_gph_20150401T013000_Vv8010_001.h5
GRANULE = re.compile(r"(SMAP_L\d_SM_[A-Za-z_]+_(\d{8})(?:T\d{6})?)_(?:R|Vv)(\d{4,5})_(\d{3})\.h5")


def log_in() -> Any:
    """Log in and return the library; it is asked for nothing but what the environment and ~/.netrc hold.

    Raises
    ------
    MissingLibrary
        `earthaccess` is not installed.
    MissingCredentials
        No account, or one that the login service refuses.
    """
    try:
        earthaccess = importlib.import_module("earthaccess")
    except ImportError:
        raise errors.MissingLibrary(
            "NASA's archives need the library earthaccess: pip install -e \".[fetch]\" in the project's folder"
        ) from None
    named = os.environ.get("EARTHDATA_TOKEN") or (
        os.environ.get("EARTHDATA_USERNAME") and os.environ.get("EARTHDATA_PASSWORD")
    )
    logging.getLogger("earthaccess").setLevel(logging.CRITICAL)  # its errors hold the login service's answer
    try:
        auth = earthaccess.login(strategy="environment" if named else "netrc", persist=False)
        good = auth is not None and auth.authenticated
    except Exception as error:  # its classes change between versions, its texts may hold the user's name
        raise errors.MissingCredentials(
            f"Earthdata login failed ({type(error).__name__}): {errors.HOW_TO_LOG_IN}"
        ) from None
    if not good:
        raise errors.MissingCredentials(f"Earthdata login failed: {errors.HOW_TO_LOG_IN}")
    return earthaccess


def granules(earthaccess: Any, product: Product, start: date, end: date) -> list[Job]:
    """Ask the catalogue for a product's files of a period; of several reprocessings the latest is taken.

    Raises
    ------
    FetchError
        The catalogue does not answer.
    NotFound
        It holds no such granule.
    """
    query: dict[str, Any] = {"short_name": product.short_name, "version": product.version, "count": -1}
    query["cloud_hosted"] = True  # the catalogue may still name the archive's former, closed server beside
    if product.every != "once":
        query["temporal"] = (f"{start}T00:00:00", f"{end}T23:59:59")
    try:
        found = earthaccess.search_data(**query)
    except Exception as error:  # whatever it is, the search has failed
        raise errors.Unreachable(
            f"{product.short_name}: NASA's catalogue does not answer ({type(error).__name__}); {errors.LATER}"
        ) from None
    jobs = latest([_job(granule, product) for granule in found])
    days = (f"{start:%Y%m%d}", f"{end:%Y%m%d}")
    chosen = [job for job in jobs if product.every == "once" or days[0] <= _stamp(job)[1] <= days[1]]
    if not chosen:
        raise errors.NotFound(
            f"{product.short_name} version {product.version}: the catalogue holds nothing for {start}..{end}; look "
            "whether a newer version took its place"
        )
    return chosen


def _job(granule: Any, product: Product) -> Job:
    links = [url for url in granule.data_links(access="external") if url.endswith(".h5")]
    if not links:
        raise errors.NotFound(f"{product.short_name}: a granule of the catalogue has no address of an .h5 file")
    name = urlsplit(links[0]).path.rsplit("/", 1)[-1]
    size, sha256 = None, None
    for entry in granule["umm"].get("DataGranule", {}).get("ArchiveAndDistributionInformation", []):
        if entry.get("Name", name) == name:
            size = entry.get("SizeInBytes")
            checksum = entry.get("Checksum", {})
            sha256 = checksum.get("Value") if checksum.get("Algorithm") == "SHA-256" else None
    match = GRANULE.fullmatch(name)
    if match is None:
        raise errors.WrongContent(f"{product.short_name}: the catalogue names {name!r}, which is no granule of it")
    path = name if product.every == "once" else f"{match[2][:4]}/{name}"
    return Job(
        links[0],
        path,
        product.kind,
        size,
        sha256,
        product.size,
        product=product.short_name,
        version=product.version,
        earthdata=True,
    )


def _stamp(job: Job) -> tuple[str, ...]:
    match = GRANULE.fullmatch(job.path.rsplit("/", 1)[-1])
    assert match is not None, f"{job.path}: made by _job"
    return match.groups()


def latest(jobs: Sequence[Job]) -> list[Job]:
    """Keep the last reprocessing of each time stamp: release first, then counter."""
    best: dict[str, Job] = {}
    for job in jobs:
        stamp, _, *version = _stamp(job)
        if stamp not in best or version > list(_stamp(best[stamp])[2:]):
            best[stamp] = job
    return [best[stamp] for stamp in sorted(best)]


def windows(jobs: Sequence[Job], product: Product, window: Window) -> list[Job]:
    """Turn granules into windows cut out by OPeNDAP, with the coordinates of their rows and columns.

    The address is that of a DAP4 constraint answered as netCDF-4; a window's length is not known beforehand.
    """
    (top, bottom), (left, right) = window_cells(window, 9)
    rows, cols = f"[{top}:1:{bottom}]", f"[{left}:1:{right}]"
    fields = [f"{name}{rows}{cols}" for name in product.window_fields] + [f"/y{rows}", f"/x{cols}", "/time"]
    constraint = urlencode({"dap4.ce": ";".join(fields)}, safe="/;:[]")
    cells = (bottom - top + 1) * (right - left + 1)
    return [
        Job(
            f"{OPENDAP}/{product.collection}/granules/{job.path.rsplit('/', 1)[-1]}.dap.nc4?{constraint}",
            job.path.removesuffix(".h5") + ".nc4",
            "hdf5",
            about=4 * cells * len(product.window_fields),
            product=job.product,
            version=f"{job.version}, rows {top}-{bottom}, columns {left}-{right}",
            earthdata=True,
        )
        for job in jobs
    ]


def points(product: Product, places: Sequence[tuple[float, float]], start: date, end: date) -> list[Job]:
    """List requests to the point service: each place (lat, lon), variable and piece of at most 10 000 days."""
    covered = product.days(start, end)
    if covered is None:
        return []
    name = f"{product.short_name}_{product.version.replace('.', '_')}"
    jobs = []
    for lat, lon in places:
        for field in product.point_fields:
            for first, last in pieces(*covered):
                query = {
                    "data": f"{name}_{field}",
                    "location": f"[{lat}, {lon}]",
                    # The hour 00 of the next day closes the last day.
                    "time": f"{first}T00:00:00/{date.fromordinal(last.toordinal() + 1)}T00:00:00",
                }
                path = reply_name(name, field, lat, lon, first, last)
                n_bytes = ((last - first).days + 1) * 24 * 24
                jobs.append(
                    Job(
                        f"{GIOVANNI}/timeseries?{urlencode(query)}",
                        path,
                        "text",
                        about=n_bytes,
                        product=product.short_name,
                        version=product.version,
                        earthdata=True,
                    )
                )
    return jobs


def pieces(start: date, end: date) -> list[tuple[date, date]]:
    """Cut a period (both days inclusive) into what the point service takes at once."""
    firsts = range(start.toordinal(), end.toordinal() + 1, PIECE_DAYS)
    return [
        (date.fromordinal(first), date.fromordinal(min(first + PIECE_DAYS - 1, end.toordinal()))) for first in firsts
    ]


def guarded(new_session: Callable[[], requests.Session]) -> Callable[[], requests.Session]:
    """Make sessions whose account and token follow no redirection to another host or port, or out of https.

    The login service itself may see them. Versions of the library differ in when they drop the header: some keep it on
    every way out of the login service, all of them from https to http on one host.
    """

    def make() -> requests.Session:
        session = new_session()
        rebuild = session.rebuild_auth

        def rebuild_auth(prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
            rebuild(prepared_request, response)
            to = str(prepared_request.url)
            home = to.startswith(f"https://{errors.EARTHDATA_LOGIN}/")  # whose account it is
            if session.should_strip_auth(str(response.request.url), to) and not home:
                for name in ("Authorization", TOKEN_HEADER):
                    # What ~/.netrc holds for the new host is another value, and stays.
                    if prepared_request.headers.get(name) == response.request.headers.get(name):
                        prepared_request.headers.pop(name, None)

        session.rebuild_auth = rebuild_auth  # type: ignore[method-assign]
        return session

    return make


def point_sessions(settings: Settings) -> Callable[[], requests.Session]:
    """Sign in at the point service once; the sessions made by the answer carry its token.

    Raises
    ------
    MissingCredentials
        No user and password in the environment or ~/.netrc, or the service refuses them.
    """
    user = _user()
    with requests.Session() as session:
        session.auth = user
        answer = read_text(f"{GIOVANNI}/signin", "the sign-in of Giovanni", session, settings, earthdata=True)
    token = answer.strip().strip('"')
    if not TOKEN.fullmatch(token):
        raise errors.LoginPage(f"Giovanni gives no token; {errors.HOW_TO_LOG_IN}; then {errors.HOW_TO_APPROVE}")

    def new_session() -> requests.Session:
        session = requests.Session()
        session.headers[TOKEN_HEADER] = token
        return session

    return guarded(new_session)


def _user() -> tuple[str, str]:
    name, password = os.environ.get("EARTHDATA_USERNAME"), os.environ.get("EARTHDATA_PASSWORD")
    if name and password:
        return name, password
    try:
        entry = netrc.netrc().authenticators(errors.EARTHDATA_LOGIN)
    except (OSError, netrc.NetrcParseError):
        entry = None
    if not entry or not entry[0] or not entry[2]:
        raise errors.MissingCredentials(f"no Earthdata account is known here: {errors.HOW_TO_LOG_IN}")
    return entry[0], entry[2]
