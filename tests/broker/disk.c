/* Stands between a broker and its disk: writes down what it writes and syncs below one folder, and
 * fails it on request. Loaded with LD_PRELOAD by tests/broker/disk.rs.
 *
 * GEAR_DISK_FOLDER  the folder
 * GEAR_DISK_LOG     where operations are written down, in the order in which they took effect:
 *                   "W path offset len\n" and the bytes, "S path\n" (synced), "F path\n" (a sync
 *                   failed), "T path len\n", "U path\n", "R from to\n"
 * GEAR_DISK_FAULT   a file that names the fault of the moment: "full", "sync" or nothing
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[FILES];
static int log_fd = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *watched(const char *path) {
    const char *folder = getenv("GEAR_DISK_FOLDER");
    size_t len = folder ? strlen(folder) : 0;
    if (!len || !path || strncmp(path, folder, len) || path[len] != '/') return NULL;
    path += len + 1;
    size_t end = strlen(path);
    int is_shared_index = end > 4 && !strcmp(path + end - 4, "-shm");
    return is_shared_index || !strcmp(path, "lock") || !strcmp(path, "ballast") ? NULL : path;
}

static void note(const char *head, const void *data, size_t len) {
    if (log_fd < 0) {
        const char *path = getenv("GEAR_DISK_LOG");
        if (!path) return;
        log_fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    if (REAL(write)(log_fd, head, strlen(head)) < 0) abort();
    if (len && REAL(write)(log_fd, data, len) < 0) abort();
}

static int fault(const char *name) {
    const char *path = getenv("GEAR_DISK_FAULT");
    char found[16] = {0};
    int fd = path ? REAL(open)(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    if (read(fd, found, sizeof found - 1) < 0) found[0] = 0;
    REAL(close)(fd);
    return !strncmp(found, name, strlen(name));
}

static const char *name_of(int fd) { return fd >= 0 && fd < FILES ? paths[fd] : NULL; }

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < FILES && (path = watched(path))) {
        free(paths[fd]);
        paths[fd] = strdup(path);
    }
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        int mode = va_arg(rest, int);                                                              \
        va_end(rest);                                                                              \
        return opened(REAL(name)(path, flags, mode), path);                                        \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
    int name(int folder, const char *path, int flags, ...) {                                       \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        int mode = va_arg(rest, int);                                                              \
        va_end(rest);                                                                              \
        return opened(REAL(name)(folder, path, flags, mode), path);                                \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    if (name_of(fd)) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    return REAL(close)(fd);
}

/* A full disk has no room behind the end of a file, and none in the ballast's place. */
static int is_full(int fd, off_t end) {
    return fault("full") && end > lseek(fd, 0, SEEK_END);
}

#define PWRITE(name)                                                                               \
    ssize_t name(int fd, const void *data, size_t len, off_t at) {                                 \
        const char *path = name_of(fd);                                                            \
        if (!path) return REAL(name)(fd, data, len, at);                                           \
        if (is_full(fd, at + (off_t)len)) {                                                        \
            errno = ENOSPC;                                                                        \
            return -1;                                                                             \
        }                                                                                          \
        pthread_mutex_lock(&lock);                                                                 \
        ssize_t done = REAL(name)(fd, data, len, at);                                              \
        if (done > 0) {                                                                            \
            char head[512];                                                                        \
            snprintf(head, sizeof head, "W %s %lld %zd\n", path, (long long)at, done);             \
            note(head, data, (size_t)done);                                                        \
        }                                                                                          \
        pthread_mutex_unlock(&lock);                                                               \
        return done;                                                                               \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int fd, const void *data, size_t len) {
    if (!name_of(fd)) return REAL(write)(fd, data, len);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = pwrite(fd, data, len, at);
    if (done > 0) lseek(fd, at + done, SEEK_SET);
    return done;
}

#define SYNC(name)                                                                                 \
    int name(int fd) {                                                                             \
        const char *path = name_of(fd);                                                            \
        if (!path) return REAL(name)(fd);                                                          \
        char head[512];                                                                            \
        int fails = fault("sync");                                                                 \
        pthread_mutex_lock(&lock);                                                                 \
        snprintf(head, sizeof head, "%c %s\n", fails ? 'F' : 'S', path);                           \
        note(head, NULL, 0);                                                                       \
        pthread_mutex_unlock(&lock);                                                               \
        if (fails) errno = EIO;                                                                    \
        return fails ? -1 : 0;                                                                     \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name)                                                                             \
    int name(int fd, off_t len) {                                                                  \
        const char *path = name_of(fd);                                                            \
        pthread_mutex_lock(&lock);                                                                 \
        int done = REAL(name)(fd, len);                                                            \
        if (!done && path) {                                                                       \
            char head[512];                                                                        \
            snprintf(head, sizeof head, "T %s %lld\n", path, (long long)len);                      \
            note(head, NULL, 0);                                                                   \
        }                                                                                          \
        pthread_mutex_unlock(&lock);                                                               \
        return done;                                                                               \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    int done = REAL(unlink)(path);
    if (!done && watched(path)) {
        char head[512];
        snprintf(head, sizeof head, "U %s\n", watched(path));
        note(head, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int done = REAL(rename)(from, to);
    if (!done && watched(from) && watched(to)) {
        char head[1024];
        snprintf(head, sizeof head, "R %s %s\n", watched(from), watched(to));
        note(head, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

#define FALLOCATE(name)                                                                            \
    int name(int fd, off_t at, off_t len) {                                                        \
        return fault("full") ? ENOSPC : REAL(name)(fd, at, len);                                   \
    }
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)
