/* Preloaded: the n-th call that opens, reads, writes, syncs, makes or renames something under a folder fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX], hit[PATH_MAX + 32];
static int at, error;
static volatile int seen;

/* Arms the n-th call from now on (0: none) under a folder to fail with an errno. */
void io_arm(const char *path, int number, int code) {
    snprintf(folder, sizeof folder, "%s", path);
    if (number > 0) hit[0] = 0;
    seen = 0;
    at = number;
    error = code;
}

/* What failed since calls were armed last, or an empty text. */
const char *io_hit(void) { return hit; }

static int fails(const char *call, const char *path) {
    if (at == 0 || strncmp(path, folder, strlen(folder)) != 0) return 0;
    if (__sync_add_and_fetch(&seen, 1) != at) return 0;
    snprintf(hit, sizeof hit, "%s %s", call, path + strlen(folder));
    errno = error;
    return 1;
}

/* grows: whether the call may need room on the disk; others don't fail for the want of it. */
static int fails_at(const char *call, int directory, const char *name, int grows) {
    char path[PATH_MAX * 2], link[64];
    ssize_t length = 0;
    if (at == 0 || (error == ENOSPC && !grows)) return 0;
    if (name == NULL || name[0] != '/') {
        if (directory == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        if ((length = readlink(link, path, PATH_MAX - 1)) < 0) return 0;
    }
    path[length] = 0;
    if (name != NULL) snprintf(path + length, PATH_MAX, "%s%s", length ? "/" : "", name);
    return fails(call, path);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, name)

#define ON_FILE(type, name, grows, parameters, arguments) \
    type name parameters { \
        static type(*real) parameters; \
        if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, #name); \
        return fails_at(#name, fd, NULL, grows) ? -1 : real arguments; \
    }

ON_FILE(ssize_t, read, 0, (int fd, void *b, size_t n), (fd, b, n))
ON_FILE(ssize_t, pread, 0, (int fd, void *b, size_t n, off_t o), (fd, b, n, o))
ON_FILE(ssize_t, pread64, 0, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o))
ON_FILE(ssize_t, write, 1, (int fd, const void *b, size_t n), (fd, b, n))
ON_FILE(ssize_t, pwrite, 1, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o))
ON_FILE(ssize_t, pwrite64, 1, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
ON_FILE(ssize_t, writev, 1, (int fd, const struct iovec *v, int n), (fd, v, n))
ON_FILE(int, fsync, 1, (int fd), (fd))
ON_FILE(int, fdatasync, 1, (int fd), (fd))

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        return fails_at(#name, AT_FDCWD, path, flags & O_CREAT) ? -1 : real(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int fd, const char *path, int flags, ...) { \
        REAL(int, #name, int, const char *, int, ...); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        return fails_at(#name, fd, path, flags & O_CREAT) ? -1 : real(fd, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return fails_at("mkdir", AT_FDCWD, path, 1) ? -1 : real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return fails_at("rename", AT_FDCWD, from, 1) ? -1 : real(from, to);
}

int renameat(int fd, const char *from, int other, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return fails_at("renameat", fd, from, 1) ? -1 : real(fd, from, other, to);
}

int renameat2(int fd, const char *from, int other, const char *to, unsigned flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    return fails_at("renameat2", fd, from, 1) ? -1 : real(fd, from, other, to, flags);
}
