"""A sidecar that registers, gates and meters a paid AWS Marketplace container product.

A ring imports the rings below it, never those above; the contracts in pyproject.toml check that.

    cli, completion             the command line
    testing                     pytest fixtures for the tests of products: an emulator and a sidecar as processes
    commands                    one module or package for each command, loaded when it is called
    app                         the life of the process: composition, start, drain, connection to the cluster
    checks                      what must be right before the first call; `doctor` and the running sidecar use it
    upstream, api_client        access to AWS, and to the API of a running sidecar
    services                    the loops that do what the domain decides: registrar, intake, submitter, reporters
    adapters                    one for each vendor: ledger, local API and probes, cluster, clock, signatures, metrics
    emulator                    AWS's side, for laptops and tests
    marketplace                 a client library for AWS Marketplace Metering, of use alone
    serializers                 what the ledger and the sidecar show of themselves, as JSON members
    settings, logs, terminal    configuration, log lines, what people see
    domain                      the rules, pure: entitlement, metering, audit, pod
    http_client, durable_files, system_clock  one small HTTP client; complete files and locks; the machine's clock
"""

__version__ = "0.1.0"
