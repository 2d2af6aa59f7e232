/* GnuTLS. Words and output: client.h */
#include "client.h"
#include <gnutls/gnutls.h>

static gnutls_certificate_credentials_t credentials;
static gnutls_session_t session;
static gnutls_datum_t kept;
static int failed;

static int checked(int result) {
  if (result < 0) failed = result;
  return result;
}

static void stack_start(void) {
  gnutls_certificate_allocate_credentials(&credentials);
  gnutls_certificate_set_x509_trust_file(credentials, asked.ca, GNUTLS_X509_FMT_PEM);
  if (asked.cert) gnutls_certificate_set_x509_key_file(credentials, asked.cert, asked.key, GNUTLS_X509_FMT_PEM);
}

static int stack_handshake(int fd) {
  /* Without this flag it keeps a certificate to itself that is of none of the CAs which the server names. */
  gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT);
  gnutls_priority_set_direct(session, is13() ? "NORMAL:-VERS-ALL:+VERS-TLS1.3" : "NORMAL:-VERS-ALL:+VERS-TLS1.2", 0);
  gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
  gnutls_server_name_set(session, GNUTLS_NAME_DNS, asked.name, strlen(asked.name));
  gnutls_session_set_verify_cert(session, asked.name, 0);
  gnutls_transport_set_int(session, fd);
  if (kept.data) gnutls_session_set_data(session, kept.data, kept.size);
  int result;
  do result = gnutls_handshake(session);
  while (result < 0 && !gnutls_error_is_fatal(result));
  return checked(result);
}

static const char *stack_version(void) {
  return gnutls_protocol_get_version(session) == GNUTLS_TLS1_3 ? "TLSv1.3" : "TLSv1.2";
}
static int stack_resumed(void) { return gnutls_session_is_resumed(session); }
static int stack_write(const char *bytes, int length) { return checked(gnutls_record_send(session, bytes, length)); }

static int stack_read(char *bytes, int length) {
  int result;
  failed = 0;
  do result = gnutls_record_recv(session, bytes, length);
  while (result < 0 && !gnutls_error_is_fatal(result)); /* tickets and key updates */
  return checked(result);
}

static int stack_key_update(void) { return checked(gnutls_session_key_update(session, GNUTLS_KU_PEER)); }

static void stack_end(void) {
  gnutls_datum_t next = {0, 0};
  int has = !is13() || (gnutls_session_get_flags(session) & GNUTLS_SFLAGS_SESSION_TICKET);
  gnutls_free(kept.data);
  kept.data = 0;
  if (!failed && has && gnutls_session_get_data2(session, &next) == 0) kept = next;
  gnutls_bye(session, GNUTLS_SHUT_WR);
  gnutls_deinit(session);
}

static void stack_report(void) {
  if (failed == GNUTLS_E_FATAL_ALERT_RECEIVED) printf("alert %d\n", gnutls_alert_get(session));
  else printf("failed %s\n", failed ? gnutls_strerror_name(failed) : "closed");
  failed = 0;
}
