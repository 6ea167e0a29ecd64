# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests: a CA, and what it vouches for, as files.

    ca = Authority(directory)
    ours = ca.issue("router", ["127.0.0.1", "localhost"])
    stage.router(tls=ours)
"""
import datetime
import ipaddress
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import http1


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def _alternative(text):
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.UniformResourceIdentifier(text) if "://" in text else x509.DNSName(text)


class Certificate:
    """Files: cert (a chain) and key."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def client(self, trusted):
        """A context for a client that shows it, and trusts this CA."""
        context = ssl.create_default_context(cafile=trusted.cert)
        context.load_cert_chain(self.cert, self.key)
        return context


class Authority:
    count = 0

    def __init__(self, directory, name="test CA", trusted=True):
        Authority.count += 1
        self.directory, self.name = directory, f"{name} {Authority.count}"
        self.secret = ec.generate_private_key(ec.SECP256R1())
        self.public = self._sign(_name(self.name), self.secret.public_key(), 3650, [
            (x509.BasicConstraints(ca=True, path_length=None), True)])
        self.cert = str(directory / f"ca-{Authority.count}.pem")
        with open(self.cert, "wb") as out:
            out.write(self.public.public_bytes(serialization.Encoding.PEM))
        if trusted:
            http1.trust(self.cert)

    def _sign(self, subject, key, days, extensions, since_days=1):
        now = datetime.datetime.utcnow().replace(microsecond=0)
        made = (x509.CertificateBuilder().subject_name(subject).issuer_name(_name(self.name)).public_key(key)
                .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=since_days))
                .not_valid_after(now + datetime.timedelta(days=days)))
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(self.secret, hashes.SHA256())

    def issue(self, file, names=(), days=90, common=None, since_days=1, usage=None, key=None):
        """file.pem and file.key. names: alternative ones (addresses, DNS names, URIs)."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        extensions = [(x509.SubjectAlternativeName([_alternative(n) for n in names]), False)] if names else []
        if usage:
            extensions.append((x509.ExtendedKeyUsage([usage]), False))
        made = self._sign(_name(common), key.public_key(), days, extensions, since_days)
        cert, secret = str(self.directory / f"{file}.pem"), str(self.directory / f"{file}.key")
        write(cert, made.public_bytes(serialization.Encoding.PEM))
        write(secret, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return Certificate(cert, secret)


SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH


def write(path, content):
    """For its owner alone, and at once: whoever reads it meanwhile has the old or the new one."""
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(content)
    os.rename(path + ".new", path)
