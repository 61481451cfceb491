/*
 * The bare C floor: an epoll loop that holds lines and, on each POST, calls send() once per line with one pre-built chunk.
 * It does only the kernel's part of a fan-out: no cork, no ring, no heartbeat, no catching up. What it takes nobody can beat
 * with one send() per line and event.
 *
 * Prints "port N" once it listens; answers a line "counters" on stdin with one line of name=value; ends with its stdin.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 65536, REQUEST_BYTES = 8192, EVENTS_AT_ONCE = 1024, BACKLOG = 4096, CHUNK_BYTES = 16384 };

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\n"
    "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
    "13\r\nretry: 3000\nid: 0\n\n\r\n";

typedef struct {
  int line_row;      /* -1 = not a line */
  int request_bytes; /* of an unfinished request */
  char *request;     /* allocated with the first byte, freed when the connection becomes a line or closes */
} connection;

static connection connections[MAX_FDS];
static int lines[MAX_FDS];
static int line_count;
static int epoll_fd;
static unsigned long long last_id, sends, short_sends, refused_sends, failed_sends;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void close_connection(int fd) {
  connection *c = &connections[fd];
  if (c->line_row >= 0) {
    int last = lines[--line_count];
    lines[c->line_row] = last;
    connections[last].line_row = c->line_row;
    c->line_row = -1;
  }
  free(c->request);
  c->request = NULL;
  c->request_bytes = 0;
  close(fd);
}

static void fan_out(const char *data, size_t data_bytes) {
  static char chunk[CHUNK_BYTES], frame_head[64];
  int head_bytes = snprintf(frame_head, sizeof frame_head, "id: %llu\ndata: ", last_id);
  size_t frame_bytes = (size_t)head_bytes + data_bytes + 2;
  size_t bytes = (size_t)snprintf(chunk, sizeof chunk, "%zx\r\n%s", frame_bytes, frame_head);
  memcpy(chunk + bytes, data, data_bytes);
  bytes += data_bytes;
  memcpy(chunk + bytes, "\n\n\r\n", 4);
  bytes += 4;
  for (int row = 0; row < line_count; row++) {
    ssize_t sent = send(lines[row], chunk, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    sends++;
    if (sent == (ssize_t)bytes) continue;
    /* Nothing is kept for later: a refused event is lost to the line; half an event ends it, for the stream is broken. */
    if (sent >= 0) {
      short_sends++;
      shutdown(lines[row], SHUT_RDWR);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) refused_sends++;
    else failed_sends++;
  }
}

static void become_line(int fd) {
  connection *c = &connections[fd];
  if (send(fd, STREAM_HEAD, sizeof STREAM_HEAD - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof STREAM_HEAD - 1)) {
    close_connection(fd);
    return;
  }
  free(c->request);
  c->request = NULL;
  c->request_bytes = 0;
  c->line_row = line_count;
  lines[line_count++] = fd;
}

static void answer_publish(int fd) {
  char body[64], answer[256];
  int body_bytes = snprintf(body, sizeof body, "{\"id\":%llu,\"subscribers\":%d}", last_id, line_count);
  int bytes = snprintf(answer, sizeof answer,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", body_bytes, body);
  if (send(fd, answer, (size_t)bytes, MSG_NOSIGNAL) != bytes) failed_sends++;
}

/* Takes every whole request off the front of what has come. */
static void take_requests(int fd) {
  connection *c = &connections[fd];
  for (;;) {
    c->request[c->request_bytes] = 0;
    char *head_end = strstr(c->request, "\r\n\r\n");
    if (head_end == NULL) return;
    if (memcmp(c->request, "GET ", 4) == 0) {
      become_line(fd);
      return;
    }
    char *length_header = strcasestr(c->request, "\r\ncontent-length:");
    int data_bytes = length_header != NULL && length_header < head_end ? atoi(length_header + 17) : 0;
    int whole_bytes = (int)(head_end + 4 - c->request) + data_bytes;
    if (whole_bytes > c->request_bytes) return;
    last_id++;
    fan_out(head_end + 4, (size_t)data_bytes);
    answer_publish(fd);
    c->request_bytes -= whole_bytes;
    memmove(c->request, c->request + whole_bytes, (size_t)c->request_bytes);
    if (c->request_bytes == 0) return;
  }
}

static void on_readable(int fd) {
  static char unread[REQUEST_BYTES];
  connection *c = &connections[fd];
  if (c->line_row >= 0) {
    /* A line has nothing to say but that it ends. */
    ssize_t got = recv(fd, unread, sizeof unread, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) close_connection(fd);
    return;
  }
  if (c->request == NULL && (c->request = malloc(REQUEST_BYTES + 1)) == NULL) die("malloc");
  ssize_t got = recv(fd, c->request + c->request_bytes, (size_t)(REQUEST_BYTES - c->request_bytes), MSG_DONTWAIT);
  if (got <= 0) {
    if (got == 0 || errno != EAGAIN) close_connection(fd);
    return;
  }
  c->request_bytes += (int)got;
  take_requests(fd);
}

static void watch(int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

static void accept_all(int listen_fd) {
  for (;;) {
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == ECONNABORTED) return;
      die("accept4");
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[fd] = (connection){.line_row = -1};
    watch(fd);
  }
}

static void answer_counters(void) {
  char question[256];
  if (read(STDIN_FILENO, question, sizeof question) <= 0) exit(0);
  printf("lines=%d events=%llu sends=%llu shortSends=%llu refusedSends=%llu failedSends=%llu\n", line_count, last_id, sends,
         short_sends, refused_sends, failed_sends);
  fflush(stdout);
}

int main(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) die("getrlimit");
  files.rlim_cur = files.rlim_max < MAX_FDS ? files.rlim_max : MAX_FDS;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) die("setrlimit");

  int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t address_bytes = sizeof address;
  if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, sizeof address) != 0) die("bind");
  if (listen(listen_fd, BACKLOG) != 0) die("listen");
  if (getsockname(listen_fd, (struct sockaddr *)&address, &address_bytes) != 0) die("getsockname");
  if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
  watch(listen_fd);
  watch(STDIN_FILENO);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);

  static struct epoll_event ready[EVENTS_AT_ONCE];
  for (;;) {
    int count = epoll_wait(epoll_fd, ready, EVENTS_AT_ONCE, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) {
      int fd = ready[i].data.fd;
      if (fd == listen_fd) accept_all(listen_fd);
      else if (fd == STDIN_FILENO) answer_counters();
      else on_readable(fd);
    }
  }
}
