"""What there is in the cluster, as rows; where objects lie; the cluster's key-value store."""
