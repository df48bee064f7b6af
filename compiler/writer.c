/* writer.c -- files that appear whole or not at all.
 *
 * Bytes go to a temporary file in the folder of the output; commit makes it durable and renames it
 * over the old one. So the input of a run may be its output, and a full disk or a kill leaves the
 * old file. Output that is no regular file (standard output, a device, a pipe) is written directly.
 * The first error is kept and reported by commit, so that callers write without checks between.
 * Between open and commit nothing is allocated: running out of memory leaves no temporary file.
 */
#include "compiler/ctx.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	BUFFER = 64 * 1024,
	LARGE = 16 * 1024,       /* from here on copied in the kernel where possible */
	PIECE = 8 * 1024 * 1024, /* of a large span that is written from memory */
	TRIES = 100,             /* at a name for the temporary file */
};

struct pai_writer {
	pai_ctx *ctx;
	pai_arena *arena;
	const char *path, *folder;
	char *temp; /* NULL: written directly */
	int fd;
	int error;        /* first errno */
	uint64_t written; /* by callers */
	size_t n;         /* in buffer */
	uint8_t *buffer;
};

static void keep_error(pai_writer *w, int error)
{
	if (!w->error)
		w->error = error ? error : EIO;
}

/* Random enough not to meet another writer of the same file; a clash is tried again. */
static uint64_t salt(int attempt)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	uint64_t x = (uint64_t)t.tv_nsec ^ (uint64_t)t.tv_sec << 30 ^ (uint64_t)getpid() << 44;
	return (x + (uint64_t)attempt) * 0x9e3779b97f4a7c15u;
}

/* ".<name>.<salt>.tmp" beside the output. */
static int open_temp(pai_writer *w, unsigned mode)
{
	const pai_io *io = w->ctx->io;
	const char *slash = strrchr(w->path, '/');
	int folder = slash ? (int)(slash - w->path) + 1 : 0;
	for (int i = 0; i < TRIES; i++) {
		w->temp = pai_arena_printf(w->arena, "%.*s.%.*s.%08x.tmp", folder, w->path,
					   NAME_MAX - 20, w->path + folder,
					   (unsigned)(salt(i) >> 32));
		int fd = io->open(io->payload, AT_FDCWD, w->temp,
				  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

static pai_status cannot_write(pai_ctx *ctx, const char *path, int error)
{
	return pai_fail(ctx, PAI_E_cannot_write, pai_at_file(path), "cannot be written: %s",
			strerror(error));
}

pai_status pai_writer_open(pai_ctx *ctx, const char *path, pai_writer **out)
{
	const pai_io *io = ctx->io;
	struct stat st;
	bool is_stdout = strcmp(path, "-") == 0;
	bool exists = !is_stdout && stat(path, &st) == 0;
	if (exists && S_ISDIR(st.st_mode))
		return cannot_write(ctx, path, EISDIR);
	pai_arena *a = pai_arena_new(ctx);
	pai_writer *w = PAI_NEW(a, pai_writer);
	*w = (pai_writer){.ctx = ctx, .arena = a, .path = pai_arena_strdup(a, path)};
	w->buffer = pai_arena_alloc(a, BUFFER);
	const char *slash = strrchr(path, '/');
	w->folder = slash ? pai_arena_strndup(a, path, (size_t)(slash - path) + 1) : ".";
	if (is_stdout) {
		w->fd = STDOUT_FILENO;
	} else if (exists && !S_ISREG(st.st_mode)) {
		w->fd = io->open(io->payload, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	} else {
		w->fd = open_temp(w, 0666);
		if (w->fd >= 0 && exists)
			fchmod(w->fd, st.st_mode & 0777);
	}
	if (w->fd < 0) {
		pai_status s = cannot_write(ctx, path, errno);
		pai_arena_free(a);
		return s;
	}
	*out = w;
	return PAI_OK;
}

static void write_all(pai_writer *w, const uint8_t *bytes, size_t n)
{
	const pai_io *io = w->ctx->io;
	while (n && !w->error) {
		int64_t done = io->write(io->payload, w->fd, bytes, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			keep_error(w, done ? errno : ENOSPC);
			return;
		}
		bytes += done;
		n -= (size_t)done;
	}
}

static void flush(pai_writer *w)
{
	write_all(w, w->buffer, w->n);
	w->n = 0;
}

/* From memory, giving back the pages of mapped files on the way. */
static void write_large(pai_writer *w, const uint8_t *bytes, size_t n)
{
	while (n && !w->error) {
		size_t piece = n < PIECE ? n : PIECE;
		write_all(w, bytes, piece);
		pai_file_drop(w->ctx, bytes, piece);
		bytes += piece;
		n -= piece;
	}
}

/* Returns how many bytes the kernel copied; the rest is for write_large. */
static size_t copy_in_kernel(pai_writer *w, const pai_file *from, const uint8_t *bytes, size_t n)
{
	const pai_io *io = w->ctx->io;
	size_t done = 0;
	while (done < n) {
		int64_t offset = bytes + done - from->data;
		int64_t got = io->copy(io->payload, from->fd, offset, w->fd, n - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 &&
		    (errno == ENOSPC || errno == EIO || errno == EDQUOT || errno == EFBIG))
			keep_error(w, errno);
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

void pai_writer_put(pai_writer *w, const void *bytes, size_t n)
{
	w->written += n;
	if (n < LARGE) {
		if (n > BUFFER - w->n)
			flush(w);
		pai_copy(w->buffer + w->n, bytes, n);
		w->n += n;
		return;
	}
	flush(w);
	if (w->error)
		return;
	const pai_file *from = w->temp ? pai_file_holding(w->ctx, bytes, n) : NULL;
	size_t done = from ? copy_in_kernel(w, from, bytes, n) : 0;
	write_large(w, (const uint8_t *)bytes + done, n - done);
}

void pai_writer_printf(pai_writer *w, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	if (n > 0) {
		pai_arena *a = pai_arena_new(w->ctx);
		char *s = pai_arena_alloc(a, (size_t)n + 1);
		vsnprintf(s, (size_t)n + 1, fmt, again);
		pai_writer_put(w, s, (size_t)n);
		pai_arena_free(a);
	}
	va_end(again);
	va_end(args);
}

uint64_t pai_writer_tell(const pai_writer *w)
{
	return w->written;
}

/* The new name is durable when its folder is. */
static int sync_folder(pai_writer *w)
{
	const pai_io *io = w->ctx->io;
	int fd = io->open(io->payload, AT_FDCWD, w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	int error = io->fsync(io->payload, fd) == 0 ? 0 : errno;
	io->close(io->payload, fd);
	return error == EINVAL || error == ENOTSUP ? 0 : error; /* not every file system can */
}

static int close_output(pai_writer *w)
{
	const pai_io *io = w->ctx->io;
	int fd = w->fd;
	w->fd = -1;
	return fd == STDOUT_FILENO || io->close(io->payload, fd) == 0 ? 0 : errno;
}

/* Makes what was written the file of that name; 0 or an errno. */
static int finish(pai_writer *w)
{
	const pai_io *io = w->ctx->io;
	flush(w);
	if (w->error)
		return w->error;
	if (!w->temp)
		return close_output(w);
	if (w->ctx->durable && io->fsync(io->payload, w->fd) != 0)
		return errno;
	int error = close_output(w);
	if (error)
		return error;
	if (io->rename(io->payload, w->temp, w->path) != 0)
		return errno;
	w->temp = NULL;
	return w->ctx->durable ? sync_folder(w) : 0;
}

pai_status pai_writer_commit(pai_writer *w)
{
	pai_ctx *ctx = w->ctx;
	int error = finish(w);
	pai_status s = error ? cannot_write(ctx, w->path, error) : PAI_OK;
	pai_writer_discard(w);
	return s;
}

void pai_writer_discard(pai_writer *w)
{
	if (!w)
		return;
	const pai_io *io = w->ctx->io;
	if (w->fd >= 0)
		close_output(w);
	if (w->temp)
		io->unlink(io->payload, w->temp);
	pai_arena_free(w->arena);
}
