"""The wire protocol of the services: requests, answers, signatures, identities."""
