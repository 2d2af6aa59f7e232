/* NSS. Words and output: client.h; `ca` is a database with the CA and the client's certificates, `cert` the nickname of one. */
#include "client.h"
#include <nspr.h>
#include <nss.h>
#include <private/pprio.h>
#include <ssl.h>
#include <sslexp.h>
#include <sslproto.h>

static PRFileDesc *ssl;
static SSLChannelInfo channel;

static void stack_start(void) {
  if (NSS_Init(asked.ca) != SECSuccess) exit(1);
}

static int stack_handshake(int fd) {
  PRUint16 version = is13() ? SSL_LIBRARY_VERSION_TLS_1_3 : SSL_LIBRARY_VERSION_TLS_1_2;
  SSLVersionRange range = {version, version};
  ssl = SSL_ImportFD(0, PR_ImportTCPSocket(fd));
  SSL_OptionSet(ssl, SSL_SECURITY, PR_TRUE);
  SSL_OptionSet(ssl, SSL_HANDSHAKE_AS_CLIENT, PR_TRUE);
  SSL_OptionSet(ssl, SSL_ENABLE_SESSION_TICKETS, PR_TRUE);
  SSL_VersionRangeSet(ssl, &range);
  SSL_SetURL(ssl, asked.name);
  if (asked.cert) SSL_GetClientAuthDataHook(ssl, NSS_GetClientAuthData, (void *)asked.cert);
  SSL_ResetHandshake(ssl, PR_FALSE);
  if (SSL_ForceHandshake(ssl) != SECSuccess) return -1;
  return SSL_GetChannelInfo(ssl, &channel, sizeof channel) == SECSuccess ? 0 : -1;
}

static const char *stack_version(void) {
  return channel.protocolVersion == SSL_LIBRARY_VERSION_TLS_1_3 ? "TLSv1.3" : "TLSv1.2";
}
static int stack_resumed(void) { return channel.resumed; }
static int stack_write(const char *bytes, int length) { return PR_Write(ssl, bytes, length); }
static int stack_read(char *bytes, int length) {
  PR_SetError(0, 0);
  return PR_Read(ssl, bytes, length);
}
static int stack_key_update(void) { return SSL_KeyUpdate(ssl, PR_TRUE) == SECSuccess ? 0 : -1; }

static void stack_end(void) {
  PR_Shutdown(ssl, PR_SHUTDOWN_BOTH);
  PR_Close(ssl);
}

static void stack_report(void) { printf("failed %s\n", PR_GetError() ? PR_ErrorToName(PR_GetError()) : "closed"); }
