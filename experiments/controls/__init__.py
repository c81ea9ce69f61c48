"""Controls: methods that must not learn. A gain that they reach too is no evidence."""
