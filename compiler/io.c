/* io.c -- the operating system's file calls behind one table, and files as mapped bytes.
 *
 * A file is opened once and judged by what was opened, never by its name: fstat on the descriptor
 * says whether it is regular and how long it is. Data files named by a model are opened below the
 * folder of the model, so that no name and no link in a model can make us read something else.
 * Every mapping is listed in the context: the writer copies bytes of a mapped file in the kernel.
 */
#include "compiler/ctx.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int posix_open(void *payload, int dirfd, const char *path, int flags, unsigned mode)
{
	(void)payload;
	return openat(dirfd, path, flags, mode);
}

static int64_t posix_read(void *payload, int fd, void *to, size_t n)
{
	(void)payload;
	return read(fd, to, n);
}

static int64_t posix_write(void *payload, int fd, const void *from, size_t n)
{
	(void)payload;
	return write(fd, from, n);
}

static int posix_fsync(void *payload, int fd)
{
	(void)payload;
	return fsync(fd);
}

static int posix_close(void *payload, int fd)
{
	(void)payload;
	return close(fd);
}

static int posix_rename(void *payload, const char *from, const char *to)
{
	(void)payload;
	return rename(from, to);
}

static int posix_unlink(void *payload, const char *path)
{
	(void)payload;
	return unlink(path);
}

static void *posix_map(void *payload, int fd, size_t size)
{
	(void)payload;
	void *at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return NULL;
	madvise(at, size, MADV_NOHUGEPAGE); /* a look at one byte must not bring in megabytes */
	return at;
}

static int posix_unmap(void *payload, void *at, size_t size)
{
	(void)payload;
	return munmap(at, size);
}

/* For kernels before 5.6: every folder of the path is opened by itself, links are not followed. */
int pai_open_by_steps(int dirfd, const char *path, int flags)
{
	int at = dup(dirfd);
	while (at >= 0) {
		path += strspn(path, "/");
		size_t n = strcspn(path, "/");
		char name[NAME_MAX + 1];
		if (n > NAME_MAX || (n == 2 && memcmp(path, "..", 2) == 0)) {
			close(at);
			errno = n > NAME_MAX ? ENAMETOOLONG : EXDEV;
			return -1;
		}
		memcpy(name, path, n);
		name[n] = 0;
		path += n;
		bool last = path[strspn(path, "/")] == 0;
		int next = openat(at, name,
				  (last ? flags : O_PATH | O_DIRECTORY | O_CLOEXEC) | O_NOFOLLOW);
		int error = errno;
		close(at);
		errno = error;
		if (last)
			return next;
		at = next;
	}
	return -1;
}

static int posix_open_beneath(void *payload, int dirfd, const char *path, int flags)
{
	(void)payload;
	struct open_how how = {
		.flags = (uint64_t)flags,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return pai_open_by_steps(dirfd, path, flags);
	return (int)fd;
}

static int64_t posix_copy(void *payload, int from, int64_t offset, int to, size_t n)
{
	(void)payload;
	return copy_file_range(from, &offset, to, NULL, n, 0);
}

const pai_io pai_io_posix = {
	.open = posix_open,
	.read = posix_read,
	.write = posix_write,
	.fsync = posix_fsync,
	.close = posix_close,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.map = posix_map,
	.unmap = posix_unmap,
	.open_beneath = posix_open_beneath,
	.copy = posix_copy,
};

const pai_file *pai_file_holding(const pai_ctx *ctx, const void *bytes, size_t n)
{
	uintptr_t at = (uintptr_t)bytes;
	for (const struct pai_mapping *m = ctx->own->mappings; m; m = m->next) {
		uintptr_t start = (uintptr_t)m->file.data;
		if (at >= start && at - start <= m->file.size && n <= m->file.size - (at - start))
			return &m->file;
	}
	return NULL;
}

void pai_file_drop(pai_ctx *ctx, const void *bytes, size_t n)
{
	if (!pai_file_holding(ctx, bytes, n))
		return;
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)bytes + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)bytes + n) / page * page;
	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

static void release_mapping(void *p)
{
	struct pai_mapping *m = p;
	const pai_io *io = m->ctx->io;
	*m->link = m->next;
	if (m->next)
		m->next->link = m->link;
	io->unmap(io->payload, (void *)m->file.data, m->file.size);
	io->close(io->payload, m->file.fd);
}

static void hold_mapping(pai_ctx *ctx, pai_arena *a, const pai_file *file)
{
	struct pai_mapping *m = PAI_NEW(a, struct pai_mapping);
	*m = (struct pai_mapping){ctx->own->mappings, &ctx->own->mappings, ctx, *file};
	if (m->next)
		m->next->link = &m->next;
	ctx->own->mappings = m;
	pai_arena_defer(a, release_mapping, m);
}

static pai_status cannot(pai_ctx *ctx, pai_code code, const char *path, const char *what)
{
	return pai_fail(ctx, code, pai_at_file(path), "%s: %s", what, strerror(errno));
}

/* All n bytes of a file that cannot be mapped. */
static pai_status read_whole(pai_ctx *ctx, pai_arena *a, int fd, const char *path, size_t n,
			     pai_file *out)
{
	uint8_t *to = pai_arena_bulk(a, n);
	if (!to)
		return pai_fail(ctx, PAI_E_memory, pai_at_file(path), "%zu bytes to read", n);
	for (size_t done = 0; done < n;) {
		int64_t got = ctx->io->read(ctx->io->payload, fd, to + done, n - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return pai_fail(ctx, PAI_E_cannot_read, pai_at_file(path), "%s",
					got ? strerror(errno) : "the file became shorter");
		done += (size_t)got;
	}
	*out = (pai_file){path, to, n, -1};
	return PAI_OK;
}

/* Takes fd over: closed here, or with the arena. */
static pai_status take(pai_ctx *ctx, pai_arena *a, int fd, const struct stat *st, const char *path,
		       pai_file *out)
{
	const pai_io *io = ctx->io;
	size_t size = (size_t)st->st_size;
	uint64_t stored = 512 * (uint64_t)st->st_blocks; /* less than its size if it has holes */
	ctx->bytes_read += stored && stored < size ? stored : size;
	path = pai_arena_strdup(a, path);
	void *at = size ? io->map(io->payload, fd, size) : NULL;
	struct stat now;
	if (at && fstat(fd, &now) == 0 && now.st_size == st->st_size) {
		*out = (pai_file){path, at, size, fd};
		hold_mapping(ctx, a, out);
		return PAI_OK;
	}
	pai_status s = PAI_OK;
	if (at) {
		io->unmap(io->payload, at, size);
		s = pai_fail(ctx, PAI_E_cannot_read, pai_at_file(path), "changes while it is read");
	} else {
		s = read_whole(ctx, a, fd, path, size, out);
	}
	io->close(io->payload, fd);
	return s;
}

/* Standard input up to its end: pieces of growing size, joined when all are there. */
static pai_status read_stdin(pai_ctx *ctx, pai_arena *a, pai_file *out)
{
	pai_arena *pieces = pai_arena_new(ctx);
	size_t cap = 1 << 16, n = 0;
	uint8_t *buf = pai_arena_bulk(pieces, cap);
	pai_status s = PAI_OK;
	while (buf) {
		if (n == cap) {
			uint8_t *more = pai_arena_bulk(pieces, 2 * cap);
			if (more)
				pai_copy(more, buf, n);
			buf = more;
			cap *= 2;
			continue;
		}
		int64_t got = ctx->io->read(ctx->io->payload, STDIN_FILENO, buf + n, cap - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			s = cannot(ctx, PAI_E_cannot_read, "-", "standard input");
		if (got <= 0)
			break;
		n += (size_t)got;
		if (n > ctx->limits.file_bytes) {
			s = pai_fail(ctx, PAI_E_limit, pai_at_file("-"),
				     "standard input is longer than %llu bytes (file_bytes)",
				     (unsigned long long)ctx->limits.file_bytes);
			break;
		}
	}
	uint8_t *all = buf && s == PAI_OK ? pai_arena_bulk(a, n) : NULL;
	if (all) {
		pai_copy(all, buf, n);
		*out = (pai_file){"-", all, n, -1};
		ctx->bytes_read += n;
	} else if (s == PAI_OK) {
		s = pai_fail(ctx, PAI_E_memory, pai_at_file("-"), "%zu bytes to read", n);
	}
	pai_arena_free(pieces);
	return s;
}

/* O_NONBLOCK: a pipe without a writer must not hold us. */
enum { READ_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK };

pai_status pai_file_open(pai_ctx *ctx, pai_arena *a, const char *path, pai_file *out)
{
	const pai_io *io = ctx->io;
	if (strcmp(path, "-") == 0)
		return read_stdin(ctx, a, out);
	int fd = io->open(io->payload, AT_FDCWD, path, READ_FLAGS, 0);
	if (fd < 0)
		return cannot(ctx, PAI_E_cannot_open, path, "cannot be opened");
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return take(ctx, a, fd, &st, path, out);
	io->close(io->payload, fd);
	return pai_fail(ctx, PAI_E_not_regular, pai_at_file(path), "is no regular file");
}

/* The folder of a path, opened; "." where it has none. */
static int open_folder(const pai_io *io, pai_arena *a, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *folder = !slash          ? "."
			     : slash == path ? "/"
					     : pai_arena_strndup(a, path, (size_t)(slash - path));
	return io->open(io->payload, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

/* A plain relative path below its folder. */
static bool is_contained(const char *location)
{
	if (!*location || *location == '/')
		return false;
	for (const char *s = location; *s; s += strspn(s, "/")) {
		size_t n = strcspn(s, "/");
		if (n == 2 && memcmp(s, "..", 2) == 0)
			return false;
		s += n;
	}
	return true;
}

/* A cache keeps the files under names of their contents in one folder and links to them from
 * another: a data file outside the folder of the model as named is taken when it stands beside the
 * real model file. Opened there again, as no link. */
static int open_beside_real(const pai_io *io, const char *model_path, const char *location)
{
	char model[PATH_MAX], joined[PATH_MAX], target[PATH_MAX];
	const char *slash = strrchr(model_path, '/');
	int folder = slash ? (int)(slash - model_path) + 1 : 0;
	int n = snprintf(joined, sizeof joined, "%.*s%s", folder, model_path, location);
	if (n < 0 || (size_t)n >= sizeof joined || !realpath(model_path, model) ||
	    !realpath(joined, target))
		return -1;
	size_t length = (size_t)(strrchr(model, '/') - model) + 1;
	errno = EXDEV;
	if (strncmp(model, target, length) != 0 || strchr(target + length, '/'))
		return -1;
	model[length] = 0;
	int dir = io->open(io->payload, AT_FDCWD, model, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (dir < 0)
		return -1;
	int fd = io->open_beneath(io->payload, dir, target + length, READ_FLAGS | O_NOFOLLOW);
	int error = errno;
	io->close(io->payload, dir);
	errno = error;
	return fd;
}

pai_status pai_file_open_beside(pai_ctx *ctx, pai_arena *a, const char *model_path,
				const char *location, pai_file *out)
{
	const pai_io *io = ctx->io;
	pai_arena *names = ctx->own->arena;
	pai_where at = pai_at_file(model_path);
	if (strlen(location) > ctx->limits.location_bytes)
		return pai_fail(ctx, PAI_E_limit, at, "a location has %zu bytes (location_bytes)",
				strlen(location));
	const char *shown = pai_escape(names, location);
	if (!is_contained(location))
		return pai_fail(ctx, PAI_E_external_path, at,
				"external data at \"%s\": not a path below the model's folder",
				shown);
	int dir = open_folder(io, names, model_path);
	if (dir < 0)
		return cannot(ctx, PAI_E_cannot_open, model_path, "its folder cannot be opened");
	int fd = io->open_beneath(io->payload, dir, location, READ_FLAGS);
	int error = errno;
	io->close(io->payload, dir);
	if (fd < 0 && (error == EXDEV || error == ELOOP)) {
		fd = open_beside_real(io, model_path, location);
		error = errno;
	}
	if (fd < 0 && (error == EXDEV || error == ELOOP))
		return pai_fail(ctx, PAI_E_external_path, at,
				"external data at \"%s\": leads out of the model's folder", shown);
	if (fd < 0)
		return pai_fail(ctx, PAI_E_cannot_open, at, "external data at \"%s\": %s", shown,
				strerror(error));
	struct stat st;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		io->close(io->payload, fd);
		return pai_fail(ctx, PAI_E_not_regular, at,
				"external data at \"%s\": is no regular file", shown);
	}
	if ((uint64_t)st.st_nlink > ctx->limits.hard_links) {
		io->close(io->payload, fd);
		return pai_fail(
			ctx, PAI_E_hard_link, at,
			"external data at \"%s\": the file has %llu hard links, so it may be "
			"a file of another folder",
			shown, (unsigned long long)st.st_nlink);
	}
	return take(ctx, a, fd, &st, location, out);
}
