/* OpenSSL's libssl. Words and output: client.h */
#include "client.h"
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context;
static SSL *ssl;
static SSL_SESSION *kept;

static int keep(SSL *of, SSL_SESSION *session) {
  (void)of;
  SSL_SESSION_free(kept);
  kept = session;
  return 1;
}

static void stack_start(void) {
  int version = is13() ? TLS1_3_VERSION : TLS1_2_VERSION;
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, version);
  SSL_CTX_set_max_proto_version(context, version);
  SSL_CTX_load_verify_locations(context, asked.ca, 0);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, 0);
  if (asked.cert) {
    SSL_CTX_use_certificate_chain_file(context, asked.cert);
    SSL_CTX_use_PrivateKey_file(context, asked.key, SSL_FILETYPE_PEM);
  }
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, keep);
}

static int stack_handshake(int fd) {
  ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  SSL_set_tlsext_host_name(ssl, asked.name);
  SSL_set1_host(ssl, asked.name);
  if (kept) SSL_set_session(ssl, kept);
  return SSL_connect(ssl) == 1 ? 0 : -1;
}

static const char *stack_version(void) { return SSL_get_version(ssl); }
static int stack_resumed(void) { return SSL_session_reused(ssl); }
static int stack_write(const char *bytes, int length) { return SSL_write(ssl, bytes, length); }
static int stack_read(char *bytes, int length) { return SSL_read(ssl, bytes, length); }
static int stack_key_update(void) { return SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 ? 0 : -1; }

static void stack_end(void) {
  SSL_shutdown(ssl);
  SSL_free(ssl);
}

static void stack_report(void) {
  unsigned long code = ERR_get_error();
  int reason = ERR_GET_REASON(code);
  if (reason > SSL_AD_REASON_OFFSET) printf("alert %d\n", reason - SSL_AD_REASON_OFFSET);
  else printf("failed %s\n", code ? ERR_reason_error_string(code) : "closed");
}
