"""Tables of results as files."""

import pytest

from legato import InputError, report


def test_a_table_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "next.xlsx"
    with pytest.raises(InputError, match=r"next\.xlsx.*must end in \.csv, \.parquet or \.json"):
        report.write_table({"step": [1]}, str(path))
    assert not path.exists()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_the_path_of_a_table_may_be_a_text(tmp_path, suffix):
    path = report.write_table({"step": [1]}, str(tmp_path / f"next.{suffix}"))
    assert path.exists()
