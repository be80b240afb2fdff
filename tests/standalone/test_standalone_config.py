"""`config` on the command line: beside a server and alone, and in the recommender's own image."""

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
import typer
from typer.testing import CliRunner

from nearfeed_contracts.errors import NearfeedError
from nearfeed_recommender.app.cli import app as recommender_app
from nearfeed_standalone.cli import make_app

Call = Callable[..., str]


@pytest.fixture(params=["nearfeed", "nearfeed-recommender"])
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """What a command prints; what it refuses is raised."""
    monkeypatch.setenv("NEARFEED_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NEARFEED_VECTORS_URL", "memory://")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(structlog, "configure", lambda **_: None)
    monkeypatch.setattr("getpass.getuser", lambda: "operator")
    app: typer.Typer = make_app() if request.param == "nearfeed" else recommender_app

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["config", *arguments])
        if isinstance(result.exception, NearfeedError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_a_change_from_the_file_to_the_history_and_back(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "serving.yaml"
    file.write_text(call("show"))
    assert "it is version 0" in call("check", str(file))
    assert "Nothing changes" in call("apply", str(file), "--reason", "none")
    text = file.read_text()
    file.write_text(text.replace("title: Popular now", "title: 'Now: :fire: [b]hot[/b]'"))
    assert "it would be version 1" in call("check", str(file))
    told = call("diff", str(file))
    assert "-      title: Popular now" in told
    assert "+      title: 'Now: :fire: [b]hot[/b]'" in told
    assert "│ page │ home │ changed │" in told
    assert "Version 1 holds. To go back: config rollback 0." in call(
        "apply", str(file), "--reason", "warmer words", "--author", "Ann B.", "--if-version", "0"
    )
    assert call("show") == call("show", "1") == file.read_text()
    assert call("show", "0") == text
    assert "serving.yaml" in call("diff", str(file), "0")
    assert call("diff", "1", "1") == "version 1 and version 1 are the same.\n"
    assert "-      title: Popular now" in call("diff", "0")
    assert "+      title: Popular now" in call("diff", "1", "0")
    assert "Version 2 holds" in call("rollback", "0", "--reason", "too warm")
    assert call("show") == text
    history = call("history")
    for cell in ("Ann B.", "warmer words", "operator", "too warm", "page home changed", "nearfeed"):
        assert cell in history


def test_what_is_wrong_is_told_a_line_each(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "serving.yaml"
    text = call("show").replace("feed: personal\n", "feed: persnal\n").replace("type: quotas", "type: quota")
    file.write_text(text)
    for arguments in (["check", str(file)], ["apply", str(file), "--reason", "r"], ["diff", str(file)]):
        with pytest.raises(NearfeedError) as refused:
            call(*arguments)
        first, second = str(refused.value).splitlines()
        assert first.startswith("serving.yaml: feed (line 1): there is no provider 'persnal'; providers: ")
        line = next(number for number, row in enumerate(text.splitlines(), 1) if row.endswith("type: quota"))
        assert second.startswith(f"serving.yaml: providers.personal.blend.type (line {line}): 'quota' is unk")
    assert "persnal" not in call("show")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["apply", "none.yaml", "--reason", "r"], "none.yaml: cannot be read (No such file"),
        (["show", "9"], "There is no version 9 of the configuration; they go from 0 to 0."),
        (["rollback", "9", "--reason", "r"], "There is no version 9"),
        (["rollback", "0", "--reason", " "], "The reason of a change: string should have at least 1"),
    ],
)
def test_what_the_operator_can_mend(call: Call, arguments: list[str], sentence: str) -> None:
    with pytest.raises(NearfeedError) as refused:
        call(*arguments)
    assert sentence in str(refused.value)
