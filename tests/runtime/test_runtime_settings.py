"""Wrong settings are told by name, in one sentence that shows no secret."""

import pytest

from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("NEARFEED_API_KEYS", "{broken-secret", False),
        ("NEARFEED_API_KEYS", '{"key-secret": ["feeds"]}', False),
        ("NEARFEED_WEIGHTS", "{bad-secret", False),
        ("NEARFEED_PORT", "70000", True),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: bool
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as told:
        load_settings(RecommenderSettings)
    assert name in str(told.value)
    assert (value in str(told.value)) == shown
    assert "secret" not in str(told.value)
