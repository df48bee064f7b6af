/* text_out.c -- the tokens of the text form: names, numbers, strings, types, tensors. */
#include "compiler/text_out.h"
#include <inttypes.h>
#include <string.h>

void text_flush(text_out *o)
{
	if (o->n)
		o->put(o->payload, o->buf, o->n);
	o->n = 0;
}

static void put(text_out *o, const char *s, size_t n)
{
	if (n > sizeof o->buf - o->n)
		text_flush(o);
	if (n > sizeof o->buf) {
		o->put(o->payload, s, n);
		return;
	}
	memcpy(o->buf + o->n, s, n);
	o->n += n;
}

void text_puts(text_out *o, const char *s)
{
	put(o, s, strlen(s));
}

void text_put_int(text_out *o, int64_t v)
{
	char buf[24];
	put(o, buf, (size_t)snprintf(buf, sizeof buf, "%" PRId64, v));
}

static void put_uint(text_out *o, uint64_t v)
{
	char buf[24];
	put(o, buf, (size_t)snprintf(buf, sizeof buf, "%" PRIu64, v));
}

void text_put_float(text_out *o, float v)
{
	char buf[TEXT_NUMBER];
	put(o, buf, (size_t)text_from_float(buf, v));
}

static void put_double(text_out *o, double v)
{
	char buf[TEXT_NUMBER];
	put(o, buf, (size_t)text_from_double(buf, v));
}

void text_put_quoted(text_out *o, const char *s, size_t n, bool note)
{
	size_t from = 0;
	text_puts(o, "\"");
	for (size_t i = 0; i < n; i++) {
		bool line = note && (s[i] == '\n' || s[i] == '\r');
		if (s[i] != '"' && s[i] != '\\' && !line)
			continue;
		put(o, s + from, i - from);
		text_puts(o, line ? s[i] == '\n' ? "\\n" : "\\r" : s[i] == '"' ? "\\\"" : "\\\\");
		from = i + 1;
	}
	put(o, s + from, n - from);
	text_puts(o, "\"");
}

void text_put_string(text_out *o, const char *s)
{
	text_put_quoted(o, s, strlen(s), false);
}

bool text_is_id(const char *s)
{
	if (!text_id_start((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!text_id_start((unsigned char)*s) && (*s < '0' || *s > '9'))
			return false;
	return true;
}

void text_put_id(text_out *o, const char *s)
{
	if (text_is_id(s))
		text_puts(o, s);
	else
		text_put_string(o, s);
}

void text_put_untyped(text_out *o, const char *s)
{
	static const char *const types[] = {"seq", "map", "optional", "sparse_tensor", "opaque"};
	bool is_type = pai_dtype_from_text(s) != PAI_UNDEFINED;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		is_type |= strcmp(s, types[i]) == 0;
	if (is_type)
		text_put_string(o, s);
	else
		text_put_id(o, s);
}

void text_line(text_out *o)
{
	text_puts(o, "\n");
	for (int i = 0; i < o->depth; i++)
		text_puts(o, "   ");
}

static void put_dims(text_out *o, int rank, const pai_dim *dims)
{
	if (rank < 0)
		text_puts(o, "[]");
	for (int i = 0; i < rank; i++) {
		text_puts(o, i ? "," : "[");
		if (dims[i] == PAI_DIM_UNKNOWN)
			text_puts(o, "?");
		else if (dims[i] >= 0)
			text_put_int(o, dims[i]);
		else
			text_put_id(o, pai_dim_text(o->ctx, dims[i]));
	}
	if (rank > 0)
		text_puts(o, "]");
}

void text_put_type(text_out *o, const pai_type *t)
{
	static const char *const wrappers[] = {
		[PAI_TYPE_SPARSE_TENSOR] = "sparse_tensor(",
		[PAI_TYPE_SEQUENCE] = "seq(",
		[PAI_TYPE_OPTIONAL] = "optional(",
		[PAI_TYPE_MAP] = "map(",
	};
	const char *dtype = pai_dtype_get((int)t->dtype)->text;
	if (t->kind == PAI_TYPE_TENSOR) {
		text_puts(o, dtype);
		put_dims(o, t->rank, t->dims);
		return;
	}
	text_puts(o, wrappers[t->kind]);
	if (t->kind == PAI_TYPE_SPARSE_TENSOR) {
		text_puts(o, dtype);
		put_dims(o, t->rank, t->dims);
	} else if (t->kind == PAI_TYPE_MAP) {
		text_puts(o, dtype);
		text_puts(o, ", ");
	}
	if (t->kind != PAI_TYPE_SPARSE_TENSOR && t->elem)
		text_put_type(o, t->elem);
	text_puts(o, ")");
}

/* Entry i of the typed data field, see text_data.c. */
static void put_entry(text_out *o, const pai_tensor *t, int64_t i)
{
	const pai_dtype_info *info = pai_dtype_get((int)t->dtype);
	size_t nbytes = info->bits < 8 ? 1 : (size_t)info->bits / 8;
	const uint8_t *at = (const uint8_t *)t->data + (size_t)i * nbytes;
	if (t->dtype == PAI_FLOAT || t->dtype == PAI_COMPLEX64) {
		text_put_float(o, ((const float *)t->data)[i]);
	} else if (t->dtype == PAI_DOUBLE || t->dtype == PAI_COMPLEX128) {
		put_double(o, ((const double *)t->data)[i]);
	} else if (t->dtype == PAI_STRING) {
		const pai_str *s = (const pai_str *)t->data + i;
		text_put_quoted(o, s->at, s->n, false);
	} else {
		uint64_t v = 0;
		memcpy(&v, at, nbytes); /* little-endian */
		if (info->kind == PAI_KIND_SIGNED && info->bits >= 8)
			text_put_int(o, (int64_t)(v << (64 - info->bits)) >> (64 - info->bits));
		else
			put_uint(o, v);
	}
}

static int64_t count_entries(const pai_tensor *t)
{
	const pai_dtype_info *info = pai_dtype_get((int)t->dtype);
	if (info->bits > 0 && info->bits < 8)
		return (int64_t)t->nbytes;
	return pai_tensor_nelem(t) * (info->kind == PAI_KIND_COMPLEX ? 2 : 1);
}

void text_put_contents(text_out *o, const pai_tensor *t)
{
	const pai_props *e = o->stored ? o->stored->of(o->stored->payload, t) : t->external;
	if (e) {
		for (int i = 0; i < e->n; i++) {
			text_puts(o, i ? ", " : "[");
			text_put_string(o, e->at[i].key);
			text_puts(o, ": ");
			text_put_string(o, e->at[i].value);
		}
		text_puts(o, "]");
		return;
	}
	int64_t n = t->data ? count_entries(t) : 0;
	int64_t shown = o->elide > 0 && o->elide < n ? o->elide : n;
	text_puts(o, "{");
	for (int64_t i = 0; i < shown; i++) {
		if (i)
			text_puts(o, ",");
		put_entry(o, t, i);
	}
	text_puts(o, shown < n ? ", ...}" : "}");
}

void text_put_tensor_type(text_out *o, const pai_tensor *t)
{
	text_puts(o, pai_dtype_get((int)t->dtype)->text);
	put_dims(o, t->rank, t->dims);
}

void text_put_tensor(text_out *o, const pai_tensor *t, bool single)
{
	text_put_tensor_type(o, t);
	text_puts(o, " ");
	if (t->name && *t->name && (!single || text_is_id(t->name))) {
		text_put_id(o, t->name);
		text_puts(o, " ");
	}
	text_put_contents(o, t);
}
