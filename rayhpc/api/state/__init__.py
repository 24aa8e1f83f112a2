"""The cluster's contents as rows, object locations, and the cluster's key-value store."""
