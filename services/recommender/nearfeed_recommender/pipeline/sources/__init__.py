"""Where candidates come from: one class per kind of source, made once per provider of a configuration."""
