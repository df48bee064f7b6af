/* shape_rules_move.c -- rules of operators that move elements without computing: reshape,
 * transpose, slice, concatenate and their kin. On small integer contents they do to the known
 * elements what they do at run time, which is what carries sizes through Shape - Gather - Concat -
 * Reshape chains.
 */
#include "compiler/compiler.h"
#include <string.h>

static bool differ(pai_dim a, pai_dim b)
{
	return a >= 0 && b >= 0 && a != b;
}

static pai_dim product(pai_ctx *ctx, int from, int to, const pai_dim *dims)
{
	pai_dim p = 1;
	for (int i = from; i < to; i++)
		p = pai_dim_mul(ctx, p, dims[i]);
	return p;
}

/* Output 0 has the elements of input 0 in the same order. */
static void pass_contents(pai_shape_ctx *s)
{
	if (s->in[0]->rank <= 1 && s->out[0].rank >= 0 && s->out[0].rank <= 1)
		s->n_out_dims[0] = pai_shape_ints(s, 0, &s->out_dims[0]);
}

static void set_unknown(pai_shape_ctx *s, int o, int rank)
{
	pai_dim dims[PAI_MAX_RANK];
	if (rank < 0 || rank > PAI_MAX_RANK)
		return;
	for (int i = 0; i < rank; i++)
		dims[i] = PAI_DIM_UNKNOWN;
	pai_shape_set(s, o, rank, dims);
}

/* Length of a list of integers that is input i, where its shape tells; -1: not known. */
static int list_length(const pai_shape_ctx *s, int i)
{
	if (!pai_shape_known(s, i) || s->in[i]->rank != 1)
		return -1;
	pai_dim n = s->in[i]->dims[0];
	return n >= 0 && n <= PAI_MAX_RANK ? (int)n : -1;
}

/* A list of integers from attribute `name` of older versions, else from input i; as pai_shape_ints.
 */
static int list_of(const pai_shape_ctx *s, const char *name, int i, const pai_dim **out)
{
	const int64_t *given;
	int n = pai_node_ints(s->node, name, &given);
	if (n < 0)
		return pai_shape_ints(s, i, out);
	pai_dim *dims = PAI_NEWS(s->arena, pai_dim, n + 1);
	for (int k = 0; k < n; k++)
		dims[k] = pai_dim_int(s->ctx, given[k]);
	*out = dims;
	return n;
}

pai_status pai_shape_flatten(pai_shape_ctx *s)
{
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const int rank = s->in[0]->rank;
	int64_t axis = pai_node_int(s->node, "axis", 1);
	if (axis < -rank || axis > rank)
		return pai_fail(s->ctx, PAI_E_shape_axis, pai_at_attr(s->node, "axis"),
				"is %lld, must be in [%d, %d]", (long long)axis, -rank, rank);
	axis += axis < 0 ? rank : 0;
	const pai_dim out[] = {product(s->ctx, 0, (int)axis, s->in[0]->dims),
			       product(s->ctx, (int)axis, rank, s->in[0]->dims)};
	pai_shape_set(s, 0, 2, out);
	return PAI_OK;
}

static pai_status bad_target(pai_shape_ctx *s, const char *fact)
{
	return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_input(s->node, 1), "%s", fact);
}

/* Sizes wanted by a Reshape: 0 copies (unless allowzero), one -1 is what is left. */
static pai_status reshape_to(pai_shape_ctx *s, int rank, pai_dim *out)
{
	const pai_type *x = pai_shape_known(s, 0) ? s->in[0] : NULL;
	const bool copy_zero = !pai_node_int(s->node, "allowzero", 0);
	pai_dim have = 1, want = 1; /* elements, copied sizes left out of both */
	bool copied[PAI_MAX_RANK] = {false};
	int rest = -1;
	for (int i = 0; i < rank; i++) {
		int64_t v = 1;
		const bool fixed = pai_dim_const(s->ctx, out[i], &v);
		if (fixed && v < -1)
			return bad_target(s, "holds a size below -1");
		if (fixed && v == -1) {
			if (rest >= 0)
				return bad_target(s, "holds -1 more than once");
			rest = i;
			continue;
		}
		if (fixed && v == 0 && copy_zero) {
			if (x && i >= x->rank)
				return bad_target(s, "copies a size that input 0 does not have");
			out[i] = x ? x->dims[i] : PAI_DIM_UNKNOWN;
			copied[i] = true;
			continue;
		}
		want = pai_dim_mul(s->ctx, want, out[i]);
	}
	if (!x) {
		if (rest >= 0)
			out[rest] = PAI_DIM_UNKNOWN;
		return PAI_OK;
	}
	for (int i = 0; i < x->rank; i++)
		if (i >= PAI_MAX_RANK || !copied[i])
			have = pai_dim_mul(s->ctx, have, x->dims[i]);
	if (rest >= 0)
		out[rest] = pai_dim_div_dim(s->ctx, have, want);
	if (have >= 0 && want >= 0 && (rest < 0 ? have != want : want ? have % want : have > 0))
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 0),
				"is %s, its %lld elements do not fit a target of %s%lld",
				pai_type_text(s->ctx, s->arena, x), (long long)have,
				rest < 0 ? "" : "a multiple of ", (long long)want);
	return PAI_OK;
}

pai_status pai_shape_reshape(pai_shape_ctx *s)
{
	const pai_dim *target;
	pai_dim out[PAI_MAX_RANK];
	int rank = list_of(s, "shape", 1, &target);
	if (rank < 0) {
		set_unknown(s, 0, list_length(s, 1));
		return PAI_OK;
	}
	if (rank > PAI_MAX_RANK)
		return bad_target(s, "has too many sizes");
	pai_copy(out, target, sizeof *out * (size_t)rank);
	PAI_TRY(reshape_to(s, rank, out));
	pai_shape_set(s, 0, rank, out);
	if (pai_shape_known(s, 0))
		pass_contents(s);
	return PAI_OK;
}

pai_status pai_shape_transpose(pai_shape_ctx *s)
{
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const int rank = s->in[0]->rank;
	const int64_t *perm;
	pai_dim out[PAI_MAX_RANK];
	int n = pai_node_ints(s->node, "perm", &perm);
	uint64_t seen = 0;
	if (n >= 0 && n != rank)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "perm"),
				"needs %d values, has %d", rank, n);
	for (int i = 0; i < rank; i++) {
		int64_t from = n < 0 ? rank - 1 - i : perm[i];
		if (from < 0 || from >= rank || (seen >> from & 1))
			return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "perm"),
					"is no permutation of 0 to %d", rank - 1);
		seen |= (uint64_t)1 << from;
		out[i] = s->in[0]->dims[from];
	}
	pai_shape_set(s, 0, rank, out);
	pass_contents(s);
	return PAI_OK;
}

pai_status pai_shape_squeeze(pai_shape_ctx *s)
{
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	pai_dim out[PAI_MAX_RANK];
	int64_t *axes;
	uint64_t drop = 0;
	int rank = 0, n = pai_shape_axes(s, "axes", 1, x->rank, &axes);
	if (n == -2)
		return PAI_INVALID;
	if (n == -1) {
		int count = list_length(s, 1);
		set_unknown(s, 0, count < 0 ? -1 : x->rank - count);
		return PAI_OK;
	}
	for (int k = 0; k < n; k++) {
		if (differ(x->dims[axes[k]], 1))
			return pai_fail(s->ctx, PAI_E_shape_axis, pai_at_input(s->node, 0),
					"is %s, axis %lld is not of size 1",
					pai_type_text(s->ctx, s->arena, x), (long long)axes[k]);
		drop |= (uint64_t)1 << axes[k];
	}
	for (int i = 0; i < x->rank; i++) {
		if (!axes && x->dims[i] < 0)
			return PAI_OK; /* may be 1 */
		if (axes ? !(drop >> i & 1) : x->dims[i] != 1)
			out[rank++] = x->dims[i];
	}
	pai_shape_set(s, 0, rank, out);
	pass_contents(s);
	return PAI_OK;
}

pai_status pai_shape_unsqueeze(pai_shape_ctx *s)
{
	int64_t *axes;
	pai_dim out[PAI_MAX_RANK];
	uint64_t added = 0;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	int n = pai_shape_axes(s, "axes", 1, -1, &axes);
	if (n < 0) {
		int count = list_length(s, 1);
		set_unknown(s, 0, count < 0 ? -1 : x->rank + count);
		return PAI_OK;
	}
	const int rank = x->rank + n;
	if (rank > PAI_MAX_RANK)
		return PAI_OK;
	if (pai_shape_axes(s, "axes", 1, rank, &axes) < 0)
		return PAI_INVALID;
	for (int k = 0; k < n; k++)
		added |= (uint64_t)1 << axes[k];
	for (int i = 0, from = 0; i < rank; i++)
		out[i] = added >> i & 1 ? 1 : x->dims[from++];
	pai_shape_set(s, 0, rank, out);
	pass_contents(s);
	return PAI_OK;
}

/* The elements of all inputs one after the other; those of an input that is not known are unknown,
 * as long as their number is known. */
static void concat_contents(pai_shape_ctx *s)
{
	enum { MOST = 128 };
	pai_dim *all = PAI_NEWS(s->arena, pai_dim, MOST);
	int n = 0;
	bool any = false;
	for (int i = 0; i < s->n_in; i++) {
		const pai_dim *dims;
		const pai_dim length = s->in[i]->dims[0];
		if (length < 0 || length > MOST - n)
			return;
		int count = pai_shape_ints(s, i, &dims);
		any |= count >= 0;
		for (int64_t k = 0; k < length; k++)
			all[n++] = count == length ? dims[k] : PAI_DIM_UNKNOWN;
	}
	if (any) {
		s->out_dims[0] = all;
		s->n_out_dims[0] = n;
	}
}

pai_status pai_shape_concat(pai_shape_ctx *s)
{
	pai_dim out[PAI_MAX_RANK] = {0};
	int64_t axis = pai_node_int(s->node, "axis", 1);
	int first = -1;
	bool all = true;
	for (int i = 0; i < s->n_in; i++) {
		if (!pai_shape_known(s, i)) {
			all = false;
			continue;
		}
		const pai_type *x = s->in[i];
		if (x->rank == 0)
			return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, i),
					"is a scalar, needs at least rank 1");
		if (first < 0) {
			first = i;
			PAI_TRY(pai_shape_axis(s, axis, x->rank, &axis));
			pai_copy(out, x->dims, sizeof *out * (size_t)x->rank);
			continue;
		}
		for (int k = 0; k < x->rank && x->rank == s->in[first]->rank; k++) {
			if (k == axis)
				out[k] = pai_dim_add(s->ctx, out[k], x->dims[k]);
			else if (differ(out[k], x->dims[k]))
				return pai_fail(
					s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, i),
					"is %s, differs beside axis %lld from %s of input %d",
					pai_type_text(s->ctx, s->arena, x), (long long)axis,
					pai_type_text(s->ctx, s->arena, s->in[first]), first);
			else if (out[k] < 0 && (x->dims[k] >= 0 || out[k] == PAI_DIM_UNKNOWN))
				out[k] = x->dims[k];
		}
		if (x->rank != s->in[first]->rank)
			return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, i),
					"has rank %d, input %d has rank %d", x->rank, first,
					s->in[first]->rank);
	}
	if (first < 0)
		return PAI_OK;
	if (!all)
		out[axis] = PAI_DIM_UNKNOWN;
	pai_shape_set(s, 0, s->in[first]->rank, out);
	if (all && s->in[first]->rank == 1)
		concat_contents(s);
	return PAI_OK;
}

/* Sizes along the axis of each output of a Split; UNKNOWN where not known. */
static pai_status split_sizes(pai_shape_ctx *s, pai_dim whole, pai_dim *out)
{
	const pai_dim *given;
	const int64_t parts = pai_node_int(s->node, "num_outputs", s->n_out);
	const bool listed = pai_node_attr(s->node, "split") || (s->n_in > 1 && s->in[1]);
	int n = list_of(s, "split", 1, &given);
	for (int o = 0; o < s->n_out; o++)
		out[o] = PAI_DIM_UNKNOWN;
	if (n >= 0) {
		pai_dim sum = 0;
		if (n != s->n_out)
			return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_node(s->node),
					"is split into %d parts, but has %d outputs", n, s->n_out);
		for (int o = 0; o < n; o++) {
			int64_t v;
			out[o] = given[o];
			sum = pai_dim_add(s->ctx, sum, given[o]);
			if (pai_dim_const(s->ctx, given[o], &v) && v < 0)
				return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_node(s->node),
						"part %d has %lld elements", o, (long long)v);
		}
		if (differ(sum, whole))
			return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 0),
					"has %lld elements along the axis, the parts have %lld",
					(long long)whole, (long long)sum);
		return PAI_OK;
	}
	if (listed || parts < 1)
		return PAI_OK;
	if (parts != s->n_out)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "num_outputs"),
				"is %lld, but the node has %d outputs", (long long)parts, s->n_out);
	const bool uneven =
		s->node->op && s->node->op->since >= 18; /* the last part may be smaller */
	if (whole >= 0 && !uneven && whole % parts)
		return pai_fail(
			s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 0),
			"has %lld elements along the axis, cannot be split into %lld equal parts",
			(long long)whole, (long long)parts);
	pai_dim part = whole < 0 && uneven
			       ? pai_dim_div_dim(s->ctx, whole, parts)
			       : pai_dim_div(s->ctx, pai_dim_add(s->ctx, whole, parts - 1), parts);
	if (part < 0 && whole >= 0)
		return PAI_OK;
	for (int o = 0; o < s->n_out; o++) {
		int64_t left = whole >= 0 ? whole - part * o : 0;
		out[o] = whole < 0 || left > part ? part : left > 0 ? left : 0;
	}
	return PAI_OK;
}

pai_status pai_shape_split(pai_shape_ctx *s)
{
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	pai_dim out[PAI_MAX_RANK], *sizes = PAI_NEWS(s->arena, pai_dim, s->n_out);
	const pai_dim *whole;
	int64_t axis, at = 0;
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", 0), x->rank, &axis));
	PAI_TRY(split_sizes(s, x->dims[axis], sizes));
	int n = x->rank == 1 && x->dims[0] >= 0 ? pai_shape_ints(s, 0, &whole) : -1;
	pai_copy(out, x->dims, sizeof *out * (size_t)x->rank);
	for (int o = 0; o < s->n_out; o++) {
		out[axis] = sizes[o];
		pai_shape_set(s, o, x->rank, out);
		if (sizes[o] < 0 || at > n || sizes[o] > n - at) {
			n = -1;
			continue;
		}
		s->out_dims[o] = whole + at;
		s->n_out_dims[o] = (int)sizes[o];
		at += sizes[o];
	}
	return PAI_OK;
}

/* A bound of a slice with step > 0, counted from the front and clamped to [0, size]. */
static pai_dim bound_up(pai_ctx *ctx, pai_dim v, pai_dim size)
{
	int64_t c;
	if (!pai_dim_const(ctx, v, &c))
		return pai_dim_at_least(ctx, pai_dim_sub(ctx, size, v), 0) ? v : PAI_DIM_UNKNOWN;
	if (size >= 0) {
		c += c < 0 ? size : 0;
		return c < 0 ? 0 : c > size ? size : c;
	}
	if (c < 0) {
		pai_dim from_end = pai_dim_add(ctx, size, v);
		return pai_dim_at_least(ctx, from_end, 0) ? from_end
		       : c <= -INT32_MAX                  ? 0
							  : PAI_DIM_UNKNOWN;
	}
	return c >= INT32_MAX ? size : pai_dim_at_least(ctx, size, c) ? c : PAI_DIM_UNKNOWN;
}

/* A bound with step < 0, clamped to [-1, size - 1], plus 1. */
static pai_dim bound_down(pai_ctx *ctx, pai_dim v, pai_dim size)
{
	int64_t c;
	if (!pai_dim_const(ctx, v, &c))
		return PAI_DIM_UNKNOWN;
	if (size >= 0) {
		c += c < 0 ? size : 0;
		return c < 0 ? 0 : c >= size ? size : c + 1;
	}
	if (c < 0) {
		pai_dim from_end = pai_dim_add(ctx, size, pai_dim_add(ctx, v, 1));
		return c <= -INT32_MAX                      ? 0
		       : pai_dim_at_least(ctx, from_end, 0) ? from_end
							    : PAI_DIM_UNKNOWN;
	}
	return c >= INT32_MAX ? size : pai_dim_at_least(ctx, size, c + 1) ? c + 1 : PAI_DIM_UNKNOWN;
}

typedef struct range { /* of a slice along one axis; sizes or UNKNOWN */
	pai_dim first, count;
	int64_t step;
} range;

/* Backwards a start before the first element is the first element. */
static pai_dim start_down(pai_ctx *ctx, pai_dim v, pai_dim size)
{
	pai_dim from = bound_down(ctx, v, size);
	if (from != 0)
		return from;
	return size >= 0 ? size > 0 : pai_dim_at_least(ctx, size, 1) ? 1 : PAI_DIM_UNKNOWN;
}

static range slice_axis(pai_ctx *ctx, pai_dim start, pai_dim end, int64_t step, pai_dim size)
{
	range r = {PAI_DIM_UNKNOWN, PAI_DIM_UNKNOWN, step};
	pai_dim from = step > 0 ? bound_up(ctx, start, size) : start_down(ctx, start, size);
	pai_dim to = step > 0 ? bound_up(ctx, end, size) : bound_down(ctx, end, size);
	const int64_t stride = step > 0 ? step : -step;
	pai_dim span = step > 0 ? pai_dim_sub(ctx, to, from) : pai_dim_sub(ctx, from, to);
	int64_t c;
	r.first = step > 0 ? from : pai_dim_sub(ctx, from, 1);
	if (pai_dim_const(ctx, span, &c))
		r.count = c <= 0 ? 0 : (c - 1) / stride + 1;
	else if (pai_dim_at_least(ctx, span, 0))
		r.count = pai_dim_div(ctx, pai_dim_add(ctx, span, stride - 1), stride);
	return r;
}

/* Bounds need all of int64; contents that are constant are read exactly, except that the least
 * number counts as the one above it. */
static int slice_list(const pai_shape_ctx *s, const char *name, int i, const pai_dim **out)
{
	int n = list_of(s, name, i, out);
	const pai_tensor *t = i < s->n_in ? s->data[i] : NULL;
	const int64_t *given;
	const pai_value *v = pai_node_in(s->node, i);
	const bool stated = v && v->producer && pai_node_is(v->producer, "Constant");
	const bool attr = stated || pai_node_ints(s->node, name, &given) >= 0;
	pai_dim *fixed = NULL;
	for (int k = 0; k < n; k++) {
		if ((*out)[k] != PAI_DIM_UNKNOWN || (!attr && !t))
			continue;
		if (!fixed)
			*out = fixed = pai_arena_dup(s->arena, *out, sizeof **out * (size_t)n);
		fixed[k] = pai_dim_int(s->ctx, -INT64_MAX);
	}
	return n;
}

static void slice_contents(pai_shape_ctx *s, const range *r)
{
	const pai_dim *whole;
	if (s->in[0]->rank != 1 || r->first < 0 || r->count < 0 || r->count > 1024)
		return;
	int n = pai_shape_ints(s, 0, &whole);
	if (n < 0)
		return;
	pai_dim *part = PAI_NEWS(s->arena, pai_dim, r->count + 1);
	for (int64_t k = 0; k < r->count; k++) {
		const int64_t at = r->first + k * r->step;
		if (at < 0 || at >= n)
			return;
		part[k] = whole[at];
	}
	s->out_dims[0] = part;
	s->n_out_dims[0] = (int)r->count;
}

pai_status pai_shape_slice(pai_shape_ctx *s)
{
	const pai_dim *starts, *ends, *steps = NULL;
	int64_t *axes;
	pai_dim out[PAI_MAX_RANK];
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	const int n_starts = slice_list(s, "starts", 1, &starts);
	const int n_ends = slice_list(s, "ends", 2, &ends);
	const int n_axes = pai_shape_axes(s, "axes", 3, x->rank, &axes);
	const int n_steps = slice_list(s, "steps", 4, &steps);
	const bool stepped = s->n_in > 4 && s->in[4];
	int n = axes ? n_axes : n_starts >= 0 ? n_starts : list_length(s, 1);
	if (n_axes == -2)
		return PAI_INVALID;
	if (n_axes == -1 || n < 0) {
		set_unknown(s, 0, x->rank);
		return PAI_OK;
	}
	if (n > x->rank || (n_starts >= 0 && n_starts != n) || (n_ends >= 0 && n_ends != n) ||
	    (stepped && n_steps >= 0 && n_steps != n))
		return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_node(s->node),
				"starts, ends, axes and steps differ in length, or pass rank %d",
				x->rank);
	pai_copy(out, x->dims, sizeof *out * (size_t)x->rank);
	for (int k = 0; k < n; k++) {
		const int64_t axis = axes ? axes[k] : k;
		int64_t step = 1;
		const bool fixed =
			!stepped || (n_steps >= 0 && pai_dim_const(s->ctx, steps[k], &step));
		if (fixed && step == 0)
			return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_input(s->node, 4),
					"step %d is 0", k);
		out[axis] = PAI_DIM_UNKNOWN;
		if (!fixed || n_starts < 0 || n_ends < 0)
			continue;
		range r = slice_axis(s->ctx, starts[k], ends[k], step, x->dims[axis]);
		out[axis] = r.count;
		slice_contents(s, &r);
	}
	pai_shape_set(s, 0, x->rank, out);
	if (n == 0)
		pass_contents(s);
	return PAI_OK;
}

static void gather_contents(pai_shape_ctx *s)
{
	const pai_dim *data, *index;
	if (s->in[0]->rank != 1 || s->in[0]->dims[0] > 1024 || s->in[1]->rank > 1)
		return;
	int n = pai_shape_ints(s, 0, &data), count = pai_shape_ints(s, 1, &index);
	if (n < 0 || count < 0)
		return;
	pai_dim *out = PAI_NEWS(s->arena, pai_dim, count + 1);
	for (int k = 0; k < count; k++) {
		int64_t at;
		out[k] = PAI_DIM_UNKNOWN;
		if (pai_dim_const(s->ctx, index[k], &at) && at >= -n && at < n)
			out[k] = data[at < 0 ? at + n : at];
	}
	s->out_dims[0] = out;
	s->n_out_dims[0] = count;
}

pai_status pai_shape_gather(pai_shape_ctx *s)
{
	pai_dim out[2 * PAI_MAX_RANK];
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	int64_t axis;
	int rank = 0;
	if (x->rank == 0)
		return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, 0),
				"is a scalar, needs at least rank 1");
	PAI_TRY(pai_shape_axis(s, pai_node_int(s->node, "axis", 0), x->rank, &axis));
	if (!pai_shape_known(s, 1))
		return PAI_OK;
	for (int i = 0; i < axis; i++)
		out[rank++] = x->dims[i];
	for (int i = 0; i < s->in[1]->rank; i++)
		out[rank++] = s->in[1]->dims[i];
	for (int i = (int)axis + 1; i < x->rank; i++)
		out[rank++] = x->dims[i];
	pai_shape_set(s, 0, rank, out);
	gather_contents(s);
	return PAI_OK;
}

pai_status pai_shape_expand(pai_shape_ctx *s)
{
	const pai_dim *to;
	pai_dim out[PAI_MAX_RANK];
	int64_t v;
	int n = pai_shape_ints(s, 1, &to);
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	if (n < 0) {
		int length = list_length(s, 1);
		set_unknown(s, 0, length < 0 ? -1 : length > x->rank ? length : x->rank);
		return PAI_OK;
	}
	if (n > PAI_MAX_RANK)
		return bad_target(s, "has too many sizes");
	for (int i = 0; i < n; i++)
		if (pai_dim_const(s->ctx, to[i], &v) && v < 0)
			return bad_target(s, "holds a negative size");
	int rank = pai_dims_broadcast(s->ctx, x->rank, x->dims, n, to, out);
	if (rank < 0)
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, 0),
				"is %s, does not broadcast to the wanted shape",
				pai_type_text(s->ctx, s->arena, x));
	pai_shape_set(s, 0, rank, out);
	if (rank == 1 && out[0] >= 0 && out[0] <= 1024 && x->rank <= 1) {
		const pai_dim *dims;
		int count = pai_shape_ints(s, 0, &dims);
		if (count == 1) { /* one element repeated */
			pai_dim *all = PAI_NEWS(s->arena, pai_dim, out[0] + 1);
			for (int64_t k = 0; k < out[0]; k++)
				all[k] = dims[0];
			s->out_dims[0] = all;
			s->n_out_dims[0] = (int)out[0];
		} else if (count == out[0]) {
			s->out_dims[0] = dims;
			s->n_out_dims[0] = count;
		}
	}
	return PAI_OK;
}

pai_status pai_shape_pad(pai_shape_ctx *s)
{
	const pai_dim *pads;
	pai_dim out[PAI_MAX_RANK];
	int64_t *axes, v;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	int n = list_of(s, pai_node_attr(s->node, "paddings") ? "paddings" : "pads", 1, &pads);
	int n_axes = pai_shape_axes(s, "axes", 3, x->rank, &axes);
	if (n_axes == -2)
		return PAI_INVALID;
	if (n < 0 || n_axes == -1) {
		set_unknown(s, 0, x->rank);
		return PAI_OK;
	}
	if (!axes)
		n_axes = x->rank;
	if (n != 2 * n_axes)
		return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_node(s->node),
				"pads: needs %d values, has %d", 2 * n_axes, n);
	pai_copy(out, x->dims, sizeof *out * (size_t)x->rank);
	for (int k = 0; k < n_axes; k++) {
		const int64_t axis = axes ? axes[k] : k;
		pai_dim both = pai_dim_add(s->ctx, pads[k], pads[n_axes + k]);
		out[axis] = pai_dim_add(s->ctx, out[axis], both);
		if (pai_dim_const(s->ctx, out[axis], &v) && v < 0)
			return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_node(s->node),
					"pads leave axis %lld with %lld elements", (long long)axis,
					(long long)v);
	}
	pai_shape_set(s, 0, x->rank, out);
	return PAI_OK;
}

/* Version 1 repeats one axis; later ones take a number for each. */
pai_status pai_shape_tile(pai_shape_ctx *s)
{
	const pai_dim *repeats, *where;
	pai_dim out[PAI_MAX_RANK];
	int64_t v, axis;
	if (!pai_shape_known(s, 0))
		return PAI_OK;
	const pai_type *x = s->in[0];
	int n = pai_shape_ints(s, 1, &repeats);
	const bool single = s->node->op && s->node->op->since == 1;
	pai_copy(out, x->dims, sizeof *out * (size_t)x->rank);
	if (n < 0 || (single && pai_shape_ints(s, 2, &where) != 1)) {
		set_unknown(s, 0, x->rank);
		return PAI_OK;
	}
	if (n != (single ? 1 : x->rank))
		return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_input(s->node, 1),
				"needs %d values, has %d", single ? 1 : x->rank, n);
	for (int k = 0; k < n; k++) {
		axis = k;
		if (pai_dim_const(s->ctx, repeats[k], &v) && v < 0)
			return pai_fail(s->ctx, PAI_E_shape_contents, pai_at_input(s->node, 1),
					"value %d is %lld", k, (long long)v);
		if (single) {
			if (!pai_dim_const(s->ctx, where[0], &v))
				return PAI_OK;
			PAI_TRY(pai_shape_axis(s, v, x->rank, &axis));
		}
		out[axis] = pai_dim_mul(s->ctx, out[axis], repeats[k]);
	}
	pai_shape_set(s, 0, x->rank, out);
	return PAI_OK;
}
