"""The session: init and shutdown, runtime environments, runtime context, cluster information."""
