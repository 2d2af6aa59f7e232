/* Mbed TLS 2.28, which has no TLS 1.3. Words and output: client.h */
#include "client.h"
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>

static mbedtls_ssl_config settings;
static mbedtls_ssl_context ssl;
static mbedtls_ssl_session kept;
static mbedtls_net_context net;
static mbedtls_x509_crt ca, certificate;
static mbedtls_pk_context key;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context random_bytes;
static int failed, has_session, resumed;

static int checked(int result) {
  if (result < 0) failed = result;
  return result;
}

/* The server shows its certificate in full handshakes only. */
static int on_certificate(void *data, mbedtls_x509_crt *shown, int depth, uint32_t *flags) {
  (void)data, (void)shown, (void)depth, (void)flags;
  resumed = 0;
  return 0;
}

static void stack_start(void) {
  mbedtls_entropy_init(&entropy);
  mbedtls_ctr_drbg_init(&random_bytes);
  mbedtls_ctr_drbg_seed(&random_bytes, mbedtls_entropy_func, &entropy, 0, 0);
  mbedtls_ssl_config_init(&settings);
  mbedtls_ssl_config_defaults(&settings, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
  mbedtls_ssl_conf_min_version(&settings, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
  mbedtls_ssl_conf_rng(&settings, mbedtls_ctr_drbg_random, &random_bytes);
  mbedtls_ssl_conf_verify(&settings, on_certificate, 0);
  mbedtls_x509_crt_init(&ca);
  mbedtls_x509_crt_parse_file(&ca, asked.ca);
  mbedtls_ssl_conf_ca_chain(&settings, &ca, 0);
  mbedtls_ssl_session_init(&kept);
  if (!asked.cert) return;
  mbedtls_x509_crt_init(&certificate);
  mbedtls_pk_init(&key);
  mbedtls_x509_crt_parse_file(&certificate, asked.cert);
  mbedtls_pk_parse_keyfile(&key, asked.key, 0);
  mbedtls_ssl_conf_own_cert(&settings, &certificate, &key);
}

static int stack_handshake(int fd) {
  net.fd = fd;
  resumed = 1;
  mbedtls_ssl_init(&ssl);
  mbedtls_ssl_setup(&ssl, &settings);
  mbedtls_ssl_set_hostname(&ssl, asked.name);
  mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, mbedtls_net_recv, 0);
  if (has_session) mbedtls_ssl_set_session(&ssl, &kept);
  return checked(mbedtls_ssl_handshake(&ssl));
}

static const char *stack_version(void) { return mbedtls_ssl_get_version(&ssl); }
static int stack_resumed(void) { return resumed; }
static int stack_write(const char *bytes, int length) {
  return checked(mbedtls_ssl_write(&ssl, (const unsigned char *)bytes, length));
}
static int stack_read(char *bytes, int length) { return checked(mbedtls_ssl_read(&ssl, (unsigned char *)bytes, length)); }
static int stack_key_update(void) { return -1; }

static void stack_end(void) {
  mbedtls_ssl_session_free(&kept);
  mbedtls_ssl_session_init(&kept);
  has_session = !failed && mbedtls_ssl_get_session(&ssl, &kept) == 0;
  mbedtls_ssl_close_notify(&ssl);
  mbedtls_ssl_free(&ssl);
}

static void stack_report(void) {
  char words[100];
  mbedtls_strerror(failed, words, sizeof words);
  if (failed == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) printf("alert %d\n", ssl.in_msg[1]);
  else printf("failed %s\n", words);
  failed = 0;
}
