"""Microsoft Azure as a provider of machines."""
