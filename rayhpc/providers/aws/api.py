"""EC2's API by boto3, which is imported when the first call is made.

Used by the modules beside it, which take an `Api`; tests give them another one.  Credentials are
boto3's to find (`aws configure`, the environment, a role): they are never read or passed on here.
"""

from __future__ import annotations

from typing import Any, Protocol

from rayhpc.batch.errors import OptionError

_CONNECT_S, _READ_S, _TRIES = 5, 30, 4
# boto3 would take no room in a zone (a code of 500) for a passing trouble, and ask there again.
_ONCE = ("run_instances",)
_HOW = "install it with `pip install 'rayhpc[aws]'`, or `pip install boto3`"


class ApiError(Exception):
    """A call that failed.

    Attributes:
        code: EC2's own, such as `UnauthorizedOperation`; empty: no answer came, so whether it has
            been done is unknown.
        message: in its own words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Api(Protocol):
    """The calls."""

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """One call of EC2's, by its name in boto3, such as `run_instances`.

        Raises:
            ApiError: it failed.
        """

    def parameter(self, name: str) -> str:
        """A public parameter of the region.  Raises ApiError."""


class Boto:
    """Implements `Api`.

    Args:
        region: where; None: as `aws configure` has it.
        profile: one of the user's profiles; None: as usual.

    Raises:
        OptionError: boto3 is not installed.
    """

    def __init__(self, region: str | None, profile: str | None) -> None:
        try:
            import boto3  # noqa: F401
        except ImportError as error:
            raise OptionError(f"the provider aws needs boto3 ({error}): {_HOW}") from None
        self._region, self._profile = region, profile
        self._clients: dict[tuple[str, int], Any] = {}

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """See `Api`."""
        return self._call("ec2", operation, parameters)

    def parameter(self, name: str) -> str:
        """See `Api`."""
        return str(self._call("ssm", "get_parameter", {"Name": name})["Parameter"]["Value"])

    def region(self) -> str | None:
        """Where; None: nobody has said."""
        import boto3

        session = boto3.session.Session(profile_name=self._profile, region_name=self._region)
        return str(session.region_name) if session.region_name else None

    def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        from botocore import exceptions as problems

        try:
            client = self._client(service, 1 if operation in _ONCE else _TRIES)
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
        except problems.ClientError as error:
            said = error.response.get("Error", {})
            raise ApiError(str(said.get("Code", "")), str(said.get("Message", error))) from None
        except problems.NoRegionError as error:
            raise ApiError("NoRegion", str(error)) from None
        except _no_credentials() as error:
            raise ApiError("NoCredentials", str(error)) from None
        except problems.ParamValidationError as error:
            raise ApiError("InvalidParameter", str(error)) from None
        except problems.BotoCoreError as error:
            raise ApiError("", str(error)) from None
        return answer

    def _client(self, service: str, tries: int) -> Any:
        if (service, tries) not in self._clients:
            import boto3
            from botocore.config import Config

            limits = Config(
                connect_timeout=_CONNECT_S,
                read_timeout=_READ_S,
                retries={"mode": "standard", "total_max_attempts": tries},
                user_agent_extra="rayhpc",
            )
            session = boto3.session.Session(profile_name=self._profile, region_name=self._region)
            self._clients[service, tries] = session.client(service, config=limits)
        return self._clients[service, tries]


def _no_credentials() -> tuple[type[Exception], ...]:
    from botocore import exceptions as problems

    return (
        problems.NoCredentialsError,
        problems.PartialCredentialsError,
        problems.CredentialRetrievalError,
        problems.ProfileNotFound,
        problems.TokenRetrievalError,
        problems.SSOError,
    )
