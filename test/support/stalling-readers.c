/*
 * Event streams behind small receive buffers, which Node cannot ask for, some of whose readers stall on purpose: each of those reads
 * READ_MS and then takes nothing for STALL_MS, evenly one after the other. Says "ready" when every line has been answered; ends with
 * its stdin and says then how many gaps came and how many bytes, on the lines that always read and on those that stall.
 *   PORT PATH LINES RECEIVE_BYTES STALLERS STALL_MS READ_MS RECONNECT
 * RECONNECT 1: who stalls comes back on a new connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINES_MOST = 4096, READ_BYTES = 16 * 1024, GAP_BYTES = 10, STDIN_ROW = LINES_MOST, TICK_MS = 1 };

static const char GAP[GAP_BYTES + 1] = "event: gap";

typedef struct {
  int fd;
  int answered, stalls;
  uint64_t gaps, bytes;
  /* The end of what was read, in which a gap may begin, and how much of it there is. */
  char tail[GAP_BYTES - 1];
  int tail_bytes;
} line;

static line lines[LINES_MOST];
static int epoll_fd, port, receive_bytes, answered_count;
static const char *path;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void listen_to(int row, int operation) {
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)row};
  if (epoll_ctl(epoll_fd, operation, lines[row].fd, &event) != 0) die("epoll_ctl");
}

static void open_line(int row) {
  line *l = &lines[row];
  l->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (l->fd < 0) die("socket");
  if (setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes) != 0) die("SO_RCVBUF");
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(l->fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
  char request[512];
  int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
  if (send(l->fd, request, (size_t)length, 0) != length) die("send");
  if (fcntl(l->fd, F_SETFL, O_NONBLOCK) != 0) die("fcntl");
  l->tail_bytes = 0;
  listen_to(row, EPOLL_CTL_ADD);
}

static void read_line(int row) {
  static char bytes[GAP_BYTES + READ_BYTES];
  line *l = &lines[row];
  memcpy(bytes, l->tail, (size_t)l->tail_bytes);
  ssize_t count = recv(l->fd, bytes + l->tail_bytes, READ_BYTES, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    fprintf(stderr, "line %d was closed\n", row);
    exit(1);
  }
  if (!l->answered) {
    l->answered = 1;
    answered_count++;
  }
  l->bytes += (uint64_t)count;
  char *end = bytes + l->tail_bytes + count;
  for (char *at = bytes; (at = memmem(at, (size_t)(end - at), GAP, GAP_BYTES)) != NULL; at += GAP_BYTES) l->gaps++;
  l->tail_bytes = end - bytes < GAP_BYTES - 1 ? (int)(end - bytes) : GAP_BYTES - 1;
  memcpy(l->tail, end - l->tail_bytes, (size_t)l->tail_bytes);
}

int main(int count, char **arguments) {
  if (count != 9) {
    fprintf(stderr, "PORT PATH LINES RECEIVE_BYTES STALLERS STALL_MS READ_MS RECONNECT\n");
    return 2;
  }
  port = atoi(arguments[1]);
  path = arguments[2];
  int line_count = atoi(arguments[3]);
  receive_bytes = atoi(arguments[4]);
  int stallers = atoi(arguments[5]);
  double stall_ms = atof(arguments[6]), read_ms = atof(arguments[7]);
  int reconnects = atoi(arguments[8]);
  if (line_count > LINES_MOST || stallers > line_count) return 2;
  epoll_fd = epoll_create1(0);
  if (epoll_fd < 0) die("epoll_create1");
  for (int row = 0; row < line_count; row++) open_line(row);
  struct epoll_event input = {.events = EPOLLIN, .data.u32 = STDIN_ROW};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) die("epoll_ctl");
  double began_ms = 0;
  for (int is_over = 0; !is_over;) {
    struct epoll_event events[64];
    int ready = epoll_wait(epoll_fd, events, 64, TICK_MS);
    for (int i = 0; i < ready; i++) {
      int row = (int)events[i].data.u32;
      if (row == STDIN_ROW) is_over = 1;
      else if (!lines[row].stalls) read_line(row);
    }
    if (began_ms == 0 && answered_count == line_count) {
      began_ms = now_ms();
      printf("ready\n");
      fflush(stdout);
    }
    if (began_ms == 0) continue;
    double period_ms = stall_ms + read_ms;
    for (int row = 0; row < stallers; row++) {
      /* They read first, all of them until their turn has come once. */
      double since_ms = now_ms() - began_ms - period_ms * row / stallers - read_ms;
      int stalls = since_ms >= 0 && since_ms - period_ms * (double)(uint64_t)(since_ms / period_ms) < stall_ms;
      if (stalls == lines[row].stalls) continue;
      lines[row].stalls = stalls;
      if (stalls) {
        listen_to(row, EPOLL_CTL_DEL);
      } else if (reconnects) {
        close(lines[row].fd);
        open_line(row);
      } else {
        listen_to(row, EPOLL_CTL_ADD);
      }
    }
  }
  uint64_t gaps[2] = {0, 0}, bytes[2] = {0, 0};
  for (int row = 0; row < line_count; row++) {
    gaps[row < stallers] += lines[row].gaps;
    bytes[row < stallers] += lines[row].bytes;
  }
  printf("{\"gaps\":%llu,\"bytes\":%llu,\"stallerGaps\":%llu,\"stallerBytes\":%llu}\n", (unsigned long long)gaps[0],
         (unsigned long long)bytes[0], (unsigned long long)gaps[1], (unsigned long long)bytes[1]);
  return 0;
}
