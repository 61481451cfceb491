/* LD_PRELOAD: logs every send() of the process and can make its buffers small or its sends short. See support.ts for the layout. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD_LIMIT 65536

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

__attribute__((constructor)) static void setup(void) {
    real_send = dlsym(RTLD_NEXT, "send");
    real_listen = dlsym(RTLD_NEXT, "listen");
    real_connect = dlsym(RTLD_NEXT, "connect");
    const char *path = getenv("HOLDLINE_SHIM_LOG");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    size_t allowed = length;
    if (control && control->budget >= 0 && (size_t) control->budget < length) allowed = (size_t) control->budget;
    ssize_t result;
    if (allowed == 0 && length > 0) {
        errno = EAGAIN;
        result = -1;
    } else {
        result = real_send(fd, data, allowed, flags);
    }
    if (control) {
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
    return result;
}

int listen(int fd, int backlog) {
    if (control && control->sndbuf > 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &control->sndbuf, sizeof control->sndbuf);
    return real_listen(fd, backlog);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    if (control && control->rcvbuf > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &control->rcvbuf, sizeof control->rcvbuf);
    return real_connect(fd, address, length);
}
