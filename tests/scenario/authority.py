# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of one test: good leaves, and every kind of bad one. What is good is so for strict readers, too (Python
3.13's: RFC 5280 to the letter).

    ca = Authority(tmp_path, "ca", trusted=True)
    stage.router(tls=ca.issue("router"))
    context = ca.server(ca.issue("leaf"))
"""
import base64
import datetime
import hashlib
import ipaddress
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import http1

NAMES = ("localhost", "127.0.0.1")
DAY = datetime.timedelta(days=1)
SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def write(path, content):
    """For its owner alone, and at once: whoever reads it meanwhile has the old or the new one."""
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(content)
    os.rename(f"{path}.new", path)


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name)


class Leaf:
    """Files of a certificate (with what it chains by) and of its key, and the pin of that key."""

    def __init__(self, directory, name, cert, key, chain=()):
        self.cert, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        write(self.cert, b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (cert, *chain)))
        write(self.key, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.pin = "sha256//" + base64.b64encode(hashlib.sha256(public).digest()).decode()


    def context(self, trusted):
        """For a client that shows it, and trusts that CA."""
        context = ssl.create_default_context(cafile=trusted.file)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(self.cert, self.key)
        return context


def usages(ca):
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
             "encipher_only", "decipher_only")
    mine = ("key_cert_sign", "crl_sign") if ca else ("digital_signature",)
    return x509.KeyUsage(**{name: name in mine for name in names})


class Authority:
    count = 0

    def __init__(self, directory, name, trusted=False):
        """trusted: the tests' own clients believe it (http1.py)."""
        Authority.count += 1
        self.directory, self.key = directory, ec.generate_private_key(ec.SECP256R1())
        self.name = named(f"{name} {Authority.count}")  # clients find an issuer by its name
        self.cert = self._sign(self.name, self.key.public_key(), ca=True)
        self.file = directory / f"{name}.ca.pem"
        write(self.file, self.cert.public_bytes(serialization.Encoding.PEM))
        self.pin = Leaf(directory, f"{name}.itself", self.cert, self.key).pin
        if trusted:
            http1.trust(self.file)

    def _sign(self, subject, public, names=(), since=-DAY, until=90 * DAY, ca=False, usage=None, hashed=None, issuer=None, by=None):
        by = by or self.key
        now = datetime.datetime.utcnow().replace(microsecond=0)
        made = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or self.name).public_key(public)
                .serial_number(x509.random_serial_number()).not_valid_before(now + since).not_valid_after(now + until)
                .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
                .add_extension(usages(ca), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False))
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([alternative(n) for n in names]), critical=not list(subject))
        if usage:
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return made.sign(by, hashed or hashes.SHA256())

    def issue(self, name, names=NAMES, common="leaf", bits=None, **how):
        """common None: no subject at all."""
        key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
        return Leaf(self.directory, name, self._sign(named(common), key.public_key(), names, **how), key)

    def self_signed(self, name, names=NAMES):
        key = ec.generate_private_key(ec.SECP256R1())
        return Leaf(self.directory, name, self._sign(named(name), key.public_key(), names, issuer=named(name), by=key), key)

    def client(self, name, **how):
        return self.issue(name, names=(), common=name, usage=CLIENT_AUTH, **how)

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
