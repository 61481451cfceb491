/*
 * Preloaded into a process: what it writes to files below $FAILING_DISK fails while the file
 * $FAILING_DISK.errno is there, which says with what (errno in decimal), and the word "flush" behind
 * it if only flushes fail. Reading goes on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* 0 where the call is to be made. */
static int fault_of(int descriptor, const char *call)
{
	const char *directory = getenv("FAILING_DISK");
	char path[PATH_MAX], link[64], said[16] = "";
	if (directory == NULL)
		return 0;
	snprintf(path, sizeof path, "%s.errno", directory);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return 0;
	ssize_t length = read(file, said, sizeof said - 1);
	close(file);
	snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
	ssize_t bytes = readlink(link, path, sizeof path - 1);
	if (length <= 0 || bytes < 0)
		return 0;
	path[bytes] = 0;
	if (strstr(said, "flush") != NULL && strstr(call, "sync") == NULL)
		return 0;
	return strncmp(path, directory, strlen(directory)) == 0 ? atoi(said) : 0;
}

#define UNLESS_FAULTY(type, name, parameters, ...)                           \
	type name parameters                                                  \
	{                                                                     \
		static type(*next) parameters;                                \
		int fault = fault_of(descriptor, #name);                             \
		if (fault != 0) {                                             \
			errno = fault;                                        \
			return -1;                                            \
		}                                                             \
		if (next == NULL)                                             \
			*(void **)&next = dlsym(RTLD_NEXT, #name);            \
		return next(__VA_ARGS__);                                     \
	}

UNLESS_FAULTY(ssize_t, write, (int descriptor, const void *bytes, size_t count), descriptor, bytes, count)
UNLESS_FAULTY(ssize_t, writev, (int descriptor, const struct iovec *parts, int count), descriptor, parts, count)
UNLESS_FAULTY(ssize_t, pwrite, (int descriptor, const void *bytes, size_t count, off_t at), descriptor, bytes, count, at)
UNLESS_FAULTY(ssize_t, pwrite64, (int descriptor, const void *bytes, size_t count, off64_t at), descriptor, bytes, count, at)
UNLESS_FAULTY(ssize_t, pwritev, (int descriptor, const struct iovec *parts, int count, off_t at), descriptor, parts, count, at)
UNLESS_FAULTY(ssize_t, pwritev64, (int descriptor, const struct iovec *parts, int count, off64_t at), descriptor, parts, count, at)
UNLESS_FAULTY(int, fdatasync, (int descriptor), descriptor)
UNLESS_FAULTY(int, fsync, (int descriptor), descriptor)
UNLESS_FAULTY(int, ftruncate, (int descriptor, off_t length), descriptor, length)
UNLESS_FAULTY(int, ftruncate64, (int descriptor, off64_t length), descriptor, length)
UNLESS_FAULTY(int, fallocate, (int descriptor, int mode, off_t at, off_t length), descriptor, mode, at, length)
UNLESS_FAULTY(int, fallocate64, (int descriptor, int mode, off64_t at, off64_t length), descriptor, mode, at, length)
