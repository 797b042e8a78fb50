/* Stands between a process and the C library: counts every write, synchronisation, rename and removal of files below
 * one folder; stops the process at each, or at a chosen one kills it or reports a full disk from then on. Each call is two
 * points, before and after. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, KILL, NO_SPACE, STOP };
enum { MOST = 65536, NAME = 96 };

static char folder[PATH_MAX];
static int armed, mode;
static long chosen, points;
static char names[MOST][NAME];

void interposer_arm(const char *path, int what, long at) {
    strncpy(folder, path, sizeof folder - 1);
    mode = what, chosen = at, points = 0, armed = 1;
}

void interposer_disarm(void) { armed = 0; }
long interposer_count(void) { return points; }
const char *interposer_name(long point) { return point < MOST ? names[point] : "?"; }

static int watched(const char *path) { return armed && strncmp(path, folder, strlen(folder)) == 0; }

static int watched_file(int file, char *path) {
    char link[64];
    if (!armed) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return watched(path);
}

static void reach(const char *when, const char *what, const char *path) {
    const char *base = strrchr(path, '/');
    if (points < MOST) snprintf(names[points], NAME, "%s %s %s", when, what, base ? base + 1 : path);
    if (mode == KILL && points == chosen) kill(getpid(), SIGKILL);
    if (mode == STOP && points >= chosen) kill(getpid(), SIGSTOP);
    points++;
}

static int full(void) { return mode == NO_SPACE && points > chosen; }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define ON_FILE(result, what, name, arguments, given, writes)               \
    result name arguments {                                                \
        static __typeof__(&name) real;                                     \
        char path[PATH_MAX];                                               \
        if (!real) real = REAL(name);                                      \
        if (!watched_file(file, path)) return real given;                  \
        reach("before", what, path);                                       \
        if (writes && full()) return errno = ENOSPC, -1;                   \
        result answer = real given;                                        \
        int kept = errno;                                                  \
        reach("after", what, path);                                        \
        errno = kept;                                                      \
        return answer;                                                     \
    }

#define ON_PATH(what, name, arguments, given)                              \
    int name arguments {                                                   \
        static __typeof__(&name) real;                                     \
        if (!real) real = REAL(name);                                      \
        if (!watched(path)) return real given;                             \
        reach("before", what, path);                                       \
        int answer = real given;                                           \
        int kept = errno;                                                  \
        reach("after", what, path);                                        \
        errno = kept;                                                      \
        return answer;                                                     \
    }

ON_FILE(ssize_t, "write", write, (int file, const void *data, size_t size), (file, data, size), 1)
ON_FILE(ssize_t, "write", pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at), 1)
ON_FILE(ssize_t, "write", pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at), 1)
ON_FILE(int, "fsync", fsync, (int file), (file), 0)
ON_FILE(int, "fsync", fdatasync, (int file), (file), 0)
ON_FILE(int, "truncate", ftruncate, (int file, off_t size), (file, size), 0)
ON_FILE(int, "truncate", ftruncate64, (int file, off64_t size), (file, size), 0)
ON_PATH("rename", rename, (const char *path, const char *to), (path, to))
ON_PATH("unlink", unlink, (const char *path), (path))
