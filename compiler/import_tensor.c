/* import_tensor.c -- tensors and types of a message.
 *
 * A message holds contents in one of three ways: raw bytes, a list of numbers of one of five C
 * types, or outside the file. The first is what the rest of the program works on; lists are taken
 * as they are where they have the same layout, else converted once.
 */
#include "compiler/wire.h"
#include <inttypes.h>
#include <string.h>

bool pai_origin_is(const void *origin, const ProtobufCMessageDescriptor *type)
{
	return origin && ((const ProtobufCMessage *)origin)->descriptor == type;
}

static const pai_dim *import_shape(pai_ctx *ctx, pai_arena *a, const Onnx__TensorShapeProto *p)
{
	pai_dim *dims = PAI_NEWS(a, pai_dim, p->n_dim);
	for (size_t i = 0; i < p->n_dim; i++) {
		const Onnx__TensorShapeProto__Dimension *d = p->dim[i];
		dims[i] = PAI_DIM_UNKNOWN;
		if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
		    d->dim_value >= 0) /* some exporters write -1 for what they do not know */
			dims[i] = d->dim_value;
		if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
		    *d->dim_param)
			dims[i] = pai_dim_symbol(ctx, d->dim_param);
	}
	return dims;
}

static void tensor_type(pai_ctx *ctx, pai_arena *a, int32_t dtype,
			const Onnx__TensorShapeProto *shape, pai_type *out)
{
	out->dtype = dtype > 0 && dtype < PAI_DTYPE_COUNT ? (pai_dtype)dtype : PAI_UNDEFINED;
	out->rank = shape ? (int)shape->n_dim : -1;
	out->dims = shape ? (pai_dim *)import_shape(ctx, a, shape) : NULL;
}

static const pai_type *element(pai_ctx *ctx, pai_arena *a, const Onnx__TypeProto *p)
{
	pai_type *t = PAI_NEW(a, pai_type);
	t->rank = -1;
	if (p)
		pai_import_type(ctx, a, p, t);
	return t;
}

void pai_import_type(pai_ctx *ctx, pai_arena *a, const Onnx__TypeProto *p, pai_type *out)
{
	*out = (pai_type){.rank = -1};
	switch (p->value_case) {
	case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
		out->kind = PAI_TYPE_TENSOR;
		tensor_type(ctx, a, p->tensor_type->elem_type, p->tensor_type->shape, out);
		break;
	case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
		out->kind = PAI_TYPE_SPARSE_TENSOR;
		tensor_type(ctx, a, p->sparse_tensor_type->elem_type, p->sparse_tensor_type->shape,
			    out);
		break;
	case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
		out->kind = PAI_TYPE_SEQUENCE;
		out->elem = element(ctx, a, p->sequence_type->elem_type);
		break;
	case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
		out->kind = PAI_TYPE_OPTIONAL;
		out->elem = element(ctx, a, p->optional_type->elem_type);
		break;
	case ONNX__TYPE_PROTO__VALUE_MAP_TYPE:
		out->kind = PAI_TYPE_MAP;
		tensor_type(ctx, a, p->map_type->key_type, NULL, out);
		out->elem = element(ctx, a, p->map_type->value_type);
		break;
	case ONNX__TYPE_PROTO__VALUE_OPAQUE_TYPE:
	case ONNX__TYPE_PROTO__VALUE__NOT_SET:
	case _ONNX__TYPE_PROTO__VALUE__CASE_IS_INT_SIZE:
		break;
	}
}

/* A list of numbers in a message. */
typedef struct list {
	const char *name;
	const void *at;
	size_t n, width; /* elements, bytes of each */
} list;

static list list_of(const Onnx__TensorProto *p, pai_dtype dtype)
{
	switch ((int)dtype) {
	case PAI_FLOAT:
	case PAI_COMPLEX64:
		return (list){"float_data", p->float_data, p->n_float_data, 4};
	case PAI_DOUBLE:
	case PAI_COMPLEX128:
		return (list){"double_data", p->double_data, p->n_double_data, 8};
	case PAI_INT64:
		return (list){"int64_data", p->int64_data, p->n_int64_data, 8};
	case PAI_UINT32:
	case PAI_UINT64:
		return (list){"uint64_data", p->uint64_data, p->n_uint64_data, 8};
	default: /* everything else of at most 32 bits */
		return (list){"int32_data", p->int32_data, p->n_int32_data, 4};
	}
}

/* Bytes of the tensor that one element of the list stands for: a complex number takes two elements,
 * a byte of 2- or 4-bit numbers one. */
static size_t bytes_of_element(pai_dtype dtype)
{
	const pai_dtype_info *info = pai_dtype_get((int)dtype);
	if (info->kind == PAI_KIND_COMPLEX)
		return (size_t)info->bits / 16;
	return info->bits < 8 ? 1 : (size_t)info->bits / 8;
}

static pai_status take_list(pai_ctx *ctx, pai_arena *a, pai_where at, const Onnx__TensorProto *p,
			    pai_tensor *t)
{
	list l = list_of(p, t->dtype);
	size_t width = bytes_of_element(t->dtype), want = t->nbytes / width;
	if (l.n != want)
		return pai_fail(ctx, PAI_E_tensor_contents, at,
				"%s has %zu elements, the shape needs %zu", l.name, l.n, want);
	if (width == l.width) {
		t->data = (void *)l.at;
		return PAI_OK;
	}
	uint8_t *to = pai_arena_bulk(a, t->nbytes);
	if (!to)
		return pai_fail(ctx, PAI_E_memory, at, "%zu bytes", t->nbytes);
	const uint8_t *from = l.at;
	for (size_t i = 0; i < l.n; i++)
		memcpy(to + i * width, from + i * l.width, width);
	t->data = to;
	return PAI_OK;
}

static pai_status take_strings(pai_ctx *ctx, pai_arena *a, pai_where at, const Onnx__TensorProto *p,
			       pai_tensor *t)
{
	size_t want = t->nbytes / sizeof(pai_str);
	if (p->n_string_data != want)
		return pai_fail(ctx, PAI_E_tensor_contents, at,
				"string_data has %zu elements, the shape needs %zu",
				p->n_string_data, want);
	pai_str *s = PAI_NEWS(a, pai_str, want);
	for (size_t i = 0; i < want; i++)
		s[i] = (pai_str){(const char *)p->string_data[i].data, p->string_data[i].len};
	t->data = s;
	return PAI_OK;
}

static pai_status take_raw(pai_ctx *ctx, pai_where at, const Onnx__TensorProto *p, pai_tensor *t)
{
	if (p->raw_data.len != t->nbytes)
		return pai_fail(ctx, PAI_E_tensor_contents, at,
				"raw_data has %zu bytes, type and shape need %zu", p->raw_data.len,
				t->nbytes);
	t->data = p->raw_data.data;
	return PAI_OK;
}

static pai_status take_contents(pai_ctx *ctx, pai_arena *a, pai_where at,
				const Onnx__TensorProto *p, pai_tensor *t)
{
	if (p->data_location == 1) {
		if (t->dtype == PAI_STRING)
			return pai_fail(ctx, PAI_E_unsupported_form, at,
					"strings cannot be stored outside the model");
		pai_props *e = PAI_NEW(a, pai_props);
		for (size_t i = 0; i < p->n_external_data; i++) {
			const Onnx__StringStringEntryProto *entry = p->external_data[i];
			pai_prop item = {entry->key ? entry->key : "",
					 entry->value ? entry->value : ""};
			PAI_PUSH(a, *e, item);
		}
		t->external = e;
		return PAI_OK;
	}
	if (t->dtype == PAI_STRING && !p->raw_data.len)
		return take_strings(ctx, a, at, p, t);
	if (t->dtype == PAI_STRING)
		return pai_fail(ctx, PAI_E_tensor_contents, at, "strings in raw_data");
	if (p->has_raw_data && (p->raw_data.len || !list_of(p, t->dtype).n))
		return take_raw(ctx, at, p, t);
	return take_list(ctx, a, at, p, t);
}

/* Type and size, without contents. */
static pai_status new_tensor(pai_ctx *ctx, pai_arena *a, pai_where at, int32_t dtype, size_t rank,
			     const int64_t *dims, pai_tensor **out)
{
	if (dtype <= 0 || dtype >= PAI_DTYPE_COUNT)
		return pai_fail(ctx, PAI_E_unsupported_form, at, "element type %d does not exist",
				(int)dtype);
	if (rank > ctx->limits.rank || rank > PAI_MAX_RANK)
		return pai_fail(ctx, PAI_E_limit, at,
				"%zu dimensions are over the limit rank of %u", rank, PAI_MAX_RANK);
	for (size_t i = 0; i < rank; i++)
		if (dims[i] < 0)
			return pai_fail(ctx, PAI_E_tensor_contents, at, "dimension %zu is %" PRId64,
					i, dims[i]);
	pai_tensor *t = PAI_NEW(a, pai_tensor);
	t->dtype = (pai_dtype)dtype;
	t->rank = (int)rank;
	t->dims = (int64_t *)dims;
	if (!pai_tensor_nbytes(t->dtype, t->rank, dims, &t->nbytes) ||
	    (uint64_t)pai_tensor_nelem(t) > ctx->limits.tensor_elements)
		return pai_fail(ctx, PAI_E_limit, at,
				"has more elements than the limit tensor_elements of %" PRIu64,
				ctx->limits.tensor_elements);
	*out = t;
	return PAI_OK;
}

pai_status pai_import_tensor(pai_ctx *ctx, pai_arena *a, pai_where at, const Onnx__TensorProto *p,
			     pai_tensor **out)
{
	pai_tensor *t = NULL;
	if (p->segment)
		return pai_fail(ctx, PAI_E_unsupported_form, at, "a tensor in segments");
	PAI_TRY(new_tensor(ctx, a, at, p->data_type, p->n_dims, p->dims, &t));
	t->name = p->name;
	t->origin = p;
	if (t->nbytes || p->data_location == 1 || p->raw_data.len)
		PAI_TRY(take_contents(ctx, a, at, p, t));
	*out = t;
	return PAI_OK;
}

/* Place of the k-th listed element: indices are [n] into the flat tensor, or [n, rank]; -1: none.
 */
static int64_t place(const pai_tensor *t, const pai_tensor *indices, int64_t k)
{
	int64_t at = 0;
	if (indices->rank == 1) {
		at = pai_tensor_get_int(indices, k);
		return at < pai_tensor_nelem(t) ? at : -1;
	}
	for (int i = 0; i < t->rank; i++) {
		int64_t index = pai_tensor_get_int(indices, k * t->rank + i);
		if (index < 0 || index >= t->dims[i])
			return -1;
		at = at * t->dims[i] + index;
	}
	return at;
}

/* Copies element k of one tensor to place i of another of the type. */
static void copy_element(pai_tensor *to, int64_t i, const pai_tensor *from, int64_t k)
{
	int bits = pai_dtype_get((int)to->dtype)->bits;
	uint8_t *out = to->data;
	const uint8_t *in = from->data;
	if (bits == 0 || bits >= 8) {
		size_t width = bits ? (size_t)bits / 8 : sizeof(pai_str);
		memcpy(out + (size_t)i * width, in + (size_t)k * width, width);
		return;
	}
	pai_packed_set(out, bits, i, pai_packed_get(in, bits, k));
}

/* All elements that are not listed are zero, or empty strings. */
static pai_status fill_sparse(pai_ctx *ctx, pai_arena *a, pai_where at, const pai_tensor *values,
			      const pai_tensor *indices, pai_tensor *t)
{
	if (!t->nbytes)
		return PAI_OK;
	t->data = pai_arena_bulk(a, t->nbytes);
	if (!t->data)
		return pai_fail(ctx, PAI_E_memory, at, "%zu bytes", t->nbytes);
	memset(t->data, 0, t->nbytes);
	for (int64_t i = 0; t->dtype == PAI_STRING && i < pai_tensor_nelem(t); i++)
		((pai_str *)t->data)[i].at = "";
	for (int64_t k = 0; k < pai_tensor_nelem(values); k++) {
		int64_t i = place(t, indices, k);
		if (i < 0)
			return pai_fail(ctx, PAI_E_tensor_contents, at,
					"index %" PRId64 " of a sparse tensor is out of range", k);
		copy_element(t, i, values, k);
	}
	return PAI_OK;
}

pai_status pai_import_sparse(pai_ctx *ctx, pai_arena *a, pai_where at,
			     const Onnx__SparseTensorProto *p, pai_tensor **out)
{
	pai_tensor *t = NULL, *values = NULL, *indices = NULL;
	if (!p->values || !p->indices)
		return pai_fail(ctx, PAI_E_model_part, at,
				"a sparse tensor needs values and indices");
	PAI_TRY(pai_import_tensor(ctx, a, at, p->values, &values));
	PAI_TRY(pai_import_tensor(ctx, a, at, p->indices, &indices));
	PAI_TRY(new_tensor(ctx, a, at, p->values->data_type, p->n_dims, p->dims, &t));
	t->name = p->values->name;
	t->origin = p;
	*out = t;
	int64_t n = pai_tensor_nelem(values);
	bool flat = indices->rank == 1 && indices->dims[0] == n;
	bool full = indices->rank == 2 && indices->dims[0] == n && indices->dims[1] == t->rank;
	if (values->rank != 1 || indices->dtype != PAI_INT64 || !(flat || full))
		return pai_fail(ctx, PAI_E_tensor_contents, at,
				"values and indices of a sparse tensor do not fit");
	if (values->external || indices->external)
		return pai_fail(ctx, PAI_E_unsupported_form, at,
				"a sparse tensor outside the model file");
	if (t->nbytes > ctx->limits.folded_bytes)
		return pai_fail(ctx, PAI_E_limit, at,
				"a sparse tensor takes %zu bytes in full, the limit folded_bytes "
				"is %" PRIu64,
				t->nbytes, ctx->limits.folded_bytes);
	return fill_sparse(ctx, a, at, values, indices, t);
}

pai_status pai_tensor_parse(pai_ctx *ctx, pai_arena *a, const char *file, const void *bytes,
			    size_t n, pai_tensor **out)
{
	ProtobufCMessage *m = NULL;
	PAI_TRY(pai_wire_decode(ctx, a, file, &onnx__tensor_proto__descriptor, bytes, n, &m));
	PAI_TRY(pai_import_tensor(ctx, a, pai_at_file(file), (Onnx__TensorProto *)m, out));
	if ((*out)->external)
		return pai_fail(ctx, PAI_E_unsupported_form, pai_at_file(file),
				"external data of a single tensor");
	return PAI_OK;
}
