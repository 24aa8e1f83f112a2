"""Constants of Ray that libraries pass back to it; rayhpc ignores them where they come."""

REDIS_DEFAULT_PASSWORD = ""
DEFAULT_PORT = 6379
DEFAULT_OBJECT_STORE_MEMORY_PROPORTION = 0.3
RAY_ADDRESS_ENVIRONMENT_VARIABLE = "RAY_ADDRESS"
