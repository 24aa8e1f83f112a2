"""The session: init and shutdown, runtime environments, context, what the cluster is."""
