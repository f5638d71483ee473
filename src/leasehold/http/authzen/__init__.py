"""AuthZEN 1.0 in front of the same decision: evaluations and access requests, for doors (decision 0021)."""
