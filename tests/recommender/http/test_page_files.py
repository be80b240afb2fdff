"""The page's files over HTTP: what they are sent with, and that they name no other host."""

import re

import pytest
from fastapi.testclient import TestClient

from nearfeed_ui.files import page_files

FILES = page_files()
# The documentation of the API is another's code, under a policy of its own: tests/page/test_page_docs.py.
VENDORED = "swagger-ui/"
OWN = [path for path in FILES if path != "icon.svg" and not path.startswith(VENDORED)]
PARSES_TEXT = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
)


def test_index_and_modules_are_sent_with_the_policy(world) -> None:  # type: ignore[no-untyped-def]
    client: TestClient = world.client
    index = client.get("/")
    assert index.status_code == 200
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    policy = index.headers["content-security-policy"]
    for part in (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:",
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ):
        assert part in policy
    for path, file in FILES.items():
        answer = client.get(f"/page/{path}")
        assert (answer.content, answer.headers["etag"]) == (file.body, file.etag)
        assert answer.headers["content-security-policy"] == policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/page/../bootstrap.py").status_code == 404
    assert client.get("/page/main.py").status_code == 404


def test_an_unchanged_file_is_not_sent_again(world) -> None:  # type: ignore[no-untyped-def]
    tag = world.client.get("/page/main.js").headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = world.client.get("/page/main.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert world.client.get("/page/main.js", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", OWN)
def test_files_parse_no_text_and_name_no_host(path: str) -> None:
    text = FILES[path].body.decode()
    assert not PARSES_TEXT.search(text)
    hosts = set(re.findall(r"https?://[^\s\"'`)]+", text))
    assert hosts <= {"http://www.w3.org/2000/svg"}


def test_every_module_that_is_imported_is_there() -> None:
    for path, file in FILES.items():
        folder = path.rpartition("/")[0].split("/") if "/" in path else []
        for name in re.findall(r"from \"(\.[^\"]+)\"", file.body.decode()):
            parts = [*folder]
            for part in name.split("/"):
                if part == "..":
                    parts.pop()
                elif part != ".":
                    parts.append(part)
            assert "/".join(parts) in FILES, (path, name)


def test_both_languages_say_the_same_things() -> None:
    words = {
        language: {
            key: set(re.findall(r"\{(\w+)\}", text))
            for key, text in re.findall(
                r'^  "([\w.]+)": "(.*)",$', FILES[f"words/{language}.js"].body.decode(), re.M
            )
        }
        for language in ("en", "ko")
    }
    assert words["en"] == words["ko"]
    used = {
        key
        for path, file in FILES.items()
        if not path.startswith("words/")
        for key in re.findall(r"\bt\(\"([\w.]+)\"", file.body.decode())
    }
    assert used <= set(words["en"])
