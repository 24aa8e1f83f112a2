"""What a refusal of Google's means: for ever, for now, or unknown; and what the user should do.

Used by `provider`.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rayhpc.providers.base import CapacityError, ProviderError, RefusedError
from rayhpc.providers.rest import ApiError, one_line
from rayhpc.providers.zones import NoRoomError

# There is none of that kind in that zone now: another zone may have one.
_ELSEWHERE = frozenset(
    {
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "resourcePoolExhausted",
        "stockout",
    }
)
_QUOTA = frozenset({"QUOTA_EXCEEDED", "quotaExceeded", "limitExceeded"})
# Too many calls, or Google's own trouble: it may have been done.
_AGAIN = frozenset(
    {
        "",
        "rateLimitExceeded",
        "RATE_LIMIT_EXCEEDED",
        "userRateLimitExceeded",
        "backendError",
        "internalError",
        "INTERNAL_ERROR",
        "resourceNotReady",
        "RESOURCE_NOT_READY",
        "conditionNotMet",
        "429",
        "500",
        "502",
        "503",
        "504",
    }
)
_RIGHTS = frozenset({"forbidden", "insufficientPermissions", "PERMISSIONS_ERROR", "403"})
_WHO = frozenset({"NoCredentials", "authError", "required", "401"})
_OFF = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})


def why_not_there(error: ApiError) -> ProviderError:
    """The error to raise where no machine was to be had in one zone of several."""
    return NoRoomError(error.code) if error.code in _ELSEWHERE else in_words(error)


def is_known(error: ApiError) -> bool:
    """Whether it is known that nothing has been done."""
    return error.code not in _AGAIN


@contextmanager
def in_our_words() -> Iterator[None]:
    """Calls in here raise a ProviderError instead of an ApiError."""
    try:
        yield
    except ApiError as error:
        raise in_words(error) from None


def in_words(error: ApiError) -> ProviderError:
    """The error to raise for one of Google's."""
    if error.code == "NoProject":
        return RefusedError(
            "which project? name it as project_id in provider, in GOOGLE_CLOUD_PROJECT, or with "
            "`gcloud config set project`"
        )
    if error.code in _WHO:
        return RefusedError(
            f"Google takes no credentials from here ({one_line(error.message)}): run `gcloud auth "
            "application-default login`, or name a key file in GOOGLE_APPLICATION_CREDENTIALS"
        )
    if error.code in _OFF:
        return RefusedError(
            f"{error.doing}: {one_line(error.message)}; `gcloud services enable "
            "compute.googleapis.com` switches it on"
        )
    if error.code in _RIGHTS:
        return RefusedError(f"no permission for {error.doing}: {one_line(error.message)}")
    if error.code in _QUOTA:
        return CapacityError(
            f"the project's quota is used up ({error.code}: {one_line(error.message)}): end "
            "others, or ask for more under IAM & Admin, Quotas"
        )
    if error.code in _AGAIN:
        said = f"{error.code}: {error.message}" if error.code else error.message
        return ProviderError(f"{error.doing}: no answer to rely on ({one_line(said)})")
    said = f"{error.doing}: {error.code}: {one_line(error.message)}"
    return RefusedError(f"{said}{_remedy(error.message)}")


def _remedy(said: str) -> str:
    if "machineType" in said:
        return "; `gcloud compute machine-types list` shows which each zone has"
    if "/images/" in said or "sourceImage" in said:
        return "; leave sourceImage out for Ubuntu's"
    if "/networks/default" in said:
        return "; there is no default network: give networkInterfaces in node_config"
    return ""
