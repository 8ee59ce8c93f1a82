"""Usage events, buckets, hours and metering records, and the rules that move a quantity between them."""
