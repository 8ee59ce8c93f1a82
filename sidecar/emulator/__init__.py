"""AWS's side of the conversation: Marketplace Metering and License Manager, local, for any AWS SDK.

It is independent: it needs no sidecar, no AWS account and no AWS library. The rules of each operation are plain
functions over a state object with the time as an argument, and can also be called without any HTTP.
"""
