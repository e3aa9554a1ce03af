/*
 * Players of room echo over ENet, in the clear, for peers/py_enet.py.
 *
 *   enetload PORT PID PLAYERS WARMUP SECONDS
 *
 * Rooms of four; reliable packets; everybody has one input outstanding. A client
 * recognises its own input by its q. It prints one line of JSON.
 */
#define _GNU_SOURCE
#include "load.h"
#include <enet/enet.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#define SEATS 4

typedef struct {
  ENetHost *host;
  ENetPeer *peer;
  int index, seated;
  u32 sent;
  u64 due;
} Player;

static int epoll_fd, seated, measuring, running;
static u64 done, states, bytes_in, bytes_out;

static void act(Player *p) {
  char text[64];
  int size = snprintf(text, sizeof text, "{\"x\":%u,\"y\":%u,\"q\":%03u%05u}",
                      1000 + chance() % 9000, 1000 + chance() % 9000,
                      100 + p->index % 900, ++p->sent % 100000);
  p->due = now_ns();
  bytes_out += measuring ? size : 0;
  enet_peer_send(p->peer, 0,
                 enet_packet_create(text, size, ENET_PACKET_FLAG_RELIABLE));
}

static void join(Player *p) {
  char text[64];
  int size = snprintf(text, sizeof text, "{\"room\":%d,\"slot\":%d}",
                      p->index / SEATS, p->index % SEATS);
  enet_peer_send(p->peer, 0,
                 enet_packet_create(text, size, ENET_PACKET_FLAG_RELIABLE));
}

static void hear(Player *p, const ENetPacket *packet) {
  if (!p->seated) {
    p->seated = 1;
    seated++;
    return;
  }
  char own[32];
  int size = snprintf(own, sizeof own, "%03u%05u", 100 + p->index % 900,
                      p->sent % 100000);
  if (measuring) {
    states++;
    bytes_in += packet->dataLength;
  }
  if (memmem(packet->data, packet->dataLength, own, size)) {
    if (measuring) {
      done++;
      lat_add(now_ns() - p->due);
    }
    if (running)
      act(p);
  }
}

static void service(Player *p) {
  ENetEvent event;
  while (enet_host_service(p->host, &event, 0) > 0) {
    if (event.type == ENET_EVENT_TYPE_CONNECT) {
      join(p);
    } else if (event.type == ENET_EVENT_TYPE_RECEIVE) {
      hear(p, event.packet);
      enet_packet_destroy(event.packet);
    } else if (event.type == ENET_EVENT_TYPE_DISCONNECT) {
      die("a player was disconnected");
    }
  }
  enet_host_flush(p->host);
}

static u64 swept_at;
static void turn(Player *players, int begun) {
  struct epoll_event events[256];
  int ready = epoll_wait(epoll_fd, events, 256, 5);
  for (int i = 0; i < ready; i++)
    service(events[i].data.ptr);
  if (now_ns() > swept_at + 50 * MS) {
    swept_at = now_ns();
    for (int i = 0; i < begun; i++)
      service(&players[i]);
  }
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "enetload PORT PID PLAYERS WARMUP SECONDS\n");
    return 2;
  }
  int port = atoi(argv[1]), pid = atoi(argv[2]), count = atoi(argv[3]), begun = 0;
  double warmup = atof(argv[4]), seconds = atof(argv[5]);
  struct rlimit files = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  enet_initialize();
  epoll_fd = epoll_create1(0);
  Player *players = calloc(count, sizeof *players);
  ENetAddress to = {.port = port};
  enet_address_set_host(&to, "127.0.0.1");
  u64 start = now_ns();
  while (seated < count) {
    while (begun < count && begun - seated < 16) {
      Player *p = &players[begun];
      p->index = begun++;
      if (!(p->host = enet_host_create(NULL, 1, 1, 0, 0)))
        die("host");
      p->peer = enet_host_connect(p->host, &to, 1, 0);
      struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, p->host->socket, &event);
      service(p);
    }
    turn(players, begun);
    if (now_ns() > start + 60 * SECOND)
      die("players without a seat");
  }
  running = 1;
  for (int i = 0; i < count; i++) {
    act(&players[i]);
    service(&players[i]);
  }
  u64 from = now_ns() + (u64)(warmup * 1e9), until = from + (u64)(seconds * 1e9);
  u64 cpu = 0, own = 0, began = 0;
  while (now_ns() < until) {
    if (!began && now_ns() >= from) {
      began = now_ns();
      cpu = cpu_of(pid);
      own = own_cpu();
      measuring = 1;
    }
    turn(players, begun);
  }
  double span = (now_ns() - began) / 1e9;
  cpu = cpu_of(pid) - cpu;
  own = own_cpu() - own;
  lat_sort();
  printf("{\"players\": %d, \"done_s\": %.0f, \"states_per_input\": %.3f, "
         "\"cpu_us_per_input\": %.2f, \"server_cpu\": %.3f, \"generator_cpu\": %.3f, "
         "\"p50_us\": %.0f, \"p99_us\": %.0f, \"in_bytes\": %.1f, \"out_bytes\": %.1f}\n",
         count, done / span, done ? (double)states / done : 0,
         done ? cpu / 1e3 / done : 0, cpu / 1e9 / span, own / 1e9 / span, lat_at(.5),
         lat_at(.99), done ? (double)bytes_out / done : 0,
         states ? (double)bytes_in / states : 0);
  return 0;
}
