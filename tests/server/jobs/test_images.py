"""Names of images by the grammar of the OCI distribution project, and patterns that fit whole parts of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexai.jobs.images import MAX_NAME, MAX_REFERENCE, Image, is_allowed, read_image, read_pattern
from flexai.jobs.quantities import Wrong

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
LONGEST = "ghcr.io/" + "a" * (MAX_NAME - len("ghcr.io/"))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("ghcr.io/acme/train:1.2", Image("ghcr.io", "acme/train", "1.2")),
        ("ghcr.io/acme/train", Image("ghcr.io", "acme/train", "latest")),
        (f"ghcr.io/acme/train@{DIGEST}", Image("ghcr.io", "acme/train", "", DIGEST)),
        (f"ghcr.io/acme/train:1@{DIGEST}", Image("ghcr.io", "acme/train", "1", DIGEST)),
        (f"ghcr.io/a@sha512:{'0' * 128}", Image("ghcr.io", "a", "", f"sha512:{'0' * 128}")),
        ("GHCR.io/acme/train:V1", Image("ghcr.io", "acme/train", "V1")),
        ("localhost/x", Image("localhost", "x", "latest")),
        ("localhost:5000/x:y", Image("localhost:5000", "x", "y")),
        ("127.0.0.1:5000/x/y", Image("127.0.0.1:5000", "x/y", "latest")),
        ("[2001:db8::1]:5000/x", Image("[2001:db8::1]:5000", "x", "latest")),
        ("docker.io/python", Image("docker.io", "library/python", "latest")),
        ("index.docker.io/library/python:3", Image("docker.io", "library/python", "3")),
        ("registry.example.com/a__b/c.d/e--f/g_h", Image("registry.example.com", "a__b/c.d/e--f/g_h", "latest")),
        (LONGEST, Image("ghcr.io", LONGEST.removeprefix("ghcr.io/"), "latest")),
    ],
)  # fmt: skip
def test_a_name_is_read(name: str, image: Image) -> None:
    assert read_image(name) == image
    assert read_image(str(image)) == image, "its full name is a name of it"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("python", "does not name its registry"),
        ("python:3.12", "does not name its registry"),
        ("acme/train:1", "does not name its registry"),
        ("", "no name of an image"),
        ("ghcr.io/", "no name of an image"),
        ("ghcr.io/Acme/x", "no name of an image"),
        ("ghcr.io/a..b", "no name of an image"),
        ("ghcr.io/a___b", "no name of an image"),
        ("ghcr.io/-a", "no name of an image"),
        ("ghcr.io/a-", "no name of an image"),
        ("ghcr.io//a", "no name of an image"),
        ("ghcr.io/../a", "no name of an image"),
        ("ghcr.io/a/", "no name of an image"),
        ("-ghcr.io/a", "no name of an image"),
        ("https://ghcr.io/a", "no name of an image"),
        ("user:password@ghcr.io/a", "no name of an image"),
        ("ghcr.io/a:", "no name of an image"),
        ("ghcr.io/a:.x", "no name of an image"),
        (f"ghcr.io/a:{'x' * 129}", "no name of an image"),
        ("ghcr.io/a@sha256:abc", "no name of an image"),
        (f"ghcr.io/a@sha256:{'A' * 64}", "no name of an image"),
        (f"ghcr.io/a@md5:{'0' * 32}", "no name of an image"),
        ("ghcr.io/a b", "no name of an image"),
        ("ghcr.io/a\n", "no name of an image"),
        ("ghcr.io/a;reboot", "no name of an image"),
        ("ghcr.io/ä", "no name of an image"),
        (f"{LONGEST}a", f"more than {MAX_NAME} characters"),
        ("a" * (MAX_REFERENCE + 1), f"at most {MAX_REFERENCE} characters"),
    ],
)  # fmt: skip
def test_what_is_no_name_is_said(name: str, said: str) -> None:
    with pytest.raises(Wrong, match=said):
        read_image(name)


@pytest.mark.parametrize("value", [None, 3, True, ["ghcr.io/a"], {"name": "ghcr.io/a"}])
def test_what_is_no_text_is_no_name(value: object) -> None:
    with pytest.raises(Wrong):
        read_image(value)


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("ghcr.io/acme/*", ["ghcr.io/acme/x:1", "GHCR.IO/acme/x"],
         ["ghcr.io/acme-evil/x", "ghcr.io/acme", "ghcr.io/acme/x/y", "ghcr.io.evil.com/acme/x", "quay.io/acme/x",
          "ghcr.io:8443/acme/x"]),
        ("ghcr.io/acme/**", ["ghcr.io/acme/x", "ghcr.io/acme/x/y"], ["ghcr.io/acme", "ghcr.io/acmex/y"]),
        ("ghcr.io/**", ["ghcr.io/x", "ghcr.io/x/y"], ["localhost/x"]),
        ("ghcr.io/*/train", ["ghcr.io/a/train"], ["ghcr.io/train", "ghcr.io/a/b/train", "ghcr.io/a/train2"]),
        ("ghcr.io/acme/train", [f"ghcr.io/acme/train:1@{DIGEST}"], ["ghcr.io/acme/train/x", "ghcr.io/acme/train-x"]),
        ("docker.io/python", ["docker.io/python", "docker.io/library/python"], ["docker.io/evil/python"]),
        ("docker.io/*", [], ["docker.io/python"]),
        ("docker.io/library/*", ["docker.io/python"], ["docker.io/evil/python"]),
        ("localhost:5000/*", ["localhost:5000/x"], ["localhost/x"]),
    ],
)  # fmt: skip
def test_a_pattern_fits_whole_parts(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    kept = read_pattern(pattern)
    assert [is_allowed(read_image(name), kept) for name in fits] == [True] * len(fits)
    assert [is_allowed(read_image(name), kept) for name in fits_not] == [False] * len(fits_not)


@pytest.mark.parametrize(
    "pattern",
    ["", "*", "**", "*/acme/x", "acme/*", "ghcr.io", "ghcr.io/", "ghcr.io/ac*", "ghcr.io/**/x", "ghcr.io/a:1",
     f"ghcr.io/a@{DIGEST}", "ghcr.io/A", "ghcr.io/***", "ghcr.io/a//b", "ghcr.io/../a", 3, None, ["ghcr.io/a"],
     "ghcr.io/" + "a" * 255, "ghcr.io/a\n"],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(pattern: object) -> None:
    with pytest.raises(Wrong):
        read_pattern(pattern)


@given(st.text(max_size=600))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    for read in (read_image, read_pattern):
        try:
            made = str(read(text))
        except Wrong:
            continue
        assert str(read(made)) == made, "what is kept is read as itself"


@pytest.mark.parametrize("text", ["a-" * 260, "a." * 260, "ghcr.io/" + "a_" * 250, "a" * 520, "a/" * 260])
def test_a_long_text_is_read_in_one_go(text: str) -> None:
    """A grammar that tries every way to read it would not come back."""
    for read in (read_image, read_pattern):
        with pytest.raises(Wrong):
            read(text)
