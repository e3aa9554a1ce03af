/* What the load generators share: time, chance, latencies, a process's CPU. */
#ifndef LOAD_H
#define LOAD_H
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;

#define SECOND 1000000000ull
#define MS 1000000ull

static inline u64 now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (u64)t.tv_sec * SECOND + t.tv_nsec;
}

static u32 chance_state = 0x9E3779B9u;
static inline u32 chance(void) {
  u32 x = chance_state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return chance_state = x;
}

static inline void __attribute__((noreturn)) die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "failed");
  exit(2);
}

/* CPU time of a process, all threads, user and kernel, as the scheduler counts it. */
static inline u64 cpu_of(int pid) {
  clockid_t clock;
  struct timespec t;
  if (pid <= 0 || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
    die("CPU clock of the server");
  return (u64)t.tv_sec * SECOND + t.tv_nsec;
}

static inline u64 own_cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (u64)t.tv_sec * SECOND + t.tv_nsec;
}

/* Latencies in units of 100 ns. */
static u32 *lat;
static size_t lat_count, lat_room;
static inline void lat_add(u64 ns) {
  if (lat_count == lat_room) {
    lat_room = lat_room ? 2 * lat_room : 1 << 20;
    if (!(lat = realloc(lat, lat_room * sizeof *lat)))
      die("memory");
  }
  u64 units = ns / 100;
  lat[lat_count++] = units > UINT32_MAX ? UINT32_MAX : (u32)units;
}
static inline int by_size(const void *a, const void *b) {
  u32 x = *(const u32 *)a, y = *(const u32 *)b;
  return (x > y) - (x < y);
}
static inline void lat_sort(void) {
  if (lat_count)
    qsort(lat, lat_count, sizeof *lat, by_size);
}
/* Microseconds, after lat_sort. */
static inline double lat_at(double share) {
  return lat_count ? lat[(size_t)(share * (lat_count - 1) + 0.5)] / 10.0 : 0;
}
#endif
