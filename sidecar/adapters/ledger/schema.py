"""The tables of the ledger, and how an older file becomes a current one.

Quantities of any size are decimal strings (SQLite would turn an overflowing integer into a float); an event's own
quantity is whole millionths, which always fit. Hours are epoch seconds, instants epoch microseconds.
"""

from sidecar.adapters.ledger.schema_first import FIRST

APPLICATION_ID = 0x4D505343
"""`MPSC` in the file's header: marks a ledger of this product."""

_FROZEN_TERMS = """
    -- One row for each name and set of terms under which usage was taken; what points to a row keeps its terms. Rows
    -- from before have none until a sidecar, which knows them, opens the ledger.
    ALTER TABLE dimension RENAME TO dimension_without_terms;
    CREATE TABLE dimension (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        product_code TEXT,
        aggregation TEXT,
        whole INTEGER,
        -- Of the rows of one name and product code, the one that takes usage and what the others carry.
        active INTEGER NOT NULL DEFAULT 1,
        accepted TEXT NOT NULL DEFAULT '0',
        submitted TEXT NOT NULL DEFAULT '0',
        unbilled TEXT NOT NULL DEFAULT '0',
        remainder TEXT NOT NULL DEFAULT '0',
        pruned_own TEXT NOT NULL DEFAULT '0',
        pruned_submitted TEXT NOT NULL DEFAULT '0',
        UNIQUE (name, product_code, aggregation, whole)
    ) STRICT;
    INSERT INTO dimension (id, name, accepted, submitted, unbilled, remainder, pruned_own, pruned_submitted)
        SELECT id, name, accepted, submitted, unbilled, remainder, pruned_own, pruned_submitted
        FROM dimension_without_terms;
    DROP TABLE dimension_without_terms;

    -- A carry that also changes the terms. A table of its own, because a wider key of `carry` would be a new index over
    -- all its rows, and a full volume has no room for that.
    CREATE TABLE crossing (
        seq INTEGER PRIMARY KEY,
        cause TEXT NOT NULL,
        record INTEGER,
        from_pod INTEGER NOT NULL,
        from_hour INTEGER NOT NULL,
        from_dimension INTEGER NOT NULL,
        to_pod INTEGER NOT NULL,
        to_hour INTEGER NOT NULL,
        dimension INTEGER NOT NULL,
        tag_set INTEGER NOT NULL,
        quantity TEXT NOT NULL,
        carried_at INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX crossing_once ON crossing
        (dimension, to_pod, to_hour, from_dimension, from_pod, from_hour, tag_set, cause, ifnull(record, 0));
    CREATE VIEW movement AS
        SELECT seq, cause, record, from_pod, from_hour, dimension AS from_dimension, to_pod, to_hour, dimension,
            tag_set, quantity, carried_at FROM carry
        UNION ALL
        SELECT seq, cause, record, from_pod, from_hour, from_dimension, to_pod, to_hour, dimension,
            tag_set, quantity, carried_at FROM crossing;
    """
_EVENT_DIGESTS = """
    -- What is left of an event with an id once its hour is sealed: a row for each id within the de-duplication window.
    CREATE TABLE event_digest (
        id BLOB PRIMARY KEY,
        content BLOB NOT NULL,
        taken_hour INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- The same for each Idempotency-Key; `batch` holds those of version 1 until they are outdated.
    CREATE TABLE key_digest (
        id BLOB PRIMARY KEY,
        content BLOB NOT NULL,
        taken_hour INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Holds room for a moment while the file grows by the pages that are kept free; see `space`.
    CREATE TABLE reserve (
        block BLOB NOT NULL
    ) STRICT;
"""
_POD_NAMES = """
    -- Where the cluster keeps the pod's object; null where the environment does not say.
    ALTER TABLE pod ADD COLUMN pod_namespace TEXT;
    ALTER TABLE pod ADD COLUMN pod_name TEXT;
    """

_PROGRESS = """
    -- How the submissions of each dimension have gone, across restarts and pods; by name, as the configuration has it.
    CREATE TABLE progress (
        dimension TEXT PRIMARY KEY,
        last_success_at INTEGER,
        due_since INTEGER,
        disputed_since INTEGER
    ) STRICT, WITHOUT ROWID;

    -- The latest DuplicateRequest answers of each dimension.
    CREATE TABLE duplicate_answer (
        dimension TEXT NOT NULL,
        number INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (dimension, number)
    ) STRICT, WITHOUT ROWID;
    """

_VIEWS = """
    -- Rows with the names that they point to. A cross join keeps its order: the row first, its names by their keys.
    CREATE VIEW named_record AS
        SELECT record.*, dimension.name, dimension.product_code, pod.uid,
            CASE instr(reason, ':') WHEN 0 THEN reason ELSE substr(reason, 1, instr(reason, ':') - 1) END AS reason_word
        FROM record CROSS JOIN dimension ON dimension.id = record.dimension CROSS JOIN pod ON pod.id = record.pod;
    CREATE VIEW named_bucket AS
        SELECT bucket.*, dimension.name, dimension.aggregation, tag_set.tags
        FROM bucket CROSS JOIN dimension ON dimension.id = bucket.dimension
            CROSS JOIN tag_set ON tag_set.id = bucket.tag_set;
    CREATE VIEW named_event AS
        SELECT event.*, dimension.name, tag_set.tags
        FROM event CROSS JOIN dimension ON dimension.id = event.dimension
            CROSS JOIN tag_set ON tag_set.id = event.tag_set;
    CREATE VIEW tagged_allocation AS
        SELECT allocation.*, tag_set.tags FROM allocation CROSS JOIN tag_set ON tag_set.id = allocation.tag_set;
    """

_CHECKOUTS = """
    -- Checkouts of License Manager, frozen with client token and parameters before the first attempt. A draw-down that
    -- AWS has made, or may have made, is never dropped.
    CREATE TABLE checkout (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        -- seat: for the pod's life; app: asked for by the app; probe: proves the right and is returned.
        kind TEXT NOT NULL,
        pod INTEGER NOT NULL,
        sku TEXT NOT NULL,
        issuer TEXT NOT NULL,
        entitlement TEXT NOT NULL,
        unit TEXT NOT NULL,
        count INTEGER,
        drawdown INTEGER NOT NULL,
        client_token TEXT NOT NULL,
        region TEXT NOT NULL,
        state TEXT NOT NULL,
        intended_at INTEGER NOT NULL,
        first_attempt_at INTEGER,
        attempted_at INTEGER,
        unanswered INTEGER NOT NULL,
        consumption_token TEXT,
        arn TEXT,
        time_to_live INTEGER NOT NULL,
        expires_at INTEGER,
        confirmed_at INTEGER,
        unwanted INTEGER NOT NULL,
        settled_at INTEGER,
        -- The person who has decided about a draw-down in doubt, and why.
        resolved_by TEXT,
        resolved_reason TEXT
    ) STRICT;
    CREATE UNIQUE INDEX checkout_live ON checkout (kind, id) WHERE state IN ('intended', 'held', 'in-doubt');
    CREATE INDEX checkout_id ON checkout (id);
    CREATE INDEX checkout_settled ON checkout (settled_at) WHERE drawdown = 0;
    """

_SERIES = """
    -- What measures a dimension in a pod by counters. `since` and `last_at` are by the system clock, hours by the
    -- sidecar's own; they differ only with an emulator.
    CREATE TABLE source (
        id INTEGER PRIMARY KEY,
        pod INTEGER NOT NULL,
        dimension TEXT NOT NULL,
        -- Where the counters come from; empty once the dimension has no such source.
        origin TEXT NOT NULL,
        since INTEGER NOT NULL,
        -- States of series up to here may have been dropped.
        forgotten_at INTEGER,
        -- The last complete page.
        last_at INTEGER,
        last_hour INTEGER,
        UNIQUE (pod, dimension)
    ) STRICT;

    -- The last sample of each counter. `dated` is 0 for a series of the last page: its instant and hour are the page's,
    -- and its row is written only when its value changes.
    CREATE TABLE series (
        source INTEGER NOT NULL,
        key BLOB NOT NULL,
        value TEXT NOT NULL,
        started_at INTEGER,
        at INTEGER NOT NULL,
        hour INTEGER NOT NULL,
        rest TEXT NOT NULL,
        peak TEXT,
        resets INTEGER NOT NULL,
        resets_since INTEGER NOT NULL,
        strikes INTEGER NOT NULL,
        struck_at INTEGER NOT NULL,
        seen TEXT,
        dated INTEGER NOT NULL,
        PRIMARY KEY (source, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX series_dated ON series (hour) WHERE dated = 1;
    """

_APPENDED_EVENTS = """
    -- Whole events as versions before kept them; they age out, and none is added.
    DROP VIEW named_event;
    ALTER TABLE event RENAME TO event_by_id;

    -- One row for each event with an id until its hour is sealed, in order of arrival. Ids are looked for by their
    -- digests alone: an index over their texts would cost a page for each id in random order.
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        content BLOB NOT NULL,
        dimension INTEGER NOT NULL,
        tag_set INTEGER NOT NULL,
        millionths INTEGER NOT NULL,
        value TEXT,
        given_at INTEGER,
        counted_at INTEGER NOT NULL,
        hour INTEGER NOT NULL,
        pod INTEGER NOT NULL,
        taken_at INTEGER NOT NULL
    ) STRICT;
    CREATE VIEW named_event AS
        SELECT event.*, dimension.name, tag_set.tags
        FROM event CROSS JOIN dimension ON dimension.id = event.dimension
            CROSS JOIN tag_set ON tag_set.id = event.tag_set;
    CREATE VIEW named_event_by_id AS
        SELECT event_by_id.*, NULL AS content, dimension.name, tag_set.tags
        FROM event_by_id CROSS JOIN dimension ON dimension.id = event_by_id.dimension
            CROSS JOIN tag_set ON tag_set.id = event_by_id.tag_set;
    CREATE VIEW whole_event AS
        SELECT seq, pod, dimension, hour, tag_set, millionths FROM event
        UNION ALL SELECT seq, pod, dimension, hour, tag_set, millionths FROM event_by_id;
    """

_DENIALS = """
    -- The last sample of a pod that is denied, and when its last denial ended; by the system clock.
    ALTER TABLE source ADD COLUMN denied_at INTEGER;
    ALTER TABLE source ADD COLUMN denial_ended_at INTEGER;
    -- When the machine started, by the clock of the last page: it moves only when the clock is set.
    ALTER TABLE source ADD COLUMN booted_at INTEGER;
    """

MIGRATIONS = (
    FIRST,
    # Opening an old ledger rewrites the few rows of `dimension`; all else is new tables and views, and columns without
    # a value.
    _FROZEN_TERMS + _EVENT_DIGESTS + _POD_NAMES + _PROGRESS + _VIEWS,
    _CHECKOUTS,
    _SERIES,
    _APPENDED_EVENTS + _DENIALS,
)
"""Statements that lead from each version of the schema to the next; the version is how many were applied."""
