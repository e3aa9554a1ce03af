/*
 * A back end for gateways and proxies to stand in front of.
 *
 * proxyback PORT...
 *
 * The first byte of a stream says what it does: G is HTTP (each request is answered with
 * 1,024 bytes; one with "Upgrade" becomes a WebSocket that echoes), 2 is sent bytes
 * without end, 3 sends bytes that are thrown away, f5 is a link of packets
 * (docs/protocol/gateway.rst) whose sessions are streams again; others are echoed.
 * A request has to come in one piece, as those of proxyload do.
 */
#define _GNU_SOURCE
#include "load.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum kind { NEW, HTTP, SOCKET, GIVE, TAKE, LINK, ECHO };
#define HEADER 32
#define HALF 32768u

/* What a stream is, and what of it is not whole yet. */
typedef struct {
  u64 id; /* of the session; 0 for a connection's own stream */
  enum kind kind;
  u8 *held;
  u32 held_len, taken;
  int is_used;
} stream;

typedef struct {
  int fd, waits, is_port;
  stream own;
  stream *sessions; /* by a hash of their ids */
  u32 room, count;
  u8 *in, *out;
  u32 in_len, in_room, out_len, out_room;
} connection;

static int poller;
static u8 answer[2048], junk[262144];
static u32 answer_len;
static const char upgraded[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void put_u64(u8 *p, u64 number, int bytes) {
  while (bytes--)
    p[bytes] = number, number >>= 8;
}
static u64 get_u64(const u8 *p, int bytes) {
  u64 number = 0;
  while (bytes--)
    number = number << 8 | *p++;
  return number;
}

static void keep(connection *c, const void *data, u32 size) {
  if (c->out_len + size > c->out_room) {
    c->out_room = 2 * (c->out_len + size);
    if (!(c->out = realloc(c->out, c->out_room)))
      die("memory");
  }
  memcpy(c->out + c->out_len, data, size);
  c->out_len += size;
}
static void packet(connection *c, int kind, u64 session, const void *body, u32 size) {
  u8 header[HEADER] = {0xf5, 0x56, 0x47, 1, kind};
  put_u64(header + 6, size, 4);
  put_u64(header + 24, session, 8);
  keep(c, header, HEADER);
  keep(c, body, size);
}
static void say(connection *c, stream *s, const void *data, u32 size) {
  if (s->id)
    packet(c, 2, s->id, data, size);
  else
    keep(c, data, size);
}

/* Takes whole frames, and echoes them without their masks; gives what it took. */
static u32 echo_frames(connection *c, stream *s, u8 *data, u32 size) {
  u32 at = 0;
  while (size - at >= 6) {
    u32 length = data[at + 1] & 127;
    if (length > 125 || !(data[at + 1] & 128))
      die("a frame that proxyload does not send");
    if (size - at < 6 + length)
      break;
    u8 frame[128] = {data[at], length}, *mask = data + at + 2;
    for (u32 i = 0; i < length; i++)
      frame[2 + i] = data[at + 6 + i] ^ mask[i & 3];
    say(c, s, frame, 2 + length);
    at += 6 + length;
  }
  return at;
}

static void take(connection *c, stream *s, u8 *data, u32 size) {
  if (s->held_len) {
    s->held = realloc(s->held, s->held_len + size);
    memcpy(s->held + s->held_len, data, size);
    data = s->held, size += s->held_len;
    s->held_len = 0;
  }
  if (s->kind == NEW)
    s->kind = *data == 'G' ? HTTP : *data == 2 ? GIVE : *data == 3 ? TAKE : ECHO;
  u32 at = 0;
  if (s->kind == ECHO) {
    say(c, s, data, size);
    at = size;
  } else if (s->kind == TAKE || s->kind == GIVE) {
    at = size;
  }
  while (s->kind == HTTP && at < size) {
    u8 *end = memmem(data + at, size - at, "\r\n\r\n", 4);
    if (!end)
      break;
    u8 *from = data + at;
    at = end + 4 - data;
    if (memmem(from, end - from, "\r\nUpgrade:", 10)) {
      s->kind = SOCKET;
      say(c, s, upgraded, sizeof upgraded - 1);
    } else {
      say(c, s, answer, answer_len);
    }
  }
  if (s->kind == SOCKET)
    at += echo_frames(c, s, data + at, size - at);
  if (at < size) {
    u32 rest = size - at;
    if (data != s->held)
      s->held = realloc(s->held, rest);
    memmove(s->held, data + at, rest);
    s->held_len = rest;
  }
}

static stream *find(connection *c, u64 id) {
  u32 at = (u32)(id * 0x9E3779B97F4A7C15ull >> 40) & (c->room - 1);
  while (c->sessions[at].is_used && c->sessions[at].id != id)
    at = (at + 1) & (c->room - 1);
  return &c->sessions[at];
}
static void add(connection *c, u64 id) {
  if (2 * c->count >= c->room) {
    u32 before = c->room;
    stream *old = c->sessions;
    c->room = before ? 2 * before : 64;
    c->sessions = calloc(c->room, sizeof *c->sessions);
    c->count = 0;
    for (u32 i = 0; i < before; i++)
      if (old[i].is_used == 1)
        *find(c, old[i].id) = old[i], c->count++;
    free(old);
  }
  *find(c, id) = (stream){.id = id, .is_used = 1};
  c->count++;
}

static void take_packets(connection *c) {
  u8 *p = c->in, *end = p + c->in_len;
  while (end - p >= HEADER) {
    u32 size = get_u64(p + 6, 4);
    u64 id = get_u64(p + 24, 8);
    if (end - p < HEADER + size)
      break;
    u8 *body = p + HEADER;
    if (p[4] == 1 && !id) {
      packet(c, 1, 0, "{\"node_id\": \"proxyback\"}", 24);
    } else if (p[4] == 1) {
      add(c, id);
    } else if (p[4] == 4) {
      packet(c, 5, 0, body, size);
    } else if (c->room && (p[4] == 2 || p[4] == 3)) {
      stream *s = find(c, id);
      if (s->is_used == 1 && (p[4] == 3 || !size)) {
        if (p[4] == 2)
          packet(c, 3, id, "done", 4);
        free(s->held);
        s->held = NULL, s->held_len = 0, s->is_used = 2; /* its place stays taken */
      } else if (s->is_used == 1) {
        take(c, s, body, size);
        if ((s->taken += size) >= HALF) {
          u8 credit[4];
          put_u64(credit, s->taken, 4);
          packet(c, 6, id, credit, 4);
          s->taken = 0;
        }
      }
    }
    p += HEADER + size;
  }
  c->in_len = end - p;
  memmove(c->in, p, c->in_len);
}

static void watch(connection *c, int waits) {
  struct epoll_event e = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = c};
  if (c->waits != waits)
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
  c->waits = waits;
}
static void flush(connection *c) {
  if (c->own.kind == GIVE && !c->out_len) {
    for (int i = 0; i < 16; i++)
      if (send(c->fd, junk, sizeof junk, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof junk)
        break;
    watch(c, 1);
    return;
  }
  if (c->out_len) {
    ssize_t done = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done > 0) {
      memmove(c->out, c->out + done, c->out_len - done);
      c->out_len -= done;
    }
  }
  watch(c, c->out_len > 0);
}
static void hang_up(connection *c) {
  for (u32 i = 0; i < c->room; i++)
    free(c->sessions[i].held);
  close(c->fd);
  free(c->own.held), free(c->sessions), free(c->in), free(c->out), free(c);
}

static void come_in(connection *c) {
  if (c->own.kind == TAKE) {
    ssize_t size = recv(c->fd, junk, sizeof junk, MSG_DONTWAIT);
    if (!size || (size < 0 && errno != EAGAIN))
      hang_up(c);
    return;
  }
  if (c->in_room - c->in_len < 1024) {
    c->in_room = c->in_room ? 2 * c->in_room : 2048;
    c->in = realloc(c->in, c->in_room);
  }
  u32 room = c->in_room - c->in_len;
  ssize_t size = recv(c->fd, c->in + c->in_len, room, MSG_DONTWAIT);
  if (size < 0 && errno == EAGAIN)
    return;
  if (size <= 0) {
    hang_up(c);
    return;
  }
  if (c->own.kind == NEW && c->in[0] == 0xf5)
    c->own.kind = LINK;
  c->in_len += size;
  if (c->own.kind == LINK) {
    take_packets(c);
  } else {
    take(c, &c->own, c->in, c->in_len);
    c->in_len = 0;
  }
  /* Who sends much is read in large pieces. */
  if (size == room && c->in_room < 262144)
    c->in = realloc(c->in, c->in_room *= 2);
  flush(c);
}

int main(int argc, char **argv) {
  struct rlimit files;
  int one = 1;
  signal(SIGPIPE, SIG_IGN);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  poller = epoll_create1(0);
  answer_len = sprintf((char *)answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                       "Content-Length: 1024\r\n\r\n");
  memset(answer + answer_len, 'x', 1024);
  answer_len += 1024;
  for (int i = 1; i < argc; i++) {
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_port = htons(atoi(argv[i])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    connection *c = calloc(1, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    c->is_port = 1;
    setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(c->fd, (void *)&where, sizeof where) || listen(c->fd, 4096))
      die(argv[i]);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
  }
  puts("listens");
  fflush(stdout);
  for (;;) {
    struct epoll_event ready[256];
    int count = epoll_wait(poller, ready, 256, -1);
    for (int i = 0; i < count; i++) {
      connection *c = ready[i].data.ptr;
      if (c->is_port) {
        int fd;
        while ((fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          connection *made = calloc(1, sizeof *made);
          made->fd = fd;
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          struct epoll_event e = {.events = EPOLLIN, .data.ptr = made};
          epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
        }
      } else if (ready[i].events & ~EPOLLOUT) {
        come_in(c);
      } else {
        flush(c);
      }
    }
  }
}
