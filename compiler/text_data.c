/* text_data.c -- types and tensors of the text form.
 *
 * The list in braces holds the entries of the tensor's typed data field, as ONNX's own parser takes
 * it: numbers; the bit pattern as an integer for float16, bfloat16 and the 8-bit floats; real and
 * imaginary parts in turn for complex; and for 2- and 4-bit types the packed bytes, low bits first.
 * Beyond that parser, 2- and 4-bit types may also be given element by element (the number of
 * entries tells), and {} stands for zeros whatever the shape.
 */
#include "compiler/text.h"
#include <inttypes.h>
#include <string.h>

/* ---- types ---- */

enum { MAX_TYPE_DEPTH = 32 };

static pai_dtype dtype_ahead(text_in *t)
{
	const char *id;
	char name[24] = "";
	size_t n = text_peek_id(t, &id);
	if (!n || n >= sizeof name)
		return PAI_UNDEFINED;
	memcpy(name, id, n);
	return pai_dtype_from_text(name);
}

static pai_status text_dtype(text_in *t, pai_dtype *out)
{
	const char *id;
	*out = dtype_ahead(t);
	if (*out == PAI_UNDEFINED)
		return text_expected(t, "an element type such as float or int64");
	return text_id(t, &id);
}

static const struct wrapper { /* types made of others */
	const char *name;
	pai_type_kind kind;
} wrappers[] = {
	{"seq", PAI_TYPE_SEQUENCE},      {"map", PAI_TYPE_MAP},
	{"optional", PAI_TYPE_OPTIONAL}, {"sparse_tensor", PAI_TYPE_SPARSE_TENSOR},
	{"opaque", PAI_TYPE_UNKNOWN},
};

static const struct wrapper *wrapper_ahead(text_in *t)
{
	for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
		if (text_peek_is(t, wrappers[i].name))
			return &wrappers[i];
	return NULL;
}

bool text_peek_type(text_in *t)
{
	return dtype_ahead(t) != PAI_UNDEFINED || wrapper_ahead(t);
}

static pai_status dim(text_in *t, pai_dim *out)
{
	if (text_accept(t, '?')) {
		*out = PAI_DIM_UNKNOWN;
		return PAI_OK;
	}
	int c = text_peek(t);
	if (c == '"' || text_id_start(c)) {
		const char *name;
		PAI_TRY(text_name(t, &name));
		*out = *name ? pai_dim_symbol(t->ctx, name) : PAI_DIM_UNKNOWN;
		return PAI_OK;
	}
	int64_t v;
	PAI_TRY(text_int(t, &v));
	*out = v < 0 ? PAI_DIM_UNKNOWN : v;
	return PAI_OK;
}

/* What follows the element type: nothing (rank 0), [] (unknown rank), [dims]. */
static pai_status shape(text_in *t, pai_type *out)
{
	PAI_VEC(pai_dim) dims = {0};
	out->rank = 0;
	if (!text_accept(t, '['))
		return PAI_OK;
	if (text_accept(t, ']')) {
		out->rank = -1;
		return PAI_OK;
	}
	do {
		pai_dim d;
		PAI_TRY(dim(t, &d));
		PAI_PUSH(t->arena, dims, d);
		PAI_TRY(text_limit(t, "dimensions", (uint64_t)dims.n, t->ctx->limits.rank));
	} while (text_accept(t, ','));
	out->rank = dims.n;
	out->dims = dims.at;
	return text_match(t, ']');
}

static pai_status wrapped(text_in *t, pai_type *out)
{
	const char *id;
	out->kind = wrapper_ahead(t)->kind;
	if (out->kind == PAI_TYPE_UNKNOWN)
		return text_fail(t, PAI_E_text_unsupported, "opaque types are not supported");
	PAI_TRY(text_id(t, &id));
	PAI_TRY(text_match(t, '('));
	out->rank = -1;
	if (out->kind == PAI_TYPE_SPARSE_TENSOR) {
		PAI_TRY(text_dtype(t, &out->dtype));
		PAI_TRY(shape(t, out));
		return text_match(t, ')');
	}
	if (out->kind == PAI_TYPE_MAP) {
		PAI_TRY(text_dtype(t, &out->dtype));
		PAI_TRY(text_match(t, ','));
	}
	pai_type *elem = PAI_NEW(t->arena, pai_type);
	PAI_TRY(text_type(t, elem));
	out->elem = elem;
	return text_match(t, ')');
}

pai_status text_type(text_in *t, pai_type *out)
{
	if (wrapper_ahead(t)) {
		PAI_TRY(text_limit(t, "nested types", (uint64_t)++t->depth, MAX_TYPE_DEPTH));
		PAI_TRY(wrapped(t, out));
		t->depth--;
		return PAI_OK;
	}
	if (dtype_ahead(t) == PAI_UNDEFINED)
		return text_expected(t, "a type");
	out->kind = PAI_TYPE_TENSOR;
	PAI_TRY(text_dtype(t, &out->dtype));
	return shape(t, out);
}

/* ---- tensors ---- */

/* Range of the integers that may stand for one entry of nbytes bytes. */
static pai_status entry_range(text_in *t, const pai_tensor *x, text_num num, int bits,
			      uint64_t *out)
{
	const pai_dtype_info *info = pai_dtype_get((int)x->dtype);
	bool is_signed = info->kind == PAI_KIND_SIGNED;
	if (num.is_float && info->kind == PAI_KIND_FLOAT)
		return text_fail(t, PAI_E_text_number,
				 "%s is written by its bits as an integer, not as %.*s", info->text,
				 (int)(num.n < 40 ? num.n : 40), num.s);
	if (!is_signed && num.s[0] != '-') {
		PAI_TRY(text_num_uint(t, num, out));
		if (bits < 64 && *out >> bits)
			return text_fail(t, PAI_E_text_number, "%" PRIu64 " does not fit in %s",
					 *out, info->text);
		return PAI_OK;
	}
	int64_t v;
	PAI_TRY(text_num_int(t, num, &v));
	int64_t most = is_signed ? INT64_MAX >> (64 - bits) : INT64_MAX;
	int64_t least = is_signed ? -most - 1 : 0;
	if (v < least || v > most)
		return text_fail(t, PAI_E_text_number, "%" PRId64 " does not fit in %s", v,
				 info->text);
	*out = (uint64_t)v;
	return PAI_OK;
}

static pai_status put_integer(text_in *t, pai_tensor *x, int64_t i)
{
	int bits = pai_dtype_get((int)x->dtype)->bits;
	text_num num;
	uint64_t v;
	PAI_TRY(text_number(t, &num));
	PAI_TRY(entry_range(t, x, num, bits, &v));
	if (x->dtype == PAI_BOOL && v > 1)
		return text_fail(t, PAI_E_text_number, "%" PRIu64 " is no bool; 0 or 1 is", v);
	size_t nbytes = (size_t)bits / 8;
	memcpy((char *)x->data + (size_t)i * nbytes, &v, nbytes); /* little-endian */
	return PAI_OK;
}

static pai_status put_float(text_in *t, pai_tensor *x, int64_t i)
{
	text_num num;
	PAI_TRY(text_number(t, &num));
	return text_num_float(t, num, (float *)x->data + i);
}

static pai_status put_double(text_in *t, pai_tensor *x, int64_t i)
{
	text_num num;
	PAI_TRY(text_number(t, &num));
	return text_num_double(t, num, (double *)x->data + i);
}

static pai_status put_string(text_in *t, pai_tensor *x, int64_t i)
{
	return text_string(t, (pai_str *)x->data + i);
}

/* An entry of a packed type goes to an array of int16 beside the tensor first. */
static pai_status put_packed(text_in *t, pai_tensor *x, int64_t i)
{
	int64_t v;
	PAI_TRY(text_int(t, &v));
	if (v < -128 || v > 255)
		return text_fail(t, PAI_E_text_number, "%" PRId64 " does not fit in a byte", v);
	((int16_t *)x->data)[i] = (int16_t)v;
	return PAI_OK;
}

/* Entries to bytes: n_entries is the number of elements, or of packed bytes. */
static pai_status pack(text_in *t, pai_tensor *x, const int16_t *entries, int64_t n, int64_t nelem)
{
	const pai_dtype_info *info = pai_dtype_get((int)x->dtype);
	int bits = info->bits;
	bool elements = n == nelem;
	uint8_t *to = x->data;
	memset(to, 0, x->nbytes);
	for (int64_t i = 0; i < n; i++) {
		int least = info->kind == PAI_KIND_SIGNED ? -(1 << (bits - 1)) : 0;
		if (!elements)
			to[i] = (uint8_t)entries[i];
		else if (entries[i] < least || (entries[i] >= 1 << bits && nelem > 1))
			return text_fail(t, PAI_E_text_number, "%d does not fit in %s", entries[i],
					 info->text);
		else
			pai_packed_set(to, bits, i, (unsigned)entries[i]);
	}
	return PAI_OK;
}

typedef pai_status (*put_fn)(text_in *t, pai_tensor *x, int64_t i);

static put_fn put_of(pai_dtype d)
{
	switch (d) {
	case PAI_FLOAT:
	case PAI_COMPLEX64:
		return put_float;
	case PAI_DOUBLE:
	case PAI_COMPLEX128:
		return put_double;
	case PAI_STRING:
		return put_string;
	default:
		return pai_dtype_get((int)d)->bits < 8 ? put_packed : put_integer;
	}
}

static bool is_packed(pai_dtype d)
{
	int bits = pai_dtype_get((int)d)->bits;
	return bits > 0 && bits < 8;
}

/* Entries after the '{' up to and with the '}'. */
static pai_status entries(text_in *t, pai_tensor *x, int64_t most, int64_t *n)
{
	put_fn put = put_of(x->dtype);
	*n = 0;
	do {
		if (*n == most)
			return text_fail(t, PAI_E_text_count,
					 "more than the %" PRId64 " entries of the type", most);
		PAI_TRY(put(t, x, *n));
		++*n;
	} while (text_accept(t, ','));
	return text_match(t, '}');
}

static pai_status wrong_count(text_in *t, int64_t n, int64_t expected)
{
	return text_fail(t, PAI_E_text_count, "%" PRId64 " entries where the type needs %" PRId64,
			 n, expected);
}

static void *room(text_in *t, size_t nbytes)
{
	return nbytes ? pai_arena_bulk(t->arena, nbytes) : NULL;
}

/* {}: zeros. What little text can ask for so is limited. */
static pai_status zeros(text_in *t, pai_tensor *x, int64_t nelem)
{
	if (nelem == 0)
		return PAI_OK;
	if (x->dtype == PAI_STRING)
		return wrong_count(t, 0, nelem);
	PAI_TRY(text_limit(t, "bytes in tensors written as {}", (t->zero_nbytes += x->nbytes),
			   t->ctx->limits.folded_bytes));
	x->data = room(t, x->nbytes);
	if (!x->data)
		return text_fail(t, PAI_E_memory, "no memory for a tensor of %zu bytes", x->nbytes);
	memset(x->data, 0, x->nbytes);
	return PAI_OK;
}

static pai_status internal(text_in *t, pai_tensor *x, int64_t nelem)
{
	bool packed = is_packed(x->dtype);
	int64_t parts = pai_dtype_get((int)x->dtype)->kind == PAI_KIND_COMPLEX ? 2 : 1, n;
	if (text_accept(t, '}'))
		return zeros(t, x, nelem);
	/* Each entry takes a digit and a comma, so this bounds what is allocated by the text. */
	int64_t dense = packed ? (int64_t)x->nbytes : nelem * parts;
	if ((uint64_t)dense > (t->n - t->at + 1) / 2)
		return text_fail(t, PAI_E_text_count,
				 "fewer entries than the %" PRId64 " of the type", dense);
	size_t nbytes = packed ? (size_t)nelem * sizeof(int16_t) : x->nbytes;
	if (!(x->data = room(t, nbytes)) && nelem)
		return text_fail(t, PAI_E_memory, "no memory for a tensor of %zu bytes", nbytes);
	PAI_TRY(entries(t, x, nelem * parts, &n));
	if (n != nelem * parts && !(packed && n == dense))
		return wrong_count(t, n, dense);
	if (!packed)
		return PAI_OK;
	const int16_t *given = x->data;
	if (!(x->data = room(t, x->nbytes)))
		return text_fail(t, PAI_E_memory, "no memory for a tensor of %zu bytes", x->nbytes);
	return pack(t, x, given, n, nelem);
}

static pai_status external(text_in *t, pai_tensor *x)
{
	pai_props *stored = PAI_NEW(t->arena, pai_props);
	PAI_TRY(text_props(t, stored));
	x->external = stored;
	return PAI_OK;
}

pai_status text_tensor(text_in *t, const pai_type *type, const char *name, pai_tensor **out)
{
	if (type->kind != PAI_TYPE_TENSOR || type->rank < 0)
		return text_fail(t, PAI_E_text_type,
				 "a tensor needs an element type and all its sizes");
	pai_tensor *x = PAI_NEW(t->arena, pai_tensor);
	x->name = name;
	x->dtype = type->dtype;
	x->rank = type->rank;
	x->dims = PAI_NEWS(t->arena, int64_t, type->rank);
	for (int i = 0; i < type->rank; i++) {
		if (type->dims[i] < 0)
			return text_fail(t, PAI_E_text_type,
					 "a tensor needs numbers for all its sizes");
		x->dims[i] = type->dims[i];
	}
	if (!pai_tensor_nbytes(x->dtype, x->rank, x->dims, &x->nbytes))
		return text_fail(t, PAI_E_text_type, "the tensor is too large to address");
	int64_t nelem = pai_tensor_nelem(x);
	PAI_TRY(text_limit(t, "elements in a tensor", (uint64_t)nelem,
			   t->ctx->limits.tensor_elements));
	*out = x;
	if (text_accept(t, '{'))
		return internal(t, x, nelem);
	if (text_peek(t) == '[')
		return external(t, x);
	return zeros(t, x, nelem);
}
