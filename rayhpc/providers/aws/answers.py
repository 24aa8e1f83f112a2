"""What a refusal of EC2's means: for ever, for now, or unknown; and what the user should do.

Used by `provider`.  Pure.
"""

from __future__ import annotations

from rayhpc.providers.aws.api import ApiError
from rayhpc.providers.base import CapacityError, ProviderError, RefusedError
from rayhpc.providers.zones import NoRoomError, QuotaError

# There is none of that kind in that zone now, or ever: another zone or type may have one.
_ELSEWHERE = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientFreeAddressesInSubnet",
        "SpotMaxPriceTooLow",
        "Unsupported",
        "UnsupportedOperation",
    }
)
# The account may have no more, whatever the zone.
_QUOTA = {
    "VcpuLimitExceeded": "vCPUs of that family",
    "InstanceLimitExceeded": "instances of that type",
    "MaxSpotInstanceCountExceeded": "spot instances",
    "VolumeLimitExceeded": "volumes",
    "MaxIOPSLimitExceeded": "IOPS",
    "AddressLimitExceeded": "addresses",
}
# Of these, what another type of instance may not count against.
_OF_TYPE = frozenset({"VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"})
# Too many calls, or EC2's own trouble: it may have been done.  And what has only just been made is
# not known everywhere at once.
_AGAIN = frozenset(
    {
        "",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "RequestThrottled",
        "InternalError",
        "InternalFailure",
        "ServiceUnavailable",
        "Unavailable",
        "RequestTimeout",
        "500",
        "502",
        "503",
        "504",
        "InvalidGroup.NotFound",
        "InvalidKeyPair.NotFound",
        "InvalidInstanceID.NotFound",
    }
)
_RIGHTS = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
_WHO = frozenset(
    {
        "NoCredentials",
        "AuthFailure",
        "ExpiredToken",
        "RequestExpired",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
    }
)


def why_not_there(error: ApiError) -> ProviderError:
    """The error to raise where no machine was to be had at one place of several."""
    if error.code in _ELSEWHERE:
        return NoRoomError(error.code)
    found = in_words(error, "ec2:RunInstances")
    return QuotaError(str(found)) if error.code in _OF_TYPE else found


def in_words(error: ApiError, doing: str) -> ProviderError:
    """The error to raise for one of EC2's.

    Args:
        error: what it said.
        doing: the call, by its name in IAM, such as `ec2:RunInstances`.
    """
    if error.code in _WHO:
        return RefusedError(
            f"AWS takes no credentials from here ({error.message}): run `aws configure`, or "
            "`aws sso login`, or name a profile with AWS_PROFILE"
        )
    if error.code == "NoRegion":
        return RefusedError(
            "no region of AWS is chosen: name one with provider.region, with --region of "
            "`rayhpc sweep`, with AWS_REGION, or in `aws configure`"
        )
    if error.code in _RIGHTS:
        # Its message names the user, and a blob for `aws sts decode-authorization-message`.
        said = error.message.split(" Encoded authorization failure message")[0]
        return RefusedError(f"no permission for {doing}: {said}")
    if error.code in _QUOTA:
        return CapacityError(
            f"the account's limit of {_QUOTA[error.code]} is reached ({error.code}: "
            f"{error.message}): end others, or ask for more in Service Quotas"
        )
    if error.code in _AGAIN:
        said = f"{error.code}: {error.message}" if error.code else error.message
        return ProviderError(f"{doing}: no answer to rely on ({said})")
    return RefusedError(f"{doing}: {error.code}: {error.message}{_remedy(error)}")


def _remedy(error: ApiError) -> str:
    if error.code.startswith("InvalidAMIID"):
        return "; images differ from region to region: leave ImageId out for Ubuntu's"
    if error.code in ("VPCIdNotSpecified", "MissingInput", "DefaultVpcDoesNotExist"):
        return "; there is no default network: give SubnetIds in node_config"
    if error.code == "OptInRequired":
        return "; subscribe to that image in AWS Marketplace"
    return ""
