"""How a service process runs: settings, consume loop, SQL transactions, logs and metrics."""
