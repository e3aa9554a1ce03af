/*
 * What strangers send.
 *
 *   junkload HOST PORT NAME PID KIND SECONDS RATE NETWORKS
 *
 * KIND:
 *   junk      random bytes
 *   data      records of application data, as players send them
 *   hello     hellos without a cookie
 *   ticket    hellos with a cookie; NAME has a ticket that is unknown, or known
 *   borrowed  the same, each with the cookie of another source
 *   corrupt   the same, with a known ticket; then a key exchange with
 *             random content, and again
 *   announced the same, with pieces of messages that announce 98 kB
 *   short, long, fragment    hellos that are cut, too long, in fragments
 * NAME: the server name for the hellos. RATE: datagrams per second; 0 is as fast as
 * possible. NETWORKS: the number of source addresses, each the only one of its /24 (127.0.0.0/8
 * only), because a server gives each network a budget. CPU is printed per datagram that
 * the server took: what the kernel dropped before (the column of /proc/net/udp) cost the
 * server nothing.
 */
#define _GNU_SOURCE
#include "load.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define RANDOM 27 /* where a hello's random begins: after 13 + 12 + 2 bytes */

typedef struct {
  int fd;
  u8 datagram[1400];
  int size;
  int owed; /* hellos sent while it was made, less their answers */
} Source;

/* A key exchange with random content. */
static u8 spoilt[64] = "\x16\xfe\xfd\0\0\0\0\0\0\0\7\0\x33"
                       "\x10\0\0\x27\0\2\0\0\0\0\0\x27";

static u64 drops_of(int port) {
  char line[512];
  u64 drops = 0;
  FILE *file = fopen("/proc/net/udp", "r");
  if (!file)
    die("/proc/net/udp");
  while (fgets(line, sizeof line, file)) {
    unsigned at;
    char *last = strrchr(line, ' ');
    if (sscanf(line, " %*d: %*x:%x", &at) == 1 && (int)at == port) {
      while (last > line && last[1] <= ' ') /* trailing blanks */
        *last = 0, last = strrchr(line, ' ');
      drops += strtoull(last + 1, NULL, 10);
    }
  }
  fclose(file);
  return drops;
}

/* OpenSSL's first hello; with an unknown ticket, its second one. */
static void say_hello(SSL_CTX *context, Source *s, const char *name, int again) {
  SSL *ssl = SSL_new(context);
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(ssl, in, out);
  SSL_set_options(ssl, SSL_OP_NO_QUERY_MTU);
  SSL_set_mtu(ssl, 1200);
  SSL_set_tlsext_host_name(ssl, name);
  SSL_connect(ssl);
  s->size = BIO_read(out, s->datagram, sizeof s->datagram);
  for (int tries = 0; again && tries < 20; tries++) {
    u8 answer[512];
    struct pollfd ready = {.fd = s->fd, .events = POLLIN};
    if (send(s->fd, s->datagram, s->size, 0) < 0)
      die("send");
    s->owed++;
    if (poll(&ready, 1, 250) != 1)
      continue;
    int size = recv(s->fd, answer, sizeof answer, 0);
    if (size > 0) {
      s->owed--;
      BIO_write(in, answer, size);
      SSL_connect(ssl);
      s->size = BIO_read(out, s->datagram, sizeof s->datagram);
      again = 0;
    }
  }
  if (again || s->size <= 0)
    die("no HelloVerifyRequest");
  SSL_free(ssl);
}

/* Take the answers to hellos that were repeated: one that comes later would be
   counted as an answer to what is measured. */
static void take_late_answers(Source *sources, int count) {
  for (int i = 0; i < count; i++) {
    u8 answer[512];
    struct pollfd ready = {.fd = sources[i].fd, .events = POLLIN};
    while (sources[i].owed > 0 && poll(&ready, 1, 2000) == 1) {
      recv(sources[i].fd, answer, sizeof answer, 0);
      sources[i].owed--;
    }
  }
}

/* Spoil a valid first hello. */
static void spoil(Source *s, char kind) {
  u8 *d = s->datagram;
  if (kind == 's') {
    s->size = 14 + chance() % (s->size - 14);
  } else if (kind == 'l') {
    while (s->size < (int)sizeof s->datagram)
      d[s->size++] = chance();
  } else { /* 'f': the record holds a message's first 40 bytes */
    d[11] = 0, d[12] = 12 + 40;
    d[22] = 0, d[23] = 0, d[24] = 40;
    s->size = 13 + 12 + 40;
  }
}

int main(int argc, char **argv) {
  if (argc != 9) {
    fprintf(stderr, "junkload HOST PORT NAME PID KIND SECONDS RATE NETWORKS\n");
    return 2;
  }
  int port = atoi(argv[2]), pid = atoi(argv[4]), count = atoi(argv[8]);
  char kind = argv[5][0];
  double seconds = atof(argv[6]), rate = atof(argv[7]);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct rlimit files = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  Source *sources = calloc(count, sizeof *sources);
  SSL_CTX *context = SSL_CTX_new(DTLS_client_method());
  if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
    die("address");
  for (int i = 0; i < count; i++) {
    Source *s = &sources[i];
    if ((s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) < 0)
      die("socket");
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000002u + ((u32)i << 8));
    if (bind(s->fd, (void *)&from, sizeof from))
      die("bind");
    if (connect(s->fd, (void *)&to, sizeof to))
      die("connect");
    if (kind == 'j' || kind == 'd') {
      s->size = 64;
      for (int j = 0; j < s->size; j++)
        s->datagram[j] = chance();
      if (kind == 'd')
        memcpy(s->datagram, "\x17\xfe\xfd\0\1\0\0\0\0\0\7\0\x33", 13);
    } else {
      say_hello(context, s, argv[3], !!strchr("tbca", kind));
      if (strchr("slf", kind))
        spoil(s, kind);
    }
  }
  for (int i = 1; kind == 'b' && i < count; i++) {
    Source taken = sources[0];
    sources[0].size = sources[i].size;
    memcpy(sources[0].datagram, sources[i].datagram, sizeof taken.datagram);
    sources[i].size = taken.size;
    memcpy(sources[i].datagram, taken.datagram, sizeof taken.datagram);
  }
  take_late_answers(sources, count);
  usleep(50000);
  printf("ready\n"); /* all sources have what they send */
  fflush(stdout);
  u64 drops = drops_of(port), cpu = cpu_of(pid), start = now_ns(), sent = 0, now;
  u64 until = start + (u64)(seconds * 1e9);
  while ((now = now_ns()) < until) {
    u64 due = rate > 0 ? (u64)((now - start) / 1e9 * rate) : sent + 64;
    if (rate > 0 && sent >= due)
      usleep(200); /* others need this core too */
    for (; sent < due; sent++) {
      Source *s = &sources[sent % count];
      if (strchr("jhl", kind)) /* each one is another stranger's */
        for (int j = 0; j < 32; j += 4) {
          u32 bits = chance();
          memcpy(s->datagram + (kind == 'j' ? j : RANDOM + j), &bits, 4);
        }
      const u8 *datagram = s->datagram;
      int size = s->size;
      if ((kind == 'c' || kind == 'a') && sent / count % 2) {
        for (int j = 25; j < (int)sizeof spoilt; j++)
          spoilt[j] = chance();
        if (kind == 'a')
          spoilt[14] = 1, spoilt[15] = 0x7e, spoilt[18] = 2 + chance() % 11;
        datagram = spoilt, size = sizeof spoilt;
      }
      if (send(s->fd, datagram, size, 0) < 0 && errno != EAGAIN)
        die("send");
    }
  }
  double span = (now_ns() - start) / 1e9;
  usleep(100000); /* what the kernel still holds */
  cpu = cpu_of(pid) - cpu;
  drops = drops_of(port) - drops;
  u64 answers = 0;
  for (int i = 0; i < count; i++) {
    u8 answer[2048];
    while (recv(sources[i].fd, answer, sizeof answer, 0) > 0)
      answers++;
  }
  u64 taken = sent - drops;
  printf("{\"sent\": %llu, \"taken\": %llu, \"bytes\": %d, \"sent_s\": %.0f, "
         "\"taken_s\": %.0f, \"answers_held\": %llu, \"cpu_us_each\": %.2f, "
         "\"server_cpu\": %.3f}\n",
         (unsigned long long)sent, (unsigned long long)taken, sources[0].size,
         sent / span, taken / span, (unsigned long long)answers,
         taken ? cpu / 1e3 / taken : 0, cpu / 1e9 / span);
  return 0;
}
