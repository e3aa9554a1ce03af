/*
 * Players in rooms of four over WebSocket, many in one process, on loopback.
 *
 * roomload PROTOCOL PORT PID MODE CLIENTS [NAME=VALUE...]
 *
 * PROTOCOL is vinom, colyseus or plain (JSON without an envelope). MODE is closed (each
 * player has one input outstanding), open (inputs at fixed times, rate= per second over all;
 * latency counts from the time that was due) or idle (join, and stay for secs=). The others:
 * game=, seats= of a room, warmup=, secs=, at_once= connections, tls=1, each=1 (versions
 * must rise by one). An input is {x, y, q}; by q players know their own in a state.
 * It prints one line of JSON.
 */
#define _GNU_SOURCE
#include "load.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum protocol { VINOM, COLYSEUS, PLAIN };
enum state { UNBORN, ASKING, SHAKING, GREETING, JOINING, PLAYING, DEAD };
#define RING 4096
#define COUNTED 100000u /* a q is a tag and a counter below this */

typedef struct {
  int fd, number;
  enum state state;
  int writes; /* waits for room to write */
  SSL *tls;
  u8 *in, *out;
  u32 in_len, in_room, out_len, out_room;
  u32 tag, sent, known;
  u64 version, asked_at, *sent_at;
  char path[256];
} client;

static enum protocol protocol;
static int port, pid, clients, seats = 4, at_once = 32, is_open, is_idle, is_each;
static double rate, warmup = 1, secs = 3;
static const char *game = "roomecho", *path = "/ws";
static client *all;
static int poller, playing, joining, next_client, dead;
static int is_running, is_measured, is_draining;
static u64 from_time, until_time;
static u64 inputs, deliveries, gaps, backwards, lost, errors;
static SSL_CTX *tls_context;

static void watch(client *c, int writes) {
  if (c->writes == writes)
    return;
  struct epoll_event e = {.events = EPOLLIN | (writes ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
  c->writes = writes;
}

static void hang_up(client *c) {
  if (c->tls)
    SSL_free(c->tls);
  c->tls = NULL;
  if (c->fd >= 0)
    close(c->fd);
  c->fd = -1;
}

static void lose(client *c, const char *why) {
  if (c->state == DEAD)
    return;
  if (dead++ < 4)
    fprintf(stderr, "player %d is lost: %s\n", c->number, why);
  if (c->state == PLAYING)
    playing--;
  else
    joining--;
  c->state = DEAD;
  hang_up(c);
}

/* Bytes written or read; 0 is the end, -1 is "not now", -2 is an error. */
static ssize_t told(client *c, int done) {
  switch (SSL_get_error(c->tls, done)) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE:
    return -1;
  case SSL_ERROR_ZERO_RETURN:
    return 0;
  default:
    ERR_clear_error();
    return -2;
  }
}
static ssize_t put(client *c, const void *data, size_t size) {
  ssize_t done = c->tls ? SSL_write(c->tls, data, size)
                        : send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (done > 0)
    return done;
  return c->tls ? told(c, done) : errno == EAGAIN ? -1 : -2;
}
static ssize_t take(client *c, void *data, size_t size) {
  ssize_t done =
      c->tls ? SSL_read(c->tls, data, size) : recv(c->fd, data, size, MSG_DONTWAIT);
  if (done > 0 || (!done && !c->tls))
    return done;
  return c->tls ? told(c, done) : errno == EAGAIN ? -1 : -2;
}

static void keep(client *c, const void *data, size_t size) {
  if (c->out_len + size > c->out_room) {
    c->out_room = 2 * (c->out_len + size) + 512;
    c->out = realloc(c->out, c->out_room);
  }
  memcpy(c->out + c->out_len, data, size);
  c->out_len += size;
}
static void flush(client *c) {
  ssize_t done = put(c, c->out, c->out_len);
  if (done == -2 || done == 0) {
    lose(c, "it cannot send");
    return;
  }
  if (done > 0) {
    memmove(c->out, c->out + done, c->out_len - done);
    c->out_len -= done;
  }
  /* TLS may have to read before it can write. */
  watch(c, c->out_len > 0 && !(c->tls && SSL_want_read(c->tls)));
}
static void say(client *c, const void *data, size_t size) {
  if (c->state == DEAD)
    return;
  ssize_t done = 0;
  if (!c->out_len && (done = put(c, data, size)) == (ssize_t)size)
    return;
  keep(c, (const u8 *)data + (done > 0 ? done : 0), size - (done > 0 ? done : 0));
  flush(c);
}
static void say_frame(client *c, int opcode, const void *data, size_t size) {
  u8 frame[512], mask[4];
  size_t head = 0;
  u32 chosen = chance();
  if (size > 500)
    die("a message this long");
  frame[head++] = 0x80 | opcode;
  if (size < 126) {
    frame[head++] = 0x80 | size;
  } else {
    frame[head++] = 0x80 | 126;
    frame[head++] = size >> 8;
    frame[head++] = size;
  }
  memcpy(mask, &chosen, 4);
  memcpy(frame + head, mask, 4);
  head += 4;
  for (size_t i = 0; i < size; i++)
    frame[head + i] = ((const u8 *)data)[i] ^ mask[i & 3];
  say(c, frame, head + size);
}

static void send_input(client *c, u64 due) {
  u32 q = c->tag * COUNTED + ++c->sent % COUNTED;
  u32 x = 1000 + chance() % 9000, y = 1000 + chance() % 9000;
  char text[160];
  c->sent_at[c->sent % RING] = c->asked_at = due;
  if (protocol == COLYSEUS) {
    u8 b[] = {13,   0xa1,   'm', 0x83, 0xa1, 'x',  0xcd,    x >> 8,  x,      0xa1, 'y',
              0xcd, y >> 8, y,   0xa1, 'q',  0xce, q >> 24, q >> 16, q >> 8, q};
    say_frame(c, 2, b, sizeof b);
    return;
  }
  const char *form = protocol == VINOM
                         ? "{\"type\":\"action\",\"data\":{\"x\":%u,\"y\":%u,\"q\":%u}}"
                         : "{\"x\":%u,\"y\":%u,\"q\":%u}";
  say_frame(c, 1, text, sprintf(text, form, x, y, q));
}
static void top_up(client *c, u64 now) {
  if (is_running && !is_draining && !is_open && c->state == PLAYING && c->sent == c->known)
    send_input(c, now);
}

/* A state shows this q of ours. */
static void knows(client *c, u32 q, u64 now) {
  u32 more = (q % COUNTED + COUNTED - c->known % COUNTED) % COUNTED;
  if (!more || more > c->sent - c->known)
    return;
  while (more--) {
    u64 sent_at = c->sent_at[++c->known % RING];
    if (from_time && sent_at >= from_time && sent_at < until_time)
      lat_add(now > sent_at ? now - sent_at : 0);
    inputs += is_measured;
  }
  c->asked_at = now;
  top_up(c, now);
}

static int number_after(const u8 *p, size_t size, const char *key, u64 *number) {
  const u8 *end = p + size, *f = memmem(p, size, key, strlen(key));
  if (!f)
    return 0;
  for (f += strlen(key), *number = 0; f < end && *f >= '0' && *f <= '9'; f++)
    *number = *number * 10 + *f - '0';
  return 1;
}
/* The same in MessagePack, for keys of one letter. */
static int packed_after(const u8 *p, size_t size, u8 key, u64 *number) {
  static const int sizes[] = {[0xcc - 0xcc] = 1, [0xcd - 0xcc] = 2, [0xce - 0xcc] = 4};
  for (size_t i = 0; i + 2 < size; i++) {
    if (p[i] != 0xa1 || p[i + 1] != key)
      continue;
    u8 kind = p[i + 2];
    *number = kind;
    if (kind < 128)
      return 1;
    if (kind < 0xcc || kind > 0xce || i + 3 + sizes[kind - 0xcc] > size)
      return 0;
    *number = 0;
    for (int k = 0; k < sizes[kind - 0xcc]; k++)
      *number = *number << 8 | p[i + 3 + k];
    return 1;
  }
  return 0;
}

static void has_version(client *c, u64 version) {
  if (c->version && version <= c->version)
    backwards++;
  else if (c->version && version != c->version + 1)
    gaps++;
  c->version = version;
}

static void hear_state(client *c, const u8 *p, size_t size, u64 now) {
  u64 version = 0, q = 0;
  if (protocol != VINOM) {
    int is_read = protocol == COLYSEUS
                      ? packed_after(p, size, 'q', &q) && packed_after(p, size, 'v', &version)
                      : number_after(p, size, "\"q\":", &q) &&
                            number_after(p, size, "\"v\":", &version);
    if (!is_read) {
      errors++;
      return;
    }
    deliveries += is_measured;
    if (version < 65536) /* beyond, Colyseus writes floating numbers */
      has_version(c, version);
    if (q / COUNTED == c->tag)
      knows(c, q, now);
    return;
  }
  /* A frame may hold several states, and each shows every seat's last q. */
  const u8 *end = p + size, *state = p;
  while ((state = memmem(state, end - state, "\"game_state\"", 12))) {
    deliveries += is_measured;
    state += 12;
    if (number_after(state, end - state, "\"version\":", &version))
      has_version(c, version);
  }
  for (const u8 *f = p; (f = memmem(f, end - f, "\"q\":", 4));) {
    for (q = 0, f += 4; f < end && *f >= '0' && *f <= '9'; f++)
      q = q * 10 + *f - '0';
    if (q / COUNTED == c->tag)
      knows(c, q, now);
  }
}

static void joined(client *c) {
  c->state = PLAYING;
  playing++;
  joining--;
}
static void hear(client *c, const u8 *p, size_t size, u64 now) {
  char text[200];
  if (protocol == VINOM && memmem(p, size, "\"error\"", 7)) {
    if (errors++ < 3)
      fprintf(stderr, "received %.*s\n", (int)(size < 300 ? size : 300), (const char *)p);
  } else if (c->state == PLAYING) {
    if (protocol == PLAIN || (protocol == COLYSEUS && size && p[0] == 13) ||
        (protocol == VINOM && memmem(p, size, "\"game_state\"", 12)))
      hear_state(c, p, size, now);
  } else if (protocol == PLAIN) {
    joined(c);
  } else if (protocol == COLYSEUS) {
    if (size && p[0] == 10) {
      say_frame(c, 2, "\n", 1);
      joined(c);
    }
  } else if (c->state == GREETING && memmem(p, size, "\"welcome\"", 9)) {
    c->state = JOINING;
    say_frame(c, 1, text,
              snprintf(text, sizeof text,
                       "{\"type\":\"join_room\",\"data\":{\"game\":\"%s\",\"room_id\":\"r%d\"}}",
                       game, c->number / seats));
  } else if (c->state == JOINING && memmem(p, size, "\"join_room_result\"", 18)) {
    joined(c);
    hear_state(c, p, size, now);
  }
}

static void dial(client *c, enum state state, const char *request) {
  struct sockaddr_in where = {.sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1;
  c->state = state;
  c->in_len = c->out_len = 0;
  if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) < 0)
    die("socket");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(c->fd, (void *)&where, sizeof where) && errno != EINPROGRESS) {
    lose(c, "it cannot connect");
    return;
  }
  if (tls_context) {
    c->tls = SSL_new(tls_context);
    SSL_set_fd(c->tls, c->fd);
    SSL_set_connect_state(c->tls);
  }
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  c->writes = 1;
  epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
  keep(c, request, strlen(request));
}
static void upgrade(client *c) {
  char text[600];
  snprintf(text, sizeof text,
           "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
           "Sec-WebSocket-Version: 13\r\n\r\n",
           c->path, port);
  dial(c, SHAKING, text);
}
static void begin(client *c) {
  char text[400], body[64];
  joining++;
  if (protocol == PLAIN) {
    snprintf(c->path, sizeof c->path, "/room-echo?room=%d&slot=%d", c->number / seats,
             c->number % seats);
  } else if (protocol == VINOM) {
    snprintf(c->path, sizeof c->path, "%s", path);
  } else {
    int size = sprintf(body, "{\"r\":%d}", c->number / seats);
    snprintf(text, sizeof text,
             "POST /matchmake/joinOrCreate/room_echo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
             "Content-Type: application/json\r\nContent-Length: %d\r\n"
             "Connection: close\r\n\r\n%s",
             port, size, body);
    dial(c, ASKING, text);
    return;
  }
  upgrade(c);
}

static int find_text(const char *text, const char *key, char *into, size_t room) {
  const char *f = strstr(text, key), *end;
  if (!f || !(end = strchr(f += strlen(key), '"')) || (size_t)(end - f) >= room)
    return 0;
  memcpy(into, f, end - f);
  into[end - f] = 0;
  return 1;
}
/* Colyseus's matchmaker answered; is everything here? */
static int hear_seat(client *c) {
  char process[64], room[64], session[64], *text = (char *)c->in;
  text[c->in_len] = 0;
  if (!find_text(text, "\"processId\":\"", process, sizeof process) ||
      !find_text(text, "\"roomId\":\"", room, sizeof room) ||
      !find_text(text, "\"sessionId\":\"", session, sizeof session))
    return 0;
  snprintf(c->path, sizeof c->path, "/%s/%s?sessionId=%s", process, room, session);
  hang_up(c);
  upgrade(c);
  return 1;
}

/* Take whole frames out of what came. */
static void cut_frames(client *c, u8 *p, u64 now) {
  u8 *end = c->in + c->in_len;
  while (end - p >= 2 && c->state != DEAD) {
    size_t head = 2, size = p[1] & 127;
    int opcode = p[0] & 15;
    if (size == 126) {
      if (end - p < 4)
        break;
      size = p[2] << 8 | p[3], head = 4;
    } else if (size == 127) {
      if (end - p < 10)
        break;
      for (size = 0; head < 10; head++)
        size = size << 8 | p[head];
    }
    if ((size_t)(end - p) < head + size)
      break;
    if (opcode == 8)
      lose(c, "the server closed the connection");
    else if (opcode == 9)
      say_frame(c, 10, p + head, size);
    else if (opcode == 1 || opcode == 2)
      hear(c, p + head, size, now);
    p += head + size;
  }
  if (c->state == DEAD)
    return;
  c->in_len = end - p;
  memmove(c->in, p, c->in_len);
}
static void come_in(client *c) {
  for (;;) {
    if (c->in_room - c->in_len < 4096) {
      c->in_room = c->in_room ? 2 * c->in_room : 16384;
      if (!(c->in = realloc(c->in, c->in_room + 1)))
        die("memory");
    }
    size_t room = c->in_room - c->in_len;
    ssize_t size = take(c, c->in + c->in_len, room);
    if (size == -1)
      break;
    if (size <= 0) {
      lose(c, "the connection ends");
      return;
    }
    u64 now = now_ns();
    c->in_len += size;
    u8 *p = c->in;
    if (c->state == ASKING) {
      if (hear_seat(c))
        return;
      continue;
    }
    if (c->state == SHAKING) {
      char *done, hello[96];
      c->in[c->in_len] = 0;
      if (!(done = strstr((char *)p, "\r\n\r\n")))
        continue;
      if (strncmp((char *)p, "HTTP/1.1 101", 12)) {
        lose(c, (char *)p);
        return;
      }
      p = (u8 *)done + 4;
      c->state = GREETING;
      if (protocol == VINOM)
        say_frame(c, 1, hello,
                  sprintf(hello,
                          "{\"type\":\"hello\",\"data\":{\"protocol\":1,\"name\":\"c%d\"}}",
                          c->number));
    }
    cut_frames(c, p, now);
    if (c->state == DEAD || (!c->tls && (size_t)size < room))
      break;
  }
  if (c->tls && c->out_len && c->state != DEAD)
    flush(c);
}

static int turn(int patience) {
  struct epoll_event ready[256];
  int count = epoll_wait(poller, ready, 256, patience);
  for (int i = 0; i < count; i++) {
    client *c = ready[i].data.ptr;
    if (c->state == DEAD)
      continue;
    int fd = c->fd;
    if (ready[i].events & EPOLLOUT) {
      if (c->out_len)
        flush(c);
      else
        watch(c, 0);
    }
    if (c->fd == fd && c->state != DEAD && (ready[i].events & ~EPOLLOUT))
      come_in(c);
  }
  return count;
}

static int by_time(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
/* When in its period each input is due, and whose it is: by chance, but the same always. */
static void plan(double period, double *at, int *whose) {
  for (int i = 0; i < clients; i++) {
    at[i] = period * (chance() / 4294967296.0);
    whose[i] = i;
  }
  qsort(at, clients, sizeof *at, by_time);
  for (int i = clients - 1; i > 0; i--) {
    int j = chance() % (i + 1), other = whose[i];
    whose[i] = whose[j];
    whose[j] = other;
  }
}

static long resident_kb(void) {
  char line[256], name[64];
  long found = 0;
  snprintf(name, sizeof name, "/proc/%d/status", pid);
  FILE *file = fopen(name, "r");
  if (!file)
    die("memory of the server");
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, "VmRSS:", 6))
      found = atol(line + 6);
  fclose(file);
  return found;
}

static void join_all(void) {
  u64 give_up = now_ns() + 60 * SECOND;
  while (playing + dead < clients) {
    while (joining < at_once && next_client < clients)
      begin(&all[next_client++]);
    turn(10);
    if (now_ns() > give_up)
      break;
  }
}

int main(int argc, char **argv) {
  struct rlimit files = {65536, 65536};
  if (argc < 6) {
    fprintf(stderr, "roomload PROTOCOL PORT PID MODE CLIENTS [NAME=VALUE...]\n");
    return 2;
  }
  protocol = argv[1][0] == 'v' ? VINOM : argv[1][0] == 'c' ? COLYSEUS : PLAIN;
  port = atoi(argv[2]), pid = atoi(argv[3]), clients = atoi(argv[5]);
  is_open = argv[4][0] == 'o', is_idle = argv[4][0] == 'i';
  for (int i = 6; i < argc; i++) {
    char *value = strchr(argv[i], '=');
    if (!value++)
      die(argv[i]);
#define NAMED(name) !strncmp(argv[i], name "=", sizeof name)
    if (NAMED("game"))
      game = value;
    else if (NAMED("seats"))
      seats = atoi(value);
    else if (NAMED("rate"))
      rate = atof(value);
    else if (NAMED("warmup"))
      warmup = atof(value);
    else if (NAMED("secs"))
      secs = atof(value);
    else if (NAMED("at_once"))
      at_once = atoi(value);
    else if (NAMED("each"))
      is_each = atoi(value);
    else if (NAMED("tls"))
      tls_context = atoi(value) ? SSL_CTX_new(TLS_client_method()) : NULL;
    else
      die(argv[i]);
  }
  if (tls_context)
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  signal(SIGPIPE, SIG_IGN);
  setrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_NOFILE, &files);
  if ((int)files.rlim_cur < clients + 32)
    die("open files: the limit is too low");
  chance_state ^= (u32)now_ns() | 1;
  poller = epoll_create1(0);
  all = calloc(clients, sizeof *all);
  for (int i = 0; i < clients; i++) {
    all[i].number = i, all[i].fd = -1, all[i].tag = 100 + i % 800;
    if (!is_idle)
      all[i].sent_at = malloc(RING * sizeof(u64));
  }

  long memory = resident_kb();
  u64 began = now_ns();
  join_all();
  double join_s = (now_ns() - began) / 1e9;
  int were_joined = playing;
  /* Read what the joins brought before anything is measured. */
  for (u64 until = now_ns() + SECOND / 5; now_ns() < until;)
    turn(1);

  double period = is_open ? 1e9 * clients / rate : 0, taken = 0;
  double *at = malloc(clients * sizeof *at);
  int *whose = malloc(clients * sizeof *whose);
  plan(period, at, whose);
  u64 cpu = 0, own = 0, busy = 0, all_busy = 0, start = now_ns(), before = start, looked = start, k = 0;
  from_time = start + (u64)(warmup * 1e9), until_time = from_time + (u64)(secs * 1e9);
  /* Late answers count: wait one more second for the last ones. */
  u64 end = until_time + (is_idle ? 0 : is_open ? SECOND : SECOND / 20);
  is_running = !is_idle;
  for (int i = 0; i < clients; i++)
    top_up(&all[i], start);
  for (;;) {
    u64 now = now_ns();
    int is_active = 0;
    if (!is_measured && !is_draining && now >= from_time)
      is_measured = 1, cpu = cpu_of(pid), own = own_cpu(), busy = 0, began = now;
    if (is_measured && now >= until_time) {
      is_measured = 0, is_draining = 1, taken = (now - began) / 1e9;
      cpu = cpu_of(pid) - cpu, own = own_cpu() - own;
      all_busy = busy, until_time = now;
    }
    if (now >= end && is_draining)
      break;
    while (is_open && !is_draining) {
      /* Players take turns, each at its own time of the period. */
      u64 due = start + (u64)(period * (k / clients) + at[k % clients]);
      if (due > now)
        break;
      client *c = &all[whose[k++ % clients]];
      is_active = 1;
      if (c->state == PLAYING) {
        if (c->sent - c->known >= RING - 1)
          lost++, c->known = c->sent;
        send_input(c, due);
      }
    }
    is_active |= turn(is_idle ? 20 : 0) > 0;
    now = now_ns();
    if (is_active)
      busy += now - before;
    before = now;
    if (!is_open && !is_idle && !is_draining && now - looked > SECOND / 2) {
      looked = now;
      for (int i = 0; i < clients; i++)
        if (all[i].state == PLAYING && all[i].sent != all[i].known &&
            now - all[i].asked_at > 2 * SECOND && now > all[i].asked_at) {
          lost += all[i].sent - all[i].known;
          all[i].known = all[i].sent;
          top_up(&all[i], now);
        }
    }
  }
  if (is_open)
    for (int i = 0; i < clients; i++)
      lost += all[i].sent - all[i].known;
  lat_sort();
  printf("{\"joined\": %d, \"dead\": %d, \"joins_s\": %.0f, \"inputs_s\": %.0f, "
         "\"states_s\": %.0f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
         "\"max_us\": %.1f, \"cpu\": %.2f, \"cpu_us_per_input\": %.2f, \"generator_cpu\": %.1f, "
         "\"generator_busy\": %.1f, \"memory_kb\": %ld, \"gaps\": %lu, \"backwards\": %lu, "
         "\"lost\": %lu, \"errors\": %lu}\n",
         were_joined, dead, were_joined / join_s, inputs / taken, deliveries / taken,
         lat_at(0.5), lat_at(0.9), lat_at(0.99), lat_at(1), cpu / taken / 1e7,
         inputs ? cpu / 1e3 / inputs : 0, own / taken / 1e7, all_busy / taken / 1e7,
         resident_kb() - memory, gaps, backwards, lost, errors);
  if (dead || were_joined < clients || errors || backwards || (is_each && gaps)) {
    fprintf(stderr,
            "%d of %d joined, %d were lost; %lu errors, %lu states older than others, "
            "%lu left out\n",
            were_joined, clients, dead, errors, backwards, is_each ? gaps : 0);
    return 1;
  }
  return 0;
}
