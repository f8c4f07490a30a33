"""Amounts and durations are read and written as people do."""

from __future__ import annotations

import pytest

from pytest_gpuguard.units import format_bytes, format_seconds, parse_bytes, parse_seconds, rounded


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("512 MiB", 512 << 20),
        ("2GiB", 2 << 30),
        ("5 GB", 5_000_000_000),
        ("1.5 KiB", 1536),
        ("17", 17),
        (17, 17),
    ],
)
def test_bytes_are_read(text, nbytes):
    assert parse_bytes(text) == nbytes


@pytest.mark.parametrize("text", ["", "MiB", "12 parsecs", "-3 MiB", "10%"])
def test_what_is_no_amount_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="512 MiB"):
        parse_bytes(text)


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="-1"):
        parse_bytes(-1)
    with pytest.raises(ValueError, match="-1"):
        parse_seconds(-1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2s", 2), ("250ms", 0.25), ("30min", 1800), ("1.5h", 5400), ("7d", 604_800), ("3", 3), (0.5, 0.5)],
)
def test_durations_are_read(text, seconds):
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (512 << 20, "512.0 MiB"),
        (3 << 29, "1.50 GiB"),
        (5 << 40, "5.00 TiB"),
    ],
)
def test_bytes_are_written(nbytes, text):
    assert format_bytes(nbytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 s"), (12.34, "12.3 s"), (303, "5 min 3 s"), (7260, "2 h 1 min")]
)
def test_durations_are_written(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize("seconds", [0.0, 0.00004, 0.00006, 1.0, 12.34567, 99999.99996, 1e9 + 0.12344])
def test_a_time_of_a_record_is_rounded_as_by_round(seconds):
    assert rounded(seconds) == round(seconds, 4)
