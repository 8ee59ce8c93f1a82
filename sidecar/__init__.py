"""A sidecar that registers, gates and meters a paid AWS Marketplace container product.

What stands above knows what stands below, never the other way round; the contracts in pyproject.toml hold that.

    cli, completion             the command line
    operator                    the commands, each loaded when it is called
    app                         the life of the process: open, serve, register, run, drain, close
    assembly, aws, cluster      which part gets what; AWS and the cluster as this process meets them
    services                    the loops that do what the domain decides: registrar, intake, submitter, reporters
    adapters                    one for each vendor: ledger, local API and probes, cluster, clock, signatures, metrics
    emulator                    AWS's side, for laptops and tests
    marketplace                 a client library for AWS Marketplace Metering, of use alone
    settings, logs, terminal    configuration, log lines, what people see
    domain                      the rules, pure: entitlement, usage, hours, records, what each answer means
"""

__version__ = "0.1.0"
