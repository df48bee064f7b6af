/* npy.c -- arrays in numpy's .npy form: magic, version, a header that is a Python literal,
 * contents.
 *
 * The header is read by hand and by the book: a dictionary of the three known keys, a type from an
 * allow-list, a shape whose size must be that of the rest of the file. Nothing is allocated before
 * all of that holds, so a short file cannot ask for much. Object arrays (pickles), structured types
 * and big-endian numbers are refused. Arrays in Fortran order are brought into C order.
 */
#include "runtime/runtime.h"
#include <string.h>

/* Element types by numpy's spelling, and what is written for a type that numpy lacks. */
static const struct {
	pai_dtype dtype;
	const char *descr;
} npy_types[] = {
	{PAI_FLOAT16, "<f2"},   {PAI_FLOAT, "<f4"},       {PAI_DOUBLE, "<f8"}, {PAI_INT8, "|i1"},
	{PAI_INT16, "<i2"},     {PAI_INT32, "<i4"},       {PAI_INT64, "<i8"},  {PAI_UINT8, "|u1"},
	{PAI_UINT16, "<u2"},    {PAI_UINT32, "<u4"},      {PAI_UINT64, "<u8"}, {PAI_BOOL, "|b1"},
	{PAI_COMPLEX64, "<c8"}, {PAI_COMPLEX128, "<c16"},
};
enum { N_TYPES = sizeof npy_types / sizeof npy_types[0] };

typedef struct cursor { /* the header's text being read */
	pai_ctx *ctx;
	const char *file, *member; /* member of an npz, or NULL */
	const char *at, *end;
	const char *start; /* of the file, for byte offsets */
} cursor;

static pai_status bad(const cursor *c, const char *fact)
{
	return pai_fail(c->ctx, PAI_E_npy, pai_at_byte(c->file, c->member, c->at - c->start), "%s",
			fact);
}

static void skip_space(cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t'))
		c->at++;
}

static bool take(cursor *c, const char *token)
{
	size_t n = strlen(token);
	skip_space(c);
	if ((size_t)(c->end - c->at) < n || memcmp(c->at, token, n) != 0)
		return false;
	c->at += n;
	return true;
}

/* A quoted string without escapes. */
static pai_status take_string(cursor *c, const char **s, size_t *n)
{
	skip_space(c);
	if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
		return bad(c, "header: expected a quoted string; structured types are not read");
	const char *close = memchr(c->at + 1, *c->at, (size_t)(c->end - c->at - 1));
	if (!close)
		return bad(c, "header: a string does not end");
	*s = c->at + 1;
	*n = (size_t)(close - *s);
	c->at = close + 1;
	return PAI_OK;
}

static pai_status take_descr(cursor *c, pai_npy *h)
{
	const char *s = "";
	size_t n = 0;
	PAI_TRY(take_string(c, &s, &n));
	for (int i = 0; i < N_TYPES; i++) {
		const char *d = npy_types[i].descr;
		bool order = n > 0 && (s[0] == d[0] || (d[0] == '|' && s[0] == '<'));
		if (order && n == strlen(d) && memcmp(s + 1, d + 1, n - 1) == 0) {
			h->dtype = npy_types[i].dtype;
			return PAI_OK;
		}
	}
	char shown[24] = {0};
	memcpy(shown, s, n < sizeof shown - 1 ? n : sizeof shown - 1);
	return pai_fail(c->ctx, PAI_E_npy, pai_at_byte(c->file, c->member, s - c->start),
			"type \"%s\" is not read; bool, integers, floats and complex numbers in "
			"little-endian order are",
			shown);
}

static pai_status take_shape(cursor *c, pai_npy *h)
{
	if (!take(c, "("))
		return bad(c, "header: the shape is no tuple");
	h->rank = 0;
	while (!take(c, ")")) {
		skip_space(c);
		if (c->at == c->end || *c->at < '0' || *c->at > '9')
			return bad(c, "header: the shape has something else than sizes");
		int64_t v = 0;
		for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
			if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
			    __builtin_add_overflow(v, (int64_t)(*c->at - '0'), &v))
				return bad(c, "header: a size is too large");
		if (h->rank == PAI_MAX_RANK)
			return bad(c, "header: too many dimensions");
		h->dims[h->rank++] = v;
		skip_space(c);
		if (!take(c, ",") && (c->at == c->end || *c->at != ')'))
			return bad(c, "header: expected a comma or the end of the shape");
	}
	return PAI_OK;
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } in any order, each key once. */
static pai_status take_dictionary(cursor *c, pai_npy *h)
{
	bool descr = false, order = false, shape = false;
	if (!take(c, "{"))
		return bad(c, "header: no dictionary");
	while (!take(c, "}")) {
		const char *key = "";
		size_t n = 0;
		PAI_TRY(take_string(c, &key, &n));
		if (!take(c, ":"))
			return bad(c, "header: expected a colon");
		if (n == 5 && memcmp(key, "descr", 5) == 0 && !descr) {
			PAI_TRY(take_descr(c, h));
			descr = true;
		} else if (n == 13 && memcmp(key, "fortran_order", 13) == 0 && !order) {
			h->fortran = take(c, "True");
			if (!h->fortran && !take(c, "False"))
				return bad(c, "header: fortran_order is neither True nor False");
			order = true;
		} else if (n == 5 && memcmp(key, "shape", 5) == 0 && !shape) {
			PAI_TRY(take_shape(c, h));
			shape = true;
		} else {
			return bad(c, "header: a key that is unknown or given twice");
		}
		skip_space(c);
		if (!take(c, ",") && (c->at == c->end || *c->at != '}'))
			return bad(c, "header: expected a comma or the end");
	}
	skip_space(c);
	if (c->at != c->end)
		return bad(c, "header: text after the dictionary");
	return descr && order && shape ? PAI_OK : bad(c, "header: a key is missing");
}

pai_status pai_npy_header(pai_ctx *ctx, const char *file, const char *member, const void *bytes,
			  size_t n, uint64_t size, pai_npy *out)
{
	const uint8_t *b = bytes;
	*out = (pai_npy){0};
	cursor c = {ctx, file, member, bytes, (const char *)bytes + n, bytes};
	if (n < 10 || memcmp(b, "\x93NUMPY", 6) != 0)
		return bad(&c, "is not in numpy's .npy form");
	if (b[6] < 1 || b[6] > 3 || b[7] != 0)
		return bad(&c, "has an unknown version of numpy's .npy form");
	size_t lead = b[6] == 1 ? 10 : 12;
	if (n < lead)
		return bad(&c, "ends within its header");
	uint64_t length = b[8] | (uint64_t)b[9] << 8;
	if (lead == 12)
		length |= (uint64_t)b[10] << 16 | (uint64_t)b[11] << 24;
	if (length > PAI_NPY_HEADER)
		return bad(&c, "has a header of more than 10,000 bytes");
	if (length > n - lead)
		return bad(&c, "ends within its header");
	c.at += lead;
	c.end = c.at + length;
	PAI_TRY(take_dictionary(&c, out));
	out->offset = lead + length;
	if (!pai_tensor_nbytes(out->dtype, out->rank, out->dims, &out->nbytes))
		return bad(&c, "has a shape whose size overflows");
	if (out->nbytes != size - out->offset)
		return pai_fail(ctx, PAI_E_npy, pai_at_file(file),
				"%s%shas %llu bytes of contents, but its shape needs %zu",
				member ? member : "", member ? ": " : "",
				(unsigned long long)(size - out->offset), out->nbytes);
	return PAI_OK;
}

/* to[c order] = from[fortran order]: the last index of `from` moves slowest. */
static void from_fortran(const pai_npy *h, size_t element, const uint8_t *from, uint8_t *to)
{
	size_t strides[PAI_MAX_RANK] = {0};
	int64_t index[PAI_MAX_RANK] = {0};
	size_t stride = element;
	for (int i = 0; i < h->rank; i++) {
		strides[i] = stride;
		stride *= (size_t)h->dims[i];
	}
	size_t at = 0;
	for (size_t done = 0; done < h->nbytes; done += element) {
		memcpy(to + done, from + at, element);
		for (int i = h->rank - 1; i >= 0; i--) {
			at += strides[i];
			if (++index[i] < h->dims[i])
				break;
			at -= strides[i] * (size_t)h->dims[i];
			index[i] = 0;
		}
	}
}

pai_status pai_npy_finish(pai_ctx *ctx, pai_arena *a, const char *file, const pai_npy *h,
			  pai_tensor *t)
{
	uint8_t *data = t->data;
	if (h->dtype == PAI_BOOL)
		for (size_t i = 0; i < h->nbytes; i++)
			data[i] = data[i] != 0;
	if (!h->fortran || h->rank < 2 || !h->nbytes)
		return PAI_OK;
	t->data = pai_arena_bulk(a, h->nbytes);
	if (!t->data)
		return pai_fail(ctx, PAI_E_memory, pai_at_file(file), "%zu bytes", h->nbytes);
	from_fortran(h, (size_t)pai_dtype_get(h->dtype)->bits / 8, data, t->data);
	return PAI_OK;
}

pai_status pai_npy_parse(pai_ctx *ctx, pai_arena *a, const char *file, const void *bytes, size_t n,
			 pai_tensor **out)
{
	pai_npy h = {0};
	PAI_TRY(pai_npy_header(ctx, file, NULL, bytes, n, n, &h));
	pai_tensor *t = pai_tensor_new(a, h.dtype, h.rank, h.dims);
	if (!t)
		return pai_fail(ctx, PAI_E_memory, pai_at_file(file), "%zu bytes", h.nbytes);
	pai_copy(t->data, (const uint8_t *)bytes + h.offset, h.nbytes);
	PAI_TRY(pai_npy_finish(ctx, a, file, &h, t));
	*out = t;
	return PAI_OK;
}

/* The type a tensor is written as: its own, or the next wider one that numpy has. */
static pai_dtype stored_as(pai_dtype dtype)
{
	for (int i = 0; i < N_TYPES; i++)
		if (npy_types[i].dtype == dtype)
			return dtype;
	switch (pai_dtype_get(dtype)->kind) {
	case PAI_KIND_FLOAT:
		return PAI_FLOAT; /* bfloat16 and the 8- and 4-bit floats */
	case PAI_KIND_SIGNED:
		return PAI_INT8;
	case PAI_KIND_UNSIGNED:
		return PAI_UINT8;
	case PAI_KIND_NONE:
	case PAI_KIND_BOOL:
	case PAI_KIND_COMPLEX:
	case PAI_KIND_STRING:
		break;
	}
	return PAI_UNDEFINED;
}

static const char *tuple_text(pai_arena *a, const pai_tensor *t)
{
	const char *s = "(";
	for (int i = 0; i < t->rank; i++)
		s = pai_arena_printf(a, "%s%lld,%s", s, (long long)t->dims[i],
				     i + 1 < t->rank ? " " : "");
	return pai_arena_printf(a, "%s)", s);
}

pai_status pai_npy_print(pai_ctx *ctx, pai_arena *a, const char *file, const pai_tensor *t,
			 const void **header, size_t *n_header, const pai_tensor **contents)
{
	pai_dtype dtype = stored_as(t->dtype);
	if (dtype == PAI_UNDEFINED)
		return pai_fail(ctx, PAI_E_npy, pai_at_file(file),
				"tensor \"%s\" is of type %s, which numpy's files do not hold",
				t->name ? t->name : "", pai_dtype_get(t->dtype)->text);
	const char *descr = NULL;
	for (int i = 0; i < N_TYPES; i++)
		if (npy_types[i].dtype == dtype)
			descr = npy_types[i].descr;
	const char *text =
		pai_arena_printf(a, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr,
				 tuple_text(a, t));
	/* Contents start at a multiple of 64, as numpy does it. */
	size_t length = strlen(text) + 1, total = (10 + length + 63) / 64 * 64;
	uint8_t *h = pai_arena_alloc(a, total);
	static const uint8_t magic[8] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
	memcpy(h, magic, sizeof magic);
	h[8] = (uint8_t)((total - 10) & 255);
	h[9] = (uint8_t)((total - 10) >> 8);
	memset(h + 10, ' ', total - 10);
	pai_copy(h + 10, text, length - 1);
	h[total - 1] = '\n';
	*header = h;
	*n_header = total;
	*contents = t;
	if (dtype == t->dtype)
		return PAI_OK;
	pai_tensor *wide = pai_tensor_new(a, dtype, t->rank, t->dims);
	if (!wide)
		return pai_fail(ctx, PAI_E_memory, pai_at_file(file), "to write a tensor");
	int64_t n = pai_tensor_nelem(t);
	for (int64_t i = 0; i < n; i++)
		pai_tensor_set(wide, i, pai_tensor_get(t, i));
	*contents = wide;
	return PAI_OK;
}
