// A wall clock that is off by the seconds in the file CLOCK_FILE, eight bytes. Loaded before libc by LD_PRELOAD; the system calls are
// made directly, so that nothing is allocated while an allocator that asks for the time begins. (libfaketime does, and the
// redis-server of Debian does not start with it.)
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *volatile offset;

static int64_t off(void) {
  if (!offset) {
    const char *path = getenv("CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return 0;
    void *p = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) return 0;
    offset = p;
  }
  return *offset;
}

int clock_gettime(clockid_t clock, struct timespec *t) {
  int failed = syscall(SYS_clock_gettime, clock, t);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) t->tv_sec += off();
  return failed;
}

int gettimeofday(struct timeval *tv, void *zone) {
  struct timespec t;
  (void)zone;
  int failed = clock_gettime(CLOCK_REALTIME, &t);
  tv->tv_sec = t.tv_sec;
  tv->tv_usec = t.tv_nsec / 1000;
  return failed;
}

time_t time(time_t *result) {
  struct timespec t;
  if (clock_gettime(CLOCK_REALTIME, &t)) return -1;
  if (result) *result = t.tv_sec;
  return t.tv_sec;
}
