/* control.c -- tensors between the runs of a body, for If, Loop and Scan.
 *
 * What a body hands out lives only until its next run, so it is copied here at once. Sequences and
 * optional values have no tensor form and are refused before a body runs.
 */
#include "runtime/kernels/control.h"
#include <string.h>

pai_status pai_keep(pai_call *c, pai_kept *k, const pai_tensor *t)
{
	if (t->nbytes > k->capacity || !k->tensor.data) {
		void *room = NULL;
		size_t grown = k->capacity && t->nbytes < SIZE_MAX / 2 ? 2 * t->nbytes : t->nbytes;
		PAI_TRY(pai_call_room(c, 1, grown, &room));
		k->tensor.data = room;
		k->capacity = grown;
	}
	void *data = k->tensor.data;
	k->tensor = *t;
	k->tensor.data = data;
	k->tensor.dims = k->dims;
	pai_copy(k->dims, t->dims, sizeof *t->dims * (size_t)t->rank);
	pai_copy(data, t->data, t->nbytes);
	return PAI_OK;
}

pai_status pai_keep_int(pai_call *c, pai_kept *k, int64_t v)
{
	return pai_keep(c, k, &(pai_tensor){.dtype = PAI_INT64, .data = &v, .nbytes = sizeof v});
}

pai_status pai_keep_bool(pai_call *c, pai_kept *k, bool v)
{
	uint8_t byte = v;
	return pai_keep(c, k, &(pai_tensor){.dtype = PAI_BOOL, .data = &byte, .nbytes = 1});
}

pai_status pai_stack_push(pai_call *c, pai_stack *s, const pai_tensor *t)
{
	if (s->n == 0) {
		if (t->rank == PAI_MAX_RANK)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					"its body gives a tensor of rank %d to be stacked",
					t->rank);
		s->first = *t;
		s->first.dims = s->dims;
		pai_copy(s->dims, t->dims, sizeof *t->dims * (size_t)t->rank);
	} else if (s->first.dtype != t->dtype || !pai_same_shape(&s->first, t)) {
		return pai_fail(
			c->ctx, PAI_E_runtime_shape, pai_at_node(c->node),
			"a scan output of its body changes type or shape between iterations");
	}
	if (s->n == s->room) {
		void *room = NULL;
		int64_t more = s->room ? 2 * s->room : 8;
		PAI_TRY(pai_call_room(c, more, s->first.nbytes, &room));
		pai_copy(room, s->data, (size_t)s->n * s->first.nbytes);
		s->data = room;
		s->room = more;
	}
	pai_copy(s->data + (size_t)s->n * s->first.nbytes, t->data, t->nbytes);
	s->n++;
	return PAI_OK;
}

/* The element tensors with whole bytes to an element, so that they can be moved by strides. */
static pai_status stack_flat(pai_call *c, const pai_stack *s, pai_flat *out)
{
	pai_tensor t = s->first;
	int64_t count = pai_tensor_nelem(&t);
	const pai_tensor *in[1] = {&t};
	pai_call view = *c;
	view.in = in;
	view.n_in = 1;
	uint8_t *to = NULL;
	*out = (pai_flat){NULL, 0};
	for (int64_t i = 0; i < s->n; i++) {
		pai_flat f;
		t.data = s->data + (size_t)i * s->first.nbytes;
		PAI_TRY(pai_flat_in(&view, 0, &f));
		if (f.at == t.data) { /* nothing to unpack */
			*out = (pai_flat){s->data, f.size};
			return PAI_OK;
		}
		void *room = NULL;
		if (!to) {
			PAI_TRY(pai_call_room(c, s->n * count, f.size, &room));
			to = room;
			*out = (pai_flat){to, f.size};
		}
		pai_copy(to + (size_t)(i * count) * f.size, f.at, (size_t)count * f.size);
	}
	return PAI_OK;
}

static pai_status empty_output(pai_call *c, int o, int axis, const pai_type *stated)
{
	int64_t dims[PAI_MAX_RANK];
	int rank = 0;
	for (int i = 0; i < stated->rank && rank < PAI_MAX_RANK - 1; i++, rank++) {
		if (rank == axis)
			dims[rank++] = 0;
		dims[rank] = stated->dims[i] > 0 ? stated->dims[i] : 0;
	}
	if (axis >= rank)
		dims[rank++] = 0;
	return pai_call_output(c, o, stated->dtype, rank, dims);
}

pai_status pai_stack_output(pai_call *c, int o, const pai_stack *s, int64_t axis, bool backwards,
			    const pai_type *stated)
{
	int at, rank = (s->n ? s->first.rank : stated->rank < 0 ? 0 : stated->rank) + 1;
	PAI_TRY(pai_call_axis(c, axis, rank, &at));
	if (s->n == 0)
		return empty_output(c, o, at, stated);
	int64_t dims[PAI_MAX_RANK], strides[PAI_MAX_RANK];
	for (int i = 0; i < rank; i++)
		dims[i] = i == at ? s->n : s->dims[i < at ? i : i - 1];
	PAI_TRY(pai_call_output(c, o, s->first.dtype, rank, dims));
	if (!c->out[o] || pai_tensor_nelem(c->out[o]) == 0)
		return PAI_OK;
	pai_flat from = {NULL, 0}, to;
	PAI_TRY(stack_flat(c, s, &from));
	PAI_TRY(pai_flat_out(c, o, &to));
	pai_box b = {.rank = rank};
	int64_t count = pai_tensor_nelem(&s->first);
	pai_strides(rank, dims, b.to);
	pai_strides(s->first.rank, s->dims, strides);
	for (int i = 0; i < rank; i++) {
		b.dims[i] = dims[i];
		b.from[i] = i == at ? (backwards ? -count : count) : strides[i < at ? i : i - 1];
	}
	size_t start = backwards ? (size_t)((s->n - 1) * count) * from.size : 0;
	pai_box_copy(&b, to.at, from.at + start, from.size);
	pai_flat_done(c, o, &to);
	return PAI_OK;
}

pai_status pai_hand_out(pai_call *c, int o, const pai_tensor *t)
{
	if (!c->out[o])
		return PAI_OK;
	PAI_TRY(pai_call_output(c, o, t->dtype, t->rank, t->dims));
	pai_copy(c->out[o]->data, t->data, t->nbytes);
	return PAI_OK;
}

pai_status pai_call_body(pai_call *c, const char *attr, int n_in, int n_out, const pai_graph **out)
{
	const pai_attr *a = pai_node_attr(c->node, attr);
	if (!a || a->type != PAI_ATTR_GRAPH)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, attr),
				"is missing or no graph");
	const pai_graph *g = a->g;
	if (g->inputs.n != n_in || g->outputs.n != n_out)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, attr),
				"has %d inputs and %d outputs, the node needs %d and %d",
				g->inputs.n, g->outputs.n, n_in, n_out);
	for (int i = 0; i < n_in + n_out; i++) {
		const pai_value *v = i < n_in ? g->inputs.at[i] : g->outputs.at[i - n_in];
		if (v->type.kind != PAI_TYPE_TENSOR && v->type.kind != PAI_TYPE_UNKNOWN)
			return pai_fail(
				c->ctx, PAI_E_no_kernel, pai_at_attr(c->node, attr),
				"passes \"%s\", which is no tensor; that cannot be executed",
				v->name);
	}
	*out = g;
	return PAI_OK;
}

pai_status pai_scalar_input(pai_call *c, int slot, pai_dtype dtype, int64_t *out)
{
	const pai_tensor *t = c->in[slot];
	if (t->dtype != dtype || pai_tensor_nelem(t) != 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, slot),
				"is not one element of %s", pai_dtype_get(dtype)->text);
	*out = pai_tensor_get_int(t, 0);
	return PAI_OK;
}
