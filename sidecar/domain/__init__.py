"""The rules of registration and metering: pure, standard library only, no clock, no input or output, no logging."""
