"""A certificate authority of a lab's or a test's own, and certificates for servers and users.

Used by `lab`, and by the tests' fake.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Certificates:
    """Made anew for each.

    Args:
        folder: where a server's certificate is written.
        addresses: of the servers.

    Attributes:
        authority: the authority's certificate as PEM text.
        user: a user's certificate and its key, likewise.
    """

    def __init__(self, folder: Path, *addresses: str) -> None:
        self._folder, self._addresses = folder, addresses or ("127.0.0.1",)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority for tests")])
        self._own = self._sign("an authority for tests", self._key, authority=True)
        self.authority = _pem(self._own)
        self.user = self.pair("me")

    def server_context(self) -> ssl.SSLContext:
        """For a server, which asks for a user's certificate and does not insist."""
        certificate, key = self.pair("server")
        path = self._folder / "server.pem"
        path.write_text(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.load_verify_locations(cadata=self.authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def pair(self, name: str) -> tuple[str, str]:
        """A certificate and its key as PEM text."""
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return _pem(self._sign(name, key)), text.decode()

    def _sign(
        self, name: str, key: ec.EllipticCurvePrivateKey, authority: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        hour = datetime.timedelta(hours=1)
        addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in self._addresses]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - hour)
            .not_valid_after(now + hour)
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
        )
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName(addresses), False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(uses), False)
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
