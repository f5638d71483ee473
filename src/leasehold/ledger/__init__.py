"""Entries, the tree over them, checkpoints, proofs and receipts; pure, and enough to verify everything offline."""
