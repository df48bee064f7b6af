/* idx.c -- data sets in IDX, the form MNIST came in, plain or compressed by gzip.
 *
 * A file is two zero bytes, a type, a rank, that many big-endian sizes, and big-endian contents.
 * Files are given as "images,labels"; the one of rank 1 becomes the field "labels", the other one
 * "images". The length must be exact, and is known before anything is allocated for it.
 */
#include "runtime/runtime.h"
#include <assert.h>
#include <string.h>
#include <zlib.h>

enum { MAX_RANK = 8, DEFLATE_RATIO = 1032 };

static const struct {
	uint8_t number;
	pai_dtype dtype;
} idx_types[] = {{0x08, PAI_UINT8}, {0x09, PAI_INT8},  {0x0B, PAI_INT16},
		 {0x0C, PAI_INT32}, {0x0D, PAI_FLOAT}, {0x0E, PAI_DOUBLE}};

/* Bytes of a file, inflated on the way where it is compressed. */
typedef struct source {
	pai_ctx *ctx;
	const char *path;
	const uint8_t *at;
	size_t left;
	bool gzip;
	z_stream z;
} source;

static pai_status bad(const source *s, const char *fact)
{
	return pai_fail(s->ctx, PAI_E_idx, pai_at_file(s->path), "%s", fact);
}

static void next_input(source *s)
{
	uInt n = s->left < (1u << 30) ? (uInt)s->left : 1u << 30;
	s->z.next_in = (Bytef *)(uintptr_t)s->at;
	s->z.avail_in = n;
	s->at += n;
	s->left -= n;
}

static pai_status take(source *s, void *to, size_t n)
{
	if (!s->gzip) {
		if (n > s->left)
			return bad(s, "is shorter than its sizes say");
		pai_copy(to, s->at, n);
		s->at += n;
		s->left -= n;
		return PAI_OK;
	}
	for (size_t done = 0; done < n;) {
		size_t want = n - done < (1u << 30) ? n - done : 1u << 30;
		if (!s->z.avail_in)
			next_input(s);
		s->z.next_out = (Bytef *)to + done;
		s->z.avail_out = (uInt)want;
		int r = inflate(&s->z, Z_NO_FLUSH);
		done += want - s->z.avail_out;
		if (r != Z_OK && !(r == Z_STREAM_END && done == n))
			return bad(s, r == Z_STREAM_END || r == Z_BUF_ERROR
					      ? "is shorter than its sizes say"
					      : "cannot be inflated: the gzip data is damaged");
	}
	return PAI_OK;
}

/* Nothing may follow the contents; for gzip this also tests the checksum. */
static pai_status take_end(source *s)
{
	if (!s->gzip)
		return s->left ? bad(s, "is longer than its sizes say") : PAI_OK;
	uint8_t more;
	int r;
	do {
		if (!s->z.avail_in)
			next_input(s);
		s->z.next_out = &more;
		s->z.avail_out = 1;
		r = inflate(&s->z, Z_FINISH);
		if (!s->z.avail_out)
			return bad(s, "is longer than its sizes say");
	} while (r == Z_BUF_ERROR && s->left);
	if (r != Z_STREAM_END)
		return bad(s, "cannot be inflated: the gzip data is damaged at its end");
	return s->z.avail_in || s->left ? bad(s, "has bytes behind the gzip data") : PAI_OK;
}

static void to_little_endian(pai_tensor *t)
{
	size_t size = (size_t)pai_dtype_get(t->dtype)->bits / 8;
	uint8_t *b = t->data;
	for (size_t i = 0; i < t->nbytes; i += size)
		for (size_t j = 0; j < size / 2; j++) {
			uint8_t swap = b[i + j];
			b[i + j] = b[i + size - 1 - j];
			b[i + size - 1 - j] = swap;
		}
}

static pai_status read_tensor(source *s, pai_arena *a, size_t file_size, pai_tensor **out)
{
	uint8_t head[4] = {0}, sizes[4 * MAX_RANK] = {0};
	int64_t dims[MAX_RANK];
	PAI_TRY(take(s, head, 4));
	pai_dtype dtype = PAI_UNDEFINED;
	for (size_t i = 0; i < sizeof idx_types / sizeof idx_types[0]; i++)
		if (idx_types[i].number == head[2])
			dtype = idx_types[i].dtype;
	if (head[0] || head[1] || dtype == PAI_UNDEFINED || head[3] < 1 || head[3] > MAX_RANK)
		return bad(s, "does not start as IDX does");
	int rank = head[3];
	PAI_TRY(take(s, sizes, 4 * (size_t)rank));
	for (int i = 0; i < rank; i++)
		dims[i] = (int64_t)sizes[4 * i] << 24 | sizes[4 * i + 1] << 16 |
			  sizes[4 * i + 2] << 8 | sizes[4 * i + 3];
	size_t nbytes, room = file_size;
	if (s->gzip && !pai_size_mul(file_size, DEFLATE_RATIO, &room))
		room = SIZE_MAX;
	if (!pai_tensor_nbytes(dtype, rank, dims, &nbytes) || nbytes > room)
		return bad(s, "has sizes that the file cannot hold");
	if (s->gzip && nbytes > s->ctx->limits.npz_bytes)
		return pai_fail(s->ctx, PAI_E_limit, pai_at_file(s->path),
				"npz_bytes: the file inflates to more than %llu bytes",
				(unsigned long long)s->ctx->limits.npz_bytes);
	if (!s->gzip && pai_dtype_get((int)dtype)->bits == 8) { /* stays where it is */
		pai_tensor *mapped = PAI_NEW(a, pai_tensor);
		*mapped = (pai_tensor){
			.dtype = dtype, .rank = rank, .data = (void *)s->at, .nbytes = nbytes};
		mapped->dims = pai_arena_dup(a, dims, sizeof *dims * (size_t)rank);
		if (nbytes != s->left)
			return bad(s, nbytes > s->left ? "is shorter than its sizes say"
						       : "is longer than its sizes say");
		*out = mapped;
		return PAI_OK;
	}
	pai_tensor *t = pai_tensor_new(a, dtype, rank, dims);
	if (!t)
		return pai_fail(s->ctx, PAI_E_memory, pai_at_file(s->path), "%zu bytes", nbytes);
	PAI_TRY(take(s, t->data, nbytes));
	PAI_TRY(take_end(s));
	to_little_endian(t);
	*out = t;
	return PAI_OK;
}

static pai_status read_file(pai_ctx *ctx, pai_arena *a, const char *path, pai_tensor **out)
{
	pai_file f;
	PAI_TRY(pai_file_open(ctx, a, path, &f));
	source s = {ctx, path, f.data, f.size, false, {0}};
	s.gzip = f.size >= 2 && f.data[0] == 0x1f && f.data[1] == 0x8b;
	if (s.gzip && inflateInit2(&s.z, 15 + 16) != Z_OK)
		return pai_fail(ctx, PAI_E_memory, pai_at_file(path), "to inflate the file");
	pai_status status = read_tensor(&s, a, f.size, out);
	if (s.gzip)
		inflateEnd(&s.z);
	return status;
}

static bool matches(const char *path, const uint8_t *head, size_t n)
{
	if (n < 4)
		return false;
	if (head[0] == 0x1f && head[1] == 0x8b)
		return strstr(path, "idx") != NULL;
	return head[0] == 0 && head[1] == 0 && head[2] >= 8 && head[2] <= 14 && head[3] >= 1 &&
	       head[3] <= MAX_RANK;
}

static pai_status read_set(pai_ctx *ctx, const char *path, pai_dataset *out)
{
	const char *name = path;
	bool seen[2] = {false, false};
	while (name) {
		const char *comma = strchr(name, ',');
		const char *file =
			comma ? pai_arena_strndup(out->arena, name, (size_t)(comma - name)) : name;
		pai_tensor *t = NULL;
		PAI_TRY(read_file(ctx, out->arena, file, &t));
		assert(t);
		int kind = t->rank == 1;
		if (seen[kind])
			return pai_fail(ctx, PAI_E_idx, pai_at_file(path),
					"two files of %s; give one of images and one of labels",
					kind ? "rank 1" : "more than rank 1");
		seen[kind] = true;
		pai_dataset_add(out, kind ? "labels" : "images", t);
		name = comma ? comma + 1 : NULL;
	}
	return PAI_OK;
}

const pai_reader pai_reader_idx = {
	.name = "idx",
	.summary = "MNIST's form, images.idx3[.gz],labels.idx1[.gz]: fields images and labels",
	.matches = matches,
	.read = read_set,
};
