/*
 * Load for gateways and proxies that have a proxyback behind them, on loopback.
 *
 * proxyload MODE PORT PID [NAME=VALUE...]
 *
 * MODE is
 *   get      requests by HTTP on connections that are kept, one outstanding on each
 *   echo     messages by WebSocket, one outstanding on each; with rate= so many per second
 *            over all, at times chosen by chance, latency counted from the time due
 *   packets  messages by packets, each connection with sessions= sessions, one
 *            outstanding on each; both ways are counted
 *   down up  bytes from the back end, or to it
 *   tcp ws   new connections (WebSockets), each with one message, at_once= at a time
 *   idle     clients= WebSockets; says how many are there, waits for a line of input,
 *            then has each echo a message
 * PID is the process whose CPU is measured. The others: clients=, warmup=, secs=, size= of
 * a message, path= of WebSockets, tls=1 (idle), code= of packets. It prints one line of JSON.
 */
#define _GNU_SOURCE
#include "load.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum mode { GET, ECHO, PACKETS, DOWN, UP, TCP, WS, IDLE };
enum state { DIALS, SHAKES, RUNS };
#define HEADER 32
#define RING 256
#define HALF 32768u
static const char *modes[] = {"get", "echo", "packets", "down", "up", "tcp", "ws", "idle"};

typedef struct {
  int fd, waits;
  enum state state;
  u8 *in, *out;
  u32 in_len, in_room, out_len, out_room;
  u32 sent, known, opened;
  u64 *sent_at;
  u64 *ids;
  u32 *taken;
  SSL *tls;
} client;

static enum mode mode;
static int port, pid, poller, clients = 50, sessions = 1, size = 100, code = 1, at_once = 32;
static const char *path = "/ws";
static double rate, warmup = 0.5, secs = 3;
static client *all;
static int is_measured, is_over;
static u64 count, bytes, errors, lost;
static u8 junk[262144];
static SSL_CTX *tls_context;

static void put_u64(u8 *p, u64 number, int width) {
  while (width--)
    p[width] = number, number >>= 8;
}
static u64 get_u64(const u8 *p, int width) {
  u64 number = 0;
  while (width--)
    number = number << 8 | *p++;
  return number;
}

static void watch(client *c, int waits) {
  struct epoll_event e = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = c};
  if (c->waits != waits)
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
  c->waits = waits;
}
static void flush(client *c) {
  ssize_t done = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (done > 0) {
    memmove(c->out, c->out + done, c->out_len - done);
    c->out_len -= done;
  }
  watch(c, c->out_len > 0);
}
static void keep(client *c, const void *data, u32 more) {
  if (c->out_len + more > c->out_room) {
    c->out_room = 2 * (c->out_len + more);
    if (!(c->out = realloc(c->out, c->out_room)))
      die("memory");
  }
  memcpy(c->out + c->out_len, data, more);
  c->out_len += more;
}
static void packet(client *c, int kind, u64 session, const void *body, u32 length) {
  u8 header[HEADER] = {0xf5, 0x56, 0x47, 1, kind};
  put_u64(header + 6, length, 4);
  if (kind == 1)
    put_u64(header + 10, code, 2);
  put_u64(header + 24, session, 8);
  keep(c, header, HEADER);
  keep(c, body, length);
}

static void fail(const char *what, const u8 *data, u32 length) {
  if (errors++ < 3)
    fprintf(stderr, "%s: %.*s\n", what, length > 200 ? 200 : (int)length, (const char *)data);
}
static void answered(client *c, u64 now) {
  if (is_measured) {
    count++;
    lat_add(now - c->sent_at[c->known % RING]);
  }
  c->known++;
}
static void asks(client *c, u64 due) {
  if (c->sent - c->known >= RING) {
    lost++;
    return;
  }
  c->sent_at[c->sent++ % RING] = due;
}

static char upgrade[512];
static u32 upgrade_len;
static const char request[] =
    "GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: proxyload\r\nAccept: */*\r\n"
    "\r\n";

/* A frame of a client; the mask is 0. */
static u32 frame(u8 *into) {
  into[0] = 0x82, into[1] = 0x80 | size;
  memset(into + 2, 0, 4);
  memset(into + 6, 'x', size);
  return 6 + size;
}
static void ask(client *c, u64 due) {
  u8 data[160];
  asks(c, due);
  if (mode == GET)
    keep(c, request, sizeof request - 1);
  else
    keep(c, data, frame(data));
  flush(c);
}
static void ask_in(client *c, u64 session) { packet(c, 2, session, junk, size); }

static void dial(client *c);
static void begin(client *c) {
  c->state = RUNS;
  u64 now = now_ns();
  if (mode == GET) {
    ask(c, now);
  } else if (mode == ECHO) {
    if (!rate)
      ask(c, now);
  } else if (mode == PACKETS) {
    for (int i = 0; i < sessions; i++)
      packet(c, 1, 0, "", 0);
    flush(c);
  } else if (mode == DOWN || mode == UP) {
    keep(c, mode == DOWN ? "\2" : "\3", 1);
    flush(c);
    watch(c, mode == UP);
  } else if (mode == WS) {
    u8 data[160];
    keep(c, data, frame(data));
    flush(c);
  } else {
    keep(c, junk, size);
    flush(c);
  }
}
static void end(client *c) {
  close(c->fd);
  c->in_len = c->out_len = 0;
  if (!is_over)
    dial(c);
}

static u32 take_packets(client *c, u64 now) {
  u8 *p = c->in, *stop = p + c->in_len;
  while (stop - p >= HEADER) {
    u32 length = get_u64(p + 6, 4);
    if (stop - p < HEADER + length)
      break;
    u64 session = get_u64(p + 24, 8);
    if (p[4] == 1) {
      if (c->opened < (u32)sessions)
        c->ids[c->opened++] = session;
      asks(c, now);
      ask_in(c, session);
    } else if (p[4] == 2) {
      if (is_measured)
        count += 2;
      c->known++;
      /* The number of its session in this connection: ids of one gateway come in order. */
      u32 which = 0;
      while (which < c->opened && c->ids[which] != session)
        which++;
      if (which == c->opened) {
        fail("a packet of another session", p, HEADER);
      } else if ((c->taken[which] += length) >= HALF) {
        u8 credit[4];
        put_u64(credit, c->taken[which], 4);
        packet(c, 6, session, credit, 4);
        c->taken[which] = 0;
      }
      asks(c, now);
      if (!is_over)
        ask_in(c, session);
    } else if (p[4] == 3) {
      fail("closed", p + HEADER, length);
    }
    p += HEADER + length;
  }
  return p - c->in;
}

/* Take what came; gives how much of it is done with. */
static u32 take(client *c, u64 now) {
  u32 at = 0;
  while (at < c->in_len) {
    u8 *p = c->in + at;
    u32 left = c->in_len - at;
    if (c->state == SHAKES || mode == GET) {
      u8 *head = memmem(p, left, "\r\n\r\n", 4);
      if (!head)
        break;
      u32 length = head + 4 - p + (c->state == SHAKES ? 0 : 1024);
      if (left < length)
        break;
      if (memcmp(p, c->state == SHAKES ? "HTTP/1.1 101" : "HTTP/1.1 200", 12)) {
        fail("refused", p, left);
        return c->in_len;
      }
      at += length;
      if (c->state == SHAKES) {
        begin(c);
      } else {
        answered(c, now);
        if (!is_over)
          ask(c, now);
      }
    } else if (mode == ECHO || mode == WS) {
      u32 length = 2 + size;
      if (left < 2 || (p[0] & 15) != 2) {
        if (left >= 2)
          fail("another frame", p, left);
        break;
      }
      if (left < length)
        break;
      at += length;
      if (mode == WS) {
        count += is_measured;
        end(c);
        return 0;
      }
      answered(c, now);
      if (!rate && !is_over)
        ask(c, now);
    } else {
      break;
    }
  }
  return at;
}
static void come_in(client *c) {
  if (mode == DOWN) {
    for (int i = 0; i < 8; i++) {
      ssize_t got = recv(c->fd, junk, sizeof junk, MSG_DONTWAIT);
      if (got > 0 && is_measured)
        bytes += got;
      if (got < (ssize_t)sizeof junk)
        break;
    }
    return;
  }
  if (c->in_room - c->in_len < 2048) {
    c->in_room = c->in_room ? 2 * c->in_room : 4096;
    if (!(c->in = realloc(c->in, c->in_room)))
      die("memory");
  }
  u32 room = c->in_room - c->in_len;
  ssize_t got = recv(c->fd, c->in + c->in_len, room, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN)
    return;
  if (got <= 0) {
    fail("a connection ended", c->in, c->in_len);
    if (mode == TCP || mode == WS)
      end(c);
    else
      epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
    return;
  }
  c->in_len += got;
  u64 now = now_ns();
  if (mode == TCP) {
    if (c->in_len == (u32)size) {
      count += is_measured;
      end(c);
    }
    return;
  }
  u32 done = mode == PACKETS ? take_packets(c, now) : take(c, now);
  if (done) {
    memmove(c->in, c->in + done, c->in_len - done);
    c->in_len -= done;
  }
  if (mode == PACKETS && c->out_len)
    flush(c);
  if (got == room && c->in_room < 262144)
    c->in = realloc(c->in, c->in_room *= 2);
}
static void go_out(client *c) {
  if (c->state == DIALS) {
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(c, 0);
    if (mode == ECHO || mode == WS) {
      c->state = SHAKES;
      keep(c, upgrade, upgrade_len);
      flush(c);
    } else {
      begin(c);
    }
  } else if (mode == UP) {
    for (int i = 0; i < 8; i++) {
      ssize_t done = send(c->fd, junk, sizeof junk, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (done > 0 && is_measured)
        bytes += done;
      if (done < (ssize_t)sizeof junk)
        break;
    }
  } else {
    flush(c);
  }
}

static struct sockaddr_in there(void) {
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}
static void dial(client *c) {
  struct sockaddr_in where = there();
  c->state = DIALS;
  c->waits = 1;
  if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) < 0)
    die("socket");
  if (connect(c->fd, (void *)&where, sizeof where) && errno != EINPROGRESS)
    die("connect");
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}
static void turn(int patience) {
  struct epoll_event ready[256];
  int found = epoll_wait(poller, ready, 256, patience);
  for (int i = 0; i < found; i++) {
    client *c = ready[i].data.ptr;
    int fd = c->fd;
    if (ready[i].events & ~EPOLLOUT)
      come_in(c);
    if (ready[i].events & EPOLLOUT && c->fd == fd)
      go_out(c);
  }
}

/* Idle clients: one after the other, with sockets that block. */
static ssize_t swap(client *c, const void *data, u32 length, u8 *into, u32 room) {
  ssize_t done = c->tls ? SSL_write(c->tls, data, length) : send(c->fd, data, length, 0);
  if (done != (ssize_t)length)
    return -1;
  return c->tls ? SSL_read(c->tls, into, room) : recv(c->fd, into, room, 0);
}
static int idle(void) {
  u8 into[4096], data[160];
  int joined = 0, alive = 0;
  struct timeval patience = {10, 0};
  u64 began = now_ns();
  for (int i = 0; i < clients; i++) {
    client *c = &all[i];
    struct sockaddr_in where = there();
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (c->fd < 0 || connect(c->fd, (void *)&where, sizeof where))
      die("connect");
    if (tls_context) {
      c->tls = SSL_new(tls_context);
      SSL_set_fd(c->tls, c->fd);
      if (SSL_connect(c->tls) != 1)
        die("TLS");
    }
    ssize_t got = swap(c, upgrade, upgrade_len, into, sizeof into);
    if (got > 12 && !memcmp(into, "HTTP/1.1 101", 12))
      joined++;
    else
      fail("refused", into, got > 0 ? got : 0);
  }
  printf("{\"joined\": %d, \"joins_s\": %.0f}\n", joined, joined * 1e9 / (now_ns() - began));
  fflush(stdout);
  if (getchar() == EOF)
    return 1;
  for (int i = 0; i < clients; i++)
    alive += swap(&all[i], data, frame(data), into, sizeof into) == 2 + size;
  printf("{\"joined\": %d, \"alive\": %d, \"errors\": %lu}\n", joined, alive, errors);
  return errors || alive < clients;
}

int main(int argc, char **argv) {
  struct rlimit files;
  if (argc < 4) {
    fprintf(stderr, "proxyload MODE PORT PID [NAME=VALUE...]\n");
    return 2;
  }
  while (strcmp(modes[mode], argv[1]))
    if (++mode > IDLE)
      die(argv[1]);
  port = atoi(argv[2]), pid = atoi(argv[3]);
  for (int i = 4; i < argc; i++) {
    char *value = strchr(argv[i], '=');
    if (!value++)
      die(argv[i]);
#define NAMED(name) !strncmp(argv[i], name "=", sizeof name)
    if (NAMED("clients"))
      clients = atoi(value);
    else if (NAMED("sessions"))
      sessions = atoi(value);
    else if (NAMED("size"))
      size = atoi(value);
    else if (NAMED("code"))
      code = atoi(value);
    else if (NAMED("path"))
      path = value;
    else if (NAMED("at_once"))
      at_once = atoi(value);
    else if (NAMED("rate"))
      rate = atof(value);
    else if (NAMED("warmup"))
      warmup = atof(value);
    else if (NAMED("secs"))
      secs = atof(value);
    else if (NAMED("tls"))
      tls_context = atoi(value) ? SSL_CTX_new(TLS_client_method()) : NULL;
    else
      die(argv[i]);
  }
  if (size > 125)
    die("size of a message above 125");
  upgrade_len = snprintf(upgrade, sizeof upgrade,
                         "GET %.99s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                         path);
  signal(SIGPIPE, SIG_IGN);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (mode == TCP || mode == WS)
    clients = at_once;
  if ((int)files.rlim_cur < clients + 32)
    die("open files: the limit is too low");
  chance_state ^= (u32)now_ns() | 1;
  memset(junk, 1, sizeof junk);
  all = calloc(clients, sizeof *all);
  if (mode == IDLE)
    return idle();
  poller = epoll_create1(0);
  for (int i = 0; i < clients; i++) {
    all[i].sent_at = calloc(RING, sizeof(u64));
    all[i].ids = calloc(sessions, sizeof(u64));
    all[i].taken = calloc(sessions, sizeof(u32));
    dial(&all[i]);
    turn(0);
  }
  int is_open = mode == ECHO && rate > 0;
  u64 start = now_ns();
  if (is_open) {
    /* All shake hands before the first message is due. */
    for (int ready = 0; ready < clients && now_ns() < start + 10 * SECOND;) {
      turn(1);
      for (ready = 0; ready < clients && all[ready].state == RUNS; ready++)
        ;
    }
    start = now_ns();
  }
  u64 from = start + (u64)(warmup * 1e9), until = from + (u64)(secs * 1e9);
  u64 cpu = 0, own = 0, began = 0, due = start, next = 0;
  double taken = 0;
  for (;;) {
    u64 now = now_ns();
    if (!is_measured && !is_over && now >= from)
      is_measured = 1, cpu = cpu_of(pid), own = own_cpu(), began = now;
    if (is_measured && now >= until) {
      cpu = cpu_of(pid) - cpu, own = own_cpu() - own, taken = (now - began) / 1e9;
      is_measured = 0, is_over = 1;
    }
    if (is_over && (!is_open || now >= until + SECOND / 2))
      break;
    while (is_open && !is_over && due <= now) {
      ask(&all[next++ % clients], due);
      due += (u64)(2e9 / rate * (chance() / 4294967296.0));
    }
    turn(is_open ? 0 : 5);
  }
  if (is_open)
    for (int i = 0; i < clients; i++)
      lost += all[i].sent - all[i].known;
  lat_sort();
  double done = mode == DOWN || mode == UP ? bytes / 1e6 : count;
  printf("{\"per_s\": %.1f, \"per_cpu_s\": %.1f, \"cpu\": %.1f, \"generator_cpu\": %.1f, "
         "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"lost\": %lu, "
         "\"errors\": %lu}\n",
         done / taken, cpu ? done * 1e9 / cpu : 0, cpu / taken / 1e7, own / taken / 1e7,
         lat_at(0.5), lat_at(0.99), lat_at(1), lost, errors);
  if (errors || !done) {
    fprintf(stderr, "%s, port %d: %lu errors, %.0f done; server at %.1f %%, we at %.1f %%\n",
            argv[1], port, errors, done, cpu / taken / 1e7, own / taken / 1e7);
    return 1;
  }
  return 0;
}
