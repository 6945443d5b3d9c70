"""Records of a pool's log: those cut short are ignored, those that were altered are refused."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import FEATURES, spread
from damage import with_flipped_bits
from kept_pools import (
    apply_event,
    assert_same,
    copy_as_killed,
    log_of,
    made,
    pool_in_memory,
    refusal_of,
)

import legato
from legato._streams.log_records import _CHECK, _FRAME, MAGIC, frame_payload


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "users.state"


def split_frames(content: bytes) -> Iterator[bytes]:
    """The records of a log, without the magic bytes before them."""
    while content:
        end = _FRAME.size + _CHECK.size + _FRAME.unpack_from(content)[0]
        yield content[:end]
        content = content[end:]


def test_a_record_cut_short_anywhere_is_ignored(model, file):
    pool, sizes = model.streams(file=file), []
    unmarked = file.read_bytes()
    for number in (5, 6):
        apply_event(pool, number)
        sizes.append(log_of(file).stat().st_size)
    copy = copy_as_killed(file, "copy")
    pool.close()
    whole, marked = log_of(copy).read_bytes(), copy.read_bytes()
    header = len(MAGIC) + len(next(split_frames(whole[len(MAGIC) :])))
    before = [pool_in_memory(model, []), pool_in_memory(model, [5]), pool_in_memory(model, [5, 6])]
    for end in range(sizes[-1] + 1):
        log_of(copy).write_bytes(whole[:end])
        if end <= header:  # the file is marked once the log's header is whole
            copy.write_bytes(unmarked)
            with model.streams(file=copy) as other:
                assert_same(other, before[0])
            log_of(copy).write_bytes(whole[:end])
        copy.write_bytes(marked)
        if end < header:
            log_of(copy).write_bytes(whole[:end] or whole[:1])
            assert "is missing or empty" in refusal_of(model, copy)
        else:
            with model.streams(file=copy) as other:
                assert_same(other, before[sum(end >= size for size in sizes)])


def test_an_altered_byte_anywhere_in_the_log_is_detected(model, file):
    with model.streams(file=file) as pool:
        for number in (5, 6):
            apply_event(pool, number)
        copy = copy_as_killed(file, "copy")
    whole = log_of(copy).read_bytes()
    for at in range(len(whole)):
        altered = bytearray(whole)
        altered[at] ^= 1 << at % 8
        log_of(copy).write_bytes(altered)
        with pytest.raises(legato.StateError, match=r"was altered|something else") as error:
            model.streams(file=copy)
        assert log_of(copy).read_bytes() == altered
    found = re.search(r"truncate -s (\d+) ", str(error.value))
    assert found is not None
    log_of(copy).write_bytes(whole[: int(found[1])])  # as the message advises
    with model.streams(file=copy) as pool:
        assert_same(pool, pool_in_memory(model, [5]))


def test_a_flipped_bit_anywhere_in_the_log_is_refused(model, file, rng):
    with model.streams(file=file) as pool:
        for _ in range(2):
            pool.feed({name: spread(rng, FEATURES) for name in ("ada", "bob")})
        copy = copy_as_killed(file, "copy")
    for _ in with_flipped_bits(log_of(copy)):
        with pytest.raises(legato.StateError, match=r"users\.state\.log"):
            model.streams(file=copy)
    with model.streams(file=copy) as again:
        assert_same(again, pool)


@pytest.mark.parametrize(
    "record",
    [
        b'{"put": ["ada", "ada"]}\n' + bytes(2 * (8 + 4 * 9)),
        b'{"put": ["ada", "bob"]}\n' + bytes(8 + 4 * 9),
        b'{"put": ["ada"]}\n' + bytes(3),
        b'{"put": [1.5]}\n' + bytes(8 + 4 * 9),
        b'{"put": 7}\n',
        b'{"gone": ["ada"]}\n',
        b'{"follows": []}\n',
        b'{"went": "ada"}\n',
        b"{}\n",
        b"[]\n",
        b'{"gone": "a',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_record_that_does_not_parse_is_refused(record, model, file):
    with model.streams(file=file) as pool:
        apply_event(pool, 5)
        copy = copy_as_killed(file, "copy")
    with log_of(copy).open("ab") as log:
        log.write(frame_payload(record))
    assert "users.state.log was altered since it was written" in refusal_of(model, copy)
