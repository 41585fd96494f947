"""Tables on disk: what was written is read back, and a failed writing leaves the old table."""

import pandas as pd
import pytest

from smapnb import tables

FRAME = pd.DataFrame({"site": ["0401", "0901"], "value": [0.25, None]})


def test_written_table_is_read_back(tmp_path):
    tables.write(FRAME, tmp_path / "runs" / "x", "core_scores")
    path = tmp_path / "runs" / "x" / "tables" / "core_scores.csv"
    pd.testing.assert_frame_equal(pd.read_csv(path, dtype={"site": str}), FRAME)
    assert [p.name for p in path.parent.iterdir()] == ["core_scores.csv"]


def test_a_failed_writing_leaves_the_old_table(tmp_path):
    class Breaks(pd.DataFrame):
        def to_csv(self, path, **_):
            path.write_text("site")
            raise OSError("disk full")

    tables.write(FRAME, tmp_path, "core_scores")
    path = tmp_path / "tables" / "core_scores.csv"
    before = path.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        tables.write(Breaks(FRAME), tmp_path, "core_scores")
    assert path.read_bytes() == before


def test_index_becomes_columns_when_asked(tmp_path):
    tables.write(FRAME.set_index("site"), tmp_path, "t", index=True)
    assert list(pd.read_csv(tmp_path / "tables" / "t.csv").columns) == ["site", "value"]
