"""What an operator may ask of the recommender, by command or over HTTP, and the stores behind it."""

from functools import partial

from sqlalchemy import Engine

from nearfeed_recommender.access.keys.live import LiveKeys
from nearfeed_recommender.access.keys.operations import key_operations
from nearfeed_recommender.config.checks import default_config
from nearfeed_recommender.config.editor import ConfigStore
from nearfeed_recommender.config.live import LiveConfig
from nearfeed_recommender.config.operations import config_operations
from nearfeed_recommender.experiments.lifecycle import ExperimentStore
from nearfeed_recommender.experiments.live import LiveExperiments
from nearfeed_recommender.experiments.operations import experiment_operations
from nearfeed_recommender.experiments.validation import running_faults
from nearfeed_recommender.infra.secret import load_secret
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.space_maps.maps import map_space
from nearfeed_recommender.users.erasure_check import erasure_operations
from nearfeed_runtime.auditing import list_audit
from nearfeed_runtime.operations import Operation


def operations_of(
    settings: RecommenderSettings, configuration: ConfigStore, trials: ExperimentStore, keys: LiveKeys
) -> dict[str, Operation]:
    """The operations by their names in the table of a process."""
    engine = configuration.engine
    return {
        **config_operations(configuration),
        **experiment_operations(trials),
        **key_operations(engine, keys),
        **erasure_operations(
            engine, settings.runs_url, load_secret(settings), has_app_topics=bool(settings.topic_map)
        ),
        "audit.list": partial(list_audit, engine),
        "map": partial(map_space, engine, settings.runs_url),
    }


def open_configuration(settings: RecommenderSettings, engine: Engine) -> ConfigStore:
    """What is served, as it is now."""
    live = LiveConfig(engine, default_config())
    live.refresh()
    return ConfigStore(engine, settings.runs_url, live, (partial(running_faults, engine),))


def open_experiments(configuration: ConfigStore) -> ExperimentStore:
    """The experiments, as they are now."""
    live = LiveExperiments(configuration.engine)
    live.refresh()
    return ExperimentStore(configuration.engine, live, configuration)
