"""AWS's own log of metering calls, CloudTrail, as files: what was charged, and which pods registered."""
