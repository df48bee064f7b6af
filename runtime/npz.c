/* npz.c -- numpy's .npz archives: a zip file with one .npy member an array.
 *
 * libzip, opened when there is an archive, does the zip format; what an archive may ask for is
 * decided here, before anything is inflated: only stored and deflated members, none encrypted, a
 * bounded number of them, sizes that one layer of deflate can reach and that the file has room for
 * (so members that overlap to multiply their contents are refused), central and local headers that
 * agree, checksums.
 */
#include "runtime/library.h"
#include "runtime/runtime.h"
#include <string.h>
#include <zip.h>

/* Deflate cannot expand by more: 258 bytes from 2 bits. */
#define DEFLATE_RATIO 1032
/* Fixed sizes of a member's local and central header, without name. */
#define MEMBER_OVERHEAD (30 + 46)

/* What is called of libzip: FUNCTION(x) is zip_x. */
#define FUNCTIONS                               \
	FUNCTION(close)                         \
	FUNCTION(discard)                       \
	FUNCTION(error_fini)                    \
	FUNCTION(error_init)                    \
	FUNCTION(error_strerror)                \
	FUNCTION(fclose)                        \
	FUNCTION(file_add)                      \
	FUNCTION(file_set_dostime)              \
	FUNCTION(file_strerror)                 \
	FUNCTION(fopen_index)                   \
	FUNCTION(fread)                         \
	FUNCTION(get_num_entries)               \
	FUNCTION(open_from_source)              \
	FUNCTION(set_file_compression)          \
	FUNCTION(source_buffer_create)          \
	FUNCTION(source_buffer_fragment_create) \
	FUNCTION(source_close)                  \
	FUNCTION(source_free)                   \
	FUNCTION(source_keep)                   \
	FUNCTION(source_open)                   \
	FUNCTION(source_read)                   \
	FUNCTION(stat_index)                    \
	FUNCTION(stat_init)                     \
	FUNCTION(strerror)

typedef struct functions {
#define FUNCTION(x) __typeof__(&zip_##x) x;
	FUNCTIONS
#undef FUNCTION
} functions;

enum { ROOM = 8 << 20 }; /* 5 MB with what it needs */

static pai_status find_functions(pai_ctx *ctx, functions *f)
{
	static const pai_symbol symbols[] = {
#define FUNCTION(x) {"zip_" #x, offsetof(functions, x)},
		FUNCTIONS
#undef FUNCTION
	};
	return pai_library_open(ctx, PAI_LIBZIP, ROOM, sizeof symbols / sizeof *symbols, symbols,
				f);
}

typedef struct archive {
	functions f;
	pai_ctx *ctx;
	pai_arena *arena;
	const char *path;
	zip_t *zip;
	uint64_t room;     /* bytes of the file that members may still account for */
	uint64_t inflated; /* by the members so far */
	pai_map *names;
} archive;

static pai_status bad(const archive *z, const char *member, const char *fact)
{
	return pai_fail(z->ctx, PAI_E_npz, pai_at_byte(z->path, member, -1), "%s", fact);
}

/* What the directory says of a member, held against the rules. */
static pai_status check_member(archive *z, const zip_stat_t *st)
{
	const zip_uint64_t need = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
				  ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
	if ((st->valid & need) != need)
		return bad(z, st->name, "the archive's directory lacks a size or a method");
	if (st->encryption_method != ZIP_EM_NONE)
		return bad(z, st->name, "is encrypted");
	if (st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE)
		return bad(z, st->name, "is neither stored nor deflated");
	if (st->comp_method == ZIP_CM_STORE ? st->size != st->comp_size
					    : st->size / DEFLATE_RATIO > st->comp_size)
		return bad(z, st->name, "claims a size that its compressed bytes cannot hold");
	uint64_t takes;
	if (__builtin_add_overflow(st->comp_size, MEMBER_OVERHEAD + 2 * strlen(st->name), &takes) ||
	    takes > z->room)
		return bad(z, st->name, "overlaps another member: together they exceed the file");
	z->room -= takes;
	if (st->size > z->ctx->limits.npz_bytes - z->inflated)
		return pai_fail(z->ctx, PAI_E_limit, pai_at_byte(z->path, st->name, -1),
				"npz_bytes: the members inflate to more than %llu bytes",
				(unsigned long long)z->ctx->limits.npz_bytes);
	z->inflated += st->size;
	return PAI_OK;
}

static pai_status read_all(archive *z, zip_file_t *file, const char *member, void *to, uint64_t n)
{
	for (uint64_t done = 0; done < n;) {
		zip_int64_t got = z->f.fread(file, (uint8_t *)to + done, n - done);
		if (got < 0)
			return pai_fail(z->ctx, PAI_E_npz, pai_at_byte(z->path, member, -1),
					"cannot be inflated: %s", z->f.file_strerror(file));
		if (got == 0)
			return bad(z, member, "is shorter than the archive's directory says");
		done += (uint64_t)got;
	}
	return PAI_OK;
}

static pai_status read_array(archive *z, zip_file_t *file, const zip_stat_t *st, pai_tensor **out)
{
	uint8_t head[PAI_NPY_HEADER + 12];
	uint64_t n_head = st->size < sizeof head ? st->size : sizeof head;
	PAI_TRY(read_all(z, file, st->name, head, n_head));
	pai_npy h;
	PAI_TRY(pai_npy_header(z->ctx, z->path, st->name, head, n_head, st->size, &h));
	pai_tensor *t = pai_tensor_new(z->arena, h.dtype, h.rank, h.dims);
	if (!t)
		return pai_fail(z->ctx, PAI_E_memory, pai_at_byte(z->path, st->name, -1),
				"%zu bytes", h.nbytes);
	uint64_t have = n_head - h.offset;
	pai_copy(t->data, head + h.offset, have);
	if (have < h.nbytes)
		PAI_TRY(read_all(z, file, st->name, (uint8_t *)t->data + have, h.nbytes - have));
	uint8_t more;
	zip_int64_t got = z->f.fread(file, &more, 1); /* the checksum is tested at the end */
	if (got != 0)
		return bad(z, st->name,
			   got < 0 ? "its checksum does not match its contents"
				   : "is longer than the archive's directory says");
	PAI_TRY(pai_npy_finish(z->ctx, z->arena, z->path, &h, t));
	*out = t;
	return PAI_OK;
}

static pai_status read_member(archive *z, uint64_t i, pai_tensor **out)
{
	const functions *f = &z->f;
	zip_stat_t st;
	f->stat_init(&st);
	if (f->stat_index(z->zip, i, 0, &st) != 0)
		return bad(z, NULL, "the archive's directory is damaged");
	PAI_TRY(check_member(z, &st));
	size_t n = strlen(st.name);
	if (n < 4 || strcmp(st.name + n - 4, ".npy") != 0)
		return bad(z, st.name, "is no .npy array");
	const char *name = pai_arena_strndup(z->arena, st.name, n - 4);
	if (pai_map_get(z->names, name))
		return bad(z, st.name, "occurs twice");
	pai_map_put(z->names, name, z);
	zip_file_t *file = f->fopen_index(z->zip, i, 0);
	if (!file)
		return pai_fail(z->ctx, PAI_E_npz, pai_at_byte(z->path, st.name, -1), "%s",
				f->strerror(z->zip));
	pai_status status = read_array(z, file, &st, out);
	f->fclose(file);
	if (status == PAI_OK)
		(*out)->name = name;
	return status;
}

static pai_status read_members(archive *z, pai_tensor ***out, int *n_out)
{
	zip_int64_t n = z->f.get_num_entries(z->zip, 0);
	if (n < 0 || (uint64_t)n > z->ctx->limits.npz_entries)
		return pai_fail(z->ctx, PAI_E_limit, pai_at_file(z->path),
				"npz_entries: %lld members, at most %llu are read", (long long)n,
				(unsigned long long)z->ctx->limits.npz_entries);
	pai_tensor **t = PAI_NEWS(z->arena, pai_tensor *, n + 1);
	for (zip_int64_t i = 0; i < n; i++)
		PAI_TRY(read_member(z, (uint64_t)i, &t[i]));
	*out = t;
	*n_out = (int)n;
	return PAI_OK;
}

pai_status pai_npz_parse(pai_ctx *ctx, pai_arena *a, const char *path, const void *bytes, size_t n,
			 pai_tensor ***out, int *n_out)
{
	zip_error_t error;
	archive z = {.ctx = ctx, .arena = a, .path = path, .room = n, .names = pai_map_new(a)};
	const functions *f = &z.f;
	PAI_TRY(find_functions(ctx, &z.f));
	f->error_init(&error);
	/* libzip takes no bytes at all for an archive that is to be made. */
	zip_source_t *source = n ? f->source_buffer_create(bytes, n, 0, &error) : NULL;
	if (source)
		z.zip = f->open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
	if (!z.zip) {
		pai_status status =
			pai_fail(ctx, PAI_E_npz, pai_at_file(path), "is no sound zip archive: %s",
				 f->error_strerror(&error));
		if (source)
			f->source_free(source);
		f->error_fini(&error);
		return status;
	}
	pai_status status = read_members(&z, out, n_out);
	f->discard(z.zip);
	return status;
}

/* The header and the contents of one array as one buffer that libzip reads when it closes. */
static pai_status add_member(pai_ctx *ctx, pai_arena *a, const functions *f, zip_t *zip,
			     const char *path, const char *name, const pai_tensor *t)
{
	const void *header;
	size_t n_header;
	const pai_tensor *contents;
	PAI_TRY(pai_npy_print(ctx, a, path, t, &header, &n_header, &contents));
	zip_buffer_fragment_t parts[2] = {{(uint8_t *)(uintptr_t)header, n_header},
					  {contents->data, contents->nbytes}};
	zip_error_t error;
	f->error_init(&error);
	int n_parts = contents->nbytes ? 2 : 1;
	zip_source_t *source =
		f->source_buffer_fragment_create(parts, (zip_uint64_t)n_parts, 0, &error);
	const char *member = pai_arena_printf(a, "%s.npy", name);
	zip_int64_t i = source ? f->file_add(zip, member, source, ZIP_FL_ENC_UTF_8) : -1;
	/* 1980-01-01: the same arrays give the same bytes. */
	if (i < 0 || f->set_file_compression(zip, (zip_uint64_t)i, ZIP_CM_STORE, 0) != 0 ||
	    f->file_set_dostime(zip, (zip_uint64_t)i, 0, 33, 0) != 0) {
		if (source && i < 0)
			f->source_free(source);
		return pai_fail(ctx, PAI_E_npz, pai_at_byte(path, member, -1),
				"cannot be added: %s", f->strerror(zip));
	}
	return PAI_OK;
}

/* Copies the finished archive from libzip's memory to its place. */
static pai_status put_archive(pai_ctx *ctx, pai_arena *a, const functions *f, const char *path,
			      zip_source_t *from)
{
	pai_writer *w;
	enum { CHUNK = 1 << 20 };
	PAI_TRY(pai_writer_open(ctx, path, &w));
	void *chunk = pai_arena_bulk(a, CHUNK);
	zip_int64_t got = -1;
	if (chunk && f->source_open(from) == 0) {
		while ((got = f->source_read(from, chunk, CHUNK)) > 0)
			pai_writer_put(w, chunk, (size_t)got);
		f->source_close(from);
	}
	if (got < 0) {
		pai_writer_discard(w);
		return pai_fail(ctx, PAI_E_memory, pai_at_file(path), "to write the archive");
	}
	return pai_writer_commit(w);
}

static pai_status write_npz(pai_ctx *ctx, pai_arena *a, const char *path, int n,
			    const char *const *names, const pai_tensor *const *tensors)
{
	functions all;
	const functions *f = &all;
	zip_error_t error;
	PAI_TRY(find_functions(ctx, &all));
	f->error_init(&error);
	zip_source_t *buffer = f->source_buffer_create(NULL, 0, 0, &error);
	if (!buffer)
		return pai_fail(ctx, PAI_E_memory, pai_at_file(path), "to write the archive");
	zip_t *zip = f->open_from_source(buffer, ZIP_CREATE | ZIP_TRUNCATE, &error);
	if (!zip) {
		f->source_free(buffer);
		return pai_fail(ctx, PAI_E_memory, pai_at_file(path), "to write the archive");
	}
	f->source_keep(buffer); /* closing the archive gives up its own hold */
	pai_status status = PAI_OK;
	for (int i = 0; i < n && status == PAI_OK; i++)
		status = add_member(ctx, a, f, zip, path, names[i], tensors[i]);
	if (status == PAI_OK && f->close(zip) != 0)
		status = pai_fail(ctx, PAI_E_memory, pai_at_file(path), "%s", f->strerror(zip));
	else if (status == PAI_OK)
		zip = NULL;
	if (zip)
		f->discard(zip);
	if (status == PAI_OK)
		status = put_archive(ctx, a, f, path, buffer);
	f->source_free(buffer);
	return status;
}

static pai_status write_npy(pai_ctx *ctx, pai_arena *a, const char *path, const pai_tensor *t)
{
	const void *header;
	size_t n_header;
	const pai_tensor *contents;
	PAI_TRY(pai_npy_print(ctx, a, path, t, &header, &n_header, &contents));
	pai_writer *w;
	PAI_TRY(pai_writer_open(ctx, path, &w));
	pai_writer_put(w, header, n_header);
	pai_writer_put(w, contents->data, contents->nbytes);
	return pai_writer_commit(w);
}

pai_status pai_npz_write(pai_ctx *ctx, const char *path, int n, const char *const *names,
			 const pai_tensor *const *tensors)
{
	pai_arena *a = pai_arena_new(ctx);
	size_t length = strlen(path);
	bool npy = length > 4 && strcmp(path + length - 4, ".npy") == 0;
	pai_status status;
	if (npy && n != 1)
		status = pai_fail(ctx, PAI_E_npz, pai_at_file(path),
				  "a .npy file holds one array, not %d; name a .npz file", n);
	else if (npy)
		status = write_npy(ctx, a, path, tensors[0]);
	else
		status = write_npz(ctx, a, path, n, names, tensors);
	pai_arena_free(a);
	return status;
}
