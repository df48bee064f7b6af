/* pad.c -- Pad in all its modes: for each axis a map from places of the output to places of the
 * input.
 *
 * A place that no input element stands behind (mode constant) is -1. Negative pads crop; the maps
 * do not care. The adjoint adds along the same maps.
 */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/gemm.h"
#include <string.h>

typedef struct pad_map {
	int rank;
	int64_t inner[PAI_MAX_RANK], outer[PAI_MAX_RANK]; /* dims before and after padding */
	int64_t *at[PAI_MAX_RANK]; /* [outer]: offset of the input element along this axis, or -1 */
} pad_map;

/* Source of place i (counted from the first input element) in an axis of n > 0 elements. */
static int64_t source(char mode, int64_t i, int64_t n)
{
	if (i >= 0 && i < n)
		return i;
	if (mode == 'e')
		return i < 0 ? 0 : n - 1;
	if (mode == 'w') {
		int64_t r = i % n;
		return r < 0 ? r + n : r;
	}
	if (mode == 'r') { /* the edges are not repeated: a wave of period 2n - 2 */
		int64_t period = n > 1 ? 2 * n - 2 : 1, r = i % period;
		r += r < 0 ? period : 0;
		return r < n ? r : period - r;
	}
	return -1;
}

/* Pads of the axes, begins and ends, from the operator's list, which may be for some axes only. */
static pai_status pad_widths(pai_call *c, int rank, int pads_slot, int axes_slot, int64_t *begin,
			     int64_t *end)
{
	pai_int_list pads, axes;
	PAI_TRY(pai_call_ints(c, c->node->op->since == 1 ? "paddings" : "pads", pads_slot, &pads));
	PAI_TRY(pai_call_ints(c, "axes", axes_slot, &axes));
	int n = axes.n < 0 ? rank : axes.n;
	if (pads.n != 2 * n)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"has %d pads for %d axes", pads.n < 0 ? 0 : pads.n, n);
	for (int i = 0; i < rank; i++)
		begin[i] = end[i] = 0;
	for (int i = 0; i < n; i++) {
		int axis = i;
		if (axes.n >= 0)
			PAI_TRY(pai_call_axis(c, axes.at[i], rank, &axis));
		begin[axis] = pads.at[i];
		end[axis] = pads.at[n + i];
	}
	return PAI_OK;
}

static pai_status pad_maps(pai_call *c, int pads_slot, int axes_slot, int rank, const int64_t *dims,
			   pad_map *m)
{
	const char *mode = pai_node_string(c->node, "mode", "constant");
	if (strcmp(mode, "constant") != 0 && strcmp(mode, "reflect") != 0 &&
	    strcmp(mode, "edge") != 0 && strcmp(mode, "wrap") != 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "mode"),
				"is none of constant, reflect, edge, wrap");
	int64_t begin[PAI_MAX_RANK], end[PAI_MAX_RANK], strides[PAI_MAX_RANK];
	PAI_TRY(pad_widths(c, rank, pads_slot, axes_slot, begin, end));
	pai_strides(rank, dims, strides);
	m->rank = rank;
	for (int i = 0; i < rank; i++) {
		m->inner[i] = dims[i];
		int64_t last; /* place of the last element of the result */
		if (__builtin_sub_overflow((int64_t)0, begin[i], &last) ||
		    __builtin_add_overflow(dims[i], end[i], &last) ||
		    __builtin_add_overflow(dims[i], begin[i], &m->outer[i]) ||
		    __builtin_add_overflow(m->outer[i], end[i], &m->outer[i]) || m->outer[i] < 0)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					"pads %lld and %lld do not fit axis %d of size %lld",
					(long long)begin[i], (long long)end[i], i,
					(long long)dims[i]);
		if (dims[i] == 0 && m->outer[i] > 0 && mode[0] != 'c')
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					"mode %s has nothing to repeat along axis %d of size 0",
					mode, i);
		void *room = NULL;
		PAI_TRY(pai_call_room(c, m->outer[i], sizeof(int64_t), &room));
		m->at[i] = room;
		for (int64_t j = 0; j < m->outer[i]; j++) {
			int64_t from = source(mode[0], j - begin[i], dims[i]);
			m->at[i][j] = from < 0 ? -1 : from * strides[i];
		}
	}
	return PAI_OK;
}

/* Calls line for every run along the last axis: places of the output from `at` on, and the offset
 * of the input they start from, or -1 where the whole line is padding. */
typedef struct pad_line {
	const pad_map *m;
	uint8_t *to;
	const uint8_t *from;
	const uint8_t *value;
	size_t size;
	bool add; /* the adjoint: to[map] += from */
	bool wide;
} pad_line;

static void copy_line(const pad_line *l, int64_t at, int64_t offset)
{
	int last = l->m->rank - 1;
	for (int64_t i = 0; i < l->m->outer[last]; i++) {
		int64_t from = l->m->at[last][i];
		const uint8_t *v = offset < 0 || from < 0
					   ? l->value
					   : l->from + (size_t)(offset + from) * l->size;
		memcpy(l->to + (size_t)(at + i) * l->size, v, l->size);
	}
}

static void add_line(const pad_line *l, int64_t at, int64_t offset)
{
	int last = l->m->rank - 1;
	for (int64_t i = 0; i < l->m->outer[last] && offset >= 0; i++) {
		int64_t to = l->m->at[last][i];
		if (to >= 0 && l->wide)
			((double *)l->to)[offset + to] += ((const double *)l->from)[at + i];
		else if (to >= 0)
			((float *)l->to)[offset + to] += ((const float *)l->from)[at + i];
	}
}

static void each_line(const pad_line *l)
{
	const pad_map *m = l->m;
	int64_t index[PAI_MAX_RANK] = {0}, at = 0, lines = 1;
	for (int i = 0; i + 1 < m->rank; i++)
		lines *= m->outer[i];
	if (m->outer[m->rank - 1] == 0)
		return;
	for (; lines > 0; lines--, at += m->outer[m->rank - 1]) {
		int64_t offset = 0;
		for (int i = 0; i + 1 < m->rank && offset >= 0; i++)
			offset = m->at[i][index[i]] < 0 ? -1 : offset + m->at[i][index[i]];
		if (l->add)
			add_line(l, at, offset);
		else
			copy_line(l, at, offset);
		for (int i = m->rank - 2; i >= 0; i--) {
			if (++index[i] < m->outer[i])
				break;
			index[i] = 0;
		}
	}
}

/* The element that fills: input 2, or the attribute of the older versions; 0 when neither is given.
 */
static pai_status fill_element(pai_call *c, size_t size, uint8_t *element)
{
	const pai_tensor *v = c->n_in > 2 ? c->in[2] : NULL;
	pai_dtype dtype = c->in[0]->dtype;
	memset(element, 0, 16);
	if (v && pai_tensor_nelem(v) > 0) {
		if (v->dtype != dtype || pai_tensor_nelem(v) != 1)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 2),
					"is not one element of the type of the data");
		pai_flat flat;
		PAI_TRY(pai_flat_in(c, 2, &flat));
		memcpy(element, flat.at, size);
	} else if (c->node->op->since < 11) {
		pai_tensor one = {.dtype = dtype, .data = element, .nbytes = size};
		pai_tensor_set(&one, 0, (double)pai_node_float(c->node, "value", 0));
	}
	return PAI_OK;
}

static pai_status pad(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pad_map m;
	PAI_TRY(pad_maps(c, 1, 3, x->rank, x->dims, &m));
	PAI_TRY(pai_call_output(c, 0, x->dtype, m.rank, m.outer));
	pai_flat from, to;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	uint8_t value[16];
	PAI_TRY(fill_element(c, from.size, value));
	if (m.rank == 0)
		memcpy(to.at, from.at, from.size);
	else
		each_line(&(pad_line){
			.m = &m, .to = to.at, .from = from.at, .value = value, .size = from.size});
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_pad = {.run = pad};

/* dX[i] = sum of dY over the places that took X[i] */
static pai_status pad_grad(pai_call *c)
{
	const pai_tensor *dy = c->in[0];
	pai_int_list shape;
	PAI_TRY(pai_call_ints(c, "shape", 2, &shape));
	PAI_TRY(pai_call_output(c, 0, dy->dtype, shape.n, shape.at));
	pad_map m;
	PAI_TRY(pad_maps(c, 1, 3, shape.n, shape.at, &m));
	bool fits = dy->rank == m.rank;
	for (int i = 0; fits && i < m.rank; i++)
		fits = dy->dims[i] == m.outer[i];
	if (!fits)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not shaped as the padded tensor");
	const void *from = NULL;
	void *to = NULL;
	PAI_TRY(pai_widen(c, 0, &from));
	PAI_TRY(pai_wide_output(c, 0, &to));
	size_t size = pai_wide_size(dy->dtype);
	pai_fill(to, pai_tensor_nelem(c->out[0]), (uint64_t[]){0}, size);
	if (m.rank == 0)
		memcpy(to, from, size);
	else
		each_line(&(pad_line){.m = &m,
				      .to = to,
				      .from = from,
				      .add = true,
				      .wide = size == sizeof(double)});
	pai_narrow(c, 0, to);
	return PAI_OK;
}

const pai_kernel pai_kernel_pad_grad = {.run = pad_grad};

/* The pads as an operand, negated on demand. */
static pai_value *pads_of(pai_grad *g, const pai_node *n, bool negate)
{
	const int64_t *v;
	int64_t pads[2 * PAI_MAX_RANK];
	if (n->op->since >= 11)
		return negate ? PAI_OP1(pai_grad_patch(g), "Neg", "pads", n->in[1]) : n->in[1];
	int count = pai_node_ints(n, n->op->since == 1 ? "paddings" : "pads", &v);
	count = count < 0 ? 0 : count > 2 * PAI_MAX_RANK ? 2 * PAI_MAX_RANK : count;
	for (int i = 0; i < count; i++)
		pads[i] = negate ? -v[i] : v[i];
	return pai_grad_ints(g, n, count, pads);
}

/* Mode constant: dX is dY padded by the negated pads; the fill value takes the rest of the sum of
 * dY. Other modes: dX[i] = sum of dY over the places that took X[i]. */
pai_status pai_grad_pad(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	const char *mode = pai_node_string(n, "mode", "constant");
	pai_value *axes = pai_node_in(n, 3);
	if (strcmp(mode, "constant") != 0) {
		pai_value *in[4] = {dy[0], pads_of(g, n, false), pai_grad_shape(g, n, n->in[0]),
				    axes};
		dx[0] = pai_grad_internal(g, "PadGrad", 4, in, NULL);
		pai_patch_set_string(p, dx[0]->producer, "mode", mode);
		return PAI_OK;
	}
	pai_value *in[4] = {dy[0], pads_of(g, n, true), NULL, axes};
	dx[0] = pai_patch_op(p, "Pad", "grad", axes ? 4 : 2, in);
	if (pai_node_in(n, 2) && pai_grad_wanted(g, n, 2)) {
		pai_value *all = PAI_OP1(p, "ReduceSum", "sum", dy[0]);
		pai_value *kept = PAI_OP1(p, "ReduceSum", "sum", dx[0]);
		dx[2] = PAI_OP2(p, "Reshape", "grad", PAI_OP2(p, "Sub", "rest", all, kept),
				pai_grad_shape(g, n, n->in[2]));
	}
	return PAI_OK;
}
