"""Long soil-moisture records from a short satellite mission: data, LSTM, hindcast, statistics, notebooks."""

from importlib.metadata import version

__version__ = version("smapnb")
