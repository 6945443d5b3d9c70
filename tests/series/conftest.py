"""A current folder for tests that write files."""

import pytest


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch):
    """The current folder is a temporary one."""
    monkeypatch.chdir(tmp_path)
