"""The tables of the first version of the ledger, from which `schema` leads to the current ones."""

FIRST = """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE pod (
        id INTEGER PRIMARY KEY,
        uid TEXT NOT NULL UNIQUE,
        source TEXT NOT NULL,
        first_seen_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE dimension (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        -- The terms of the conservation law that are not a sum over few rows.
        accepted TEXT NOT NULL DEFAULT '0',
        submitted TEXT NOT NULL DEFAULT '0',
        unbilled TEXT NOT NULL DEFAULT '0',
        remainder TEXT NOT NULL DEFAULT '0',
        -- What rows pruned since took with them.
        pruned_own TEXT NOT NULL DEFAULT '0',
        pruned_submitted TEXT NOT NULL DEFAULT '0'
    ) STRICT;

    CREATE TABLE tag_set (
        id INTEGER PRIMARY KEY,
        tags TEXT NOT NULL UNIQUE
    ) STRICT;

    -- One row for each event with an id until its hour is sealed; version 1 kept all events for the whole window.
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY,
        id TEXT UNIQUE,
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

    -- What the events of a bucket that have no row made of it, so that it can be proved without them.
    CREATE TABLE dropped_events (
        pod INTEGER NOT NULL,
        dimension INTEGER NOT NULL,
        hour INTEGER NOT NULL,
        tag_set INTEGER NOT NULL,
        events INTEGER NOT NULL,
        quantity TEXT NOT NULL,
        PRIMARY KEY (pod, dimension, hour, tag_set)
    ) STRICT, WITHOUT ROWID;

    -- Idempotency keys as version 1 kept them.
    CREATE TABLE batch (
        key TEXT PRIMARY KEY,
        digest BLOB NOT NULL,
        taken_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE bucket (
        pod INTEGER NOT NULL,
        dimension INTEGER NOT NULL,
        hour INTEGER NOT NULL,
        tag_set INTEGER NOT NULL,
        own TEXT NOT NULL,
        carried TEXT NOT NULL,
        moved TEXT NOT NULL,
        events INTEGER NOT NULL,
        last_at INTEGER,
        sealed INTEGER NOT NULL,
        record INTEGER,
        PRIMARY KEY (pod, dimension, hour, tag_set)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX bucket_open ON bucket (hour) WHERE sealed = 0;
    CREATE INDEX bucket_closed ON bucket (hour) WHERE sealed = 1;

    -- The values of `unique` dimensions, by digest, for exact counting in bounded memory.
    CREATE TABLE distinct_value (
        hour INTEGER NOT NULL,
        pod INTEGER NOT NULL,
        dimension INTEGER NOT NULL,
        tag_set INTEGER NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (hour, pod, dimension, tag_set, digest)
    ) STRICT, WITHOUT ROWID;

    -- kind: `slot` is submitted; `late` gathers what came too late and is not billed; `unsent` keeps what is of another
    -- product, or was adopted past its window, and takes no slot.
    CREATE TABLE record (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        pod INTEGER NOT NULL,
        dimension INTEGER NOT NULL,
        hour INTEGER NOT NULL,
        kind TEXT NOT NULL,
        status TEXT NOT NULL,
        reason TEXT,
        quantity TEXT NOT NULL,
        whole INTEGER NOT NULL,
        gathered TEXT NOT NULL,
        remainder_before TEXT NOT NULL,
        remainder_after TEXT NOT NULL,
        excess TEXT NOT NULL,
        folded INTEGER NOT NULL DEFAULT 0,
        client_token TEXT NOT NULL UNIQUE,
        timestamp INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        unanswered INTEGER NOT NULL DEFAULT 0,
        attempted_at INTEGER,
        answer TEXT,
        metering_record_id TEXT,
        request_id TEXT,
        sealed_at INTEGER NOT NULL,
        settled_at INTEGER,
        carried_to INTEGER,
        -- A person has decided what becomes of it; the audit table says who and why.
        resolved INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE UNIQUE INDEX record_slot ON record (pod, dimension, hour) WHERE kind = 'slot';
    CREATE UNIQUE INDEX record_late ON record (pod, dimension, hour) WHERE kind = 'late' AND resolved = 0;
    CREATE INDEX record_sealed ON record (hour) WHERE status = 'sealed';
    CREATE INDEX record_settled ON record (settled_at) WHERE status IN ('accepted', 'carried');
    CREATE INDEX record_accepted ON record (settled_at) WHERE status = 'accepted' AND resolved = 0;
    CREATE INDEX record_in_doubt ON record (reason) WHERE status = 'unbilled';

    CREATE TABLE allocation (
        record INTEGER NOT NULL,
        tag_set INTEGER NOT NULL,
        quantity TEXT NOT NULL,
        PRIMARY KEY (record, tag_set)
    ) STRICT, WITHOUT ROWID;

    -- Every movement of a quantity between hours: out of a record, or, where that is null, out of a bucket.
    CREATE TABLE carry (
        seq INTEGER PRIMARY KEY,
        cause TEXT NOT NULL,
        record INTEGER,
        from_pod INTEGER NOT NULL,
        from_hour INTEGER NOT NULL,
        to_pod INTEGER NOT NULL,
        to_hour INTEGER NOT NULL,
        dimension INTEGER NOT NULL,
        tag_set INTEGER NOT NULL,
        quantity TEXT NOT NULL,
        carried_at INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX carry_once ON carry
        (dimension, to_pod, to_hour, from_pod, from_hour, tag_set, cause, ifnull(record, 0));

    -- Every decision of a person about a record, with the record before and after it as JSON; never dropped.
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        action TEXT NOT NULL,
        record INTEGER NOT NULL,
        reason TEXT NOT NULL,
        who TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL
    ) STRICT;

    -- Hours in which the gate of this pod was open: their zero may be reported.
    CREATE TABLE witnessed_hour (
        pod INTEGER NOT NULL,
        hour INTEGER NOT NULL,
        PRIMARY KEY (pod, hour)
    ) STRICT, WITHOUT ROWID;

    INSERT INTO tag_set (id, tags) VALUES (0, '[]');
    """
