/*
 * What the clients in C have in common: the words they are called with, TCP, and what they print, a line an event:
 *
 *   connected VERSION resumed|full     the handshake is done, as far as the client can tell
 *   echoed BYTES                       everything that it sent came back
 *   reset                              it has reset the connection right behind its payload
 *   alert NUMBER                       it was sent this one; `failed …` says any other end, in the library's words
 *
 * Words: port, name, version (1.2 or 1.3), ca, cert, key (PEM files), connections (how many, one after another, in one session cache),
 * bytes, and `do`: echo, keyupdate (before each of two echoes) or reset. A stack says how it does the rest.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
  int port, connections, bytes;
  const char *name, *version, *ca, *cert, *key, *what;
} asked = {0, 1, 100, "", "1.3", 0, 0, 0, "echo"};

static inline int is13(void) { return strcmp(asked.version, "1.3") == 0; }

/* What each stack defines; 0, or a number of bytes, is well, and below 0 is not. */
static void stack_start(void);
static int stack_handshake(int fd);
static const char *stack_version(void);
static int stack_resumed(void);
static int stack_write(const char *bytes, int length);
static int stack_read(char *bytes, int length);
static int stack_key_update(void);
/* Keeps the session for the next connection, says goodbye and lets go of what it has; not of the socket. */
static void stack_end(void);
/* Prints `alert NUMBER` or `failed …`. */
static void stack_report(void);

static void read_words(int count, char **words) {
  for (int i = 1; i < count; i++) {
    char *value = strchr(words[i], '=');
    if (!value) continue;
    *value++ = 0;
    if (!strcmp(words[i], "port")) asked.port = atoi(value);
    else if (!strcmp(words[i], "connections")) asked.connections = atoi(value);
    else if (!strcmp(words[i], "bytes")) asked.bytes = atoi(value);
    else if (!strcmp(words[i], "name")) asked.name = value;
    else if (!strcmp(words[i], "version")) asked.version = value;
    else if (!strcmp(words[i], "ca")) asked.ca = value;
    else if (!strcmp(words[i], "cert")) asked.cert = value;
    else if (!strcmp(words[i], "key")) asked.key = value;
    else if (!strcmp(words[i], "do")) asked.what = value;
  }
}

static int dial(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(asked.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) exit(1);
  return fd;
}

static int echo(const char *payload, char *answer) {
  for (int sent = 0, n; sent < asked.bytes; sent += n)
    if ((n = stack_write(payload + sent, asked.bytes - sent)) <= 0) return -1;
  for (int got = 0, n; got < asked.bytes; got += n)
    if ((n = stack_read(answer + got, asked.bytes - got)) <= 0) return -1;
  return memcmp(payload, answer, asked.bytes) ? -1 : 0;
}

static int converse(int fd, const char *payload, char *answer) {
  if (stack_handshake(fd) < 0) return -1;
  printf("connected %s %s\n", stack_version(), stack_resumed() ? "resumed" : "full");
  if (!strcmp(asked.what, "reset")) {
    struct linger none = {1, 0};
    if (stack_write(payload, asked.bytes) != asked.bytes) return -1;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
    puts("reset");
    exit(0);
  }
  int updating = !strcmp(asked.what, "keyupdate");
  for (int round = 0; round < (updating ? 2 : 1); round++) {
    if (updating && stack_key_update() < 0) return -1;
    if (echo(payload, answer) < 0) return -1;
    printf("echoed %d\n", asked.bytes);
  }
  return 0;
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, 0, _IOLBF, 0);
  read_words(count, words);
  char *payload = malloc(asked.bytes), *answer = malloc(asked.bytes);
  memset(payload, '.', asked.bytes);
  memcpy(payload, asked.name, strlen(asked.name));
  stack_start();
  for (int i = 0; i < asked.connections; i++) {
    int fd = dial();
    if (converse(fd, payload, answer) < 0) stack_report();
    stack_end();
    close(fd);
  }
  return 0;
}
