"""Scans a port with sslyze, and compares it with Mozilla's profile `intermediate`. Fails for anything found. What sslyze
asks about by speaking HTTP is left to `.ci/tls`.

Usage: tls.py NAME PORT CA_FILE
"""
import sys
from pathlib import Path

from sslyze import (
    CertificateInfoExtraArgument,
    ScanCommandAttemptStatusEnum,
    ScanCommandsExtraArguments,
    Scanner,
    ServerNetworkLocation,
    ServerScanRequest,
    ServerScanStatusEnum,
)
from sslyze.mozilla_tls_profile.tls_config_checker import (
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)

name, port, ca = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
believed = ScanCommandsExtraArguments(certificate_info=CertificateInfoExtraArgument(custom_ca_file=ca))
scanner = Scanner()
at = ServerNetworkLocation(hostname="localhost", port=port, ip_address="127.0.0.1")
scanner.queue_scans([ServerScanRequest(server_location=at, scan_commands_extra_arguments=believed)])
scan = next(iter(scanner.get_results()))
if scan.scan_status != ServerScanStatusEnum.COMPLETED:
    sys.exit(f"FAILED  {name}: sslyze did not scan it: {scan.connectivity_error_trace}")


def of(check):
    """What a check found. One that did not come to its end found nothing, and counts as a failure."""
    attempt = getattr(scan.scan_result, check)
    if attempt.status != ScanCommandAttemptStatusEnum.COMPLETED:
        sys.exit(f"FAILED  {name}: `{check}` did not come to its end: {attempt.error_trace}")
    return attempt.result


def passed(claim, holds, seen=None):
    if not holds:
        sys.exit(f"FAILED  {name}: {claim}: {seen}")
    print(f"  ok  {name}: {claim}", flush=True)


for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
    suites = of(f"{version}_cipher_suites").accepted_cipher_suites
    passed(f"{version.upper()} is not spoken", not suites, suites)
for version, kind in (("tls_1_2", "ECDHE"), ("tls_1_3", "TLS_")):
    suites = [accepted.cipher_suite.name for accepted in of(f"{version}_cipher_suites").accepted_cipher_suites]
    wrong = [suite for suite in suites if kind not in suite or not suite.endswith(("GCM_SHA256", "GCM_SHA384", "POLY1305_SHA256"))]
    passed(f"{version.upper()} by {len(suites)} suites, all with forward secrecy and authenticated", suites and not wrong, wrong)
passed("a downgrade is refused", of("tls_fallback_scsv").supports_fallback_scsv)
passed("it does not compress", not of("tls_compression").supports_compression)
renegotiation = of("session_renegotiation")
passed("its client cannot renegotiate", not renegotiation.is_vulnerable_to_client_renegotiation_dos, renegotiation)
passed("it is not open to Heartbleed", not of("heartbleed").is_vulnerable_to_heartbleed)
passed("nor to an early ChangeCipherSpec", not of("openssl_ccs_injection").is_vulnerable_to_ccs_injection)
passed("nor to ROBOT", of("robot").robot_result.name.startswith("NOT_VULNERABLE"), of("robot").robot_result)
passed("it binds the secret to the handshake", of("tls_extended_master_secret").supports_ems_extension)
for deployment in of("certificate_info").certificate_deployments:
    validated = [path for path in deployment.path_validation_results if path.was_validation_successful]
    passed("who believes the one that signed believes its certificate", validated, [path.validation_error for path in deployment.path_validation_results])
try:
    check_server_against_tls_configuration(scan, MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_INTERMEDIATE))
except ServerNotCompliantWithTlsConfiguration as found:
    sys.exit(f"FAILED  {name}: Mozilla's profile `intermediate`: {found.issues}")
passed("it is within Mozilla's profile `intermediate`", True)
