/* move.c -- strided copies and the parameters that operators on shapes share.
 *
 * Transpose, Expand, Slice, Concat, Split and most of Pad are one thing: a box of elements copied
 * between two memories with strides of their own. Elements are bytes here; a string is the pair of
 * pointer and length that stands for it, and types under a byte are unpacked first.
 */
#include "runtime/kernels/move.h"
#include <string.h>

static int packed_bits(const pai_tensor *t)
{
	int bits = pai_dtype_get(t->dtype)->bits;
	return bits > 0 && bits < 8 ? bits : 0;
}

static size_t element_size(const pai_tensor *t)
{
	if (t->dtype == PAI_STRING)
		return sizeof(pai_str);
	return packed_bits(t) ? 1 : (size_t)pai_dtype_get(t->dtype)->bits / 8;
}

pai_status pai_call_room(pai_call *c, int64_t count, size_t size, void **out)
{
	size_t nbytes;
	void *room = NULL;
	if (pai_size_mul((size_t)count, size, &nbytes))
		room = pai_call_scratch(c, nbytes ? nbytes : 1);
	if (!room)
		return pai_call_nomem(c);
	*out = room;
	return PAI_OK;
}

pai_status pai_flat_in(pai_call *c, int input, pai_flat *out)
{
	const pai_tensor *t = c->in[input];
	int bits = packed_bits(t);
	*out = (pai_flat){t->data, element_size(t)};
	if (!bits)
		return PAI_OK;
	int64_t n = pai_tensor_nelem(t);
	void *room = NULL;
	PAI_TRY(pai_call_room(c, n, 1, &room));
	out->at = room;
	for (int64_t i = 0; i < n; i++)
		out->at[i] = (uint8_t)pai_packed_get(t->data, bits, i);
	return PAI_OK;
}

pai_status pai_flat_out(pai_call *c, int o, pai_flat *out)
{
	const pai_tensor *t = c->out[o];
	*out = (pai_flat){t->data, element_size(t)};
	if (!packed_bits(t))
		return PAI_OK;
	void *room = NULL;
	PAI_TRY(pai_call_room(c, pai_tensor_nelem(t), 1, &room));
	out->at = room;
	return PAI_OK;
}

void pai_flat_done(pai_call *c, int o, const pai_flat *f)
{
	pai_tensor *t = c->out[o];
	int bits = packed_bits(t);
	if (!bits)
		return;
	if (t->nbytes)
		memset(t->data, 0, t->nbytes); /* bits past the last element */
	for (int64_t i = 0, n = pai_tensor_nelem(t); i < n; i++)
		pai_packed_set(t->data, bits, i, f->at[i]);
}

void pai_strides(int rank, const int64_t *dims, int64_t *out)
{
	int64_t step = 1;
	for (int i = rank - 1; i >= 0; i--) {
		out[i] = step;
		step *= dims[i];
	}
}

bool pai_box_simplify(const pai_box *b, pai_box *out)
{
	out->rank = 0;
	for (int i = 0; i < b->rank; i++) {
		if (b->dims[i] == 0)
			return false;
		if (b->dims[i] == 1)
			continue;
		int r = out->rank;
		if (r && out->to[r - 1] == b->to[i] * b->dims[i] &&
		    out->from[r - 1] == b->from[i] * b->dims[i]) {
			out->dims[r - 1] *= b->dims[i];
			out->to[r - 1] = b->to[i];
			out->from[r - 1] = b->from[i];
			continue;
		}
		out->dims[r] = b->dims[i];
		out->to[r] = b->to[i];
		out->from[r] = b->from[i];
		out->rank++;
	}
	return true;
}

#define COPY_LINE(T)                                                                              \
	static void line_##T(int64_t n, T *to, int64_t to_step, const T *from, int64_t from_step) \
	{                                                                                         \
		for (int64_t i = 0; i < n; i++)                                                   \
			to[i * to_step] = from[i * from_step];                                    \
	}

COPY_LINE(uint8_t)
COPY_LINE(uint16_t)
COPY_LINE(uint32_t)
COPY_LINE(uint64_t)

static void copy_line(int64_t n, uint8_t *to, int64_t to_step, const uint8_t *from,
		      int64_t from_step, size_t size)
{
	if (to_step == 1 && from_step == 1)
		memcpy(to, from, (size_t)n * size);
	else if (size == 4)
		line_uint32_t(n, (uint32_t *)to, to_step, (const uint32_t *)from, from_step);
	else if (size == 8)
		line_uint64_t(n, (uint64_t *)to, to_step, (const uint64_t *)from, from_step);
	else if (size == 2)
		line_uint16_t(n, (uint16_t *)to, to_step, (const uint16_t *)from, from_step);
	else if (size == 1)
		line_uint8_t(n, to, to_step, from, from_step);
	else
		for (int64_t i = 0; i < n; i++)
			memcpy(to + i * to_step * (int64_t)size,
			       from + i * from_step * (int64_t)size, size);
}

void pai_box_copy(const pai_box *box, uint8_t *to, const uint8_t *from, size_t size)
{
	pai_box b;
	if (!pai_box_simplify(box, &b))
		return;
	if (b.rank == 0) {
		memcpy(to, from, size);
		return;
	}
	int last = b.rank - 1;
	int64_t index[PAI_MAX_RANK] = {0}, step = (int64_t)size;
	for (;;) {
		copy_line(b.dims[last], to, b.to[last], from, b.from[last], size);
		int d = last - 1;
		for (; d >= 0; d--) {
			to += b.to[d] * step;
			from += b.from[d] * step;
			if (++index[d] < b.dims[d])
				break;
			to -= b.to[d] * b.dims[d] * step;
			from -= b.from[d] * b.dims[d] * step;
			index[d] = 0;
		}
		if (d < 0)
			return;
	}
}

pai_status pai_box_call(pai_call *c, const pai_box *b, int64_t first)
{
	pai_flat from, to;
	if (pai_tensor_nelem(c->out[0]) == 0)
		return PAI_OK;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	pai_box_copy(b, to.at, from.at + (size_t)first * from.size, from.size);
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

void pai_fill(uint8_t *to, int64_t count, const void *value, size_t size)
{
	pai_box b = {.rank = 1, .dims = {count}, .to = {1}, .from = {0}};
	pai_box_copy(&b, to, value, size);
}

pai_status pai_call_axis(pai_call *c, int64_t axis, int rank, int *out)
{
	if (axis < -rank || axis >= rank)
		return pai_fail(c->ctx, PAI_E_bad_axis, pai_at_node(c->node),
				"axis %lld is outside a tensor of rank %d", (long long)axis, rank);
	*out = (int)(axis < 0 ? axis + rank : axis);
	return PAI_OK;
}

static pai_status too_many(pai_call *c, const char *attr, long long n)
{
	return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, attr),
			"has %lld elements, at most %d make sense", n, 2 * PAI_MAX_RANK);
}

pai_status pai_call_ints(pai_call *c, const char *attr, int slot, pai_int_list *out)
{
	const pai_tensor *t = slot >= 0 && slot < c->n_in ? c->in[slot] : NULL;
	out->n = -1;
	if (t) {
		if (t->dtype != PAI_INT64 && t->dtype != PAI_INT32)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, slot),
					"is %s, expected integers", pai_dtype_get(t->dtype)->text);
		int64_t n = pai_tensor_nelem(t);
		if (n > 2 * PAI_MAX_RANK)
			return too_many(c, attr, n);
		for (int64_t i = 0; i < n; i++)
			out->at[i] = pai_tensor_get_int(t, i);
		out->n = (int)n;
		return PAI_OK;
	}
	const int64_t *v;
	int n = slot < 0 || c->node->op->n_in <= slot ? pai_node_ints(c->node, attr, &v) : -1;
	if (n > 2 * PAI_MAX_RANK)
		return too_many(c, attr, n);
	out->n = n;
	for (int i = 0; i < n; i++)
		out->at[i] = v[i];
	return PAI_OK;
}
