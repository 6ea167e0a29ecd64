# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of one test: good leaves, and every kind of bad one.

    ca = Authority(tmp_path, "ca")
    context = ca.server(ca.issue("leaf"))
"""
import base64
import datetime
import hashlib
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("localhost", "127.0.0.1")
HOUR = datetime.timedelta(hours=1)


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Leaf:
    """Files of a certificate (with what it chains by) and of its key, and the pin of that key."""

    def __init__(self, directory, name, cert, key, chain=()):
        self.cert, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        self.cert.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (cert, *chain)))
        self.key.touch(mode=0o600)
        self.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.pin = "sha256//" + base64.b64encode(hashlib.sha256(public).digest()).decode()


class Authority:
    def __init__(self, directory, name):
        self.directory, self.key = directory, ec.generate_private_key(ec.SECP256R1())
        self.name = named(name)
        self.cert = self._sign(self.name, self.key.public_key(), ca=True)
        self.file = directory / f"{name}.ca.pem"
        self.file.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))
        self.pin = Leaf(directory, f"{name}.itself", self.cert, self.key).pin

    def _sign(self, subject, public, names=(), since=-HOUR, until=HOUR, ca=False, usage=None, hashed=None, issuer=None, by=None):
        now = datetime.datetime.utcnow()
        made = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or self.name).public_key(public)
                .serial_number(x509.random_serial_number()).not_valid_before(now + since).not_valid_after(now + until)
                .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([alternative(n) for n in names]), critical=False)
        if usage:
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return made.sign(by or self.key, hashed or hashes.SHA256())

    def issue(self, name, names=NAMES, common="leaf", bits=None, **how):
        key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
        return Leaf(self.directory, name, self._sign(named(common), key.public_key(), names, **how), key)

    def self_signed(self, name, names=NAMES):
        key = ec.generate_private_key(ec.SECP256R1())
        return Leaf(self.directory, name, self._sign(named(name), key.public_key(), names, issuer=named(name), by=key), key)

    def client(self, name, **how):
        return self.issue(name, names=(), common=name, usage=ExtendedKeyUsageOID.CLIENT_AUTH, **how)

    def server(self, leaf, clients=None, highest=None):
        """A context that shows the leaf, however weak it is; with `clients` it asks for a certificate of that authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        if highest:
            context.maximum_version = highest
        context.load_cert_chain(leaf.cert, leaf.key)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients.file)
        return context
