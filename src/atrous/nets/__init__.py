"""Networks on atrous: a small sequential graph of plans, and the trained digits network that the demo shows."""
