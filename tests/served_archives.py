"""All archives behind one local server, where the fetching modules look; commands are run as a person types them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from misbehaving_server import Server
from typer.testing import CliRunner

from smapnb import cli, fetch_earthdata, fetch_products

SOILS = "https://files.isric.org/public/wise"


def look_at(
    server: Server, patch: pytest.MonkeyPatch, catalogue: Mapping[str, list[Any]], moves: Mapping[str, str]
) -> None:
    """Let fetch ask `server`: a stand-in of `earthaccess` gives the granules of `catalogue`, `moves` are addresses."""
    library = SimpleNamespace(
        login=lambda **_: SimpleNamespace(authenticated=True),
        search_data=lambda **query: catalogue[query["short_name"]],
        get_requests_https_session=requests.Session,
    )
    patch.setitem(sys.modules, "earthaccess", library)
    patch.setattr(fetch_earthdata, "OPENDAP", server.address + "/collections")
    for name, product in list(fetch_products.PRODUCTS.items()):
        for there, here in moves.items():
            product = replace(product, url=product.url.replace(there, server.address + here))
        patch.setitem(fetch_products.PRODUCTS, name, product)


def command(*arguments: str) -> str:
    """Run smapnb; give what it prints."""
    done = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout
