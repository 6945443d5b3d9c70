"""What a log has before its snapshot's own digest is checked, and not applied."""

import numpy as np
import pytest
from cells import FEATURES
from kept_pools import assert_same, copy_as_killed, log_of, made, refusal_of

from legato._streams.log_records import MAGIC, frame_record, read_records


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.fixture
def file(model, tmp_path):
    """A file with a stream, and its log with another."""
    path = tmp_path / "users.state"
    x = np.ones(FEATURES)
    with model.streams(file=path) as pool:
        pool.feed({"ada": x})
    pool = model.streams(file=path)
    pool.feed({"bob": x})
    copy = copy_as_killed(path, "killed")
    pool.close()
    return copy


def put_before(file, record: bytes) -> None:
    """Put a record into a log, before the digest of the snapshot at hand."""
    log = log_of(file)
    with log.open("rb") as opened:
        head = frame_record({"follows": "an earlier snapshot"})
        records = [payload for _, _, payload in read_records(opened, log)]
    assert len(records) == 2
    log.write_bytes(MAGIC + head + record + log.read_bytes()[len(MAGIC) :])


def test_an_earlier_change_is_not_applied_again(model, file):
    with model.streams(file=copy_as_killed(file, "as it was")) as before:
        put_before(file, frame_record({"gone": "ada"}))
        with model.streams(file=file) as pool:
            assert list(pool) == ["ada", "bob"]
            assert_same(pool, before)


@pytest.mark.parametrize(
    "record",
    [
        frame_record({"put": ["ada", "ada"]}, bytes(1000)),
        frame_record({"put": ["ada"]}, bytes(9)),
        frame_record({"gone": 1.5}),
        frame_record({"moved": "ada"}),
    ],
    ids=["a name twice", "too short", "no name", "unknown"],
)
def test_an_earlier_change_that_is_damaged_is_refused(model, file, record):
    put_before(file, record)
    assert "is damaged" in refusal_of(model, file)
