"""Comparing the ledger with AWS: slots, matching, decisions of a person, and the hash chain of an export."""
