"""A breadth-first search over small worlds that drives the real `decide` functions against invariants I1-I10."""
