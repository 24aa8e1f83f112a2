"""What a refusal of Azure's means: for ever, for now, or unknown; and what the user should do.

Used by `provider` and `network`.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rayhpc.providers.base import CapacityError, ProviderError, RefusedError
from rayhpc.providers.rest import ApiError, one_line
from rayhpc.providers.zones import NoRoomError, QuotaError

# There is none of that size in that zone now, or ever: another zone or size may have one.
NO_ROOM = frozenset(
    {
        "SkuNotAvailable",
        "ZonalAllocationFailed",
        "AllocationFailed",
        "OverconstrainedAllocationRequest",
        "OverconstrainedZonalAllocationRequest",
        "SpotCapacityNotAvailable",
    }
)
# So many there may be of a size or a family: there may be room in another one's.
_QUOTA = frozenset({"QuotaExceeded", "ResourceQuotaExceeded"})
# Likewise, whatever the size.
_ADDRESSES = frozenset({"PublicIPCountLimitReached"})
# Azure's word for several refusals, a used up quota among them.
_NOT_ALLOWED = "OperationNotAllowed"
# Too many calls, or Azure's own trouble: it may have been done.  And what has only just been made,
# or is just going, is not known everywhere at once.
_AGAIN = frozenset(
    {
        "",
        "TooManyRequests",
        "InternalServerError",
        "InternalExecutionError",
        "ServiceUnavailable",
        "ServerTimeout",
        "GatewayTimeout",
        "OperationTimedOut",
        "RetryableError",
        "AnotherOperationInProgress",
        "ReferencedResourceNotProvisioned",
        "ResourceGroupBeingDeleted",
        "429",
        "500",
        "502",
        "503",
        "504",
    }
)
_RIGHTS = frozenset({"AuthorizationFailed", "LinkedAuthorizationFailed", "403"})
_WHO = frozenset(
    {
        "NoCredentials",
        "AuthenticationFailed",
        "InvalidAuthenticationToken",
        "InvalidAuthenticationTokenTenant",
        "ExpiredAuthenticationToken",
        "401",
    }
)
_GONE = frozenset({"ResourceNotFound", "NotFound", "ResourceGroupNotFound", "404"})
_TAKEN = frozenset({"PreconditionFailed", "ConditionNotMet", "412"})
_REMEDIES = {
    "MissingSubscriptionRegistration": "`az provider register --namespace Microsoft.Compute`, and "
    "Microsoft.Network, switch it on",
    "SubscriptionNotFound": "`az account list` shows those that you may use",
    "InvalidSubscriptionId": "`az account list` shows those that you may use",
    "LocationNotAvailableForResourceType": "`az account list-locations` shows them all",
    "InvalidResourceGroupLocation": "name another resource_group in provider, or its location",
    "ResourcePurchaseValidationFailed": "`az vm image terms accept` accepts an image's terms",
    "MarketplacePurchaseEligibilityFailed": "`az vm image terms accept` accepts an image's terms",
    "PlatformImageNotFound": "leave the image out for Ubuntu's",
    "ImageNotFound": "leave the image out for Ubuntu's",
    "InvalidParameter": "`az vm list-skus --location PLACE` shows the sizes",
}


def is_elsewhere(error: ApiError) -> bool:
    """Whether another zone or size may be had."""
    return error.code in NO_ROOM or _is_quota(error)


def is_no_right(error: ApiError) -> bool:
    """Whether it is the user who may not do it."""
    return error.code in _RIGHTS


def is_gone(error: ApiError) -> bool:
    """Whether what the call was about is not there (any more)."""
    return error.code in _GONE


def is_taken(error: ApiError) -> bool:
    """Whether what was to be made is there already."""
    return error.code in _TAKEN


@contextmanager
def in_our_words() -> Iterator[None]:
    """Calls in here raise a ProviderError instead of an ApiError."""
    try:
        yield
    except ApiError as error:
        raise in_words(error) from None


def in_words(error: ApiError) -> ProviderError:
    """The error to raise for one of Azure's."""
    said = one_line(error.message)
    if error.code == "NoSubscription":
        return RefusedError(
            "which subscription? name it as subscription_id in provider, in AZURE_SUBSCRIPTION_ID, "
            "or with `az account set --subscription`"
        )
    if error.code in _WHO:
        return RefusedError(
            f"Azure takes no credentials from here ({_first(said)}): run `az login`, or set "
            "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET"
        )
    if is_no_right(error):
        return RefusedError(f"no permission for {error.doing}: {said}")
    if _is_quota(error) or error.code in _ADDRESSES:
        return CapacityError(
            f"the subscription's quota is used up ({error.code}: {said}): end others, or ask for "
            "more under Quotas in the portal"
        )
    if error.code in _AGAIN:
        text = f"{error.code}: {said}" if error.code else said
        return ProviderError(f"{error.doing}: no answer to rely on ({text})")
    remedy = _REMEDIES.get(error.code)
    return RefusedError(f"{error.doing}: {error.code}: {said}{f'; {remedy}' if remedy else ''}")


def why_not_there(error: ApiError) -> ProviderError:
    """The error to raise where a machine could not be made at one place of several."""
    if error.code in NO_ROOM:
        return NoRoomError(error.code)
    found = in_words(error)
    return QuotaError(str(found)) if _is_quota(error) else found


def _is_quota(error: ApiError) -> bool:
    """Whether a quota is used up that another size may not count against."""
    if error.code == _NOT_ALLOWED:
        return "quota" in error.message.lower()
    return error.code in _QUOTA


def _first(said: str) -> str:
    """azure-identity lists each way it has tried: the first sentence is enough."""
    return said.partition(". ")[0]
