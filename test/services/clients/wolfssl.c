/* wolfSSL. Words and output: client.h */
#include "client.h"
#include <wolfssl/options.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>

static WOLFSSL_CTX *context;
static WOLFSSL *ssl;
static WOLFSSL_SESSION *kept;

static void stack_start(void) {
  wolfSSL_Init();
  context = wolfSSL_CTX_new(is13() ? wolfTLSv1_3_client_method() : wolfTLSv1_2_client_method());
  wolfSSL_CTX_load_verify_locations(context, asked.ca, 0);
  wolfSSL_CTX_UseSessionTicket(context);
  if (asked.cert) {
    wolfSSL_CTX_use_certificate_chain_file(context, asked.cert);
    wolfSSL_CTX_use_PrivateKey_file(context, asked.key, SSL_FILETYPE_PEM);
  }
}

static int stack_handshake(int fd) {
  ssl = wolfSSL_new(context);
  wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, asked.name, strlen(asked.name));
  wolfSSL_check_domain_name(ssl, asked.name);
  wolfSSL_set_fd(ssl, fd);
  if (kept) wolfSSL_set_session(ssl, kept);
  return wolfSSL_connect(ssl) == SSL_SUCCESS ? 0 : -1;
}

static const char *stack_version(void) { return wolfSSL_get_version(ssl); }
static int stack_resumed(void) { return wolfSSL_session_reused(ssl); }
static int stack_write(const char *bytes, int length) { return wolfSSL_write(ssl, bytes, length); }
static int stack_read(char *bytes, int length) { return wolfSSL_read(ssl, bytes, length); }
static int stack_key_update(void) { return wolfSSL_update_keys(ssl) == SSL_SUCCESS ? 0 : -1; }

static void stack_end(void) {
  if (kept) wolfSSL_SESSION_free(kept);
  kept = wolfSSL_get1_session(ssl);
  wolfSSL_shutdown(ssl);
  wolfSSL_free(ssl);
}

static void stack_report(void) {
  WOLFSSL_ALERT_HISTORY alerts;
  char words[WOLFSSL_MAX_ERROR_SZ];
  int error = wolfSSL_get_error(ssl, -1);
  wolfSSL_get_alert_history(ssl, &alerts);
  if (alerts.last_rx.level == alert_fatal) printf("alert %d\n", alerts.last_rx.code);
  else if (error == SSL_ERROR_ZERO_RETURN || error == SOCKET_PEER_CLOSED_E) puts("failed closed");
  else printf("failed %s\n", wolfSSL_ERR_error_string(error, words));
}
