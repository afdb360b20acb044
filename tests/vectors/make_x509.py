"""Writes tests/vectors/x509/*.pem with python3-cryptography: certificates and
requests, good and hostile, from an implementation that is not ours. Keys are
Ed25519 from seeds of 32 equal bytes (1 CA, 2 other CA, 10 site, 11 aggregator,
12 another site), so that tests can make them again."""
import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OUT = pathlib.Path(__file__).parent / "x509"
PEM = serialization.Encoding.PEM


def key(seed):
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))


def day(text):
    return datetime.datetime.fromisoformat(text)


def name(organisation, common):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
                      x509.NameAttribute(NameOID.COMMON_NAME, common)])


def uris(*texts):
    return x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier(text) for text in texts])


CA_NAME = name("demo", "demo CA")
CLIENT = [ExtendedKeyUsageOID.CLIENT_AUTH]
SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]
SITE = "fedgraft://demo/site/alpha"


def ca(file, seed):
    own = key(seed)
    certificate = (
        x509.CertificateBuilder().subject_name(CA_NAME).issuer_name(CA_NAME)
        .public_key(own.public_key()).serial_number(seed)
        .not_valid_before(day("2024-01-01")).not_valid_after(day("2034-01-01"))
        .add_extension(x509.BasicConstraints(True, 0), True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        .sign(own, None))
    (OUT / file).write_bytes(certificate.public_bytes(PEM))


def leaf(file, san=uris(SITE), usage=CLIENT, subject_key=None, ca_seed=1,
         issuer=CA_NAME, serial=0xab12):
    issuer_key = key(ca_seed)
    subject = (subject_key or key(10)).public_key()
    builder = (
        x509.CertificateBuilder().subject_name(name("demo", "alpha"))
        .issuer_name(issuer).public_key(subject).serial_number(serial)
        .not_valid_before(day("2024-02-01")).not_valid_after(day("2025-02-01"))
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
            issuer_key.public_key()), False))
    if san is not None:
        builder = builder.add_extension(san, False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), False)
    (OUT / file).write_bytes(builder.sign(issuer_key, None).public_bytes(PEM))


def request(own, algorithm=None, common="alpha", san=uris(SITE), authority=False):
    builder = (x509.CertificateSigningRequestBuilder()
               .subject_name(name("demo", common)).add_extension(san, False))
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    return builder.sign(own, algorithm)


def write_request(file, der):
    csr = x509.load_der_x509_csr(der)
    (OUT / file).write_bytes(csr.public_bytes(PEM))


def main():
    OUT.mkdir(exist_ok=True)
    p256 = ec.generate_private_key(ec.SECP256R1())
    ca("ca.pem", 1)
    ca("other_ca.pem", 2)
    leaf("site.pem")
    leaf("aggregator.pem", uris("fedgraft://demo/aggregator/aggregator"),
         CLIENT + SERVER, key(11))
    leaf("operator.pem", uris("fedgraft://demo/operator/olga"))
    leaf("other_ca_site.pem", ca_seed=2)
    leaf("server_only_site.pem", usage=SERVER)
    leaf("no_usage_site.pem", usage=None)
    leaf("no_san.pem", None)
    leaf("foreign_uri.pem", uris("https://example.org/site/alpha"))
    leaf("two_names.pem", uris(SITE, "fedgraft://demo/operator/alpha"))
    leaf("bad_id.pem", uris("fedgraft://demo/site/Alpha"))
    leaf("bad_role.pem", uris("fedgraft://demo/root/alpha"))
    leaf("extra_part.pem", uris(SITE + "/x"))
    leaf("nul_in_name.pem", uris(SITE + "\0.evil"))
    leaf("p256_site.pem", subject_key=p256)
    # Signed with the site's own key: a leaf is no CA.
    leaf("issued_by_site.pem", uris("fedgraft://demo/operator/alpha"),
         subject_key=key(12), ca_seed=10, issuer=name("demo", "alpha"))

    der = serialization.Encoding.DER
    good = request(key(10)).public_bytes(der)
    write_request("good.csr", good)
    write_request("asks_for_operator.csr", request(
        key(10), san=uris("fedgraft://demo/operator/alpha"),
        authority=True).public_bytes(der))
    write_request("bad_signature.csr", good[:-1] + bytes([good[-1] ^ 1]))
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    write_request("stolen_key.csr", good.replace(
        key(10).public_key().public_bytes(*raw),
        key(12).public_key().public_bytes(*raw)))
    write_request("p256.csr", request(p256, hashes.SHA256()).public_bytes(der))
    write_request("rsa.csr", request(
        rsa.generate_private_key(65537, 2048), hashes.SHA256()).public_bytes(der))


if __name__ == "__main__":
    main()
