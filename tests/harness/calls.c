/* Stand between a program and the C library: see every call that changes a folder on the disk.

   Preloaded into a process (LD_PRELOAD), it does nothing until `watch` names a folder. From then on each call
   that would change something below the folder is counted first, whoever makes it: Python, Rust or C++. Then
   - with `kill_at`, the process kills itself at that count: before the call, or half-way through a write;
   - after `refuse`, calls that need space fail from that count on: a disk that is full, for good or for a moment;
   - with `tell`, a line about the call goes to a pipe and the process waits for a byte, so that the reader can
     copy the folder: the copy is what a kill at this moment leaves. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t length;
static pid_t owner;
static long calls, kill_at, refuse_from, refuse_to;
static int refusal;
static int tell = -1, answer = -1;

void watch(const char *path, long at, int to, int from) {
    strncpy(folder, path, sizeof folder - 1);
    length = strlen(folder);
    owner = getpid();
    calls = 0, kill_at = at, tell = to, answer = from;
}

/* Let calls that need space fail with the error `number`, from the count `from` on, `times` of all calls. */
void refuse(long from, long times, int number) { refuse_from = from, refuse_to = from + times, refusal = number; }

long counted(void) { return calls; }

static int below(const char *path) {
    return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

/* True if a name, relative to the folder of the descriptor `at`, lies in the watched folder. */
static int watched(int at, const char *path, char *full) {
    if (!length || getpid() != owner || !path) return 0;
    if (path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
        return below(full);
    }
    char link[64], base[PATH_MAX];
    if (at == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t size = readlink(link, base, sizeof base - 1);
    if (size < 0) return 0;
    base[size] = 0;
    snprintf(full, PATH_MAX, "%s/%s", base, path);
    return below(full);
}

static int watched_file(int fd, char *full) {
    char link[64];
    if (!length || getpid() != owner) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, full, PATH_MAX - 1);
    if (size < 0) return 0;
    full[size] = 0;
    return below(full);
}

static int needs_space(const char *call) {
    return !strcmp(call, "open") || strstr(call, "write") || !strcmp(call, "mkdir") || !strcmp(call, "sendfile") ||
        !strcmp(call, "copy_file_range") || strstr(call, "sync");
}

/* Return -1 with an error number if the call shall fail. */
static int point(const char *call, const char *path) {
    int saved = errno;
    calls++;
    if (calls >= refuse_from && calls < refuse_to && needs_space(call)) {
        errno = refusal;
        return -1;
    }
    if (calls == kill_at) syscall(SYS_kill, getpid(), SIGKILL);
    if (tell >= 0) {
        char line[PATH_MAX + 64], byte;
        int size = snprintf(line, sizeof line, "%s %s\n", call, path + length);
        syscall(SYS_write, tell, line, size);
        while (syscall(SYS_read, answer, &byte, 1) < 0 && errno == EINTR) {}
    }
    errno = saved;
    return 0;
}

#define NEXT(name) ({ static __typeof__(&name) next; if (!next) next = dlsym(RTLD_NEXT, #name); next; })
#define AT(at, path, call) do { char full[PATH_MAX]; if (watched(at, path, full) && point(call, full)) return -1; } while (0)
#define HERE(path, call) AT(AT_FDCWD, path, call)
#define FILE_OF(fd, call) do { char full[PATH_MAX]; if (watched_file(fd, full) && point(call, full)) return -1; } while (0)

static int opening(int at, const char *path, int flags) {
    char full[PATH_MAX];
    struct stat found;
    if (!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) || !watched(at, path, full)) return 0;
    int missing = (flags & O_CREAT) && stat(full, &found) < 0;
    return missing || (flags & O_TRUNC) ? point("open", full) : 0;
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); \
    mode = va_arg(more, int); va_end(more); }

int open(const char *path, int flags, ...) { MODE return opening(AT_FDCWD, path, flags) ? -1 : NEXT(open)(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opening(AT_FDCWD, path, flags) ? -1 : NEXT(open64)(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opening(at, path, flags) ? -1 : NEXT(openat)(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opening(at, path, flags) ? -1 : NEXT(openat64)(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opening(AT_FDCWD, path, O_CREAT | O_TRUNC) ? -1 : NEXT(creat)(path, mode); }
static int flags_of(const char *mode) { return mode[0] == 'r' ? 0 : mode[0] == 'a' ? O_CREAT : O_CREAT | O_TRUNC; }
FILE *fopen(const char *path, const char *mode) { return opening(AT_FDCWD, path, flags_of(mode)) ? NULL : NEXT(fopen)(path, mode); }
FILE *fopen64(const char *path, const char *mode) { return opening(AT_FDCWD, path, flags_of(mode)) ? NULL : NEXT(fopen64)(path, mode); }

ssize_t write(int fd, const void *data, size_t size) {
    char full[PATH_MAX];
    if (!watched_file(fd, full)) return NEXT(write)(fd, data, size);
    if (point("write", full)) return -1;
    ssize_t half = size > 1 ? NEXT(write)(fd, data, size / 2) : 0;
    if (half < 0) return half;
    if (half && point("half-write", full)) return half;
    ssize_t rest = NEXT(write)(fd, (const char *)data + half, size - half);
    return rest < 0 ? (half ? half : rest) : half + rest;
}
ssize_t writev(int fd, const struct iovec *parts, int count) { FILE_OF(fd, "writev"); return NEXT(writev)(fd, parts, count); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { FILE_OF(fd, "pwrite"); return NEXT(pwrite)(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { FILE_OF(fd, "pwrite"); return NEXT(pwrite64)(fd, data, size, at); }
ssize_t sendfile(int to, int from, off_t *at, size_t size) { FILE_OF(to, "sendfile"); return syscall(SYS_sendfile, to, from, at, size); }
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) { FILE_OF(to, "sendfile"); return syscall(SYS_sendfile, to, from, at, size); }
ssize_t copy_file_range(int from, off64_t *one, int to, off64_t *two, size_t size, unsigned flags) {
    FILE_OF(to, "copy_file_range");
    return syscall(SYS_copy_file_range, from, one, to, two, size, flags);
}
int fsync(int fd) { FILE_OF(fd, "fsync"); return NEXT(fsync)(fd); }
int fdatasync(int fd) { FILE_OF(fd, "fdatasync"); return NEXT(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { FILE_OF(fd, "ftruncate"); return NEXT(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { FILE_OF(fd, "ftruncate"); return NEXT(ftruncate64)(fd, size); }
int truncate(const char *path, off_t size) { HERE(path, "truncate"); return NEXT(truncate)(path, size); }
int rename(const char *old, const char *new) { HERE(new, "rename"); return NEXT(rename)(old, new); }
int renameat(int one, const char *old, int two, const char *new) { AT(two, new, "rename"); return NEXT(renameat)(one, old, two, new); }
int renameat2(int one, const char *old, int two, const char *new, unsigned flags) {
    AT(two, new, flags ? "exchange" : "rename");
    return syscall(SYS_renameat2, one, old, two, new, flags);
}
int unlink(const char *path) { HERE(path, "unlink"); return NEXT(unlink)(path); }
int unlinkat(int at, const char *path, int flags) { AT(at, path, flags & AT_REMOVEDIR ? "rmdir" : "unlink"); return NEXT(unlinkat)(at, path, flags); }
int rmdir(const char *path) { HERE(path, "rmdir"); return NEXT(rmdir)(path); }
int mkdir(const char *path, mode_t mode) { HERE(path, "mkdir"); return NEXT(mkdir)(path, mode); }
int mkdirat(int at, const char *path, mode_t mode) { AT(at, path, "mkdir"); return NEXT(mkdirat)(at, path, mode); }
int link(const char *old, const char *new) { HERE(new, "link"); return NEXT(link)(old, new); }
int linkat(int one, const char *old, int two, const char *new, int flags) { AT(two, new, "link"); return NEXT(linkat)(one, old, two, new, flags); }
int symlink(const char *old, const char *new) { HERE(new, "symlink"); return NEXT(symlink)(old, new); }
