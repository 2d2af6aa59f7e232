/**
 * OpenSSL's verify errors (X509_V_ERR_…; the words are those of x509_txt.c of OpenSSL 3), a line each: name |
 * kind | OpenSSL's words | what follows "the certificate" ("it" means that certificate or one above it) |
 * remedy, if that of its kind does not help.
 *
 * A test causes each of them, except those under a heading that begins with "never", which says why no peer
 * can cause them.
 */
export const verifyErrorTable = `
# who issued it
UNABLE_TO_GET_ISSUER_CERT | issuer | unable to get issuer certificate | leads to a CA whose own issuer is not in the authority | add the root: chains are followed to a self-signed CA
UNABLE_TO_GET_ISSUER_CERT_LOCALLY | issuer | unable to get local issuer certificate | was issued by a CA that is not in the authority
UNABLE_TO_VERIFY_LEAF_SIGNATURE | issuer | unable to verify the first certificate | came alone, and its issuer is not in the authority
DEPTH_ZERO_SELF_SIGNED_CERT | issuer | self-signed certificate | is self-signed, and not in the authority | have it issued by a CA, or pin its key
SELF_SIGNED_CERT_IN_CHAIN | issuer | self-signed certificate in certificate chain | leads to a root that is not in the authority
CERT_CHAIN_TOO_LONG | form | certificate chain too long | has more CAs above it than the hundred that OpenSSL follows | shorten the chain
# signatures and keys
CERT_SIGNATURE_FAILURE | issuer | certificate signature failure | has a signature that is not of the CA whose name it bears | another CA may use the same name: compare their keys
EE_KEY_TOO_SMALL | form | EE certificate key too weak | has too short a key | RSA keys need 2,048 bits
CA_KEY_TOO_SMALL | form | CA certificate key too weak | was issued by a CA that has too short a key | RSA keys need 2,048 bits
CA_MD_TOO_WEAK | form | CA signature digest algorithm too weak | has too weak a signature, such as SHA-1, or a CA above it has | sign with SHA-256
EC_KEY_EXPLICIT_PARAMS | form | Certificate public key has explicit ECC parameters | spells out its curve, or a CA above it does | make the key on a named curve, such as P-256
# dates
CERT_NOT_YET_VALID | not_yet_valid | certificate is not yet valid or the system clock is incorrect | or one above it is not valid yet
CERT_HAS_EXPIRED | expired | certificate has expired | or one above it has expired
ERROR_IN_CERT_NOT_BEFORE_FIELD | form | format error in certificate's notBefore field | begins at a date that is none
ERROR_IN_CERT_NOT_AFTER_FIELD | form | format error in certificate's notAfter field | ends at a date that is none
# what it may do
INVALID_CA | form | invalid CA certificate | was issued by one that is no CA | whoever issues needs basicConstraints CA:TRUE
INVALID_NON_CA | form | invalid non-CA certificate (has CA markings) | is a proxy certificate (RFC 3820), which is not taken | issue one from the CA itself
PATH_LENGTH_EXCEEDED | form | path length constraint exceeded | has more CAs above it than one of them allows (pathlen) | have the CA with the pathlen issue it itself, or issue that CA anew
KEYUSAGE_NO_CERTSIGN | form | key usage does not include certificate signing | was issued by a CA whose keyUsage does not include keyCertSign | issue that CA anew with keyCertSign
KEYUSAGE_NO_DIGITAL_SIGNATURE | form | key usage does not include digital signature | is a proxy certificate (RFC 3820), which is not taken | issue one from the CA itself
INVALID_PURPOSE | purpose | unsuitable certificate purpose | or one above it is not for this side of TLS
PROXY_CERTIFICATES_NOT_ALLOWED | form | proxy certificates not allowed, please set the appropriate flag | is a proxy certificate (RFC 3820), which is not taken | issue one from the CA itself
PROXY_PATH_LENGTH_EXCEEDED | form | proxy path length constraint exceeded | is a proxy certificate (RFC 3820), which is not taken | issue one from the CA itself
PROXY_SUBJECT_NAME_VIOLATION | form | proxy subject name violation | is a proxy certificate (RFC 3820), which is not taken | issue one from the CA itself
# which names it may have
PERMITTED_VIOLATION | form | permitted subtree violation | has a name that a CA above it may not vouch for (nameConstraints, permitted) | issue one whose names are all within them; a CN that looks like a host counts
EXCLUDED_VIOLATION | form | excluded subtree violation | has a name that a CA above it may not vouch for (nameConstraints, excluded) | issue one without that name; a CN that looks like a host counts
SUBTREE_MINMAX | form | name constraints minimum and maximum not supported | has a CA above it with nameConstraints that have a minimum or maximum | issue that CA anew without
UNSUPPORTED_CONSTRAINT_TYPE | form | unsupported name constraint type | has a CA above it with nameConstraints of a kind that OpenSSL does not know | issue that CA anew without
UNSUPPORTED_NAME_SYNTAX | form | unsupported or invalid name syntax | has a name that cannot be held against the nameConstraints above it | URIs need a host and e-mail addresses an @; if they have them, issue the CA anew: its constraints cannot be read
# extensions
UNHANDLED_CRITICAL_EXTENSION | form | unhandled critical extension | has a critical extension that OpenSSL does not know | issue one in which it is not critical
INVALID_EXTENSION | form | invalid or inconsistent certificate extension | has an extension that cannot be read, is there twice, or names another key than that of its CA | issue it anew: its authorityKeyIdentifier has to be the subjectKeyIdentifier of its CA
UNNESTED_RESOURCE | form | RFC 3779 resource not subset of parent's resources | has addresses or AS numbers (RFC 3779) that its CA does not have
# revocation
CERT_REVOKED | revoked | certificate revoked | or one above it was revoked
UNABLE_TO_GET_CRL | crl | unable to get certificate CRL | cannot be checked: there is no revocation list of its issuer, or of a CA above that
CRL_SIGNATURE_FAILURE | crl | CRL signature failure | cannot be checked: the revocation list is not signed by the CA whose name it bears | fetch the list anew, and compare the keys of the CAs of that name
CRL_NOT_YET_VALID | crl_stale | CRL is not yet valid | cannot be checked: a revocation list is not valid yet
CRL_HAS_EXPIRED | crl_stale | CRL has expired | cannot be checked: a revocation list is past its nextUpdate
ERROR_IN_CRL_LAST_UPDATE_FIELD | crl | format error in CRL's lastUpdate field | cannot be checked: the date of a revocation list is none | have the CA issue that list anew
ERROR_IN_CRL_NEXT_UPDATE_FIELD | crl | format error in CRL's nextUpdate field | cannot be checked: the date of a revocation list is none | have the CA issue that list anew
KEYUSAGE_NO_CRL_SIGN | crl | key usage does not include CRL signing | cannot be checked: the CA may not sign revocation lists (keyUsage without cRLSign) | issue that CA anew with cRLSign
UNHANDLED_CRITICAL_CRL_EXTENSION | crl | unhandled critical CRL extension | cannot be checked: a revocation list has a critical extension that OpenSSL does not know
DIFFERENT_CRL_SCOPE | crl | different CRL scope | cannot be checked: the revocation list of its issuer, or of a CA above that, is not for such certificates (issuingDistributionPoint) | with a list for users alone, the CAs need one, too: have the CA issue one without a scope, or add one for CAs
# never: they only say why a CA is passed over as the issuer; INVALID_EXTENSION if it did sign
SUBJECT_ISSUER_MISMATCH | issuer | subject issuer mismatch | names another issuer than the one at hand
AKID_SKID_MISMATCH | issuer | authority and subject key identifier mismatch | names another key of its issuer than the one at hand | a CA was renewed with a new key: trust both
AKID_ISSUER_SERIAL_MISMATCH | issuer | authority and issuer serial number mismatch | names another certificate of its issuer than the one at hand | a CA was renewed: trust both certificates
NO_ISSUER_PUBLIC_KEY | form | issuer certificate doesn't have a public key | was issued by a CA whose key cannot be read
UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY | form | unable to decode issuer public key | was issued by a CA whose key cannot be read
UNSUPPORTED_SIGNATURE_ALGORITHM | form | Cannot find certificate signature algorithm | has a signature of an algorithm that OpenSSL does not know | sign with ECDSA, RSA or Ed25519
SIGNATURE_ALGORITHM_MISMATCH | form | subject signature algorithm and issuer public key algorithm mismatch | is signed by another kind of key than its issuer has
# never: OpenSSL 3 has these words, and no check that uses them
CERT_UNTRUSTED | issuer | certificate not trusted | is not marked as trusted for this | take the trust settings (BEGIN TRUSTED CERTIFICATE) out of the authority
PATH_LOOP | issuer | path loop | leads back to itself | the CAs above it have certified each other: trust one of them
UNABLE_TO_DECRYPT_CERT_SIGNATURE | issuer | unable to decrypt certificate's signature | has a signature that cannot be read | another CA may use the same name: compare their keys
UNABLE_TO_DECRYPT_CRL_SIGNATURE | crl | unable to decrypt CRL's signature | cannot be checked: the signature of the revocation list cannot be read
UNSUPPORTED_CONSTRAINT_SYNTAX | form | unsupported or invalid name constraint syntax | has a CA above it whose nameConstraints cannot be read | URIs and e-mail addresses are constrained by their host alone
UNSUPPORTED_EXTENSION_FEATURE | form | unsupported extension feature | has an extension that OpenSSL does not support
# never: certificate policies are looked at only where they are asked for, and Node cannot ask (X509_V_FLAG_POLICY_CHECK)
INVALID_POLICY_EXTENSION | form | invalid or inconsistent certificate policy extension | has a certificate policy that cannot be read
NO_EXPLICIT_POLICY | form | no explicit policy | has none of the policies that a CA above it demands
# never: lists by others than the issuer are taken only where they are asked for, and Node cannot ask (X509_V_FLAG_EXTENDED_CRL_SUPPORT)
UNABLE_TO_GET_CRL_ISSUER | crl | unable to get CRL issuer certificate | cannot be checked: whoever signed the revocation list is not in the authority
CRL_PATH_VALIDATION_ERROR | crl | CRL path validation error | cannot be checked: whoever signed the revocation list is not trusted
# never: files of an authority are read without the trust settings that this is about
CERT_REJECTED | issuer | certificate rejected | is marked as rejected for this | take the trust settings (BEGIN TRUSTED CERTIFICATE) out of the authority
# never: Node asks OpenSSL for none of these checks; names are compared in JavaScript
HOSTNAME_MISMATCH | ours | hostname mismatch | fails a check that is never asked for here
EMAIL_MISMATCH | ours | email address mismatch | fails a check that is never asked for here
IP_ADDRESS_MISMATCH | ours | IP address mismatch | fails a check that is never asked for here
DANE_NO_MATCH | ours | no matching DANE TLSA records | fails a check that is never asked for here
NO_VALID_SCTS | ours | Certificate Transparency required, but no valid SCTs found | fails a check that is never asked for here
SUITE_B_INVALID_VERSION | ours | Suite B: certificate version invalid | fails a check that is never asked for here
SUITE_B_INVALID_ALGORITHM | ours | Suite B: invalid public key algorithm | fails a check that is never asked for here
SUITE_B_INVALID_CURVE | ours | Suite B: invalid ECC curve | fails a check that is never asked for here
SUITE_B_INVALID_SIGNATURE_ALGORITHM | ours | Suite B: invalid signature algorithm | fails a check that is never asked for here
SUITE_B_LOS_NOT_ALLOWED | ours | Suite B: curve not allowed for this LOS | fails a check that is never asked for here
SUITE_B_CANNOT_SIGN_P_384_WITH_P_256 | ours | Suite B: cannot sign P-384 with P-256 | fails a check that is never asked for here
OCSP_VERIFY_NEEDED | ours | OCSP verification needed | fails a check that is never asked for here
OCSP_VERIFY_FAILED | ours | OCSP verification failed | fails a check that is never asked for here
OCSP_CERT_UNKNOWN | ours | OCSP unknown cert | fails a check that is never asked for here
OCSP_RESP_INVALID | ours | OCSP response(s) invalid | fails a check that is never asked for here
OCSP_SIGNATURE_FAILURE | ours | OCSP response signature verification failure | fails a check that is never asked for here
OCSP_NOT_YET_VALID | ours | OCSP response not yet valid (contains a date in the future) | fails a check that is never asked for here
OCSP_HAS_EXPIRED | ours | OCSP response has expired | fails a check that is never asked for here
OCSP_NO_RESPONSE | ours | no OCSP response available for certificate | fails a check that is never asked for here
RPK_UNTRUSTED | ours | Raw public key untrusted, no trusted keys configured | fails a check that is never asked for here
APPLICATION_VERIFICATION | ours | application verification failure | fails a check that is never asked for here
# never: strict rules, which Node has no option for (X509_V_FLAG_X509_STRICT)
SIGNATURE_ALGORITHM_INCONSISTENCY | form | cert info signature and signature algorithm mismatch | names two different signature algorithms
PATHLEN_INVALID_FOR_NON_CA | form | Path length invalid for non-CA cert | has a path length, and is no CA
PATHLEN_WITHOUT_KU_KEY_CERT_SIGN | form | Path length given without key usage keyCertSign | has a CA above it with a path length and without keyCertSign
KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA | form | Key usage keyCertSign invalid for non-CA cert | has the keyUsage keyCertSign, and is no CA
ISSUER_NAME_EMPTY | form | Issuer name empty | does not name its issuer
SUBJECT_NAME_EMPTY | form | Subject name empty | has a CA above it without a name
MISSING_AUTHORITY_KEY_IDENTIFIER | form | Missing Authority Key Identifier | has no authorityKeyIdentifier
MISSING_SUBJECT_KEY_IDENTIFIER | form | Missing Subject Key Identifier | has a CA above it without a subjectKeyIdentifier
EMPTY_SUBJECT_ALT_NAME | form | Empty Subject Alternative Name extension | has a subjectAltName without a name
EMPTY_SUBJECT_SAN_NOT_CRITICAL | form | Subject empty and Subject Alt Name extension not critical | has no subject, and a subjectAltName that is not critical
CA_BCONS_NOT_CRITICAL | form | Basic Constraints of CA cert not marked critical | has a CA above it whose basicConstraints are not critical
AUTHORITY_KEY_IDENTIFIER_CRITICAL | form | Authority Key Identifier marked critical | has a critical authorityKeyIdentifier
SUBJECT_KEY_IDENTIFIER_CRITICAL | form | Subject Key Identifier marked critical | has a critical subjectKeyIdentifier
CA_CERT_MISSING_KEY_USAGE | form | CA cert does not include key usage extension | has a CA above it without a keyUsage
EXTENSIONS_REQUIRE_VERSION_3 | form | Using cert extension requires at least X509v3 | has extensions, and says that it is of a version before 3
# never by what a peer sends: memory that runs short, and the cases that OpenSSL says cannot be
OUT_OF_MEM | ours | out of memory | could not be checked: memory ran short | give the process more
INVALID_CALL | ours | invalid certificate verification context | could not be checked
STORE_LOOKUP | ours | issuer certificate lookup error | could not be checked: the look-up of its issuer failed
UNSPECIFIED | form | unspecified certificate verification error | does not verify, or one above it does not, for a reason that OpenSSL does not name
`;
