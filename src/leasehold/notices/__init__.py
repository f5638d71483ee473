"""Telling people: what a ledger entry is worth, in which words, over which channels. One file per channel."""
