"""What `atrous bench` and benchmarks/ share: cases, rivals, a contest that checks before it times, and a record of where it ran."""
