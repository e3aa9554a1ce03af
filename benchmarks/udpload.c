/*
 * Players of roomecho (or roomtick) over DTLS 1.2, as docs/protocol says: handshake with a
 * ticket, JOIN with a token, INPUT, STATE, acknowledgements, PING and PONG.
 *
 *   udpload SEATS PID MODE WARMUP SECONDS [RATE]
 *
 * SEATS: a file, one player per line: host port server_name token. Four lines that
 * follow each other are a room. PID: the game server, whose CPU is read.
 * MODE:
 *   all   everybody has one input outstanding: saturation
 *   one   as all, but the seats of a room act in turn, each when the last input is
 *         answered: never two inputs of a room at once
 *   open  RATE inputs per second, all together, at fixed periods; latencies count
 *         from the time an input was due
 *   watch as open, from the time it prints "joined" on a line until stdin closes;
 *         for each line of stdin ("mark N") it prints a line about the time since the
 *         last one, and from then on N datagrams per second that were sent before are
 *         sent again
 *   knock RATE handshakes per second, each from an address of its own (127.0.1.2 and
 *         upward) and followed by a JOIN, which is to be refused; for SECONDS
 *   hold  connect, join, print "joined" on a line, stay until stdin closes
 * It prints a line of JSON.
 */
#define _GNU_SOURCE
#include "load.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { JOIN = 1, INPUT, PING, PONG };
enum { WELCOME = 0x81, STATE, MESSAGES, SERVER_PING, SERVER_PONG, REJECT };

#define SEATS 4
#define AT_ONCE 16           /* handshakes in flight */
#define ACK_DELAY (40 * MS)  /* the protocol allows 60 */
#define ACK_WITH_INPUT (55 * MS) /* of players whose next input is sooner */
#define RESEND_AFTER (300 * MS) /* without an acknowledgement */
#define RING 64              /* actions that wait for an answer */
#define ACTION 18

typedef struct {
  char host[64], name[256], token[1024];
  int port;
  int index, fd;
  SSL *ssl;
  enum { UNBORN, SHAKING, ASKING, SEATED } phase;
  u64 tried_at, ping_at, ack_at, sent_at;
  u32 number;            /* of our last packet */
  u32 state, message;    /* newest version, last message part */
  u32 highest, received; /* of the server's packets */
  u32 sent, acked, answered;
  u64 pieces;            /* of the welcome, as bits */
  u8 wire[1300]; /* our last datagram, as it left */
  int wire_size;
  u8 action[RING][ACTION];
  u64 due[RING];
} Player;

static Player *players;
static int count, seated, begun, epoll_fd, server_pid;
static SSL_CTX *context;
static int measuring, closed_loop, in_turn, knocking;
static u64 knocks, refusals, ack_delay = ACK_DELAY;
static u64 inputs, done, states, shown, skipped, repeated, resent, wrong, rejected;
static u64 bytes_in, bytes_out, turned_away;
static u64 lateness; /* the longest time that an input left after it was due */

static void put32(u8 *at, u32 value) {
  value = htonl(value);
  memcpy(at, &value, 4);
}
static u32 get32(const u8 *at) {
  u32 value;
  memcpy(&value, at, 4);
  return ntohl(value);
}


static void send_packet(Player *p, const u8 *packet, int size) {
  if (SSL_write(p->ssl, packet, size) != size)
    ERR_clear_error(); /* as good as lost */
  p->sent_at = now_ns();
  if (measuring)
    bytes_out += size;
}

static u8 *head(Player *p, u8 *packet, u8 type) {
  packet[0] = type;
  put32(packet + 1, ++p->number);
  put32(packet + 5, p->state);
  put32(packet + 9, p->message);
  p->ack_at = 0;
  return packet + 13;
}

/* Views of any length are not searched for the input they answer; and shall they be
 * packed? */
static int any_view, packed;

static void send_join(Player *p) {
  u8 packet[1100];
  size_t length = strlen(p->token);
  u8 *at = head(p, packet, JOIN);
  *at++ = 1; /* packet protocol */
  *at++ = packed ? 2 : 0; /* a connect token */
  put32(at, 0);
  at[4] = length >> 8;
  at[5] = length;
  memcpy(at + 6, p->token, length);
  send_packet(p, packet, (int)(at + 6 + length - packet));
  p->tried_at = now_ns();
}

/* All unacknowledged actions, the oldest first; perhaps none. */
static void send_input(Player *p) {
  u8 packet[1100];
  u8 *at = head(p, packet, INPUT);
  u32 waiting = p->sent - p->acked;
  if (waiting > 16)
    waiting = 16;
  put32(at, waiting ? p->acked + 1 : 0);
  at[4] = waiting;
  at += 5;
  for (u32 i = 1; i <= waiting; i++) {
    put32(at, 0);
    at[4] = 0;
    at[5] = ACTION;
    at += 6;
    memcpy(at, p->action[(p->acked + i) % RING], ACTION);
    at += ACTION;
  }
  send_packet(p, packet, (int)(at - packet));
}

static u32 tag_of(const Player *p, u32 seq) {
  return (100 + p->index % 900) * 100000u + seq % 100000u;
}

/* {"x": .., "y": .., "q": ..} in MessagePack. */
static void act(Player *p, u64 due) {
  if (p->sent - p->answered >= RING - 1)
    return; /* it counts as never sent, and shows in the rate */
  u32 seq = ++p->sent, x = 1000 + chance() % 9000, y = 1000 + chance() % 9000;
  u8 *a = p->action[seq % RING];
  memcpy(a, "\x83\xa1x\xcd..\xa1y\xcd..\xa1q\xce....", ACTION);
  a[4] = x >> 8, a[5] = x, a[9] = y >> 8, a[10] = y;
  put32(a + 14, tag_of(p, seq));
  p->due[seq % RING] = due;
  if (measuring) {
    u64 late = now_ns() - due;
    inputs++;
    if (late > lateness)
      lateness = late;
  }
  send_input(p);
}

static void send_probe(Player *p, u8 type, u32 stamp) {
  u8 packet[25];
  u8 *at = head(p, packet, type);
  put32(at, stamp);
  put32(at + 4, p->highest);
  put32(at + 8, p->received);
  send_packet(p, packet, sizeof packet);
}

static Player *next_seat(const Player *p) {
  int seat = p->index % SEATS;
  return &players[p->index - seat + (seat + 1) % SEATS];
}

static void hear_state(Player *p, const u8 *packet, int size, u64 now) {
  u32 applied = get32(packet + 9), version = get32(packet + 13);
  if (version <= p->state) {
    repeated += measuring;
    return;
  }
  if (measuring) {
    states++;
    if (p->index % SEATS == 0)
      shown++, skipped += p->state ? version - p->state - 1 : 0;
  }
  p->state = version;
  if (!p->ack_at)
    p->ack_at = now + ack_delay;
  if (applied > p->answered && applied <= p->sent) {
    u8 tag[4];
    put32(tag, tag_of(p, applied));
    if (!any_view && !memmem(packet + 27, size - 27, tag, 4))
      wrong++;
    while (p->answered < applied) {
      p->answered++;
      if (measuring) {
        done++;
        lat_add(now - p->due[p->answered % RING]);
      }
    }
    if (closed_loop && p->answered == p->sent)
      act(in_turn ? next_seat(p) : p, now);
  }
}

static void hear_messages(Player *p, const u8 *packet) {
  u32 first = get32(packet + 9), parts = packet[13];
  if (parts && first <= p->message + 1 && first + parts - 1 > p->message)
    p->message = first + parts - 1;
  if (parts)
    send_input(p);
}

static void hear(Player *p, const u8 *packet, int size, u64 now) {
  if (size < 9) {
    wrong++;
    return;
  }
  u32 number = get32(packet + 1), acked = get32(packet + 5);
  p->received++;
  if (number > p->highest)
    p->highest = number;
  if (acked > p->acked && acked <= p->sent)
    p->acked = acked;
  if (measuring)
    bytes_in += size;
  switch (packet[0]) {
  case WELCOME:
    p->pieces |= 1ull << packet[13];
    if (p->phase == ASKING && __builtin_popcountll(p->pieces) == packet[14]) {
      p->phase = SEATED;
      seated++;
      p->ping_at = now + SECOND / 1000 * (chance() % 1000);
    }
    if (p->phase == SEATED)
      send_input(p);
    break;
  case STATE:
    if (packet[26] == 1 || (any_view && packet[25] + 1 == packet[26]))
      hear_state(p, packet, size, now);
    else
      wrong += !any_view;
    break;
  case MESSAGES:
    hear_messages(p, packet);
    break;
  case SERVER_PING:
    send_probe(p, PONG, get32(packet + 9));
    break;
  case REJECT:
    if (knocking) {
      refusals++;
      p->phase = UNBORN;
    } else if (p->phase == ASKING && memmem(packet, size, "busy", 4)) {
      /* Its connection is over; the same proof is valid on the next one. */
      p->phase = UNBORN;
      p->tried_at = now;
      turned_away++;
    } else if (!rejected++)
      fprintf(stderr, "rejected: %.*s\n", size - 11, packet + 11);
    break;
  }
}

static long keep(BIO *bio, int oper, const char *data, size_t size, int i, long l,
                 int done, size_t *processed) {
  Player *p = (Player *)BIO_get_callback_arg(bio);
  if (oper == BIO_CB_WRITE && size <= sizeof p->wire) {
    memcpy(p->wire, data, size);
    p->wire_size = (int)size;
  }
  return done;
}

static void begin(Player *p) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(p->port)};
  int size = 1 << 20;
  if (inet_pton(AF_INET, p->host, &to.sin_addr) != 1)
    die("address");
  if ((p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) < 0)
    die("socket");
  setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (knocking) {
    struct sockaddr_in from = {.sin_family = AF_INET};
    u32 host = (u32)(knocks++ % 60000);
    from.sin_addr.s_addr = htonl(0x7f000102u + (host / 200 << 8) + host % 200);
    if (bind(p->fd, (void *)&from, sizeof from))
      die("bind");
  }
  if (connect(p->fd, (void *)&to, sizeof to))
    die("connect");
  p->ssl = SSL_new(context);
  BIO *bio = BIO_new_dgram(p->fd, BIO_NOCLOSE);
  BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &to);
  BIO_set_callback_ex(bio, keep);
  BIO_set_callback_arg(bio, (char *)p);
  SSL_set_bio(p->ssl, bio, bio);
  SSL_set_options(p->ssl, SSL_OP_NO_QUERY_MTU);
  SSL_set_mtu(p->ssl, 1200);
  SSL_set_tlsext_host_name(p->ssl, p->name);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, p->fd, &event);
  p->phase = SHAKING;
  SSL_connect(p->ssl);
  ERR_clear_error();
}

static void read_from(Player *p) {
  u8 packet[2048];
  if (p->phase == SHAKING) {
    if (SSL_connect(p->ssl) != 1) {
      ERR_clear_error();
      return;
    }
    p->phase = ASKING;
    send_join(p);
  }
  for (;;) {
    int size = SSL_read(p->ssl, packet, sizeof packet);
    if (size <= 0) {
      ERR_clear_error();
      return;
    }
    hear(p, packet, size, now_ns());
  }
}

/* What is due by the clock, for everybody. */
static void sweep(u64 now) {
  for (int i = 0; i < begun; i++) {
    Player *p = &players[i];
    if (p->phase == UNBORN) {
      if (!knocking && now > p->tried_at + RESEND_AFTER) {
        SSL_free(p->ssl);
        close(p->fd);
        begin(p);
      }
    } else if (p->phase == SHAKING) {
      DTLSv1_handle_timeout(p->ssl);
    } else if (p->phase == ASKING) {
      if (now > p->tried_at + RESEND_AFTER)
        send_join(p);
    } else if (p->sent > p->acked && now > p->sent_at + RESEND_AFTER) {
      resent += measuring;
      send_input(p);
    } else if (now > p->ping_at) {
      p->ping_at = now + SECOND;
      send_probe(p, PING, (u32)(now / 1000));
    } else if (p->ack_at && now > p->ack_at) {
      send_input(p);
    }
  }
}

static u64 swept_at;
static void turn_ns(u64 wait) {
  struct epoll_event events[256];
  struct timespec time = {(time_t)(wait / SECOND), (long)(wait % SECOND)};
  int ready = epoll_pwait2(epoll_fd, events, 256, &time, NULL);
  for (int i = 0; i < ready; i++)
    read_from(events[i].data.ptr);
  u64 now = now_ns();
  if (now > swept_at + 10 * MS) {
    swept_at = now;
    sweep(now);
  }
}

static void turn(int wait_ms) { turn_ns(wait_ms * MS); }

/* One round of knocks after the other. */
static int knock(double rate, double seconds) {
  u64 start = now_ns(), until = start + (u64)(seconds * 1e9), now;
  knocking = 1;
  begun = count;
  while ((now = now_ns()) < until) {
    while (knocks < (u64)((now - start) / 1e9 * rate)) {
      Player *p = &players[knocks % count];
      if (p->ssl) { /* however it ended */
        SSL_free(p->ssl);
        close(p->fd);
      }
      begin(p);
    }
    turn(1);
  }
  printf("{\"knocks\": %llu, \"refusals\": %llu}\n", (unsigned long long)knocks,
         (unsigned long long)refusals);
  return 0;
}

static void tell_window(u64 since) {
  double span = (now_ns() - since) / 1e9;
  lat_sort();
  printf("{\"inputs_s\": %.0f, \"done_s\": %.0f, \"p50_us\": %.0f, "
         "\"p99_us\": %.0f, \"max_us\": %.0f, \"late_us\": %.0f, "
         "\"wrong\": %llu, \"rejected\": %llu}\n",
         inputs / span, done / span, lat_at(.5), lat_at(.99), lat_at(1),
         lateness / 1e3, (unsigned long long)wrong, (unsigned long long)rejected);
  fflush(stdout);
  inputs = done = lateness = lat_count = 0;
}

static void read_seats(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file)
    die(path);
  int room = 0;
  Player p;
  memset(&p, 0, sizeof p);
  while (fscanf(file, "%63s %d %255s %1023s", p.host, &p.port, p.name, p.token) == 4) {
    if (count == room && !(players = realloc(players, (room += 256) * sizeof p)))
      die("memory");
    p.index = count;
    players[count++] = p;
  }
  fclose(file);
  if (!count)
    die("no seats");
}

static int by_phase(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "udpload SEATS PID all|one|open|watch|knock|hold WARMUP SECONDS [RATE [whole|packed]]\n");
    return 2;
  }
  const char *mode = argv[3];
  double warmup = atof(argv[4]), seconds = atof(argv[5]);
  double rate = argc > 6 ? atof(argv[6]) : 0;
  any_view = argc > 7, packed = argc > 7 && argv[7][0] == 'p';
  struct rlimit files = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  server_pid = atoi(argv[2]);
  read_seats(argv[1]);
  if (mode[0] == 'o' && 1e9 * count / rate < ACK_WITH_INPUT)
    ack_delay = ACK_WITH_INPUT;
  chance_state ^= (u32)now_ns() | 1;
  epoll_fd = epoll_create1(0);
  context = SSL_CTX_new(DTLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);

  if (mode[0] == 'k')
    return knock(rate, seconds);
  u64 join_cpu = cpu_of(server_pid), joining = now_ns();
  while (seated < count && !rejected) {
    while (begun < count && begun - seated < AT_ONCE)
      begin(&players[begun++]);
    turn(5);
    if (now_ns() > joining + 60 * SECOND)
      break;
  }
  if (seated < count) {
    fprintf(stderr, "%d of %d players have a seat\n", seated, count);
    return 1;
  }
  double join_seconds = (now_ns() - joining) / 1e9;
  /* Let the last first states come. */
  u64 settled = now_ns() + 50 * MS;
  while (now_ns() < settled)
    turn(5);
  join_cpu = cpu_of(server_pid) - join_cpu;

  if (mode[0] == 'h') {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    printf("joined\n");
    fflush(stdout);
    while (!poll(&input, 1, 0))
      turn(5);
  }
  in_turn = !strcmp(mode, "one");
  if (in_turn)
    ack_delay = ACK_WITH_INPUT;
  closed_loop = in_turn || mode[0] == 'a';
  int watching = mode[0] == 'w', open_loop = !strcmp(mode, "open") || watching;
  u64 start = now_ns(), from = start + (u64)(warmup * 1e9);
  u64 until = from + (u64)(seconds * 1e9);
  u64 server_cpu = 0, generator_cpu = 0, began = 0, k = 0;
  double *phases = NULL, period = 0;
  if (open_loop) {
    period = 1e9 * count / rate;
    phases = malloc(count * sizeof *phases);
    for (int i = 0; i < count; i++)
      phases[i] = period * (chance() / 4294967296.0);
    qsort(phases, count, sizeof *phases, by_phase);
  }
  for (int i = 0; closed_loop && i < count; i += in_turn ? SEATS : 1)
    act(&players[i], now_ns());
  /* A room's players follow each other in the file, not in the schedule. */
  int stride = count / SEATS > 1 ? count / SEATS : 1;
  u64 window = start, replayed = 0, replaying = start;
  double replays = 0;
  if (watching) {
    printf("joined\n");
    fflush(stdout);
    measuring = 1;
    until = UINT64_MAX;
    fcntl(0, F_SETFL, O_NONBLOCK);
  }
  while (closed_loop || open_loop) {
    u64 now = now_ns();
    if (watching) {
      char line[64] = {0};
      ssize_t got = read(0, line, sizeof line - 1);
      if (!got)
        return wrong || rejected ? 1 : 0;
      if (got > 0) {
        tell_window(window);
        window = replaying = now;
        replays = atof(line + 5);
        replayed = 0;
      }
      for (; replayed < (u64)((now - replaying) / 1e9 * replays); replayed++) {
        Player *p = &players[replayed % count];
        if (send(p->fd, p->wire, p->wire_size, 0) < 0)
          continue; /* as good as lost */
      }
    } else
    if (!began && now >= from) {
      began = now;
      server_cpu = cpu_of(server_pid);
      generator_cpu = own_cpu();
      measuring = 1;
    }
    if (now >= until)
      break;
    while (open_loop) {
      u64 due = start + (u64)(period * (double)(k / count) + phases[k % count]);
      if (due > now_ns())
        break;
      int slot = (int)(k++ % count);
      act(&players[slot % stride * SEATS + slot / stride % SEATS], due);
    }
    if (watching) /* others need this core too */
      turn_ns(100000);
    else
      turn(open_loop ? 0 : 5);
  }
  double span = began ? (now_ns() - began) / 1e9 : 1;
  if (began) {
    server_cpu = cpu_of(server_pid) - server_cpu;
    generator_cpu = own_cpu() - generator_cpu;
  }
  lat_sort();
  printf("{\"players\": %d, \"join_seconds\": %.3f, \"join_cpu_ms\": %.4f, "
         "\"inputs_s\": %.0f, \"done_s\": %.0f, \"states_s\": %.0f, "
         "\"states_per_input\": %.3f, \"late_us\": %.0f, "
         "\"cpu_us_per_input\": %.2f, \"server_cpu\": %.3f, \"generator_cpu\": %.3f, "
         "\"p50_us\": %.0f, \"p99_us\": %.0f, \"max_us\": %.0f, "
         "\"in_bytes\": %.1f, \"out_bytes\": %.1f, \"skipped_versions\": %llu, "
         "\"repeated\": %llu, \"resent\": %llu, \"turned_away\": %llu, \"wrong\": %llu, \"rejected\": %llu}\n",
         count, join_seconds, join_cpu / 1e6 / count, inputs / span, done / span,
         states / span, done ? (double)states / done : 0, lateness / 1e3, done ? server_cpu / 1e3 / done : 0,
         server_cpu / 1e9 / span, generator_cpu / 1e9 / span, lat_at(.5), lat_at(.99),
         lat_at(1), inputs ? (double)bytes_out / inputs : 0,
         states ? (double)bytes_in / states : 0, (unsigned long long)skipped,
         (unsigned long long)repeated, (unsigned long long)resent,
         (unsigned long long)turned_away,
         (unsigned long long)wrong, (unsigned long long)rejected);
  return wrong || rejected ? 1 : 0;
}
