/* LD_PRELOAD: logs every send() of the process, and writev() on accepted sockets (large WebSocket messages), and can make its buffers small or its
   sends short. See send-log.ts for the layout. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECORD_LIMIT 65536
#define FD_LIMIT 65536

struct control {
    uint32_t count;   /* sends logged so far; past RECORD_LIMIT only counted */
    int32_t sndbuf;   /* > 0: SO_SNDBUF of sockets that listen from now on, inherited by what they accept */
    int32_t rcvbuf;   /* > 0: SO_RCVBUF of sockets that connect from now on */
    int32_t budget;   /* >= 0: bytes that send() may still take; then EAGAIN. -1: no limit */
    uint32_t spare[12];
    struct { int32_t fd, asked, result, flags; } records[RECORD_LIMIT];
};

static struct control *control;
static ssize_t (*real_send)(int, const void *, size_t, int);
static int (*real_listen)(int, int);
static int (*real_connect)(int, const struct sockaddr *, socklen_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_accept4)(int, struct sockaddr *, socklen_t *, int);
static char accepted[FD_LIMIT];

__attribute__((constructor)) static void setup(void) {
    real_send = dlsym(RTLD_NEXT, "send");
    real_listen = dlsym(RTLD_NEXT, "listen");
    real_connect = dlsym(RTLD_NEXT, "connect");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_accept4 = dlsym(RTLD_NEXT, "accept4");
    const char *path = getenv("HOLDLINE_SHIM_LOG");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

/* What the budget leaves of `length` bytes. */
static size_t allowed_of(size_t length) {
    if (control && control->budget >= 0 && (size_t) control->budget < length) return (size_t) control->budget;
    return length;
}

static void record(int fd, size_t length, ssize_t result, int flags) {
    if (!control) return;
    int saved = errno;
    if (result > 0 && control->budget >= 0) control->budget -= (int32_t) result;
    uint32_t at = control->count++;
    if (at < RECORD_LIMIT) {
        control->records[at].fd = fd;
        control->records[at].asked = (int32_t) length;
        control->records[at].result = result < 0 ? -saved : (int32_t) result;
        control->records[at].flags = flags;
    }
    errno = saved;
}

static ssize_t refuse(void) {
    errno = EAGAIN;
    return -1;
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    size_t allowed = allowed_of(length);
    ssize_t result = allowed == 0 && length > 0 ? refuse() : real_send(fd, data, allowed, flags);
    record(fd, length, result, flags);
    return result;
}

/* libuv writes with it too: only sockets that accept4() gave are counted. `flags` is -1 in the log. uWebSockets passes two parts. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!control || fd < 0 || fd >= FD_LIMIT || !accepted[fd] || count != 2) return real_writev(fd, parts, count);
    size_t length = parts[0].iov_len + parts[1].iov_len;
    size_t allowed = allowed_of(length);
    struct iovec cut[2] = { parts[0], parts[1] };
    if (allowed < cut[0].iov_len) cut[0].iov_len = allowed;
    cut[1].iov_len = allowed - cut[0].iov_len;
    ssize_t result = allowed == 0 ? refuse() : real_writev(fd, cut, 2);
    record(fd, length, result, -1);
    return result;
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    int socket = real_accept4(fd, address, length, flags);
    if (socket >= 0 && socket < FD_LIMIT) accepted[socket] = 1;
    return socket;
}

int listen(int fd, int backlog) {
    if (control && control->sndbuf > 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &control->sndbuf, sizeof control->sndbuf);
    return real_listen(fd, backlog);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    if (control && control->rcvbuf > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &control->rcvbuf, sizeof control->rcvbuf);
    if (fd >= 0 && fd < FD_LIMIT) accepted[fd] = 0;
    return real_connect(fd, address, length);
}
