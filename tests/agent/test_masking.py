"""What a replica prints holds no secret, in whatever pieces it comes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from node_agent.masking import LONGEST_PART, MASK, MOST_PARTS, SHORTEST_PART, Mask

_FEW = st.text("abc", min_size=SHORTEST_PART, max_size=SHORTEST_PART + 6)
"""Of few letters, so that they overlap, begin with each other and come again."""


@st.composite
def printed(draw: st.DrawFn) -> tuple[list[str], bytes, list[int]]:
    """Secrets, an output with some of them in it, and where it is cut."""
    secrets = draw(st.lists(_FEW, min_size=1, max_size=4))
    words = draw(st.lists(st.sampled_from(secrets) | st.text("abc\n.", max_size=9), max_size=8))
    output = "".join(words).encode()
    return secrets, output, sorted(draw(st.lists(st.integers(0, len(output)), max_size=8)))


def masked(secrets: list[str], output: bytes, cuts: list[int]) -> bytes:
    mask = Mask(secrets)
    pieces = [output[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(output)], strict=True)]
    return b"".join([*map(mask.take, pieces), mask.rest()])


def by_the_letter(secrets: list[str], output: bytes) -> bytes:
    """The same, naively: each byte of each occurrence is marked, each run of marks is a mask."""
    marked = [False] * len(output)
    for secret in secrets:
        for at in range(len(output)):
            if output.startswith(secret.encode(), at):
                marked[at : at + len(secret)] = [True] * len(secret)
    told = b""
    for at, byte in enumerate(output):
        if not marked[at]:
            told += bytes([byte])
        elif not at or not marked[at - 1]:
            told += MASK
    return told


@given(printed())
@example((["abcabcab", "bcabcabcc"], b"abcabcabcc", [3, 8]))
@example((["aaaaaaaa"], b"aaaaaaaaaaaa.aaaaaaa", [8, 9, 15]))
def test_each_byte_of_each_secret_is_masked_however_the_output_is_cut(
    case: tuple[list[str], bytes, list[int]],
) -> None:
    secrets, output, cuts = case
    assert masked(secrets, output, cuts) == by_the_letter(secrets, output)
    every = list(range(1, len(output)))
    assert masked(secrets, output, every) == by_the_letter(secrets, output)


@given(printed())
def test_nothing_is_held_back_but_what_may_be_a_secret_and_that_is_short(
    case: tuple[list[str], bytes, list[int]],
) -> None:
    secrets, output, _ = case
    mask = Mask(secrets)
    told = mask.take(output)
    rest = mask.rest()
    assert told + rest == by_the_letter(secrets, output)
    assert len(rest) < max(map(len, secrets))
    assert Mask(secrets).take(output + b"\n").endswith(b"\n"), "a line is told when it ends"


def test_a_value_of_lines_is_masked_line_by_line() -> None:
    key = "-----BEGIN KEY-----\n  c2VjcmV0LW9uZQ==  \nshort\r\nc2VjcmV0LXR3bw==\n-----END KEY-----\n"
    mask = Mask([key])
    output = b"> c2VjcmV0LXR3bw==\r\n> c2VjcmV0LW9uZQ== short\n"
    assert mask.take(output) + mask.rest() == b"> ***\r\n> *** short\n"
    assert masked([key], key.encode(), [20, 21, 50]) == b"***\n  ***  \nshort\r\n***\n***\n"


def test_a_long_line_is_one_mask_and_little_of_it_is_held_back() -> None:
    value = "".join(f"{number:05d}" for number in range(12_000))
    mask = Mask([value])
    output = f"<{value}>".encode()
    assert masked([value], output, list(range(0, len(output), 777))[1:]) == b"<***>"
    mask.take(output[:40_000])
    assert len(mask._held) < LONGEST_PART
    assert Mask(["ß" * LONGEST_PART]).take(("ß" * LONGEST_PART).encode()) == MASK


def test_what_is_short_is_left_and_of_very_many_lines_the_longest_are_masked() -> None:
    assert masked(["1234567", ""], b"1234567", [3]) == b"1234567"
    lines = [f"{number:08d}" + "x" * (number % 3) for number in range(3 * MOST_PARTS)]
    mask = Mask(["\n".join(lines)])
    told = mask.take("\n".join(lines).encode() + b"\n")
    assert sum(len(line) == SHORTEST_PART + 2 for line in lines) == MOST_PARTS
    assert told.split() == [MASK if line.endswith("xx") else line.encode() for line in lines]
