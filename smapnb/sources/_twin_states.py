"""Outlines of the states that the twin lies in, and their postal codes; it holds no other borders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources

import shapely

# Postal codes by the number of the state (FIPS 5-2).
STATE_CODES = {
    "01": "AL",
    "04": "AZ",
    "05": "AR",
    "06": "CA",
    "08": "CO",
    "09": "CT",
    "10": "DE",
    "11": "DC",
    "12": "FL",
    "13": "GA",
    "16": "ID",
    "17": "IL",
    "18": "IN",
    "19": "IA",
    "20": "KS",
    "21": "KY",
    "22": "LA",
    "23": "ME",
    "24": "MD",
    "25": "MA",
    "26": "MI",
    "27": "MN",
    "28": "MS",
    "29": "MO",
    "30": "MT",
    "31": "NE",
    "32": "NV",
    "33": "NH",
    "34": "NJ",
    "35": "NM",
    "36": "NY",
    "37": "NC",
    "38": "ND",
    "39": "OH",
    "40": "OK",
    "41": "OR",
    "42": "PA",
    "44": "RI",
    "45": "SC",
    "46": "SD",
    "47": "TN",
    "48": "TX",
    "49": "UT",
    "50": "VT",
    "51": "VA",
    "53": "WA",
    "54": "WV",
    "55": "WI",
    "56": "WY",
}  # fmt: skip


@cache
def states() -> Mapping[str, shapely.Geometry]:
    """Outlines of the 48 states and the District of Columbia by postal code, in degrees."""
    text = resources.files("smapnb").joinpath("data/us_states_conus.geojson").read_text(encoding="utf-8")
    features = json.loads(text)["features"]
    return {STATE_CODES[f["properties"]["id"]]: shapely.geometry.shape(f["geometry"]) for f in features}
