from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.events import ItemDeleted
from nearfeed_contracts.tables import items
from nearfeed_contracts.topics import record_of
from nearfeed_contracts.vector_store import Filter
from nearfeed_indexer.bootstrap import bootstrap
from nearfeed_indexer.settings import IndexerSettings
from nearfeed_runtime.operations import Said, runner_of

IDS = [f"i{n}" for n in range(30)]


def test_a_run_is_loaded_and_fed_on_the_embedded_back_ends(world: Any, tmp_path: Path) -> None:
    settings = IndexerSettings(data_dir=tmp_path)
    engine, log = open_database(settings.database_url), open_log(settings.log_url)
    store = open_store(settings.vectors_url)
    with engine.begin() as transaction:
        transaction.execute(insert(items), [world.item_row(item_id) for item_id in IDS])
    world.write_run(tmp_path / "runs", "s1", dict.fromkeys(IDS, 1), encoder=True)
    log.append([record_of(world.item("i40")), record_of(world.vector("s1", "i40"))])
    log.append([record_of(ItemDeleted(item_id="i3", version=2))])
    world.engine = engine
    world.build_readers("s1")

    def pump() -> None:
        indexer.consumers[0].run_once(0.1)

    with closing(bootstrap(settings, engine=engine, log=log, store=store, pump=pump)) as indexer:
        run = runner_of(indexer.operations)
        list(run("load", {"run": "s1", "activate": True, "wait": 60}))
        while indexer.consumers[0].run_once(0.5):
            pass
        log.append([record_of(world.item("i41")), record_of(world.vector("s1", "i41"))])
        while indexer.consumers[0].run_once(0.5):
            pass
        hits = store.search("s1", world.vector_of("s1", "i41", 1), 50, Filter())
        assert hits[0].item_id == "i41"
        assert {hit.item_id for hit in hits} == {*IDS, "i40", "i41"} - {"i3"}
        assert Said("Space s1 is active already.") in run("spaces.activate", {"space": "s1"})
    store.close()
    log.close()
    engine.dispose()


def test_what_is_not_given_is_opened_from_the_settings_and_closed(tmp_path: Path) -> None:
    settings = IndexerSettings(data_dir=tmp_path, vectors_url="memory://")
    with closing(bootstrap(settings)) as indexer:
        assert [loop.name for loop in indexer.loops] == ["indexer"]
        assert indexer.consumers[0].run_once(0) == 0
    with closing(bootstrap(settings, consume=False)) as indexer:
        assert indexer.consumers == []
        assert len(list(indexer.operations["spaces.list"]())) == 1
