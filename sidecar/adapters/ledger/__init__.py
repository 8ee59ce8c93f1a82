"""The ledger: events, buckets and metering records in one SQLite file. Only this package imports sqlite3."""
