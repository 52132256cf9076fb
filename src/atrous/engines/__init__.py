"""Where a launch runs: one module per engine, each with available, prepare and describe."""
